"""What an execution cost, counted from its history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Measured:
    """One execution: transitions (what AWS bills), functions invoked, seconds from end to end.

    `waits` are the whole seconds that each Wait state was told to wait. `states` are those it
    entered, `retries` the transitions that AWS bills beyond them.
    """

    states: tuple[str, ...]
    retries: int
    invocations: int
    seconds: float
    waits: tuple[int, ...]

    @property
    def transitions(self) -> int:
        """The state transitions that AWS bills."""
        return len(self.states) + self.retries

    @property
    def overhead(self) -> float:
        """The seconds beyond those that it was told to wait."""
        return self.seconds - sum(self.waits)


def measured(history: Sequence[dict[str, Any]]) -> Measured:
    """Count what is in an execution's history."""
    kinds = Counter(event["type"] for event in history)
    states = tuple(
        event["stateEnteredEventDetails"]["name"]
        for event in history
        if "stateEnteredEventDetails" in event
    )
    invocations = kinds["LambdaFunctionScheduled"] + sum(
        event["type"] == "TaskScheduled"
        and event["taskScheduledEventDetails"]["resourceType"] == "lambda"
        for event in history
    )
    tasks = kinds["TaskScheduled"] + kinds["LambdaFunctionScheduled"]
    retries = max(0, tasks - kinds["TaskStateEntered"])
    seconds = (history[-1]["timestamp"] - history[0]["timestamp"]).total_seconds()
    return Measured(states, retries, invocations, seconds, tuple(_waits(history)))


def _waits(history: Sequence[dict[str, Any]]) -> Iterator[int]:
    began = None
    for event in history:
        if event["type"] == "WaitStateEntered":
            began = event["timestamp"]
        elif event["type"] == "WaitStateExited" and began is not None:
            # Waits are whole seconds; what a wait takes longer than that is not configured.
            yield int((event["timestamp"] - began).total_seconds() + 0.01)
