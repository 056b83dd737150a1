"""What an audit counted: per account, and for all accounts together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keyturn.audit.model import Rule, Severity, Status, Thresholds
from keyturn.audit.sources import SOURCES
from keyturn.audit.tables import Tables

FORMAT = "keyturn.audit/1"
FindingKind = tuple[Rule, Status, Severity]


@dataclass(frozen=True)
class RootFacts:
    """The root user's row; None where it was missing or did not tell."""

    password_last_used: str | None
    mfa: bool | None
    active_keys: int | None


@dataclass(frozen=True)
class NotJudged:
    """A rule that could not be judged for a whole account."""

    rule: Rule
    source: str
    why: str


@dataclass(frozen=True)
class AccountCounts:
    """What was counted in one account."""

    account_id: str
    source: str
    at: datetime
    rows: int
    """All rows but blank ones, the root user's included."""
    users: int
    """The users who were judged."""
    unreadable_rows: int
    """Damaged rows and repeated users: their rules are UNKNOWN."""
    keys: int
    active_keys: int
    managed_users: int
    rotations_in_flight: int
    managed_keys_over_age: int
    oldest_managed_key_age_days: int | None
    oldest_key_age_days: int | None
    """Of active keys, managed or not."""
    findings: Mapping[FindingKind, int]
    root: RootFacts
    unavailable: tuple[tuple[str, str], ...]
    """Sources that could not be read, and why."""
    not_judged: tuple[NotJudged, ...]
    problems: tuple[str, ...]

    def dump(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "accountId": self.account_id,
            "source": self.source,
            "at": self.at.isoformat(),
            "rows": self.rows,
            "users": self.users,
            "unreadableRows": self.unreadable_rows,
            "keys": self.keys,
            "activeKeys": self.active_keys,
            "managedUsers": self.managed_users,
            "rotationsInFlight": self.rotations_in_flight,
            "managedKeysOverAge": self.managed_keys_over_age,
            "oldestManagedKeyAgeDays": self.oldest_managed_key_age_days,
            "oldestKeyAgeDays": self.oldest_key_age_days,
            "findings": _found(self.findings),
            "root": {
                "passwordLastUsed": self.root.password_last_used,
                "mfa": self.root.mfa,
                "activeKeys": self.root.active_keys,
            },
            "unavailable": [{"source": name, "why": why} for name, why in self.unavailable],
            "notJudged": [
                {"rule": rule.rule.value, "source": rule.source, "why": rule.why}
                for rule in self.not_judged
            ],
            "problems": list(self.problems),
        }


@dataclass(frozen=True)
class Report:
    """An audit of one or more accounts."""

    thresholds: Thresholds
    accounts: tuple[AccountCounts, ...]
    tables: Tables
    problems: tuple[str, ...]
    """What a person should know about the reports themselves, from all accounts."""

    @property
    def findings(self) -> Mapping[FindingKind, int]:
        """The findings of all accounts by rule, status and severity."""
        total: Counter[FindingKind] = Counter()
        for account in self.accounts:
            total.update(account.findings)
        return total

    @property
    def findings_total(self) -> int:
        """How many findings there are, UNKNOWN ones included."""
        return sum(self.findings.values())

    @property
    def keys_total(self) -> int:
        """How many access keys the users have, active or not."""
        return sum(account.keys for account in self.accounts)

    def summary(self) -> dict[str, Any]:
        """Return the JSON form, which docs/audit.md describes."""
        return {
            "format": FORMAT,
            "thresholds": {
                "maxKeyAgeDays": self.thresholds.max_key_age_days,
                "unusedAfterDays": self.thresholds.unused_after_days,
            },
            "totals": {
                "accounts": len(self.accounts),
                "rows": sum(account.rows for account in self.accounts),
                "users": sum(account.users for account in self.accounts),
                "unreadableRows": sum(account.unreadable_rows for account in self.accounts),
                "keys": self.keys_total,
                "activeKeys": sum(account.active_keys for account in self.accounts),
                "managedUsers": sum(account.managed_users for account in self.accounts),
                "rotationsInFlight": sum(a.rotations_in_flight for a in self.accounts),
                "managedKeysOverAge": sum(a.managed_keys_over_age for a in self.accounts),
                "findings": _found(self.findings),
            },
            "tables": self.tables.dump(),
            "accounts": [account.dump() for account in self.accounts],
            "problems": list(self.problems),
            "rules": [
                {"id": rule.value, "title": source.title, "compliance": list(source.compliance)}
                for rule, source in SOURCES.items()
            ],
        }


def _found(findings: Mapping[FindingKind, int]) -> dict[str, Any]:
    """Return counts of findings: those of a severity are without the UNKNOWN ones."""
    by_rule: Counter[str] = Counter()
    by_severity: Counter[str] = Counter()
    unknown = 0
    for (rule, status, severity), count in findings.items():
        by_rule[rule.value] += count
        if status is Status.FINDING:
            by_severity[severity.value] += count
        else:
            unknown += count
    return {
        "total": sum(findings.values()),
        "unknown": unknown,
        "byRule": {rule.value: by_rule[rule.value] for rule in Rule if by_rule[rule.value]},
        "bySeverity": {severity.value: by_severity[severity.value] for severity in Severity},
    }
