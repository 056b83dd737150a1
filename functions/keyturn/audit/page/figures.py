"""The figures of the page, taken out of a report's summary (`Report.summary()`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Account:
    """One account's line."""

    account_id: str
    at: str
    users: int
    managed: int | None
    """None when the secrets could not be read."""
    keys: int
    by_severity: Mapping[str, int]
    unknown: int


@dataclass(frozen=True)
class Measure:
    """One line of the study's tables: `count` of `whole`, and what the study found."""

    words: str
    count: int
    whole: int
    unknown: int
    study_count: int
    study_whole: int


@dataclass(frozen=True)
class Figures:
    """What the upper part of the page shows."""

    accounts: tuple[Account, ...]
    users: int
    unreadable_rows: int
    keys: int
    active_keys: int
    managed: int | None
    """None when the secrets of some account could not be read."""
    late_managed_keys: int
    oldest_days: int | None
    """Of active keys."""
    oldest_managed_days: int | None
    rotations_in_flight: int
    by_rule: Mapping[str, int]
    """With UNKNOWN ones; rules without any are not there."""
    by_severity: Mapping[str, int]
    """Without UNKNOWN, which is no finding and no pass."""
    unknown: int
    not_judged: Mapping[tuple[str, str], tuple[str, ...]]
    """(rule, why) to the accounts."""
    tiers: tuple[tuple[str, int], ...]
    keys_of_unknown_age: int
    measures: tuple[Measure, ...]
    study: str
    max_key_age_days: int
    unused_after_days: int
    problems: tuple[str, ...]


def figures_of(summary: Mapping[str, Any]) -> Figures:
    """Reads a summary; KeyError when it is none."""
    totals, tables = summary["totals"], summary["tables"]
    accounts = tuple(map(_account, summary["accounts"]))
    not_judged: dict[tuple[str, str], tuple[str, ...]] = {}
    for one in summary["accounts"]:
        for item in one["notJudged"]:
            place = (item["rule"], item["why"])
            not_judged[place] = (*not_judged.get(place, ()), one["accountId"])
    found = totals["findings"]
    managed = [one["oldestManagedKeyAgeDays"] for one in summary["accounts"]]
    study = tables["study"]
    return Figures(
        accounts=accounts,
        users=totals["users"],
        unreadable_rows=totals["unreadableRows"],
        keys=totals["keys"],
        active_keys=totals["activeKeys"],
        managed=None if any(a.managed is None for a in accounts) else totals["managedUsers"],
        late_managed_keys=totals["managedKeysOverAge"],
        oldest_days=tables["oldestKeyDays"],
        oldest_managed_days=max((age for age in managed if age is not None), default=None),
        rotations_in_flight=totals["rotationsInFlight"],
        by_rule=found["byRule"],
        by_severity=found["bySeverity"],
        unknown=found["unknown"],
        not_judged=not_judged,
        tiers=tuple((one["tier"], one["keys"]) for one in tables["tiers"]),
        keys_of_unknown_age=tables["keysOfUnknownAge"],
        measures=tuple(
            Measure(
                words=line["words"],
                count=line["count"],
                whole=line["of"],
                unknown=line["unknown"],
                study_count=line["study"][0],
                study_whole=line["study"][1],
            )
            for line in tables["measures"]
        ),
        study=f"{study['name']}: {study['users']:,} users in {study['accounts']:,} accounts",
        max_key_age_days=summary["thresholds"]["maxKeyAgeDays"],
        unused_after_days=summary["thresholds"]["unusedAfterDays"],
        problems=tuple(summary["problems"]),
    )


def _account(one: Mapping[str, Any]) -> Account:
    no_secrets = any(item["source"] == "secrets" for item in one["unavailable"])
    return Account(
        account_id=one["accountId"],
        at=one["at"],
        users=one["users"],
        managed=None if no_secrets else one["managedUsers"],
        keys=one["keys"],
        by_severity=one["findings"]["bySeverity"],
        unknown=one["findings"]["unknown"],
    )
