"""Credential reports for tests: rows with sensible cells, and a sink that keeps what it gets."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from keyturn.audit.counts import Report
from keyturn.audit.model import (
    AccountSource,
    Finding,
    KeyRecord,
    Rule,
    SecretFacts,
    Status,
    Thresholds,
    Unavailable,
)
from keyturn.audit.run import audit
from keyturn.model.passwords import PasswordPolicy

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
ACCOUNT = "123456789012"
GOOD_POLICY = PasswordPolicy(max_age_days=90, minimum_length=14, reuse_prevention=24)
COLUMNS = (
    "user",
    "arn",
    "user_creation_time",
    "password_enabled",
    "password_last_used",
    "password_last_changed",
    "password_next_rotation",
    "mfa_active",
    *(
        f"access_key_{slot}_{name}"
        for slot in (1, 2)
        for name in (
            "active",
            "last_rotated",
            "last_used_date",
            "last_used_region",
            "last_used_service",
        )
    ),
    "cert_1_active",
    "cert_1_last_rotated",
    "cert_2_active",
    "cert_2_last_rotated",
)


def ago(days: float = 0, seconds: float = 0, *, suffix: str = "Z") -> str:
    """Return a date so long before the report."""
    moment = NOW - timedelta(days=days, seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + suffix


def user(
    name: str = "ci", account: str = ACCOUNT, path: str = "/machine/", **cells: str
) -> dict[str, str]:
    """Return a row of a user made 400 days ago, with nothing that works."""
    empty = dict.fromkeys(COLUMNS, "N/A")
    for column in COLUMNS:
        if column.endswith(("_active", "_enabled")):
            empty[column] = "false"
    return {
        **empty,
        "user": name,
        "arn": f"arn:aws:iam::{account}:user{path}{name}",
        "user_creation_time": ago(400),
        **cells,
    }


def key(slot: int, rotated: str, used: str = "N/A", active: str = "true") -> dict[str, str]:
    """Return the cells of an access key."""
    return {
        f"access_key_{slot}_active": active,
        f"access_key_{slot}_last_rotated": rotated,
        f"access_key_{slot}_last_used_date": used,
        f"access_key_{slot}_last_used_region": "N/A" if used == "N/A" else "eu-west-1",
        f"access_key_{slot}_last_used_service": "N/A" if used == "N/A" else "s3",
    }


def password(used: str, changed: str, mfa: str = "true") -> dict[str, str]:
    """Return the cells of a console password."""
    return {
        "password_enabled": "true",
        "password_last_used": used,
        "password_last_changed": changed,
        "mfa_active": mfa,
    }


def root(account: str = ACCOUNT, **cells: str) -> dict[str, str]:
    """Return the root user's row: no keys, MFA on."""
    return {
        **user("<root_account>"),
        "arn": f"arn:aws:iam::{account}:root",
        "password_enabled": "not_supported",
        "password_last_used": "no_information",
        "password_last_changed": "not_supported",
        "password_next_rotation": "not_supported",
        "mfa_active": "true",
        **cells,
    }


def lines(
    *rows: Mapping[str, str], columns: tuple[str, ...] = COLUMNS, end: str = "\n"
) -> list[str]:
    """Return a report's lines."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator=end)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().splitlines(keepends=True)


class Kept:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.keys: list[KeyRecord] = []

    def finding(self, finding: Finding) -> None:
        self.findings.append(finding)

    def key(self, key: KeyRecord) -> None:
        self.keys.append(key)


def audited(
    *rows: Mapping[str, str],
    managed: Mapping[str, SecretFacts] | Unavailable | None = None,
    policy: PasswordPolicy | Unavailable | None = GOOD_POLICY,
    thresholds: Thresholds | None = None,
    text: list[str] | None = None,
    at: datetime = NOW,
    managed_path: str = "/",
) -> tuple[Kept, Report]:
    """Audit one account with a root user who is as well off as the report can say."""
    kept = Kept()
    source = AccountSource(
        lines=text if text is not None else lines(root(), *rows),
        at=at,
        managed=managed if managed is not None else {},
        managed_path=managed_path,
        password_policy=policy,
    )
    return kept, audit([source], thresholds or Thresholds(), sink=kept)


def found(
    *rows: Mapping[str, str], rule: Rule, status: Status = Status.FINDING, **more: object
) -> list[Finding]:
    """Return the findings of one rule."""
    kept, _ = audited(*rows, **more)  # type: ignore[arg-type]
    return [one for one in kept.findings if one.rule is rule and one.status is status]
