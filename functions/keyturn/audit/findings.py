"""What the rules find, in words, and what to do about it.

A `Hit` is everything about a finding but the user's name and dates, so that rows with the same
profile share it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from keyturn.audit.dates import BROKEN, NO_DATE, Calendar
from keyturn.audit.model import PasswordPolicy, Rule, Severity, Status, Thresholds, Unavailable
from keyturn.audit.rules import (
    IN_FLIGHT,
    MADE_WITH_USER_SECONDS,
    MANAGED,
    NO,
    NOT_KNOWN,
    YES,
    Key,
    Profile,
    credential_unused,
    credentials,
    key_made_with_user,
    key_older_than,
    password_older_than,
    password_without_mfa,
    two_active,
    user_unused,
)
from keyturn.audit.sources import EXCEPTIONS, SEVERITIES

MAX_PASSWORD_AGE_DAYS = 90
MIN_PASSWORD_LENGTH = 14
UNUSED_USER_DAYS = (90, 365)
LONG_AGO_DAYS = 365


class Hit(NamedTuple):
    """What a rule found in a profile.

    `{age}` in `detail` stands for the full days since the latest date in the columns `dated`,
    `{user}` in `next` for the option that names the user in a command, `{input}` for the input of
    a rotation.
    """

    rule: Rule
    status: Status
    severity: Severity
    credential: str | None
    dated: tuple[str, ...]
    rank: int
    """The rank of the latest of these dates."""
    columns: tuple[str, ...]
    """What it was decided on."""
    detail: str
    next: str


def judge(profile: Profile, calendar: Calendar, thresholds: Thresholds) -> list[Hit]:
    """Return what the user rules find in a profile, in the order of the rules."""
    found = [
        *_old_keys(profile, calendar, thresholds.max_key_age_days),
        _two_keys(profile, calendar),
        *_unused_credentials(profile, calendar, thresholds.unused_after_days),
        _unused_user(profile, calendar),
        _made_with_user(profile),
        _no_mfa(profile),
        _old_password(profile, calendar),
    ]
    hits = [hit for hit in found if hit]
    if profile.managed == NOT_KNOWN:
        # Following it by hand would cross a rotation, if one is running.
        hits = [
            hit._replace(next=_SEE_KEYTURN + hit.next)
            if hit.status is Status.FINDING and hit.credential != "password"
            else hit
            for hit in hits
        ]
    return hits


def _hit(
    answer: int,
    rule: Rule,
    columns: tuple[str, ...],
    detail: str,
    then: str,
    *,
    exceptional: bool = False,
    credential: str | None = None,
    dated: tuple[str, ...] = (),
    rank: int = NO_DATE,
) -> Hit | None:
    """Return the finding for an answer: none for NO, UNKNOWN for BROKEN."""
    severity = SEVERITIES[rule]
    if answer == NO:
        return None
    columns = tuple(dict.fromkeys((*columns, *dated)))
    if answer == BROKEN:
        # Which cell is to blame is told with the row, because only the row has the values.
        return Hit(rule, Status.UNKNOWN, severity, credential, (), NO_DATE, columns, "", _SEE_USER)
    severity = EXCEPTIONS[rule][0] if exceptional else severity
    return Hit(rule, Status.FINDING, severity, credential, dated, rank, columns, detail, then)


# What to do. Key ids are not in the report, so the commands begin with finding them.

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
_REMOVE_USER = (
    "If nobody needs the user: deactivate its keys and wait; then remove its keys, password, "
    "policies and groups, and `aws iam delete-user {user}`."
)


def _old_keys(profile: Profile, calendar: Calendar, limit: int) -> Iterator[Hit | None]:
    then = (
        "Let Keyturn manage it, or put a role in its place. By hand: `aws iam create-access-key "
        f"{{user}}`, move every consumer, {_DEACTIVATE}."
    )
    if profile.managed == MANAGED:
        then = f"RotateFleet rotates it when its schedule is enabled; at once: {_ROTATE}."
    for key in profile.keys:
        answer = key_older_than(key, calendar, limit)
        if answer == NO:
            continue
        yield _hit(
            answer,
            Rule.KEY_NOT_ROTATED,
            (f"{key.name}_active", f"{key.name}_last_rotated"),
            f"Access key {key.slot} is active and {{age}} full days old; "
            f"more than {limit} days is too old.",
            _RUNNING if profile.managed == IN_FLIGHT else then,
            exceptional=calendar.over(key.rotated, LONG_AGO_DAYS),
            credential=key.name,
            dated=(f"{key.name}_last_rotated",),
            rank=key.rotated,
        )


def _two_keys(profile: Profile, calendar: Calendar) -> Hit | None:
    """The age is that of the younger key: for so long there have been two."""
    answer = two_active(profile)
    if answer == NO:
        return None
    dates = [key.rotated for key in profile.keys]
    known = min(dates) >= 0
    in_flight = profile.managed == IN_FLIGHT
    detail = (
        "Keyturn is rotating the user: both keys are active"
        if in_flight
        else "Both keys are active"
    )
    then = (
        f"Find the one in use: `{_LIST_KEYS}`, `aws iam get-access-key-last-used --access-key-id "
        "ID`. Deactivate the other: `aws iam update-access-key {user} --access-key-id ID "
        "--status Inactive`."
    )
    if profile.managed == MANAGED:
        then = (
            "The last rotation kept both, and its result says why; "
            f"a further one resumes where it stopped: {_ROTATE}."
        )
    if in_flight:
        then = "Nothing now: the rotation deactivates the old key, or says why it cannot."
    return _hit(
        answer,
        Rule.TWO_ACTIVE_KEYS,
        (
            "access_key_1_active",
            "access_key_1_last_rotated",
            "access_key_2_active",
            "access_key_2_last_rotated",
        ),
        f"{detail}; the younger is {{age}} full days old."
        if known
        else f"{detail}; since when cannot be told from their dates.",
        then,
        exceptional=in_flight,
        dated=("access_key_1_last_rotated", "access_key_2_last_rotated") if known else (),
        rank=max(dates) if known else NO_DATE,
    )


def _unused_credentials(profile: Profile, calendar: Calendar, limit: int) -> Iterator[Hit | None]:
    for credential in credentials(profile):
        answer = credential_unused(credential, calendar, limit)
        if answer == NO:
            continue
        if credential.name == "password":
            what = "The console password"
            enabled, then = "password_enabled", "Remove it: `aws iam delete-login-profile {user}`."
        else:
            what = f"Access key {credential.name[-1]} is active and"
            enabled = f"{credential.name}_active"
            then = f"If nobody needs it: {_DEACTIVATE}."
            if profile.managed == IN_FLIGHT:
                then = _RUNNING
        last_used = "password_last_used"
        if credential.name != "password":
            last_used = f"{credential.name}_last_used_date"
        fell_back = credential.column != last_used
        when = "was last used {age} full days ago"
        if fell_back:
            when = "has no recorded use and was set {age} full days ago"
        yield _hit(
            answer,
            Rule.UNUSED_CREDENTIAL,
            (enabled, last_used),
            f"{what} {when}; {limit} days or more is unused.",
            then,
            credential=credential.name,
            dated=(credential.column,),
            rank=credential.last_use,
        )


def _unused_user(profile: Profile, calendar: Calendar) -> Hit | None:
    quarter, year = UNUSED_USER_DAYS
    answer = user_unused(profile, calendar, quarter)
    if answer == NO:
        return None
    usable = credentials(profile)
    days = year if user_unused(profile, calendar, year) == YES else quarter
    detail = "The user has neither a password nor an active access key."
    if usable:
        detail = (
            f"Neither a password nor an active key was used for {days} days or more. The last "
            "use, or where none is recorded the last change, was {age} full days ago."
        )
    return _hit(
        answer,
        Rule.UNUSED_USER,
        ("password_enabled", "access_key_1_active", "access_key_2_active"),
        detail,
        _RUNNING if profile.managed == IN_FLIGHT else _REMOVE_USER,
        exceptional=not usable,
        dated=tuple(credential.column for credential in usable),
        rank=max((credential.last_use for credential in usable), default=NO_DATE),
    )


def _made_with_user(profile: Profile) -> Hit | None:
    answer = key_made_with_user(profile)
    if answer == NO:
        return None
    slots = [slot for slot in (1, 2) if profile.made_with_user & slot]
    dates = tuple(f"access_key_{slot}_last_rotated" for slot in slots)
    keys = f"Access key {slots[0]} was" if len(slots) == 1 else "Both access keys were"
    return _hit(
        answer,
        Rule.KEY_AT_USER_CREATION,
        (
            "password_enabled",
            "user_creation_time",
            "access_key_1_last_rotated",
            "access_key_2_last_rotated",
        ),
        f"{keys} made within {MADE_WITH_USER_SECONDS} seconds of the console user, "
        "{age} full days ago, so perhaps nobody asked for it.",
        f"If nobody needs it: {_DEACTIVATE}.",
        credential=f"access_key_{slots[0]}" if len(slots) == 1 else None,
        dated=dates,
        rank=max((profile.keys[slot - 1].rotated for slot in slots), default=NO_DATE),
    )


def _no_mfa(profile: Profile) -> Hit | None:
    return _hit(
        password_without_mfa(profile),
        Rule.PASSWORD_WITHOUT_MFA,
        ("password_enabled", "mfa_active"),
        "The user can sign in to the console with a password alone.",
        "Have the user register an MFA device, or remove the password: "
        "`aws iam delete-login-profile {user}`. People are better served by IAM Identity Center.",
        credential="password",
    )


def _old_password(profile: Profile, calendar: Calendar) -> Hit | None:
    """A password that was never changed counts from the user's creation."""
    never = profile.password_changed == NO_DATE
    return _hit(
        password_older_than(profile, calendar, MAX_PASSWORD_AGE_DAYS),
        Rule.OLD_PASSWORD,
        ("password_enabled", "password_last_changed"),
        "The console password was set {age} full days ago; "
        f"more than {MAX_PASSWORD_AGE_DAYS} days is too old.",
        "Have the user change it, or move the person to IAM Identity Center and remove it: "
        "`aws iam delete-login-profile {user}`.",
        credential="password",
        dated=("user_creation_time" if never else "password_last_changed",),
        rank=profile.password_change,
    )


