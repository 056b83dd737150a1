"""The states that a walk begins in."""

from __future__ import annotations

from proofs.model.claiming import START
from proofs.model.moves import BACKED_OUT as BACKED_OUT_RESULT
from proofs.model.moves import ROTATED
from proofs.model.state import (
    AUTO,
    BACK_OUT,
    BUSY,
    EMERGENCY,
    FREE,
    LONG_AGO,
    NONE,
    ORIGIN,
    PERSON,
    QUIET,
    RETIRE,
    ROTATE,
    Execution,
    Intent,
    Key,
    State,
    Thread,
    World,
)

OLD = Key(0, True, ORIGIN, LONG_AGO, BUSY, True)
NEW = Key(1, True, ORIGIN, LONG_AGO, BUSY, True)

STORED = World(keys=(OLD,), current=0)
ADOPTED = World(keys=(OLD._replace(stored=False),))
NOTHING = World(keys=(), made=0)
RETAINED = World(
    keys=(OLD._replace(active=False, use=QUIET), NEW),
    current=1,
    backout=0,
    record=0,
    intent=0,
    said=ROTATED,
    made=2,
)
BACKED_OUT = World(
    keys=(OLD, NEW._replace(active=False, use=QUIET)),
    current=0,
    record=1,
    intent=0,
    said=BACKED_OUT_RESULT,
    made=2,
)
SPARE = World(keys=(OLD, Key(1, True, PERSON, LONG_AGO, 0, False)), current=0, made=2)


def execution(kind: str) -> Execution:
    """Return an execution that has not begun."""
    at = "Retire Old Key: start" if kind == RETIRE else START
    thread = Thread(at, old=0, new_version=1) if kind == RETIRE else Thread(at)
    return Execution(kind, thread, dead=(0,) if kind == AUTO else ())


def _before(world: World) -> tuple[Execution, ...]:
    """Return the executions that made a world what it is: their newest intent is still there."""
    if world.intent == NONE:
        return ()
    result = BACKED_OUT_RESULT if world.current == 0 else ROTATED
    intent = Intent((0,), 0, NONE, ROTATE, False, False, ())
    return (Execution(ROTATE, None, status=FREE, result=result, intent=intent),)


def start(
    world: World, *kinds: str, deaths: int = 0, faults: int = 0, person: int = 0, slots: int = 0
) -> tuple[str, State]:
    """Return a named start: a world, executions that may begin, and budgets."""
    names = {id(STORED): "one key, stored", id(ADOPTED): "one key, in no version"}
    names |= {id(NOTHING): "no key", id(RETAINED): "rotated, the old key retained"}
    names |= {id(BACKED_OUT): "backed out", id(SPARE): "a spare key of a person"}
    budgets = {"may die": deaths, "lost answers": faults, "act of a person": person}
    budgets["more executions"] = slots
    executions = (*_before(world), *map(execution, kinds))
    state = State(world, executions, deaths, faults, person, slots)
    may = [f"{number} {what}" for what, number in budgets.items() if number]
    return "; ".join((names[id(world)], " and ".join(kinds), *may)), state


# Small enough for every run of the tests.
FEW = (
    start(STORED, ROTATE, ROTATE, faults=1),
    start(STORED, ROTATE, deaths=1, faults=1, slots=2),
    start(STORED, ROTATE, BACK_OUT, slots=2),
    start(STORED, ROTATE, EMERGENCY, slots=1),
    start(STORED, ROTATE, deaths=1, person=1, slots=1),
    start(ADOPTED, ROTATE, deaths=1, faults=1, slots=1),
    start(NOTHING, ROTATE, ROTATE, faults=1),
    start(RETAINED, RETIRE, BACK_OUT, deaths=1, slots=1),
    start(RETAINED, RETIRE, EMERGENCY, deaths=1, slots=1),
    start(BACKED_OUT, ROTATE, BACK_OUT, slots=1),
    start(BACKED_OUT, RETIRE, ROTATE),
    start(SPARE, ROTATE, deaths=1, person=1, slots=1),
)

# Where a walk without a rule begins, when beginning everywhere would take many times as long.
_ELSEWHERE = {
    "not_redriven": start(STORED, ROTATE, deaths=1, person=1, slots=1),
    "retire_current": start(BACKED_OUT, RETIRE, ROTATE),
    "own_claim": start(NOTHING, ROTATE, ROTATE, faults=1),
    "alive_keeps_claim": start(STORED, ROTATE, EMERGENCY, slots=1),
    "intent_as_found": start(NOTHING, ROTATE, ROTATE, deaths=1, faults=1),
    "intent_is_the_claimants": start(RETAINED, RETIRE, BACK_OUT, ROTATE),
    "mark_takes_nothing": start(BACKED_OUT, ROTATE, EMERGENCY, deaths=1),
}


def without(rule: str) -> tuple[tuple[str, State], ...]:
    """Return the states in which a walk without a rule begins."""
    return (_ELSEWHERE[rule],) if rule in _ELSEWHERE else FEW


# With the rules in force the tests walk these as well.
MORE = (
    start(STORED, ROTATE, deaths=1, faults=1, person=1, slots=2),
    start(ADOPTED, ROTATE, BACK_OUT, deaths=1, slots=2),
    start(RETAINED, RETIRE, ROTATE, deaths=1, faults=1, slots=1),
    start(RETAINED, RETIRE, BACK_OUT, deaths=1, faults=1, slots=1),
    start(RETAINED, RETIRE, BACK_OUT, ROTATE),
    start(BACKED_OUT, ROTATE, EMERGENCY, deaths=1),
)

# And `python -m proofs.model --deep` these: some minutes in all.
DEEP = (
    start(STORED, ROTATE, ROTATE, deaths=1, faults=1, slots=2),
    start(STORED, ROTATE, deaths=2, faults=2, slots=3),
    start(STORED, ROTATE, BACK_OUT, deaths=1, faults=1, slots=2),
    start(STORED, ROTATE, ROTATE, BACK_OUT, slots=1),
    start(STORED, ROTATE, EMERGENCY, deaths=1, slots=2),
    start(STORED, ROTATE, EMERGENCY, faults=1, slots=1),
    start(STORED, ROTATE, BACK_OUT, person=1, slots=1),
    start(ADOPTED, ROTATE, EMERGENCY, slots=1),
    start(NOTHING, ROTATE, ROTATE, deaths=1, faults=1, slots=1),
    start(RETAINED, RETIRE, EMERGENCY, ROTATE, slots=1),
    start(RETAINED, RETIRE, ROTATE, person=1, faults=1),
    start(BACKED_OUT, ROTATE, EMERGENCY, deaths=1, slots=1),
    start(SPARE, ROTATE, EMERGENCY, deaths=1, person=1, slots=1),
)
