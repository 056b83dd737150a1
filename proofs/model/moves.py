"""What one atomic step of an execution sees, and what it can lead to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from proofs.model.rules import Rules
from proofs.model.state import NONE, Execution, Intent, State, Thread, World

# How an execution ends. The words before the colon are outcomes of the contract.
ROTATED, ISSUED, SKIPPED = "ROTATED", "ISSUED", "SKIPPED"
BACKED_OUT = "BACKED_OUT"
BOTH_ACTIVE = "NEEDS_ATTENTION: went back, both keys stay active"
REJECTED, FAILED = "REJECTED", "FAILED"
ATTENTION, INCOMPLETE = "NEEDS_ATTENTION", "NEEDS_ATTENTION: BackoutIncomplete"
CLAIM_LOST = "NEEDS_ATTENTION: the claim was lost"
UNDECIDED = "NEEDS_ATTENTION: could not be recorded"
DIED = "died"
DELETED, SUPERSEDED, KEPT = "DELETED", "SUPERSEDED", "KEPT"


class Next(NamedTuple):
    """One outcome of a step: in words, the new world, and how the thread goes on (None: ends).

    `writes` tells that the step was a call that changes something, so that its answer can be lost.
    `intent` is what was stored as this execution's intent, `stops` an execution that is stopped.
    """

    text: str
    world: World
    thread: Thread | None
    result: str = ""
    writes: bool = False
    intent: Intent | None = None
    stops: int = NONE
    reason: str = ""


class Move(NamedTuple):
    """A thread that is about to take a step: thread `t` of execution `x`, numbered `e`."""

    state: State
    rules: Rules
    e: int
    x: Execution
    t: Thread

    @property
    def w(self) -> World:
        """The world as it stands."""
        return self.state.world

    @property
    def holding(self) -> bool:
        """Whether the claim is this execution's."""
        return self.state.world.claim == self.e

    def goes(self, text: str, at: str, world: World | None = None, **carried: Any) -> Next:
        """Go on inside the same invocation, or (without `seen`) into another state."""
        thread = self.t._replace(at=at, **carried)
        return Next(text, self.w if world is None else world, thread)

    def writes(self, text: str, at: str, world: World, **carried: Any) -> Next:
        """Make a call that changes something, and go on inside the same invocation."""
        return self.goes(text, at, world, **carried)._replace(writes=True)

    def enters(self, text: str, at: str, world: World | None = None, **carried: Any) -> Next:
        """Answer: the invocation ends and the execution enters another state."""
        return self.goes(text, at, world, seen=(), doomed=(), planned=None, **carried)

    def ends(self, text: str, result: str, reason: str = "") -> Next:
        """End the execution."""
        return Next(text, self.w, None, result, reason=reason)


Step = Callable[[Move], Iterator[Next]]
# Where an execution may stay for long. Everywhere else it goes on within moments: a poll's wait
# is over, or a fence has passed, only when no step of others is left from before it.
POLLS = ("Check Pickup: look", "Check Watch: look", "Check Return: look")
STAYS = (
    *POLLS,
    "Check Request: start",
    "Check Request: look",
    "Retire Old Key: start",
    "Retire Old Key: look",
)

STEPS: dict[str, Step] = {}


def step(at: str) -> Callable[[Step], Step]:
    """Register a function as the step that a thread takes at this place."""

    def register(function: Step) -> Step:
        STEPS[at] = function
        return function

    return register