# The root user and the account


def judge_root(keys: tuple[Key, Key], last_used: str, mfa: int) -> list[Hit]:
    """Return what the root rules find in the root user's row.

    The password is never a pass: IAM publishes no date on which it was changed. `last_used` is
    the cell, which says at least whether anybody uses it.
    """
    found = [_root_key(key) for key in keys]
    return [*(hit for hit in found if hit), root_password(last_used, mfa)]


def _root_key(key: Key) -> Hit | None:
    """CIS 1.4, Security Hub IAM.4."""
    dated = (f"{key.name}_last_rotated",) if key.rotated >= 0 else ()
    since = " and {age} full days old" if dated else ""
    hit = _hit(
        key.active,
        Rule.ROOT_ACCESS_KEY,
        (f"{key.name}_active",),
        f"Access key {key.slot} of the root user is active{since}; no policy limits it.",
        "Move what uses it to a role; then sign in as the root user and delete the key under "
        "Security credentials.",
        credential=key.name,
        dated=dated,
        rank=key.rotated,
    )
    return hit._replace(next=_SEE_ROOT) if hit and hit.status is Status.UNKNOWN else hit


_SEE_ROOT = (
    "Ask IAM: `aws iam get-account-summary` tells AccountAccessKeysPresent and AccountMFAEnabled."
)


