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

from keyturn.audit.facts import BROKEN, NO, TIER_NAMES, YES, Calendar, Facts
from keyturn.audit.rules import (
    any_key_older_than,
    key_made_with_user,
    password_without_mfa,
    two_active,
    two_active_for,
    user_unused,
)

STUDY = "Netskope, May 2021"
STUDY_USERS = 12478
STUDY_ACCOUNTS = 1143
_Asked = Callable[[Facts, Calendar, int], int]


class _Question(NamedTuple):
    id: str
    words: str
    study_count: int
    asked: _Asked
    days: int = 0
    study_of: int = STUDY_USERS
    of_users_so_old: bool = False
    """The share is of the users who are themselves at least so many days old."""


_TWO = "Users with two active keys"
_OLD = "Users with an active key over"
_QUESTIONS = (
    _Question(
        "console-users-without-mfa",
        "Users with a console password and no MFA",
        773,
        lambda facts, *_: password_without_mfa(facts),
    ),
    _Question(
        "keys-made-with-user",
        "Console users who got a key when they were created",
        1331,
        lambda facts, *_: key_made_with_user(facts),
    ),
    _Question("two-active-keys", _TWO, 830, lambda facts, *_: two_active(facts)),
    *(
        _Question(
            f"two-active-keys-{n}", f"{_TWO} for over {n} days", count, two_active_for, n, of, True
        )
        for n, count, of in ((30, 799, 12100), (90, 720, 11395), (365, 445, 8001))
    ),
    _Question("keys-over-90", f"{_OLD} 90 days old", 7580, any_key_older_than, 90),
    _Question("keys-over-365", f"{_OLD} 365 days old", 4931, any_key_older_than, 365),
    _Question("keys-over-1826", f"{_OLD} 5 years old", 245, any_key_older_than, 1826),
    _Question("users-unused-90", "Users unused for 90 days", 6211, user_unused, 90),
    _Question("users-unused-365", "Users unused for 365 days", 3549, user_unused, 365),
)


@dataclass(frozen=True)
class StudyCount:
    """One measure of the study: how many users of how many, here and there."""

    id: str
    words: str
    count: int
    of: int
    unknown: int
    study_count: int
    study_of: int

    def dump(self) -> dict[str, object]:
        """Return the JSON form; the share is between 0 and 1, to four places; None of nobody."""
        return {
            "id": self.id,
            "words": self.words,
            "count": self.count,
            "of": self.of,
            "share": round(self.count / self.of, 4) if self.of else None,
            "unknown": self.unknown,
            "study": [self.study_count, self.study_of],
        }


class Tables:
    """Counts users as they come, by their facts; memory does not depend on how many there are."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.users = 0
        self.oldest_key_days: int | None = None
        """Of active keys."""
        self._answers: Counter[tuple[str, int]] = Counter()
        self._tiers: Counter[str | None] = Counter()

    def add(self, facts: Facts, calendar: Calendar, users: int) -> None:
        """Count users who all have the same facts."""
        self.users += users
        for question in _QUESTIONS:
            answer = question.asked(facts, calendar, question.days)
            # Who is too young is outside the share; whose age is not known may belong to it.
            if question.of_users_so_old and not calendar.reached(facts.created, question.days):
                if facts.created >= 0 or answer == NO:
                    continue
                self._answers[question.id, NO] -= users
                answer = BROKEN
            self._answers[question.id, answer] += users
        for key in facts.keys:
            if key.active == YES:
                self._tiers[calendar.tier(key.rotated)] += users

    @property
    def measures(self) -> list[StudyCount]:
        """The study's measures of the users counted so far."""
        return [self._measure(question) for question in _QUESTIONS]

    def _measure(self, asked: _Question) -> StudyCount:
        yes, no, broken = (self._answers[asked.id, answer] for answer in (YES, NO, BROKEN))
        of = yes + no + broken
        return StudyCount(asked.id, asked.words, yes, of, broken, asked.study_count, asked.study_of)

    @property
    def key_tiers(self) -> list[tuple[str, int]]:
        """The active keys by age tier, youngest first."""
        return [(tier, self._tiers[tier]) for tier in TIER_NAMES]

    @property
    def keys_of_unknown_age(self) -> int:
        """The active keys in no tier."""
        return self._tiers[None]

    def dump(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "users": self.users,
            "tiers": [{"tier": tier, "keys": keys} for tier, keys in self.key_tiers],
            "keysOfUnknownAge": self.keys_of_unknown_age,
            "oldestKeyDays": self.oldest_key_days,
            "measures": [measure.dump() for measure in self.measures],
            "study": {"name": STUDY, "users": STUDY_USERS, "accounts": STUDY_ACCOUNTS},
        }
