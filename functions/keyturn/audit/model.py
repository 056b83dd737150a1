"""What the audit takes and what it gives: thresholds, sources, findings, keys and counts.

Ages are elapsed time at the moment of the
report ("now" of every rule); days are 86,400 seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from keyturn.model.passwords import PasswordPolicy


class Rule(StrEnum):
    """The rules, by the ids that findings carry."""

    KEY_NOT_ROTATED = "key-not-rotated"
    TWO_ACTIVE_KEYS = "two-active-keys"
    UNUSED_CREDENTIAL = "unused-credential"
    UNUSED_USER = "unused-user"
    KEY_AT_USER_CREATION = "key-at-user-creation"
    PASSWORD_WITHOUT_MFA = "password-without-mfa"  # noqa: S105 - the id of a rule
    OLD_PASSWORD = "old-password"  # noqa: S105 - the id of a rule
    ROOT_ACCESS_KEY = "root-access-key"
    ROOT_PASSWORD_ROTATION = "root-password-rotation"  # noqa: S105 - the id of a rule
    PASSWORD_POLICY = "password-policy"  # noqa: S105 - the id of a rule


class Severity(StrEnum):
    """How bad a finding is, worst first."""

    CRITICAL = "CRITICAL"
    HIGH = "HIGH"
    MEDIUM = "MEDIUM"
    LOW = "LOW"


class Status(StrEnum):
    """FINDING: the rule is broken. UNKNOWN: it could not be judged, which is never a pass."""

    FINDING = "FINDING"
    UNKNOWN = "UNKNOWN"


class Need(StrEnum):
    """Whether a long-term key need exist at all, and what takes its place."""

    REMOVE = "REMOVE"  # unused
    IDENTITY_CENTER = "IDENTITY_CENTER"  # a person's
    ROLES_ANYWHERE = "ROLES_ANYWHERE"  # a workload outside AWS
    ROLE = "ROLE"  # a workload inside AWS
    UNKNOWN = "UNKNOWN"  # the report does not tell where it is used from


@dataclass(frozen=True)
class Thresholds:
    """The audit's thresholds, in days."""

    max_key_age_days: int = 90
    unused_after_days: int = 90


@dataclass(frozen=True)
class SecretFacts:
    """What ListSecrets tells of one managed user's secret: no value, no call per user.

    `last_result` and `last_result_at` are Keyturn's record of the last decided execution (see
    `Tag.LAST_RESULT`): an outcome of the contract, and when.
    """

    user_name: str
    secret_arn: str
    in_flight: bool
    last_result: str | None = None
    last_result_at: datetime | None = None


@dataclass(frozen=True)
class Unavailable:
    """A source that could not be read, and why, in words: its rules are UNKNOWN."""

    why: str


@dataclass(frozen=True)
class AccountSource:
    """What is audited of one account.

    `lines` are the lines of the credential report's CSV, read once, so that any number of rows
    fits into memory. `password_policy` is None when the account has none.
    """

    lines: Iterable[str]
    at: datetime
    account_id: str | None = None
    """Known from elsewhere; None takes it from the ARNs of the report."""
    name: str = "credential report"
    """How errors name it: a file's name, for example."""
    managed: Mapping[str, SecretFacts] | Unavailable = field(default_factory=dict)
    managed_path: str = "/"
    """Users outside this path are not managed, even with a secret: RotateKey refuses them."""
    password_policy: PasswordPolicy | Unavailable | None = field(
        default_factory=lambda: Unavailable("a credential report does not hold it")
    )


class Finding(NamedTuple):
    """One finding. What users with the same facts have in common comes first."""

    severity: Severity
    status: Status
    rule: Rule
    credential: str | None
    """`password`, `access_key_1`, `access_key_2`, or None when it is about the user or account."""
    tier: str | None
    compliance: tuple[str, ...]
    """Such as `CIS AWS Foundations v3.0 1.14`, `Security Hub IAM.3`."""
    account_id: str
    user: str | None
    """None for findings of the account."""
    managed: bool | None
    """None when the secrets could not be read."""
    age_days: int | None
    """Full days since the latest date in the columns `dated`."""
    dates: tuple[tuple[str, str], ...]
    """The columns that it was decided on, and their values."""
    detail: str
    """What is the case, in words."""
    next: str
    """What to do: words or a CLI command."""
    dated: tuple[str, ...] = ()


class KeyRecord(NamedTuple):
    """One access key of a user. What users with the same facts have in common comes first."""

    slot: int
    active: bool
    tier: str | None
    managed: bool | None
    console_password: bool
    need: Need
    advice: str
    account_id: str = ""
    user: str = ""
    user_arn: str = ""
    user_created: str = ""
    """As in the report (ISO 8601)."""
    created: str | None = None
    last_used: str | None = None
    last_used_service: str | None = None
    last_used_region: str | None = None
    age_days: int | None = None


COMMON_TO_FINDINGS = Finding._fields.index("account_id")
COMMON_TO_KEYS = KeyRecord._fields.index("account_id")
"""How many fields users with the same facts have in common."""