def root_key_unknown(why: str) -> Hit:
    """Return the finding that the root user's keys are not known."""
    return Hit(
        Rule.ROOT_ACCESS_KEY,
        Status.UNKNOWN,
        SEVERITIES[Rule.ROOT_ACCESS_KEY],
        None,
        (),
        NO_DATE,
        (),
        f"Whether the root user has an access key is not known: {why}",
        _SEE_ROOT,
    )


def root_password(last_used: str, mfa: int) -> Hit:
    """Return the finding that the age of the root password is not known."""
    says = {YES: "MFA is on", NO: "MFA is OFF"}.get(mfa, "whether MFA is on is not known")
    exceptional = mfa == NO
    return Hit(
        Rule.ROOT_PASSWORD_ROTATION,
        Status.UNKNOWN,
        EXCEPTIONS[Rule.ROOT_PASSWORD_ROTATION][0]
        if exceptional
        else SEVERITIES[Rule.ROOT_PASSWORD_ROTATION],
        "password",
        (),
        NO_DATE,
        ("password_last_used", "mfa_active"),
        "IAM publishes no date on which the root password was changed. "
        f"Its last use: {last_used}; {says}.",
        "Check by hand when it was last changed: your own records, or CloudTrail in us-east-1, "
        "which has PasswordUpdated events of the last 90 days. Change it as the root user under "
        "Security credentials. In an organisation, rather remove the root credentials of member "
        "accounts (centralised root access).",
    )


