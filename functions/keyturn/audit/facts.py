"""From a row to the facts of a user: what is enabled, and how long ago things happened.

How long ago is a rank: how many of the audit's cuts lie at or before a date. A cut is a moment that
a rule compares with, such as "90 days before the report". So rules compare small numbers, and users
with the same facts are alike to every rule: they are counted together, which makes a million rows
affordable.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from keyturn.audit.model import Thresholds
from keyturn.audit.rows import NO_DATES, SLOTS, Row

# Answers, and what a boolean's cell says.
YES = 1
NO = 0
BROKEN = -2
"""A cell that does not tell: neither true nor false, no date, or a date later than the report."""
NO_DATE = -1

# Who is managed
UNMANAGED = 0
MANAGED = 1
IN_FLIGHT = 2
NOT_KNOWN = 3
"""The secrets, which tell who is managed, could not be read."""

TIERS = (30, 90, 365, 1826)
"""The ends of the age tiers, in days; the last is five years."""
TIER_NAMES = ("up to 30 days", "31 to 90 days", "91 to 365 days", "over 365 days", "over 5 years")
MADE_WITH_USER_SECONDS = 10
_MADE_WITH_USER = timedelta(seconds=MADE_WITH_USER_SECONDS)
_DAY = timedelta(days=1)
_CLOCKS_DIFFER = _DAY


class KeyFacts(NamedTuple):
    """One of the two slots: whether its key is active, and the ranks of its dates."""

    slot: int
    active: int
    rotated: int
    used: int

    @property
    def name(self) -> str:
        """As in the columns of the report."""
        return f"access_key_{self.slot}"

    @property
    def exists(self) -> bool:
        """Whether there is a key in the slot, active or not."""
        return self.active != NO or self.rotated != NO_DATE


class Facts(NamedTuple):
    """What a user's row says: booleans as YES, NO or BROKEN, dates as ranks."""

    console: int
    mfa: int
    created: int
    password_used: int
    password_changed: int
    key_1_active: int
    key_1_rotated: int
    key_1_used: int
    key_2_active: int
    key_2_rotated: int
    key_2_used: int
    made_with_user: int
    """The slots (1, 2, or 3 for both) with a key made within 10 seconds of a console user."""
    managed: int

    @property
    def keys(self) -> tuple[KeyFacts, KeyFacts]:
        """Both slots."""
        return KeyFacts(1, *self[5:8]), KeyFacts(2, *self[8:11])


class Calendar:
    """The cuts of one report: `over` N days is strictly more, `reached` N days is N or more.

    A date more than a day later than the report is BROKEN: it would look young for ever.
    """

    def __init__(self, at: datetime, thresholds: Thresholds) -> None:
        """`at` is the moment of the report; raises ValueError when it has no time zone."""
        if at.tzinfo is None:
            raise ValueError("the moment of a report needs a time zone")
        self.at = at.astimezone(UTC)
        self.thresholds = thresholds
        ages = {thresholds.max_key_age_days, thresholds.unused_after_days, *TIERS}
        over = {days: self._before(days) for days in ages}
        reached = {days: cut + timedelta.resolution for days, cut in over.items()}
        future = self.at + _CLOCKS_DIFFER + timedelta.resolution
        self._cuts = sorted({*over.values(), *reached.values(), future})
        self._over = {days: self._cuts.index(cut) for days, cut in over.items()}
        self._reached = {days: self._cuts.index(cut) for days, cut in reached.items()}
        self.youngest = len(self._cuts) - 1
        """The rank of a date that no rule asks for."""
        self._ranks: tuple[int, ...] = (*range(len(self._cuts)), BROKEN)
        self._tiers = [
            TIER_NAMES[sum(self.over(rank, days) for days in TIERS)] for rank in self._ranks
        ]

    def _before(self, days: int) -> datetime:
        try:
            return self.at - days * _DAY
        except OverflowError:  # before the year 1: nothing is that old
            return datetime.min.replace(tzinfo=UTC)

    def over(self, rank: int, days: int) -> bool:
        """Whether a date of this rank is strictly more than so many days old."""
        return 0 <= rank <= self._over[days]

    def reached(self, rank: int, days: int) -> bool:
        """Whether a date of this rank is so many days old, or older."""
        return 0 <= rank <= self._reached[days]

    def rank(self, cell: str) -> int:
        """Return a cell's rank: the younger the date, the greater; NO_DATE or BROKEN."""
        if cell in NO_DATES:
            return NO_DATE
        try:
            return self._ranks[bisect_right(self._cuts, datetime.fromisoformat(cell))]
        except (ValueError, TypeError):  # no date; a date without a time zone
            return BROKEN

    def age_days(self, moment: datetime) -> int:
        """Return the full days since a moment."""
        return max(0, (self.at - moment).days)

    def tier(self, rank: int) -> str | None:
        """Return the age tier of a date of this rank."""
        return None if rank < 0 else self._tiers[rank]


def facts_of(row: Row, calendar: Calendar, managed: int) -> Facts:
    """Return the facts of a user: no dates of use for what is disabled, no rule asks for them."""
    rank = calendar.rank
    console = boolean(row.password_enabled)
    active_1, active_2 = boolean(row.access_key_1_active), boolean(row.access_key_2_active)
    return Facts(
        console,
        boolean(row.mfa_active),
        rank(row.user_creation_time),
        rank(row.password_last_used) if console else NO_DATE,
        rank(row.password_last_changed) if console else NO_DATE,
        active_1,
        rank(row.access_key_1_last_rotated),
        rank(row.access_key_1_last_used_date) if active_1 else NO_DATE,
        active_2,
        rank(row.access_key_2_last_rotated),
        rank(row.access_key_2_last_used_date) if active_2 else NO_DATE,
        _made_with_user(row) if console else 0,
        managed,
    )


class _Booleans(dict[str, int]):
    """What a boolean's cell says, in letters of any case."""

    def __missing__(self, cell: str) -> int:
        return self.get(cell.lower(), BROKEN)


boolean = _Booleans(true=YES, false=NO).__getitem__


def parsed(cell: str) -> datetime | None:
    """Return a moment in ISO 8601 with its offset from UTC, or None when it is anything else.

    >>> parsed("2026-01-02T03:04:05+00:00") == parsed("2026-01-02T03:04:05Z")
    True
    >>> parsed("2026-01-02T03:04:05")  # in which time zone?
    """
    if cell in NO_DATES:
        return None
    try:
        moment = datetime.fromisoformat(cell)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _made_with_user(row: Row) -> int:
    made = 0
    created = parsed(row.user_creation_time)
    for slot in SLOTS:
        rotated = parsed(row.key(slot)[1])
        if created and rotated and abs(rotated - created) <= _MADE_WITH_USER:
            made |= slot
    return made
