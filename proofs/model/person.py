"""What a person may do, once."""

from __future__ import annotations

from collections.abc import Iterator

from proofs.model import claiming
from proofs.model.calls import born_now
from proofs.model.lives import Event, named
from proofs.model.rules import Rules
from proofs.model.state import (
    ENDED,
    FOREIGN,
    FREE,
    MAYBE,
    NEVER,
    NONE,
    PERSON,
    RUNNING,
    Key,
    State,
    Thread,
)


def acts(state: State, rules: Rules) -> Iterator[Event]:
    """Return what a person may do to keys and labels, and to executions (start them again)."""
    world = state.world
    for key in world.keys:
        touched = world._replace(touched=world.touched | 1 << key.id)
        gone = tuple(each for each in world.keys if each.id != key.id)
        yield f"a person deletes key {key.id}", state._replace(world=touched._replace(keys=gone))
        if key.active:
            off = touched.with_key(key._replace(active=False))
            yield f"a person deactivates key {key.id}", state._replace(world=off)
    if len(world.keys) < 2 and not _begins(state):
        made = Key(world.made, True, PERSON, born_now(world, state.executions), NEVER, False)
        more = world._replace(keys=(*world.keys, made), made=world.made + 1)
        yield f"a person creates key {made.id}", state._replace(world=more)
        native = more.with_key(made._replace(use=MAYBE, stored=True))
        native = native._replace(current=FOREIGN, foreign=made.id)
        yield (
            f"a person creates key {made.id} and puts it into AWSCURRENT",
            state._replace(world=native),
        )
    if world.current != NONE and world.foreign == NONE:
        yield (
            "a person labels a version AWSPENDING",
            state._replace(world=world._replace(pending=FOREIGN)),
        )
    if not rules.not_redriven:
        for number, execution in enumerate(state.executions):
            if execution.saved is not None and execution.status in (ENDED, FREE):
                again = execution.saved._replace(seen=(), doomed=(), planned=None)
                at = Thread(again.state + ": look").at if again.seen == () else again.at
                again = again._replace(at=at if again.at != claiming.START else again.at)
                running = execution._replace(
                    status=RUNNING, main=again, ghost=None, saved=None, result="", older=0
                )
                yield (
                    f"a person redrives {named(execution, number)}",
                    state.replaced(number, running),
                )


def _begins(state: State) -> bool:
    """Whether an execution is between its first look and its claim."""
    return any(
        thread is not None and thread.planned is not None
        for execution in state.executions
        for thread in (execution.main, execution.ghost)
    )
