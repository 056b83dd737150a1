"""Whether a long-term key need exist at all, and what takes its place.

The report tells when, in which Region and with which service a key was last used, and whether the
user has a console password. It does not tell from where: so a machine's key is UNKNOWN here, with
the words for both cases and how to find out. Nothing is guessed from names, Regions or services.
"""

from __future__ import annotations

from keyturn.audit.dates import BROKEN, Calendar
from keyturn.audit.model import Need
from keyturn.audit.rules import IN_FLIGHT, NO, NOT_KNOWN, YES, Credential, Key, Profile
from keyturn.audit.rules import credential_unused as unused

_FIND_OUT = (
    "The report does not tell from where it is used. A workload outside AWS: IAM Roles Anywhere; "
    "inside AWS: a role. Its calls tell which (sourceIPAddress, userAgent): `aws cloudtrail "
    "lookup-events --lookup-attributes AttributeKey=AccessKeyId,AttributeValue=ID`."
)


def need(
    key: Key, profile: Profile, calendar: Calendar, unused_after_days: int
) -> tuple[Need, str]:
    """Return what becomes of a key, and the advice in words."""
    if key.active == NO:
        if profile.managed == IN_FLIGHT:
            return Need.REMOVE, "Inactive. Keyturn's running rotation decides about it."
        if profile.managed == NOT_KNOWN:
            return Need.REMOVE, "Inactive: delete it when Keyturn does not manage the user."
        return Need.REMOVE, "Inactive: delete it when nothing is missing."
    credential = Credential(key.name, key.active, key.last_use, "")
    idle = unused(credential, calendar, unused_after_days)
    if idle == YES and profile.managed != IN_FLIGHT:
        return Need.REMOVE, f"Not used for {unused_after_days} days or more: nobody needs it."
    if idle == BROKEN:
        return Need.UNKNOWN, "Whether it is in use cannot be told: a cell of the report is broken."
    if profile.console == YES:
        return (
            Need.IDENTITY_CENTER,
            "The user has a console password, so this is probably a person's key: IAM Identity "
            "Center gives people temporary credentials for the command line too. If a program "
            "uses it, give the program an identity of its own.",
        )
    return Need.UNKNOWN, _FIND_OUT
