"""The formula: which states an execution passes on each path, as a number of looks goes in.

AWS bills a transition for each state that is entered and an invocation for each task that calls a
function. So the states of a path are its costs; the definitions say which states are functions.
A test walks each path along the arrows of the definitions, and `make bench` compares it with the
states of a real execution.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tools.asl.definition import Definition

_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Loop:
    """States that are passed once for each look; `name` is the key of the number of looks."""

    name: str
    states: tuple[str, ...]


PICKUP = Loop("pickup", ("Wait For Consumers", "Check Pickup", "Picked Up?"))
WATCH = Loop("watch", ("Watch Consumers", "Health URL Set?", "Check Watch", "Watch Passed?"))
WATCH_URL = Loop(
    "watch",
    ("Watch Consumers", "Health URL Set?", "Check Health", "Check Watch", "Watch Passed?"),
)
RETURN = Loop("return", ("Wait For Return", "Check Return", "Returned?"))
OF_A_BATCH = Loop("batch", ("Wait For Rotations", "Look At Rotations", "All Ended?"))

_BEGIN = ("Check Request", "What To Do?")
_ISSUE = (
    "Issue New Key", "New Key Issued?", "Prove New Key", "New Key Proven?", "Publish New Key",
    "Consumers To Wait For?",
)  # fmt: skip
_DEACTIVATE = ("Deactivate Old Key", "Old Key Deactivated?")
_TAKE_OVER = ("Take Over", "Where To Continue?")
_WAIT_OUT = ("Wait Out The Claimant", *_BEGIN)
_TELL = ("Announce Outcome", "Tell People", "How Did It End?")
_CLOSE = ("Close Rotation", *_TELL)
_RESTORE = (
    "Reactivate Old Key", "Old Version To Restore?", "Prove Old Key", "Old Key Proven?",
    "Restore Old Version", "New Key Exposed?",
)  # fmt: skip
_BACK: tuple[str | Loop, ...] = (
    *_RESTORE, RETURN, "Deactivate New Key", "Rotate After All?", *_CLOSE,
)  # fmt: skip
_CHECKED = ("Check Health Before Deactivation",)


@dataclass(frozen=True)
class Walk:
    """One execution of a machine, from its first state to its last."""

    machine: str
    parts: tuple[str | Loop, ...]

    def states(self, looks: Mapping[str, int]) -> list[str]:
        """Return the states in order, each loop passed as often as was looked."""
        return [*self._expanded(looks)]

    def transitions(self, looks: Mapping[str, int]) -> int:
        """Return the state transitions of an execution in which nothing is retried."""
        return len(self.states(looks))

    def invocations(self, looks: Mapping[str, int]) -> int:
        """Return the function invocations of such an execution."""
        functions = _functions(self.machine)
        return sum(state in functions for state in self.states(looks))

    def loops(self) -> list[Loop]:
        """Return the loops in it."""
        return [part for part in self.parts if isinstance(part, Loop)]

    def _expanded(self, looks: Mapping[str, int]) -> Iterator[str]:
        for part in self.parts:
            if isinstance(part, Loop):
                yield from part.states * looks.get(part.name, 0)
            else:
                yield part


def looks_in(states: Sequence[str]) -> dict[str, int]:
    """Count the looks of an execution by the states that it passed."""
    return {
        loop.name: count
        for loop in (PICKUP, WATCH, RETURN, OF_A_BATCH)
        if (count := sum(state == loop.states[0] for state in states))
    }


@cache
def definition(machine: str) -> Definition:
    """Return the definition of a state machine."""
    return Definition.load(_ROOT / "statemachine" / f"{machine}.asl.json")


@cache
def _functions(machine: str) -> frozenset[str]:
    """Return the states of a machine that call a function."""
    return frozenset(
        name
        for scope in definition(machine).scopes()
        for name, state in scope.states.items()
        if str(state.get("Resource", "")).endswith(":lambda:invoke")
    )


def _rotate(*parts: str | Loop) -> Walk:
    return Walk("rotate_key", (*_BEGIN, *parts))


RETIRED = Walk(
    "retire_key",
    (
        "Check Retirement", "Fit For Retirement?", "Wait Out The Retention", "Retire Old Key",
        "Retired?", "Announce Retirement", "Tell People", "How Did It End?", "Retired",
    ),
)  # fmt: skip
FLEET = Walk(
    "rotate_fleet",
    (
        "Audit Account", "Audited?", "Choose Users", "Rotate Anyone?", "Rotate Users", "Sum Up",
        "Announce Run", "Tell People", "How Did It End?", "Fleet Run Ended",
    ),
)  # fmt: skip
BATCH = Walk(
    "rotate_fleet",
    ("Wait For Turn", "Start Rotations", "All Ended?", OF_A_BATCH, "Batch Done"),
)

WALKS: dict[str, Walk] = {
    "rotated": _rotate(*_ISSUE, PICKUP, *_DEACTIVATE, WATCH, *_CLOSE, "Rotated"),
    "rotated, with a health URL": _rotate(
        *_ISSUE, PICKUP, *_CHECKED, *_DEACTIVATE, WATCH_URL, *_CLOSE, "Rotated"
    ),
    "rotated, old key retained": _rotate(
        *_ISSUE, PICKUP, *_DEACTIVATE, WATCH, *_CLOSE, "Start Retirement", "Rotated"
    ),
    "its retirement": RETIRED,
    "backed out: nobody moved": _rotate(*_ISSUE, PICKUP, *_BACK, "Rotation Backed Out"),
    "backed out: an alarm in the watch": _rotate(
        *_ISSUE, PICKUP, *_DEACTIVATE, WATCH, *_BACK, "Rotation Backed Out"
    ),
    "backed out by hand": _rotate(*_TAKE_OVER, *_BACK, "Back-Out Done"),
    "recovery of a dead execution": _rotate(*_WAIT_OUT, *_TAKE_OVER, *_BACK, "Back-Out Done"),
    "EMERGENCY": _rotate(*_ISSUE, *_DEACTIVATE, WATCH, *_CLOSE, "Rotated"),
    "first key": _rotate(*_ISSUE, *_CLOSE, "Issued"),
    "skipped": _rotate(*_TELL, "Skipped"),
    "rejected": _rotate("Request Rejected"),
    "fleet run": FLEET,
    "fleet run: one batch of users": BATCH,
}
