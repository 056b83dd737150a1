"""From the facts of a user to findings: what is the case, in words, and what to do about it.

Users with the same facts have the same findings but for names, dates and ages: `findings_of` words
them for all of these users, and `finding_of` makes them one user's.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator
from functools import lru_cache

from keyturn.audit.facts import (
    BROKEN,
    IN_FLIGHT,
    MADE_WITH_USER_SECONDS,
    MANAGED,
    NO,
    NO_DATE,
    NOT_KNOWN,
    YES,
    Calendar,
    Facts,
    parsed,
)
from keyturn.audit.keys import is_managed
from keyturn.audit.model import Finding, Rule, Status
from keyturn.audit.rows import NO_DATES, Row, shown
from keyturn.audit.rules import (
    credential_unused,
    credentials,
    key_made_with_user,
    key_older_than,
    password_changed,
    password_older_than,
    password_without_mfa,
    two_active,
    user_unused,
)
from keyturn.audit.standards import EXCEPTIONS, SEVERITIES, SOURCES

MAX_PASSWORD_AGE_DAYS = 90
UNUSED_USER_DAYS = (90, 365)
LONG_AGO_DAYS = 365

# What to do. Key ids are not in the report, so the commands begin with finding them. `{user}`
# stands for the option that names the user, `{input}` for the input of a rotation; in what is the
# case, `{age}` stands for the full days since the latest of the dates.
_LIST_KEYS = "aws iam list-access-keys {user}"
_DEACTIVATE = (
    f"`{_LIST_KEYS}`, then "
    "`aws iam update-access-key {user} --access-key-id ID --status Inactive`"
)
_ROTATE = (
    "`aws stepfunctions start-execution --state-machine-arn ROTATE_KEY_ARN --input {input}`, "
    "where ROTATE_KEY_ARN is the stack's output RotateKeyStateMachineArn"
)
_SEE_USER = "Look at the user itself: `aws iam get-user {user}`, `aws iam list-access-keys {user}`."
_SEE_KEYTURN = (
    "First see whether Keyturn manages the user: `keyturn status`. If it does, leave the keys to "
    "Keyturn. If not: "
)
_RUNNING = "Nothing now: a rotation of this user is running."
_ROTATE_OLD = f"RotateFleet rotates it when its schedule is enabled; at once: {_ROTATE}."
_REPLACE_OLD = (
    "Let Keyturn manage it, or put a role in its place. By hand: `aws iam create-access-key "
    f"{{user}}`, move every consumer, {_DEACTIVATE}."
)
_RESUME = (
    "The last rotation kept both, and its result says why; "
    f"a further one resumes where it stopped: {_ROTATE}."
)
_WAIT_FOR_ONE = "Nothing now: the rotation deactivates the old key, or says why it cannot."
_KEEP_ONE = (
    f"Find the one in use: `{_LIST_KEYS}`, `aws iam get-access-key-last-used --access-key-id ID`. "
    "Deactivate the other: `aws iam update-access-key {user} --access-key-id ID --status Inactive`."
)
_REMOVE_USER = (
    "If nobody needs the user: deactivate its keys and wait; then remove its keys, password, "
    "policies and groups, and `aws iam delete-user {user}`."
)
_REMOVE_PASSWORD = "`aws iam delete-login-profile {user}`"  # noqa: S105 - a command


def findings_of(facts: Facts, calendar: Calendar) -> Iterator[Finding]:
    """Yield what the user rules find in any user with these facts, in the order of the rules."""
    for rule in (
        _old_keys,
        _two_keys,
        _unused_credentials,
        _unused_user,
        _made_with_user,
        _no_mfa,
        _old_password,
    ):
        for found in rule(facts, calendar):
            by_hand = found.status is Status.FINDING and found.credential != "password"
            if facts.managed == NOT_KNOWN and by_hand:
                # Following it by hand would cross a rotation, if one is running.
                yield found._replace(managed=None, next=_SEE_KEYTURN + found.next)
            else:
                yield found._replace(managed=is_managed(facts))


def finding_of(found: Finding, row: Row, calendar: Calendar) -> Finding:
    """Return a finding of any such user as this user's."""
    columns = found.dates
    age_days, detail, then = None, found.detail, found.next
    if found.dated:
        moments = [moment for name in found.dated if (moment := parsed(getattr(row, name)))]
        age_days = calendar.age_days(max(moments))
        detail = detail.replace("{age}", str(age_days))
    elif not detail:
        detail = _blame(row, [name for name, _ in columns], calendar)
    if "{input}" in then:
        then = then.replace("{input}", rotation_input(row.user))
    elif "{user}" in then:
        then = then.replace("{user}", user_option(row.user))
    return Finding(
        found.severity,
        found.status,
        found.rule,
        found.credential,
        found.tier,
        found.compliance,
        row.account_id,
        row.user,
        found.managed,
        age_days,
        tuple([(name, getattr(row, name)) for name, _ in columns]),
        detail,
        then,
    )


