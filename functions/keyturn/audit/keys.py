"""Every access key of a user: whether it need exist at all, and what takes its place.

The report tells when, in which Region and with which service a key was last used, and whether the
user has a console password. It does not tell from where: so a machine's key is UNKNOWN here, with
the words for both cases and how to find out. Nothing is guessed from names, Regions or services.
"""

from __future__ import annotations

from collections.abc import Iterator

from keyturn.audit.facts import (
    BROKEN,
    IN_FLIGHT,
    NO,
    NOT_KNOWN,
    UNMANAGED,
    YES,
    Calendar,
    Facts,
    KeyFacts,
    parsed,
)
from keyturn.audit.model import KeyRecord, Need
from keyturn.audit.rows import NO_DATES, Row
from keyturn.audit.rules import credential_unused, credentials

_FIND_OUT = (
    "The report does not tell from where it is used. A workload outside AWS: IAM Roles Anywhere; "
    "inside AWS: a role. Its calls tell which (sourceIPAddress, userAgent): `aws cloudtrail "
    "lookup-events --lookup-attributes AttributeKey=AccessKeyId,AttributeValue=ID`."
)
_PERSON = (
    "The user has a console password, so this is probably a person's key: IAM Identity Center "
    "gives people temporary credentials for the command line too. If a program uses it, give the "
    "program an identity of its own."
)


def keys_of(facts: Facts, calendar: Calendar) -> Iterator[KeyRecord]:
    """Yield the keys of any user with these facts; `key_of` makes them those of one user."""
    for key in facts.keys:
        if key.exists:
            need, advice = _need(key, facts, calendar)
            yield KeyRecord(
                slot=key.slot,
                # Not known counts as active: it may well be.
                active=key.active != NO,
                tier=calendar.tier(key.rotated),
                managed=is_managed(facts),
                console_password=facts.console == YES,
                need=need,
                advice=advice,
            )


def key_of(key: KeyRecord, row: Row, calendar: Calendar) -> KeyRecord:
    """Return a key of any such user as this user's."""
    _, rotated, used, region, service = row.key(key.slot)
    created = parsed(rotated)
    return KeyRecord(
        key.slot,
        key.active,
        key.tier,
        key.managed,
        key.console_password,
        key.need,
        key.advice,
        row.account_id,
        row.user,
        row.arn,
        row.user_creation_time,
        rotated if created else None,
        used if parsed(used) else None,
        None if service in NO_DATES else service,
        None if region in NO_DATES else region,
        calendar.age_days(created) if created else None,
    )


def is_managed(facts: Facts) -> bool | None:
    """Whether Keyturn manages the user; None where that is not known."""
    return None if facts.managed == NOT_KNOWN else facts.managed != UNMANAGED


def _need(key: KeyFacts, facts: Facts, calendar: Calendar) -> tuple[Need, str]:
    """Return what becomes of a key, and the advice in words."""
    if key.active == NO:
        then = "delete it when nothing is missing."
        if facts.managed == NOT_KNOWN:
            then = "delete it when Keyturn does not manage the user."
        if facts.managed == IN_FLIGHT:
            return Need.REMOVE, "Inactive. Keyturn's running rotation decides about it."
        return Need.REMOVE, f"Inactive: {then}"
    days = calendar.thresholds.unused_after_days
    (credential,) = (one for one in credentials(facts) if one.name == key.name)
    idle = credential_unused(credential, calendar, days)
    if idle == YES and facts.managed != IN_FLIGHT:
        return Need.REMOVE, f"Not used for {days} days or more: nobody needs it."
    if idle == BROKEN:
        return Need.UNKNOWN, "Whether it is in use cannot be told: a cell of the report is broken."
    if facts.console == YES:
        return Need.IDENTITY_CENTER, _PERSON
    return Need.UNKNOWN, _FIND_OUT
