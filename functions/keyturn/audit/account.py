"""Findings that no user gives: the root user's, the password policy's, damaged rows'."""

from __future__ import annotations

from collections.abc import Iterator

from keyturn.audit.facts import BROKEN, NO, UNMANAGED, YES, Calendar, boolean, facts_of
from keyturn.audit.findings import MAX_PASSWORD_AGE_DAYS, finding, finding_of
from keyturn.audit.model import Finding, Rule, Severity, Status, Unavailable
from keyturn.audit.rows import Row, shown
from keyturn.audit.standards import EXCEPTIONS, SEVERITIES, SOURCES, USER_RULES
from keyturn.model.passwords import PasswordPolicy

MIN_PASSWORD_LENGTH = 14

_AGAIN = "Generate the credential report again; if the row stays so, look at the user itself."
_SEE_ROOT = (
    "Ask IAM: `aws iam get-account-summary` tells AccountAccessKeysPresent and AccountMFAEnabled."
)
_DELETE_ROOT_KEY = (
    "Move what uses it to a role; then sign in as the root user and delete the key under "
    "Security credentials."
)
_HOW_OLD_IS_IT = (
    "Check by hand when it was last changed: your own records, or CloudTrail in us-east-1, "
    "which has PasswordUpdated events of the last 90 days. Change it as the root user under "
    "Security credentials. In an organisation, rather remove the root credentials of member "
    "accounts (centralised root access)."
)
_SET_POLICY = (
    "`aws iam update-account-password-policy --minimum-password-length 14 --max-password-age 90 "
    "--password-reuse-prevention 24`; this command replaces the whole policy, so add the options "
    "for the kinds of characters that you ask for."
)


def unreadable(row: Row, why: str) -> Iterator[Finding]:
    """Yield the findings for a row that cannot be judged: every rule of users is UNKNOWN."""
    for rule in USER_RULES:
        yield _plain(rule, row.account_id, f"Line {row.line}: {why}", _AGAIN, user=row.user)


def root_findings(row: Row, calendar: Calendar) -> Iterator[Finding]:
    """Yield what the root rules find in the root user's row."""
    for key in facts_of(row, calendar, UNMANAGED).keys:
        # CIS 1.4, Security Hub IAM.4
        known = key.rotated >= 0
        since = " and {age} full days old" if known else ""
        for found in finding(
            key.active,
            Rule.ROOT_ACCESS_KEY,
            (f"{key.name}_active",),
            f"Access key {key.slot} of the root user is active{since}; no policy limits it.",
            _DELETE_ROOT_KEY,
            credential=key.name,
            dated=(f"{key.name}_last_rotated",) if known else (),
            tier=calendar.tier(key.rotated),
            if_unknown=_SEE_ROOT,
        ):
            yield finding_of(found, row, calendar)
    last_used, mfa = row.password_last_used, row.mfa_active
    yield _root_password(row.account_id, shown(last_used), boolean(mfa))._replace(
        user=row.user, dates=(("password_last_used", last_used), ("mfa_active", mfa))
    )


def root_missing(account_id: str, why: str) -> Iterator[Finding]:
    """Yield what takes the place of these findings when there is no such row."""
    detail = f"Whether the root user has an access key is not known: {why}"
    yield _plain(Rule.ROOT_ACCESS_KEY, account_id, detail, _SEE_ROOT)
    yield _root_password(account_id, "unknown, the row is missing", BROKEN)


def _root_password(account_id: str, last_used: str, mfa: int) -> Finding:
    """The password is never a pass: IAM publishes no date on which it was changed."""
    rule = Rule.ROOT_PASSWORD_ROTATION
    says = {YES: "MFA is on", NO: "MFA is OFF"}.get(mfa, "whether MFA is on is not known")
    return _plain(
        rule,
        account_id,
        "IAM publishes no date on which the root password was changed. "
        f"Its last use: {last_used}; {says}.",
        _HOW_OLD_IS_IT,
        credential="password",
        severity=EXCEPTIONS[rule][0] if mfa == NO else None,
    )


def secrets_unknown(account_id: str, why: str) -> Finding:
    """Return the finding that it is not known whose two keys a running rotation explains."""
    return _plain(
        Rule.TWO_ACTIVE_KEYS,
        account_id,
        f"Rotations in flight are not told apart, managed users are not known: {why}",
        "Audit the account itself, where its stack is, with secretsmanager:ListSecrets allowed.",
    )


def policy_findings(
    account_id: str, policy: PasswordPolicy | Unavailable | None
) -> Iterator[Finding]:
    """CIS 1.8 and 1.9 (v3) and the maximum age; a missing policy is a finding."""
    rule = Rule.PASSWORD_POLICY
    if isinstance(policy, Unavailable):
        yield _plain(
            rule,
            account_id,
            f"The password policy could not be read: {policy.why}",
            "Allow iam:GetAccountPasswordPolicy, or ask: `aws iam get-account-password-policy`.",
        )
    elif detail := _weakness(policy):
        yield _plain(rule, account_id, detail, _SET_POLICY, status=Status.FINDING)


def _weakness(policy: PasswordPolicy | None) -> str:
    if policy is None:
        return "The account has no password policy of its own."
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
    return f"The password policy: {'; '.join(wrong)}." if wrong else ""


def _plain(
    rule: Rule,
    account_id: str,
    detail: str,
    then: str,
    *,
    status: Status = Status.UNKNOWN,
    severity: Severity | None = None,
    user: str | None = None,
    credential: str | None = None,
) -> Finding:
    """Return a finding without dates."""
    return Finding(
        rule=rule,
        status=status,
        severity=severity or SEVERITIES[rule],
        account_id=account_id,
        user=user,
        managed=False,
        credential=credential,
        age_days=None,
        tier=None,
        dates=(),
        compliance=SOURCES[rule].compliance,
        detail=detail,
        next=then,
    )
