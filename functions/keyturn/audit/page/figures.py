"""The figures of the page, taken out of a report's summary (`Report.summary()`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keyturn.audit.model import Severity


@dataclass(frozen=True)
class Account:
    """One account's line."""

    account_id: str
    at: str
    users: int
    managed: int
    keys: int
    by_severity: Mapping[Severity, int]
    unknown: int


@dataclass(frozen=True)
class Measure:
    """One line of the study's tables: `count` of `whole`, and what the study found."""

    words: str
    count: int
    whole: int
    study_count: int
    study_whole: int


@dataclass(frozen=True)
class Figures:
    """What the upper part of the page shows."""

    accounts: tuple[Account, ...]
    by_rule: Mapping[str, int]
    by_severity: Mapping[Severity, int]
    unknown: int
    not_judged: Mapping[tuple[str, str], tuple[str, ...]]
    """(rule, why) to the accounts."""
    tiers: tuple[tuple[str, int], ...]
    oldest_days: int | None
    measures: tuple[Measure, ...]
    max_key_age_days: int
    unused_after_days: int

    @property
    def users(self) -> int:
        return sum(account.users for account in self.accounts)

    @property
    def managed(self) -> int:
        return sum(account.managed for account in self.accounts)

    @property
    def keys(self) -> int:
        return sum(account.keys for account in self.accounts)


def figures_of(summary: Mapping[str, Any]) -> Figures:
    """Reads a summary; KeyError when it is none."""
    accounts = tuple(
        Account(
            account_id=one["accountId"],
            at=one["at"],
            users=one["users"],
            managed=one["managedUsers"],
            keys=one["keys"],
            by_severity=_severities(one["findings"]["bySeverity"]),
            unknown=one["findings"]["unknown"],
        )
        for one in summary["accounts"]
    )
    by_rule: Counter[str] = Counter()
    by_severity: Counter[Severity] = Counter()
    not_judged: dict[tuple[str, str], tuple[str, ...]] = {}
    for one in summary["accounts"]:
        by_rule.update(one["findings"]["byRule"])
        by_severity.update(_severities(one["findings"]["bySeverity"]))
        for item in one["notJudged"]:
            place = (item["rule"], item["why"])
            not_judged[place] = (*not_judged.get(place, ()), one["accountId"])
    return Figures(
        accounts=accounts,
        by_rule=by_rule,
        by_severity=by_severity,
        unknown=sum(account.unknown for account in accounts),
        not_judged=not_judged,
        tiers=tuple((one["tier"], one["keys"]) for one in summary["tables"]["tiers"]),
        oldest_days=summary["tables"]["oldestKeyDays"],
        measures=tuple(
            Measure(one["words"], one["count"], one["of"], *one["study"])
            for one in summary["tables"]["measures"]
        ),
        max_key_age_days=summary["thresholds"]["maxKeyAgeDays"],
        unused_after_days=summary["thresholds"]["unusedAfterDays"],
    )


def _severities(counts: Mapping[str, int]) -> dict[Severity, int]:
    return {Severity(name): count for name, count in counts.items()}
