"""From every state at rest, a further ROTATE has to end well."""

from __future__ import annotations

from functools import cache

from proofs.model import claiming
from proofs.model.calls import Broken
from proofs.model.events import successors
from proofs.model.invariants import told
from proofs.model.moves import ATTENTION, BACKED_OUT, BOTH_ACTIVE, ISSUED, REJECTED, ROTATED
from proofs.model.rules import ALL
from proofs.model.state import (
    FOREIGN,
    FREE,
    NONE,
    PERSON,
    ROTATE,
    Execution,
    State,
    Thread,
    World,
)


def check_convergence(state: State) -> None:
    """Check that an undisturbed ROTATE with force ends ROTATED, or is rejected for a reason.

    One that finds a back-out that died finishes it (BACKED_OUT); then the one after it has to.

    Raises:
        Broken: it ends otherwise, leaves something behind, or is rejected although no person
            has interfered and no result has called for one.
    """
    problem = _after_rotate(state.world, _claimant(state), told(state), 2)
    if problem:
        raise Broken(problem)


def _claimant(state: State) -> tuple[Execution, ...]:
    """Return the executions whose intents still matter, without what only they remember."""
    wanted = {state.world.claim, state.world.intent}
    return tuple(
        Execution(x.kind, None, status=FREE, intent=x.intent if number in wanted else None)
        for number, x in enumerate(state.executions)
    )


@cache
def _after_rotate(
    world: World, before: tuple[Execution, ...], called: bool, tries: int
) -> str | None:
    number = len(before)
    state = State(world, (*before, Execution(ROTATE, Thread(claiming.START))))
    for _ in range(100):
        for _, after in successors(state, ALL):
            if isinstance(after, Broken):
                return f"from rest, a further ROTATE: {after}"
            state = after  # the first event is the one with good evidence
            break
        else:
            return "from rest, a further ROTATE is stuck"
        if state.executions[number].main is None:
            result = state.executions[number].result
            if result in (BACKED_OUT, BOTH_ACTIVE) and tries > 1:
                called = called or result == BOTH_ACTIVE
                return _after_rotate(state.world, _claimant(state), called, tries - 1)
            return _judged(world, state, number, called)
    return "from rest, a further ROTATE does not end"


def _judged(before: World, state: State, number: int, called: bool) -> str | None:
    result, world = state.executions[number].result, state.world
    interfered = bool(before.touched or before.foreign != NONE or before.pending == FOREIGN)
    theirs = any(key.by == PERSON for key in before.keys)
    if result == REJECTED or (result == ATTENTION and _exposed_went(before, world)):
        excused = interfered or theirs or called
        return None if excused else f"from rest, a further ROTATE ends {result}"
    if result not in (ROTATED, ISSUED):
        return f"from rest, a further ROTATE ends {result}"
    if world.claim != NONE:
        return "from rest, a further ROTATE leaves its claim"
    active = [key for key in world.keys if key.active and key.by != PERSON]
    if interfered:
        return None
    if len(active) != 1 or active[0].id != world.key_in(world.current):
        return "from rest, a further ROTATE leaves another key active"
    return None


def _exposed_went(before: World, after: World) -> bool:
    """Whether an exposed key that was active is not any more: for that a ROTATE may need room."""
    exposed = [key for key in before.keys if key.active and before.is_exposed(key.id)]
    return any(not after.is_active(key.id) for key in exposed)
