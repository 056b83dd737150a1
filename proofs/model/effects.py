"""What a step of the model changes, in the words of the AWS calls that change it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from proofs.model.events import successors
from proofs.model.lives import named
from proofs.model.rules import ALL
from proofs.model.state import NONE, State, World


def effects(before: World, after: World) -> Iterator[str]:
    """Return the calls that make one world of another (a step makes one at most)."""
    if after.intent != before.intent:
        yield "PutSecretValue INTENT"
    elif after.pending not in (before.pending, NONE):
        yield "PutSecretValue AWSPENDING"
    elif after.pending != before.pending:
        yield "UpdateSecretVersionStage AWSPENDING"
    for label, old, new in (
        ("CLAIM", before.claim, after.claim),
        ("BACKOUT", before.backout, after.backout),
        ("AWSCURRENT", before.current, after.current),
    ):
        if new != old:
            yield f"UpdateSecretVersionStage {label}"
    if after.record != before.record:
        yield "UntagResource deactivated" if after.record == NONE else "TagResource deactivated"
    if after.last != before.last:
        yield "TagResource last-result"
    if len(after.keys) != len(before.keys):
        yield "CreateAccessKey" if len(after.keys) > len(before.keys) else "DeleteAccessKey"
    elif [key.active for key in after.keys] != [key.active for key in before.keys]:
        yield "UpdateAccessKey"


def follow(
    state: State, number: int, choices: Sequence[str], *, interfering: str = "", at: str = ""
) -> tuple[list[tuple[str, str]], State]:
    """Let one execution run undisturbed to its end.

    Args:
        state: where to begin; its budgets should be nothing.
        number: the execution that runs.
        choices: where a step has several outcomes, what the text of the wanted one contains.
        interfering, at: an event of a person, and the state before which it happens.

    Returns:
        the calls, each with the state that makes it, and the state at the end.
    """
    made: list[tuple[str, str]] = []
    while (main := state.executions[number].main) is not None:
        if interfering and main.state == at and state.person:
            interfered = dict(successors(state, ALL))[interfering]
            assert isinstance(interfered, State)
            state = interfered
        name = named(state.executions[number], number, main)
        found = [each for each in successors(state, ALL) if each[0].startswith(name)]
        wanted = [each for each in found if any(choice in each[0] for choice in choices)]
        after = (wanted or found)[0][1]
        assert isinstance(after, State), after
        made += [(main.state, effect) for effect in effects(state.world, after.world)]
        state = after
    return made, state