def finding(
    answer: int,
    rule: Rule,
    columns: tuple[str, ...],
    detail: str,
    then: str,
    *,
    exceptional: bool = False,
    credential: str | None = None,
    dated: tuple[str, ...] = (),
    tier: str | None = None,
    if_unknown: str = _SEE_USER,
) -> Iterator[Finding]:
    """Yield the finding for an answer, decided on `columns` and `dated`: none for NO.

    For BROKEN it is UNKNOWN, and has no detail: which cell is to blame is told with the row.
    """
    if answer == NO:
        return
    status, severity = Status.FINDING, SEVERITIES[rule]
    columns = tuple(dict.fromkeys((*columns, *dated)))
    if answer == BROKEN:
        status, detail, then, dated, tier = Status.UNKNOWN, "", if_unknown, (), None
    elif exceptional:
        severity, _ = EXCEPTIONS[rule]
    yield Finding(
        severity=severity,
        status=status,
        rule=rule,
        credential=credential,
        tier=tier,
        compliance=SOURCES[rule].compliance,
        account_id="",
        user=None,
        managed=False,
        age_days=None,
        dates=tuple((column, "") for column in columns),
        detail=detail,
        next=then,
        dated=dated,
    )


def _old_keys(facts: Facts, calendar: Calendar) -> Iterator[Finding]:
    limit = calendar.thresholds.max_key_age_days
    then = {MANAGED: _ROTATE_OLD, IN_FLIGHT: _RUNNING}.get(facts.managed, _REPLACE_OLD)
    for key in facts.keys:
        yield from finding(
            key_older_than(key, calendar, limit),
            Rule.KEY_NOT_ROTATED,
            (f"{key.name}_active", f"{key.name}_last_rotated"),
            f"Access key {key.slot} is active and {{age}} full days old; "
            f"more than {limit} days is too old.",
            then,
            exceptional=calendar.over(key.rotated, LONG_AGO_DAYS),
            credential=key.name,
            dated=(f"{key.name}_last_rotated",),
            tier=calendar.tier(key.rotated),
        )


def _two_keys(facts: Facts, calendar: Calendar) -> Iterator[Finding]:
    """The age is that of the younger key: for so long there have been two."""
    ranks = [key.rotated for key in facts.keys]
    known = min(ranks) >= 0
    what, then = "Both keys are active", _KEEP_ONE
    if facts.managed == MANAGED:
        then = _RESUME
    elif facts.managed == IN_FLIGHT:
        what, then = "Keyturn is rotating the user: both keys are active", _WAIT_FOR_ONE
    since = "the younger is {age} full days old."
    if not known:
        since = "since when cannot be told from their dates."
    yield from finding(
        two_active(facts),
        Rule.TWO_ACTIVE_KEYS,
        (
            "access_key_1_active",
            "access_key_1_last_rotated",
            "access_key_2_active",
            "access_key_2_last_rotated",
        ),
        f"{what}; {since}",
        then,
        exceptional=facts.managed == IN_FLIGHT,
        dated=("access_key_1_last_rotated", "access_key_2_last_rotated") if known else (),
        tier=calendar.tier(max(ranks)) if known else None,
    )


def _unused_credentials(facts: Facts, calendar: Calendar) -> Iterator[Finding]:
    limit = calendar.thresholds.unused_after_days
    for credential in credentials(facts):
        name = credential.name
        what, then = "The console password", f"Remove it: {_REMOVE_PASSWORD}."
        columns = ("password_enabled", "password_last_used")
        if name != "password":
            what = f"Access key {name[-1]} is active and"
            then = f"If nobody needs it: {_DEACTIVATE}."
            if facts.managed == IN_FLIGHT:
                then = _RUNNING
            columns = (f"{name}_active", f"{name}_last_used_date")
        fell_back = credential.column not in columns
        when = "has no recorded use and was set" if fell_back else "was last used"
        yield from finding(
            credential_unused(credential, calendar, limit),
            Rule.UNUSED_CREDENTIAL,
            columns,
            f"{what} {when} {{age}} full days ago; {limit} days or more is unused.",
            then,
            credential=name,
            dated=(credential.column,),
            tier=calendar.tier(credential.last_use),
        )


