"""What an audit counted: per account, and for all accounts together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keyturn.audit.model import Rule, Severity, Status, Thresholds
from keyturn.audit.standards import SOURCES
from keyturn.audit.study import Tables

FORMAT = "keyturn.audit/1"
FindingKind = tuple[Rule, Status, Severity]
COUNTED = (
    "rows",
    "users",
    "unreadable_rows",
    "keys",
    "active_keys",
    "managed_users",
    "rotations_in_flight",
    "managed_keys_over_age",
)


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
            **{camel(name): getattr(self, name) for name in COUNTED},
            "oldestManagedKeyAgeDays": self.oldest_managed_key_age_days,
            "oldestKeyAgeDays": self.oldest_key_age_days,
            "findings": _found(self.findings),
            "root": {camel(name): value for name, value in vars(self.root).items()},
            "unavailable": [{"source": name, "why": why} for name, why in self.unavailable],
            "notJudged": [vars(rule) for rule in self.not_judged],
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

    def total(self, name: str) -> int:
        """Return a count (such as `users`, see `AccountCounts`) of all accounts together."""
        return sum(getattr(account, name) for account in self.accounts)

    def summary(self) -> dict[str, Any]:
        """Return the JSON form, which docs/audit.md describes."""
        return {
            "format": FORMAT,
            "thresholds": {camel(name): days for name, days in vars(self.thresholds).items()},
            "totals": {
                "accounts": len(self.accounts),
                **{camel(name): self.total(name) for name in COUNTED},
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


def camel(name: str) -> str:
    """Return a field's name in JSON.

    >>> camel("oldest_key_age_days")
    'oldestKeyAgeDays'
    """
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def by_severity(findings: Mapping[FindingKind, int]) -> dict[Severity, int]:
    """Return how many findings there are of each severity, without the UNKNOWN ones."""
    return {
        severity: sum(
            count
            for (_, status, of), count in findings.items()
            if (status, of) == (Status.FINDING, severity)
        )
        for severity in Severity
    }


def by_rule(findings: Mapping[FindingKind, int]) -> dict[Rule, int]:
    """Return how many there are of each rule that has any, with the UNKNOWN ones."""
    counted: Counter[Rule] = Counter()
    for (rule, _, _), count in findings.items():
        counted[rule] += count
    return {rule: counted[rule] for rule in Rule if counted[rule]}


def unknown(findings: Mapping[FindingKind, int]) -> int:
    """Return how many could not be judged."""
    return sum(count for (_, status, _), count in findings.items() if status is Status.UNKNOWN)


def _found(findings: Mapping[FindingKind, int]) -> dict[str, Any]:
    return {
        "total": sum(findings.values()),
        "unknown": unknown(findings),
        "byRule": by_rule(findings),
        "bySeverity": by_severity(findings),
    }
