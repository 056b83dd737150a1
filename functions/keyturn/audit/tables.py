"""The tables of the published study, drawn for the accounts that were audited.

Netskope, "Cloud and Threat Report", May 2021, data of 24 January 2021: 12,478 IAM users in 1,143
accounts. Each measure has the study's own figures beside ours. Users whose row does not tell are
counted apart (`unknown`) and are no part of the count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from keyturn.audit.dates import BROKEN, TIER_NAMES, Calendar
from keyturn.audit.rules import (
    YES,
    Profile,
    any_of,
    key_made_with_user,
    key_older_than,
    password_without_mfa,
    two_active,
    two_active_for,
    user_unused,
)

STUDY_USERS = 12478
STUDY_ACCOUNTS = 1143
_Question = Callable[[Profile, Calendar], int]


class _Measure(NamedTuple):
    id: str
    words: str
    holds: _Question
    study_count: int
    study_of: int = STUDY_USERS
    of_users_aged: int = 0
    """The share is of the users themselves at least so many days old; 0: of all users."""


def _two_for(days: int) -> _Question:
    return lambda profile, calendar: two_active_for(profile, calendar, days)


def _keys_over(days: int) -> _Question:
    def holds(profile: Profile, calendar: Calendar) -> int:
        return any_of(*(key_older_than(key, calendar, days) for key in profile.keys))

    return holds


def _unused_for(days: int) -> _Question:
    return lambda profile, calendar: user_unused(profile, calendar, days)


MEASURES = (
    _Measure(
        "console-users-without-mfa",
        "Users with a console password and no MFA",
        lambda profile, _: password_without_mfa(profile),
        773,
    ),
    _Measure(
        "keys-made-with-user",
        "Console users who got a key when they were created",
        lambda profile, _: key_made_with_user(profile),
        1331,
    ),
    _Measure(
        "two-active-keys",
        "Users with two active keys",
        lambda profile, _: two_active(profile),
        830,
    ),
    _Measure(
        "two-active-keys-30",
        "Users with two active keys for over 30 days",
        _two_for(30),
        799,
        12100,
        30,
    ),
    _Measure(
        "two-active-keys-90",
        "Users with two active keys for over 90 days",
        _two_for(90),
        720,
        11395,
        90,
    ),
    _Measure(
        "two-active-keys-365",
        "Users with two active keys for over 365 days",
        _two_for(365),
        445,
        8001,
        365,
    ),
    _Measure("keys-over-90", "Users with an active key over 90 days old", _keys_over(90), 7580),
    _Measure("keys-over-365", "Users with an active key over 365 days old", _keys_over(365), 4931),
    _Measure("keys-over-1826", "Users with an active key over 5 years old", _keys_over(1826), 245),
    _Measure("users-unused-90", "Users unused for 90 days", _unused_for(90), 6211),
    _Measure("users-unused-365", "Users unused for 365 days", _unused_for(365), 3549),
)


@dataclass(frozen=True)
class Measure:
    """One measure of the study: how many users of how many, here and there."""

    id: str
    words: str
    count: int
    of: int
    unknown: int
    study_count: int
    study_of: int

    def dump(self) -> dict[str, object]:
        """Return the JSON form; shares are between 0 and 1, None of nobody."""
        return {
            "id": self.id,
            "words": self.words,
            "count": self.count,
            "of": self.of,
            "share": share(self.count, self.of),
            "unknown": self.unknown,
            "study": [self.study_count, self.study_of],
        }


def share(count: int, of: int) -> float | None:
    """Return a share, rounded to a tenth of a per mille.

    >>> share(773, 12478)
    0.0619
    """
    return round(count / of, 4) if of else None


@dataclass(frozen=True)
class Tables:
    """The study's measures, and the active keys by age tier (youngest first)."""

    users: int
    measures: tuple[Measure, ...]
    key_tiers: tuple[tuple[str, int], ...]
    keys_of_unknown_age: int
    oldest_key_days: int | None
    """Of active keys."""

    def dump(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "users": self.users,
            "tiers": [{"tier": tier, "keys": keys} for tier, keys in self.key_tiers],
            "keysOfUnknownAge": self.keys_of_unknown_age,
            "oldestKeyDays": self.oldest_key_days,
            "measures": [measure.dump() for measure in self.measures],
            "study": {
                "name": "Netskope, May 2021",
                "users": STUDY_USERS,
                "accounts": STUDY_ACCOUNTS,
            },
        }


class Tally:
    """Counts users as they come, by profile; memory does not depend on how many there are."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.users = 0
        self._counts: Counter[str] = Counter()
        self._of: Counter[str] = Counter()
        self._unknown: Counter[str] = Counter()
        self._tiers: Counter[str | None] = Counter()
        self.oldest_key_days: int | None = None

    def add(self, profile: Profile, calendar: Calendar, users: int) -> None:
        """Count users who all have the same profile."""
        self.users += users
        for measure in MEASURES:
            answer = measure.holds(profile, calendar)
            if measure.of_users_aged and not calendar.reached(
                profile.created, measure.of_users_aged
            ):
                # Who is too young is outside the share; whose age is not known may belong to it.
                if profile.created < 0 and answer != 0:
                    self._unknown[measure.id] += users
                continue
            self._of[measure.id] += users
            if answer == YES:
                self._counts[measure.id] += users
            elif answer == BROKEN:
                self._unknown[measure.id] += users
        for key in profile.keys:
            if key.active == YES:
                self._tiers[calendar.tier(key.rotated)] += users

    def tables(self) -> Tables:
        """Return the tables of what was counted so far."""
        return Tables(
            users=self.users,
            measures=tuple(
                Measure(
                    measure.id,
                    measure.words,
                    self._counts[measure.id],
                    self._of[measure.id],
                    self._unknown[measure.id],
                    measure.study_count,
                    measure.study_of,
                )
                for measure in MEASURES
            ),
            key_tiers=tuple((tier, self._tiers[tier]) for tier in TIER_NAMES),
            keys_of_unknown_age=self._tiers[None],
            oldest_key_days=self.oldest_key_days,
        )