def _unused_user(facts: Facts, calendar: Calendar) -> Iterator[Finding]:
    quarter, year = UNUSED_USER_DAYS
    usable = credentials(facts)
    detail = "The user has neither a password nor an active access key."
    if usable:
        days = year if user_unused(facts, calendar, year) == YES else quarter
        detail = (
            f"Neither a password nor an active key was used for {days} days or more. The last "
            "use, or where none is recorded the last change, was {age} full days ago."
        )
    yield from finding(
        user_unused(facts, calendar, quarter),
        Rule.UNUSED_USER,
        ("password_enabled", "access_key_1_active", "access_key_2_active"),
        detail,
        _RUNNING if facts.managed == IN_FLIGHT else _REMOVE_USER,
        exceptional=not usable,
        dated=tuple(credential.column for credential in usable),
        tier=calendar.tier(max((one.last_use for one in usable), default=NO_DATE)),
    )


def _made_with_user(facts: Facts, calendar: Calendar) -> Iterator[Finding]:
    keys = [key for key in facts.keys if facts.made_with_user & key.slot]
    one = len(keys) == 1
    what = f"Access key {keys[0].slot} was" if one else "Both access keys were"
    yield from finding(
        key_made_with_user(facts),
        Rule.KEY_AT_USER_CREATION,
        (
            "password_enabled",
            "user_creation_time",
            "access_key_1_last_rotated",
            "access_key_2_last_rotated",
        ),
        f"{what} made within {MADE_WITH_USER_SECONDS} seconds of the console user, "
        "{age} full days ago, so perhaps nobody asked for it.",
        f"If nobody needs it: {_DEACTIVATE}.",
        credential=keys[0].name if one else None,
        dated=tuple(f"{key.name}_last_rotated" for key in keys),
        tier=calendar.tier(max((key.rotated for key in keys), default=NO_DATE)),
    )


def _no_mfa(facts: Facts, _: Calendar) -> Iterator[Finding]:
    return finding(
        password_without_mfa(facts),
        Rule.PASSWORD_WITHOUT_MFA,
        ("password_enabled", "mfa_active"),
        "The user can sign in to the console with a password alone.",
        "Have the user register an MFA device, or remove the password: "
        f"{_REMOVE_PASSWORD}. People are better served by IAM Identity Center.",
        credential="password",
    )


def _old_password(facts: Facts, calendar: Calendar) -> Iterator[Finding]:
    rank, column = password_changed(facts)
    return finding(
        password_older_than(facts, calendar, MAX_PASSWORD_AGE_DAYS),
        Rule.OLD_PASSWORD,
        ("password_enabled", "password_last_changed"),
        "The console password was set {age} full days ago; "
        f"more than {MAX_PASSWORD_AGE_DAYS} days is too old.",
        "Have the user change it, or move the person to IAM Identity Center and remove it: "
        f"{_REMOVE_PASSWORD}.",
        credential="password",
        dated=(column,),
        tier=calendar.tier(rank),
    )


@lru_cache(maxsize=16)
def user_option(user: str) -> str:
    """Return the option that names a user in a command of the AWS CLI, safe in a shell.

    With `=`, because a user name may begin with `-`.

    >>> user_option("-ci+eu@example.com")
    '--user-name=-ci+eu@example.com'
    """
    return f"--user-name={shlex.quote(user)}"


def rotation_input(user: str) -> str:
    """Return the input of a rotation as a shell's argument.

    >>> rotation_input("ci")
    '\\'{"userName": "ci"}\\''
    """
    return shlex.quote(json.dumps({"userName": user}))


def _blame(row: Row, columns: Iterable[str], calendar: Calendar) -> str:
    """Return which cells do not tell, and in which line."""
    wrong, without = [], []
    for name in columns:
        cell = getattr(row, name)
        if name.endswith(("_active", "_enabled")):
            if cell.lower() not in ("true", "false"):
                wrong.append(f"{name} is {shown(cell)}, neither true nor false")
        elif calendar.rank(cell) == BROKEN:
            later = "later than the report" if parsed(cell) else "not a date"
            wrong.append(f"{name} is {shown(cell)}, {later}")
        elif name.endswith("_last_rotated") and cell in NO_DATES:
            without.append(f"{name} is {shown(cell)} although there is a key")
    return f"Line {row.line}: {'; '.join(wrong or without)}."
