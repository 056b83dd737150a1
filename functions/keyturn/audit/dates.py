"""Dates of a report as ranks: how many of the audit's cuts lie at or before a date.

A cut is a moment that a rule compares with, such as "90 days before the report". Once a date is a
rank, every rule is a comparison of small numbers, and rows with the same ranks are judged alike:
that is what makes a million rows affordable.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from keyturn.audit.columns import NO_DATES

NO_DATE = -1
BROKEN = -2
DAY = timedelta(days=1)
_INSTANT = timedelta.resolution
_CLOCKS_DIFFER = timedelta(days=1)

TIERS = (30, 90, 365, 1826)
"""The ends of the age tiers, in days; the last is five years."""
TIER_NAMES = (
    "up to 30 days",
    "31 to 90 days",
    "91 to 365 days",
    "over 365 days",
    "over 5 years",
)


class Calendar:
    """The cuts of one report: `over` N days is strictly more, `reached` N days is N or more.

    A date more than a day later than the report is broken: it would look young for ever.
    """

    def __init__(self, at: datetime, days: Iterable[int]) -> None:
        """`at` is the moment of the report; `days` are the ages that rules ask for.

        Raises ValueError when `at` has no time zone.
        """
        if at.tzinfo is None:
            raise ValueError("the moment of a report needs a time zone")
        self.at = at.astimezone(UTC)
        ages = {*days, *TIERS}
        over = {age: self._before(age) for age in ages}
        reached = {age: cut + _INSTANT for age, cut in over.items()}
        future = self.at + _CLOCKS_DIFFER + _INSTANT
        self.cuts = sorted({*over.values(), *reached.values(), future})
        self._over = {age: self.cuts.index(cut) for age, cut in over.items()}
        self._reached = {age: self.cuts.index(cut) for age, cut in reached.items()}
        self.long_ago = self._over[TIERS[2]]
        """The rank of what is just over a year old; how much older a user is, no rule asks."""
        self.future = len(self.cuts)
        """The rank of a date that is later than the report."""

    def _before(self, days: int) -> datetime:
        try:
            return self.at - days * DAY
        except OverflowError:  # before the year 1: nothing is that old
            return datetime.min.replace(tzinfo=UTC)

    def over(self, rank: int, days: int) -> bool:
        """Whether a date of this rank is strictly more than so many days old."""
        return 0 <= rank <= self._over[days]

    def reached(self, rank: int, days: int) -> bool:
        """Whether a date of this rank is so many days old, or older."""
        return 0 <= rank <= self._reached[days]

    def rank(self, text: str) -> int:
        """Return a cell's rank (the younger the date, the greater), NO_DATE or BROKEN."""
        if text in NO_DATES:
            return NO_DATE
        moment = parsed(text)
        if moment is None:
            return BROKEN
        return self.known(bisect_right(self.cuts, moment))

    def known(self, rank: int) -> int:
        """Return a rank, or BROKEN for that of a date later than the report."""
        return BROKEN if rank == self.future else rank

    def age_days(self, text: str) -> int | None:
        """Return the full days since a cell's date, or None when it holds none."""
        moment = parsed(text)
        return None if moment is None else max(0, (self.at - moment) // DAY)

    def tier(self, rank: int) -> str | None:
        """Return the name of the age tier of a date of this rank."""
        if rank < 0:
            return None
        return TIER_NAMES[sum(self.over(rank, days) for days in TIERS)]


def parsed(text: str) -> datetime | None:
    """Return a moment in ISO 8601 with its offset from UTC, or None when it is anything else.

    >>> parsed("2026-01-02T03:04:05+00:00") == parsed("2026-01-02T03:04:05Z")
    True
    >>> parsed("2026-01-02T03:04:05")  # in which time zone?
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None
