"""Who is rotated by a fleet run, and why everybody else is not: pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, TypeVar

from keyturn.fleet.facts import FleetUser
from keyturn.fleet.settings import DAY_SECONDS
from keyturn.model.identifiers import rotation_name
from keyturn.model.world import COOL_DOWN, cools_down

_T = TypeVar("_T")

UNSUCCESSFUL = frozenset({"BACKED_OUT", "NEEDS_ATTENTION", "FAILED", "REJECTED"})
SUCCESSFUL = frozenset({"ROTATED", "ISSUED"})
# So many rotations are started and watched by one child of the Distributed Map.
BATCH = 50
# Between two starts. A rotation begins with about ten IAM calls; IAM's limits are unpublished, and
# they hold for the whole account, whose other users must not be throttled by us. Rotations take
# days, so the starts of even 5,000 need not be quicker.
SECONDS_BETWEEN_STARTS = 1


class Why(StrEnum):
    """Why a user is not rotated by this run."""

    UNKNOWN_USER = "UNKNOWN_USER"
    NO_ACTIVE_KEY = "NO_ACTIVE_KEY"
    AGE_UNKNOWN = "AGE_UNKNOWN"
    NOT_DUE = "NOT_DUE"
    IN_FLIGHT = "IN_FLIGHT"
    COOLING_DOWN = "COOLING_DOWN"
    OVER_LIMIT = "OVER_LIMIT"


@dataclass(frozen=True)
class Chosen:
    """A user whose rotation is started; `execution_name` is the same all day (UTC)."""

    user_name: str
    execution_name: str
    reason: str

    def dump(self) -> dict[str, str]:
        """Return the JSON form."""
        return {
            "userName": self.user_name,
            "executionName": self.execution_name,
            "reason": self.reason,
        }

    @classmethod
    def load(cls, data: Mapping[str, str]) -> Chosen:
        """Read what `dump` wrote."""
        return cls(data["userName"], data["executionName"], data["reason"])


@dataclass(frozen=True)
class Left:
    """A user who is left alone, and why, in words."""

    user_name: str
    why: Why
    words: str

    def dump(self) -> dict[str, str]:
        """Return the JSON form."""
        return {"userName": self.user_name, "why": self.why, "reason": self.words}


@dataclass(frozen=True)
class Selection:
    """The outcome of choosing: nobody is missing, nobody is there twice."""

    chosen: tuple[Chosen, ...]
    left: tuple[Left, ...]

    def dump(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "chosen": [user.dump() for user in self.chosen],
            "left": [user.dump() for user in self.left],
        }


@dataclass(frozen=True)
class Clock:
    """The times that choosing depends on. `report_at` is when the credential report was made."""

    now: datetime
    report_at: datetime
    due_after_seconds: int


def choose(
    users: Iterable[FleetUser],
    *,
    clock: Clock,
    attempts: Mapping[str, datetime],
    limit: int,
    asked_for: Sequence[str] = (),
) -> Selection:
    """Choose whom to rotate.

    Args:
        users: the managed users, and those of the account that were asked for.
        clock: the moment of the run, and from which age on (seconds) a key is due.
        attempts: when earlier runs last tried a user, successful or not.
        limit: at most so many are chosen.
        asked_for: user names that a person gave. They count as due whatever the age of their
            keys, and no cool-down holds them; everybody else is left out of the plan. RotateKey
            still refuses who is not managed, and skips a key that is too young.

    The oldest key comes first, but who was tried in vain goes behind: whose rotation fails every
    time must not take the place of the others every day.
    """
    known = {user.name: user for user in users}
    if asked_for:
        names = list(dict.fromkeys(asked_for))
        left = [_unknown(name) for name in names if name not in known]
        candidates = [known[name] for name in names if name in known]
        refused = {user.name: _in_flight(user) for user in candidates}
    else:
        left = []
        candidates = [user for user in known.values() if user.managed]
        refused = {user.name: _not_now(user, clock, attempts) for user in candidates}
    left += [why for why in refused.values() if why]
    able = [user for user in candidates if not refused[user.name]]
    if not asked_for:
        able.sort(key=lambda user: (_rank(user, attempts), user.name))
    left += [
        Left(user.name, Why.OVER_LIMIT, f"this run may start {limit} rotations; others come first")
        for user in able[limit:]
    ]
    day = clock.now.astimezone(UTC).date()
    chosen = tuple(_chosen(user, clock.now, day, asked=bool(asked_for)) for user in able[:limit])
    return Selection(chosen, tuple(left))


def batches(chosen: Sequence[_T]) -> list[tuple[_T, ...]]:
    """Divide the chosen among the children of the Distributed Map."""
    return [tuple(chosen[start : start + BATCH]) for start in range(0, len(chosen), BATCH)]


def last_failure(user: FleetUser, attempts: Mapping[str, datetime]) -> datetime | None:
    """Return when the user was last tried in vain, or None.

    The secret tells how the last execution ended that got as far as a decision. An attempt of a
    fleet run was in vain when the oldest active key is older than it.
    """
    oldest = user.oldest_key
    failures = []
    if user.last_result in UNSUCCESSFUL and user.last_result_at:
        failures.append(user.last_result_at)
    tried = attempts.get(user.name)
    if tried and not (oldest and oldest > tried):
        failures.append(tried)
    return max(failures, default=None)


def _rank(user: FleetUser, attempts: Mapping[str, datetime]) -> datetime:
    oldest, failure = user.oldest_key, last_failure(user, attempts)
    return max(at for at in (oldest, failure, datetime.min.replace(tzinfo=UTC)) if at)


def _not_now(user: FleetUser, clock: Clock, attempts: Mapping[str, datetime]) -> Left | None:
    refused = _in_flight(user)
    if refused:
        return refused
    oldest = user.oldest_key
    if user.unclear_keys:
        return Left(
            user.name,
            Why.AGE_UNKNOWN,
            "the credential report has no creation date for an active key; look at the key in IAM",
        )
    if oldest is None:
        return Left(user.name, Why.NO_ACTIVE_KEY, "there is no active key to rotate")
    if user.last_result in SUCCESSFUL and (user.last_result_at or oldest) > clock.report_at:
        return Left(
            user.name, Why.NOT_DUE, "the key was rotated after the credential report was made"
        )
    age = (clock.now - oldest).total_seconds()
    if age < clock.due_after_seconds:
        return Left(
            user.name,
            Why.NOT_DUE,
            f"the oldest active key is {_days(age)} old; it is due at "
            f"{_days(clock.due_after_seconds)}",
        )
    failure = last_failure(user, attempts)
    if failure and cools_down(failure, clock.now):
        return Left(
            user.name,
            Why.COOLING_DOWN,
            f"the attempt of {failure:%Y-%m-%d} was in vain{_result(user, failure)}; "
            f"the next one may be made from {failure + COOL_DOWN:%Y-%m-%d} on, or at once by "
            "starting RotateKey",
        )
    return None


def _in_flight(user: FleetUser) -> Left | None:
    if not user.in_flight:
        return None
    return Left(user.name, Why.IN_FLIGHT, "a rotation or retirement holds the claim on the secret")


def _result(user: FleetUser, failure: datetime) -> str:
    return f" ({user.last_result})" if user.last_result_at == failure else ""


def _unknown(name: str) -> Left:
    return Left(
        name,
        Why.UNKNOWN_USER,
        "the credential report names no such user; it may be up to 4 hours old",
    )


def _chosen(user: FleetUser, now: datetime, day: date, *, asked: bool) -> Chosen:
    oldest = user.oldest_key
    age = f"the key is {_days((now - oldest).total_seconds())} old" if oldest else "no active key"
    reason = f"fleet run of {day}: {'asked for by name; ' if asked else ''}{age}"
    created = user.created_at or datetime.min.replace(tzinfo=UTC)
    return Chosen(user.name, rotation_name(user.arn, created, day), reason)


def _days(seconds: float) -> str:
    days = int(seconds // DAY_SECONDS)
    return f"{days} day{'' if days == 1 else 's'}"
