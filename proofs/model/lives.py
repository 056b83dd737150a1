"""How executions are named, end, die and are forgotten."""

from __future__ import annotations

from proofs.model import claiming
from proofs.model.calls import Broken
from proofs.model.moves import DIED, ROTATED, STAYS
from proofs.model.rules import Rules
from proofs.model.state import AUTO, ENDED, FREE, NONE, RETIRE, Execution, State, Thread

# What happens, in words, and the state after it (or the invariant that it breaks).
Event = tuple[str, State | Broken]

# States whose functions change nothing, so that one left over does not matter.
READS_ONLY = ("Check Request", "Prove New Key", "Check Pickup", "Check Watch", "Prove Old Key")


def named(execution: Execution, number: int, thread: Thread | None = None) -> str:
    """Return an execution's name for a trace, with the state that a thread of it is in."""
    kind = {AUTO: "automatic BACK_OUT", RETIRE: "RetireKey"}.get(execution.kind, execution.kind)
    about = f" for key {execution.argument}" if execution.argument != NONE else ""
    return f"{kind} {number}{about}" + (f" ({thread.state})" if thread is not None else "")


def ended(state: State, number: int, execution: Execution, result: str, thread: Thread) -> State:
    """An execution ends with a result; one that has rotated starts the RetireKey of its old key."""
    over = execution._replace(main=None, status=ENDED, result=result)
    state = state.replaced(number, over._replace(older=inside_now(state, number)))
    if result == ROTATED and state.slots:
        at = Thread("Retire Old Key: start", old=thread.old, new_version=thread.new_version)
        started = Execution(RETIRE, at)
        return state._replace(executions=(*state.executions, started), slots=state.slots - 1)
    return state


def died(state: State, number: int, rules: Rules) -> State:
    """An execution is aborted, times out or is stopped; the rule starts its back-out."""
    execution = state.executions[number]
    main = execution.main
    assert main is not None
    ghost = execution.ghost
    if ghost is None and main.state not in READS_ONLY and not main.at.endswith(": wait"):
        ghost = main
    over = execution._replace(
        main=None,
        ghost=ghost,
        status=ENDED,
        result=DIED,
        older=inside_now(state, number),
        saved=None if rules.not_redriven else main,
    )
    state = state.replaced(number, over)
    if state.slots and execution.kind != RETIRE and execution.generation < 3:
        recovery = Execution(
            AUTO,
            Thread(claiming.START),
            dead=(number, *execution.dead),
            generation=execution.generation + 1,
        )
        return state._replace(executions=(*state.executions, recovery), slots=state.slots - 1)
    return state


def inside_now(state: State, but: int) -> int:
    """Return the executions that are in the middle of something now, as bits."""
    bits = 0
    for number, execution in enumerate(state.executions):
        main = execution.main
        at_work = main is not None and main.at not in STAYS
        if number != but and (at_work or execution.ghost is not None):
            bits |= 1 << number
    return bits


def settled(state: State) -> State:
    """Forget what no longer matters, so that equal situations are equal states."""
    inside = -1
    changed: list[Execution] | None = None
    for number, execution in enumerate(state.executions):
        settled = execution
        if execution.older:
            inside = inside_now(state, NONE) if inside < 0 else inside
            if execution.older & ~inside:
                settled = settled._replace(older=execution.older & inside)
        ended = execution.status == ENDED
        if ended and execution.ghost is None and state.world.claim != number:
            settled = settled._replace(status=FREE, older=0)
        if settled is not execution:
            changed = changed or list(state.executions)
            changed[number] = settled
    return state if changed is None else state._replace(executions=tuple(changed))
