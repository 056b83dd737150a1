"""What can happen next in a state: steps, faults, deaths, the passing of fences, and a person."""

from __future__ import annotations

from collections.abc import Iterator

from proofs.model import (
    claiming,
    closing,
    issuing,
    returning,
    working,
)
from proofs.model.calls import Broken
from proofs.model.faults import changes_others, faults_of
from proofs.model.invariants import check_end
from proofs.model.lives import Event, died, ended, inside_now, named, settled
from proofs.model.moves import (
    POLLS,
    STEPS,
    Move,
    Next,
)
from proofs.model.person import acts
from proofs.model.rules import Rules
from proofs.model.state import (
    EMERGENCY,
    ENDED,
    FREE,
    NONE,
    RUNNING,
    WAITING,
    State,
)

__all__ = ["Event", "claiming", "closing", "issuing", "returning", "successors", "working"]


def successors(state: State, rules: Rules) -> Iterator[Event]:
    """Return everything that can happen next: in words, and the state after it (or Broken)."""
    for number, execution in enumerate(state.executions):
        if execution.main is not None and _may_begin(state, number):
            yield from _main(state, number, rules)
        if execution.ghost is not None:
            yield from _ghost(state, number, rules)
        if execution.status == ENDED and (execution.older == 0 or not rules.claimant_fenced):
            free = execution._replace(status=FREE, ghost=None)
            yield (
                f"the fence of {named(execution, number)} passes",
                settled(state.replaced(number, free)),
            )
    if state.person:
        yield from acts(state._replace(person=state.person - 1), rules)


def _may_begin(state: State, number: int) -> bool:
    """Whether an execution that waits is the first of its kind, to count no state twice."""
    execution = state.executions[number]
    return execution.status != WAITING or not any(
        other.status == WAITING and other.kind == execution.kind and other.dead == execution.dead
        for other in state.executions[:number]
    )


def _main(state: State, number: int, rules: Rules) -> Iterator[Event]:
    execution = state.executions[number]
    thread = execution.main
    assert thread is not None
    if execution.kind == EMERGENCY and execution.argument == NONE:
        for key in state.world.keys:
            about = execution._replace(argument=key.id)
            yield from _main(state.replaced(number, about), number, rules)
        return
    move = Move(state, rules, number, execution, thread)
    name = named(execution, number, thread)
    try:
        for found in STEPS[thread.at](move):
            yield f"{name} {found.text}", _applied(move, found)
            if state.faults and execution.status == RUNNING:
                yield from faults_of(move, found, name)
    except Broken as broken:
        yield f"{name} makes its call ({thread.at.partition(': ')[2]})", broken
    if state.deaths and execution.status == RUNNING:
        dead = died(state._replace(deaths=state.deaths - 1), number, rules)
        yield f"{name} dies", settled(dead)


def _applied(move: Move, found: Next, *, ghost: bool = False) -> State | Broken:
    """Return the state after an outcome of a step."""
    execution = move.x._replace(status=RUNNING) if move.x.status == WAITING else move.x
    if found.intent is not None:
        execution = execution._replace(intent=found.intent)
    if found.world.keys != move.w.keys and changes_others(found, move):
        execution = execution._replace(changed=True)
    state = move.state._replace(world=found.world)
    if ghost:
        going = found.thread
        over = going is None or not going.seen or going.state != move.t.state
        return settled(
            _stopped(
                state.replaced(move.e, execution._replace(ghost=None if over else going)),
                found,
                move.rules,
            )
        )
    if found.thread is not None:
        older = inside_now(state, move.e) if found.thread.at in POLLS else 0
        state = state.replaced(move.e, execution._replace(main=found.thread, older=older))
        return settled(_stopped(state, found, move.rules))
    try:
        check_end(move, execution, found)
    except Broken as broken:
        return broken
    return settled(ended(state, move.e, execution, found.result, move.t))


def _stopped(state: State, found: Next, rules: Rules) -> State:
    return state if found.stops == NONE else died(state, found.stops, rules)


def _ghost(state: State, number: int, rules: Rules) -> Iterator[Event]:
    """An invocation that nobody waits for goes on, or is over."""
    execution = state.executions[number]
    thread = execution.ghost
    assert thread is not None
    move = Move(state, rules, number, execution, thread)
    name = f"the left-over invocation of {named(execution, number, thread)}"
    try:
        for found in STEPS[thread.at](move):
            yield f"{name} {found.text}", _applied(move, found, ghost=True)
    except Broken as broken:
        yield f"{name} makes its call ({thread.at.partition(': ')[2]})", broken
    if execution.status == RUNNING:
        yield f"{name} is over", settled(state.replaced(number, execution._replace(ghost=None)))