def secrets_unknown(why: str) -> Hit:
    """Return the finding that it is not known whose two keys a running rotation explains."""
    return Hit(
        Rule.TWO_ACTIVE_KEYS,
        Status.UNKNOWN,
        SEVERITIES[Rule.TWO_ACTIVE_KEYS],
        None,
        (),
        NO_DATE,
        (),
        f"Rotations in flight are not told apart, managed users are not known: {why}",
        "Audit the account itself, where its stack is, with secretsmanager:ListSecrets allowed.",
    )


def judge_policy(policy: PasswordPolicy | Unavailable | None) -> Hit | None:
    """CIS 1.8 and 1.9 (v3) and the maximum age; a missing policy is a finding."""
    if isinstance(policy, Unavailable):
        return _policy_hit(
            Status.UNKNOWN,
            f"The password policy could not be read: {policy.why}",
            "Allow iam:GetAccountPasswordPolicy, or ask: `aws iam get-account-password-policy`.",
        )
    if policy is None:
        return _policy_hit(
            Status.FINDING, "The account has no password policy of its own.", _SET_POLICY
        )
    wrong = []
    # IAM API reference, PasswordPolicy: passwords expire only where MaxPasswordAge is over 0.
    if not policy.max_age_days or policy.max_age_days > MAX_PASSWORD_AGE_DAYS:
        says = f"after {policy.max_age_days} days" if policy.max_age_days else "never"
        wrong.append(f"passwords expire {says} (at most {MAX_PASSWORD_AGE_DAYS} days)")
    if policy.minimum_length is None or policy.minimum_length < MIN_PASSWORD_LENGTH:
        says = "not set" if policy.minimum_length is None else str(policy.minimum_length)
        wrong.append(f"the minimum length is {says} (at least {MIN_PASSWORD_LENGTH})")
    if not policy.reuse_prevention:
        wrong.append("earlier passwords may be used again")
    if not wrong:
        return None
    return _policy_hit(Status.FINDING, f"The password policy: {'; '.join(wrong)}.", _SET_POLICY)


_SET_POLICY = (
    "`aws iam update-account-password-policy --minimum-password-length 14 --max-password-age 90 "
    "--password-reuse-prevention 24`; this command replaces the whole policy, so add the options "
    "for the kinds of characters that you ask for."
)


def _policy_hit(status: Status, detail: str, then: str) -> Hit:
    return Hit(
        Rule.PASSWORD_POLICY,
        status,
        SEVERITIES[Rule.PASSWORD_POLICY],
        None,
        (),
        NO_DATE,
        (),
        detail,
        then,
    )
