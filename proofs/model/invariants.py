"""What must hold when an execution ends, and when everything is at rest."""

from __future__ import annotations

from proofs.model.calls import Broken
from proofs.model.moves import (
    ATTENTION,
    BACKED_OUT,
    BOTH_ACTIVE,
    FAILED,
    ISSUED,
    REJECTED,
    ROTATED,
    SKIPPED,
    Move,
    Next,
)
from proofs.model.state import (
    EMERGENCY,
    FOREIGN,
    FREE,
    NONE,
    PERSON,
    WAITING,
    Execution,
    State,
    World,
)


def check_end(move: Move, execution: Execution, found: Next) -> None:
    """Check that an execution's result agrees with the world as its last call left it.

    Raises:
        Broken: it says something else than what is the case.
    """
    if move.w.touched or move.w.foreign != NONE or move.w.pending == FOREIGN:
        return  # a person has interfered
    if found.result == REJECTED and execution.changed:
        raise Broken("the execution is rejected, which means: nothing was changed; it changed keys")
    if not found.writes or not move.holding:
        return
    problem = _disagreement(move, found.world, found.result)
    if problem:
        raise Broken(f"the result is {found.result}, but {problem}")


def _disagreement(move: Move, world: World, result: str) -> str | None:
    t = move.t
    current = world.key_in(world.current)
    if result in (ROTATED, ISSUED):
        if world.current != t.new_version or not world.is_active(t.new):
            return "the new key is not active in AWSCURRENT"
        if world.is_active(t.old):
            return "the old key is still active"
    if result in (BACKED_OUT, FAILED) and t.new not in (NONE, t.old):
        if world.is_active(t.new):
            return "the new key is still active"
        if current == t.new:
            return "the new key is in AWSCURRENT"
    if result == BOTH_ACTIVE and (current != t.old or not world.is_active(t.old)):
        return "the old key is not active in AWSCURRENT"
    if result == ATTENTION and current >= 0 and not world.is_active(current):
        return None if world.is_exposed(current) else "the key in AWSCURRENT is not active"
    return None


def is_at_rest(state: State) -> bool:
    """Whether nothing runs and nothing is in flight (what has not begun may begin later)."""
    return all(
        execution.ghost is None and (execution.status in (WAITING, FREE) or _waits(execution))
        for execution in state.executions
    )


def _waits(execution: Execution) -> bool:
    """Whether a RetireKey waits for somebody else's claim, for as long as that takes."""
    return execution.main is not None and execution.main.at == "Retire Old Key: look"


def check_rest(state: State) -> None:
    """Check what must hold at rest, once the claim has been released.

    Raises:
        Broken: it does not.
    """
    world = state.world
    if world.claim != NONE:
        return  # an execution died: the convergence from here is checked instead
    for key in world.keys:
        if key.by >= 0 and not key.stored and (key.active or world.record != key.id):
            raise Broken(f"at rest: the key {key.id} is in no version")
        theirs = world.touched or key.by == PERSON
        if world.is_exposed(key.id) and key.active and not theirs and _replaced(state, key.id):
            raise Broken(f"at rest: the exposed key {key.id} is active")
    active = [key for key in world.keys if key.active and key.by != PERSON]
    if len(active) > 1 and not told(state):
        raise Broken("at rest: two keys are active, and no result says so")


def told(state: State) -> bool:
    """Whether a result, or the record of one, says that a person is needed."""
    results = (state.world.said, *(execution.result for execution in state.executions))
    return any(said.startswith("NEEDS_ATTENTION") for said in results)


def _replaced(state: State, key: int) -> bool:
    """Whether an EMERGENCY says that it has dealt with a key."""
    return any(
        execution.kind == EMERGENCY
        and execution.argument == key
        and execution.result in (ROTATED, ISSUED, BACKED_OUT, SKIPPED)
        for execution in state.executions
    )
