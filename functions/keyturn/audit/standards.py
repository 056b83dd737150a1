"""Where each rule comes from, and how bad its findings are.

Numbers of the CIS AWS Foundations Benchmark by version; ids of Security Hub's controls and of AWS
Config's managed rules; a test holds the table in docs/audit.md against this one.
"""

from __future__ import annotations

from typing import NamedTuple

from keyturn.audit.model import Rule, Severity


class Source(NamedTuple):
    """Where a rule comes from: the ids that its findings carry, and its name in words."""

    severity: Severity
    title: str
    compliance: tuple[str, ...]


def _cis(**numbers: str) -> tuple[str, ...]:
    return tuple(
        f"CIS AWS Foundations {version.replace('_', '.')} {number}"
        for version, number in numbers.items()
    )


SOURCES: dict[Rule, Source] = {
    Rule.KEY_NOT_ROTATED: Source(
        Severity.MEDIUM,
        "An active access key is older than MaxKeyAgeDays",
        (
            *_cis(v1_4="1.14", v3_0="1.14", v4_0_1="1.14", v5_0="1.13", v6_0="2.13", v7_0="2.12"),
            "Security Hub IAM.3",
            "AWS Config access-keys-rotated",
            "AWS Well-Architected SEC02-BP05",
        ),
    ),
    Rule.TWO_ACTIVE_KEYS: Source(
        Severity.MEDIUM,
        "Both access keys of a user are active",
        _cis(v1_4="1.13", v3_0="1.13", v4_0_1="1.13", v5_0="1.12", v6_0="2.12"),
    ),
    Rule.UNUSED_CREDENTIAL: Source(
        Severity.MEDIUM,
        "A password or an active access key has not been used for UnusedAfterDays",
        (
            *_cis(v1_4="1.12", v3_0="1.12", v4_0_1="1.12", v5_0="1.11", v6_0="2.11", v7_0="2.11"),
            "Security Hub IAM.8",
            "Security Hub IAM.22",
            "AWS Config iam-user-unused-credentials-check",
            "Trend Micro Conformity IAM-003",
        ),
    ),
    Rule.UNUSED_USER: Source(
        Severity.MEDIUM,
        "A user has used neither password nor any active access key for 90 days",
        ("Netskope study 2021",),
    ),
    Rule.KEY_AT_USER_CREATION: Source(
        Severity.LOW,
        "A console user got an access key within 10 seconds of being created",
        (
            *_cis(v1_4="1.11", v3_0="1.11", v4_0_1="1.11", v5_0="1.10", v6_0="2.10"),
            "Netskope study 2021",
        ),
    ),
    Rule.PASSWORD_WITHOUT_MFA: Source(
        Severity.HIGH,
        "A user can sign in to the console without MFA",
        (
            *_cis(v1_4="1.10", v3_0="1.10", v4_0_1="1.10", v5_0="1.9", v6_0="2.9", v7_0="2.10"),
            "Security Hub IAM.5",
            "AWS Config mfa-enabled-for-iam-console-access",
        ),
    ),
    Rule.OLD_PASSWORD: Source(
        Severity.LOW,
        "A console password was changed more than 90 days ago",
        ("AWS Well-Architected SEC02-BP05",),
    ),
    Rule.ROOT_ACCESS_KEY: Source(
        Severity.CRITICAL,
        "The root user has an active access key",
        (
            *_cis(v1_4="1.4", v3_0="1.4", v4_0_1="1.4", v5_0="1.3", v6_0="2.3", v7_0="2.4"),
            "Security Hub IAM.4",
            "AWS Config iam-root-access-key-check",
        ),
    ),
    Rule.ROOT_PASSWORD_ROTATION: Source(
        Severity.MEDIUM,
        "The age of the root user's password",
        ("Conformity-style root password rotation",),
    ),
    Rule.PASSWORD_POLICY: Source(
        Severity.MEDIUM,
        "The password policy asks for a change in 90 days, 14 characters and no reuse",
        (
            *_cis(v1_4="1.8", v3_0="1.8", v4_0_1="1.8", v5_0="1.7", v6_0="2.7", v7_0="2.8"),
            *_cis(v1_4="1.9", v3_0="1.9", v4_0_1="1.9", v5_0="1.8", v6_0="2.8", v7_0="2.9"),
            "Security Hub IAM.15",
            "Security Hub IAM.16",
            "Security Hub IAM.17",
            "AWS Config iam-password-policy",
        ),
    ),
}

SEVERITIES = {rule: source.severity for rule, source in SOURCES.items()}
"""As a rule; `EXCEPTIONS` has the others, and an UNKNOWN finding has the rule's own."""

EXCEPTIONS: dict[Rule, tuple[Severity, str]] = {
    Rule.KEY_NOT_ROTATED: (Severity.HIGH, "when the key is over 365 days old"),
    Rule.TWO_ACTIVE_KEYS: (Severity.LOW, "while Keyturn is rotating the user"),
    Rule.UNUSED_USER: (Severity.LOW, "when the user has no credential that works"),
    Rule.ROOT_PASSWORD_ROTATION: (Severity.HIGH, "when the root user has no MFA"),
}

USER_RULES = tuple(Rule)[: tuple(Rule).index(Rule.ROOT_ACCESS_KEY)]
"""The others are about the root user and the account."""
