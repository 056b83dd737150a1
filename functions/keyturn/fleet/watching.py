"""What is known of the rotations of one batch, from the start to the last look: no AWS here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from keyturn.fleet.choosing import Chosen
from keyturn.model.identifiers import masked_in
from keyturn.model.moments import iso, moment

_LONGEST_REASON = 300


class Stand(StrEnum):
    """How a rotation of a fleet run stands."""

    PENDING = "PENDING"  # not yet tried to start
    RUNNING = "RUNNING"
    NOT_STARTED = "NOT_STARTED"
    ENDED = "ENDED"


@dataclass(frozen=True)
class Watched:
    """One rotation. `outcome` is the contract's once it has ended, or the execution's status."""

    user_name: str
    execution_arn: str
    asked: str
    """The reason that RotateKey is given."""
    stand: Stand = Stand.PENDING
    earlier_today: bool = False
    """Whether it was started before, by this run's first try or by another run of the day."""
    outcome: str | None = None
    reason: str = ""

    def dump(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "userName": self.user_name,
            "executionArn": self.execution_arn,
            "asked": self.asked,
            "stand": self.stand,
            "earlierToday": self.earlier_today,
            "outcome": self.outcome,
            "reason": self.reason,
        }

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> Watched:
        """Read what `dump` wrote."""
        return cls(
            user_name=data["userName"],
            execution_arn=data["executionArn"],
            asked=data["asked"],
            stand=Stand(data["stand"]),
            earlier_today=data["earlierToday"],
            outcome=data["outcome"],
            reason=data["reason"],
        )

    @property
    def name(self) -> str:
        """The execution's name."""
        return self.execution_arn.rsplit(":", 1)[-1]

    def started(self, *, new: bool) -> Watched:
        """Return it as started, by this call or before."""
        return replace(self, stand=Stand.RUNNING, earlier_today=not new)

    def not_started(self, why: str) -> Watched:
        """Return it as refused by Step Functions."""
        return replace(self, stand=Stand.NOT_STARTED, reason=_short(why))

    def ended(self, outcome: str, reason: str) -> Watched:
        """Return it as ended."""
        return replace(self, stand=Stand.ENDED, outcome=outcome, reason=_short(reason))


@dataclass
class Batch:
    """The rotations of one batch, watched until `until` at the latest."""

    began_at: datetime
    until: datetime
    rotations: list[Watched] = field(default_factory=list)
    polls: int = 0
    done: bool = False
    """Whether nobody looks any more: all have ended, or the time is over."""

    def dump(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "beganAt": iso(self.began_at),
            "until": iso(self.until),
            "done": self.done,
            "rotations": [rotation.dump() for rotation in self.rotations],
        }

    @classmethod
    def load(cls, data: Mapping[str, Any], *, polls: int = 0) -> Batch:
        """Read what `dump` wrote."""
        began_at, until = moment(data["beganAt"]), moment(data["until"])
        if began_at is None or until is None:
            raise ValueError("a batch without its times")
        rotations = [Watched.load(item) for item in data["rotations"]]
        return cls(began_at, until, rotations, polls, data["done"])

    @property
    def running(self) -> int:
        """How many rotations have not ended, as far as is known."""
        return sum(rotation.stand is Stand.RUNNING for rotation in self.rotations)


def begin(chosen: Iterable[Chosen], machine_arn: str, *, now: datetime, until: datetime) -> Batch:
    """Return a batch of which nothing is started yet."""
    execution = machine_arn.replace(":stateMachine:", ":execution:", 1)
    rotations = [
        Watched(user.user_name, f"{execution}:{user.execution_name}", asked=user.reason)
        for user in chosen
    ]
    return Batch(began_at=now, until=until, rotations=rotations)


def _short(text: str) -> str:
    masked = masked_in(text)
    return masked if len(masked) <= _LONGEST_REASON else masked[: _LONGEST_REASON - 3] + "..."
