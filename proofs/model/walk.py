"""The walk: breadth first over every reachable state, so that the first trace is a shortest one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from proofs.model.calls import Broken
from proofs.model.converge import check_convergence
from proofs.model.events import successors
from proofs.model.invariants import check_rest, is_at_rest
from proofs.model.rules import Rules
from proofs.model.state import State

_EVERY = 20_000


@dataclass(frozen=True)
class Violation:
    """A broken invariant, and the name of the start and the events that lead to it."""

    what: str
    trace: tuple[str, ...]

    @property
    def events(self) -> int:
        """How many events lead from the start to the violation."""
        return len(self.trace) - 1


@dataclass(frozen=True)
class Report:
    """What a walk has found. `resting` are the states at rest, `seconds` the time it took."""

    states: int
    steps: int
    resting: int
    seconds: float
    violations: tuple[Violation, ...]


Progress = Callable[[int, int, float], None]


def walk(
    starts: Iterable[tuple[str, State]],
    rules: Rules,
    *,
    stop_at_first: bool = True,
    deepest: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Look at every state that can be reached.

    Args:
        starts: the named states to begin in.
        rules: the rules in force.
        stop_at_first: whether the first violation ends the walk (it has a shortest trace).
        deepest: how many events from its start a state may be (None: any number).
        progress: is told states, states still to look at, and seconds, now and then.
    """
    begun = time.monotonic()
    walked = _Walk(rules)
    for name, start in starts:
        walked.add(start, -1, name)
    looked_at = 0
    while looked_at < len(walked.states) and not (walked.violations and stop_at_first):
        if deepest is not None and walked.depths[looked_at] >= deepest:
            break
        walked.look_at(looked_at)
        looked_at += 1
        if progress and looked_at % _EVERY == 0:
            progress(looked_at, len(walked.states) - looked_at, time.monotonic() - begun)
    return Report(
        looked_at,
        walked.steps,
        walked.resting,
        time.monotonic() - begun,
        tuple(walked.violations.values()),
    )


@dataclass
class _Walk:
    """The states found so far, in the order in which they are looked at, and how they came."""

    rules: Rules
    states: list[State] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    known: set[State] = field(default_factory=set)
    shared: dict[object, object] = field(default_factory=dict)
    violations: dict[str, Violation] = field(default_factory=dict)
    steps: int = 0
    resting: int = 0

    def look_at(self, index: int) -> None:
        """Find everything that can happen in a state."""
        state = self.states[index]
        stuck = True
        for text, after in successors(state, self.rules):
            stuck = False
            self.steps += 1
            if isinstance(after, Broken):
                self.broken(after, index, text)
            elif after not in self.known:
                self.add(after, index, text)
        if stuck and not is_at_rest(state):
            self.broken(Broken("stuck: nothing can happen any more"), index)

    def add(self, state: State, parent: int, text: str) -> None:
        """Remember a new state, and check it when it is one at rest.

        Here and not when its turn comes: all that is found while the states at one distance are
        looked at then has a trace of the same length.
        """
        # Equal parts are kept once, which takes a third of the memory.
        share = self.shared.setdefault
        parts = tuple(share(each, each) for each in state.executions)
        state = state._replace(executions=parts, world=share(state.world, state.world))  # type: ignore[arg-type]
        self.known.add(state)
        self.states.append(state)
        self.parents.append(parent)
        self.texts.append(str(share(text, text)))
        self.depths.append(self.depths[parent] + 1 if parent >= 0 else 0)
        if is_at_rest(state):
            self.resting += 1
            try:
                check_rest(state)
                check_convergence(state)
            except Broken as found:
                self.broken(found, len(self.states) - 1)

    def broken(self, what: Broken, index: int, last: str = "") -> None:
        """Remember a violation and its trace, unless it was found with a shorter one."""
        trace = [last] if last else []
        while index >= 0:
            trace.append(self.texts[index])
            index = self.parents[index]
        found = Violation(str(what), tuple(reversed(trace)))
        self.violations.setdefault(str(what), found)
