"""What the state machine does when an answer is lost, and when a state fails for good."""

from __future__ import annotations

from collections.abc import Iterator

from proofs.model import working
from proofs.model.lives import READS_ONLY, Event, ended, settled
from proofs.model.moves import ATTENTION, FAILED, INCOMPLETE, UNDECIDED, Move, Next
from proofs.model.state import State, Thread, World

# Where States.ALL is caught: the state to go on in with what is judged so far, or how it ends.
CATCH = {
    "Issue New Key": ("Discard New Key: wait", ""),
    "Prove New Key": ("Discard New Key: look", ""),
    "Publish New Key": ("Discard New Key: wait", ""),
    "Check Pickup": ("Close Rotation: look", ATTENTION),
    "Deactivate Old Key": ("Wait Out Own Calls: wait", ""),
    "Deactivate Exposed Key": ("Close Rotation: look", ATTENTION),
    "Check Watch": ("Wait Out Own Calls: wait", ""),
    "Reactivate Old Key": (working.REACTIVATE, ""),
    "Prove Old Key": (working.REACTIVATE, ""),
    "Restore Old Version": (working.REACTIVATE, ""),
    "Check Return": (working.REACTIVATE, ""),
    "Deactivate New Key": (working.REACTIVATE, ""),
    "Close Rotation": ("Close Rotation: look", ""),
}
ENDS = {
    "Stop Claimant": FAILED,
    "Discard New Key": INCOMPLETE,
    "Take Over": UNDECIDED,
    "Close Rotation": UNDECIDED,
    "Retire Old Key": FAILED,
}
# The back-out gives up for good on errors that trying again does not mend.
GIVES_UP = (
    "Reactivate Old Key",
    "Prove Old Key",
    "Restore Old Version",
    "Check Return",
    "Deactivate New Key",
)
# After these a wait is long enough for the invocation to be over.
_WAITED_FOR = (*GIVES_UP, "Close Rotation")


def changes_others(found: Next, move: Move) -> bool:
    """Whether a step changes a key that others created and nobody exposed."""

    def theirs(world: World) -> list[tuple[int, bool]]:
        return [
            (key.id, key.active)
            for key in world.keys
            if key.by != move.e and not found.world.is_exposed(key.id)
        ]

    return theirs(found.world) != theirs(move.w)


def faults_of(move: Move, found: Next, name: str) -> Iterator[Event]:
    """An answer is lost and the state tried again, or it fails for good with or without effect."""
    state = move.state._replace(faults=move.state.faults - 1)
    at = move.t.state
    if not found.writes:
        if at in READS_ONLY:
            yield from _fails(move, state, name, at)
        return
    landed = state._replace(world=found.world)
    execution = move.x
    if found.intent is not None:
        execution = execution._replace(intent=found.intent)
    if changes_others(found, move):
        execution = execution._replace(changed=True)
    first = Thread(f"{at}: look")
    again = move.t._replace(at=first.at, seen=(), doomed=(), planned=None)
    yield (
        f"{name} {found.text}; its answer is lost, the state is tried again",
        settled(landed.replaced(move.e, execution._replace(main=again))),
    )
    after = move._replace(x=execution, state=landed)
    yield from _fails(after, landed, f"{name} {found.text}; the answer is lost,", at)
    yield from _fails(move, state, f"{name} does not come to: {found.text},", at)
    if move.x.ghost is not None:
        return
    left = move._replace(x=move.x._replace(ghost=move.t))
    if at not in _WAITED_FOR:
        yield from _fails(left, state, f"{name} seems to fail,", at)
    if not move.rules.retries_wait:
        yield (
            f"{name} is tried again while its first invocation still runs",
            settled(state.replaced(move.e, left.x._replace(main=again))),
        )


def _fails(move: Move, state: State, name: str, at: str) -> Iterator[Event]:
    """The retriers are used up: what the state machine does with the error."""
    carried = move.t._replace(seen=(), doomed=(), planned=None)
    caught = CATCH.get(at)
    if at == "Take Over" and not move.rules.taken_claim_stays:
        caught = ("Close Rotation: look", ATTENTION)
    elif at == "Take Over" and move.x.ghost is None:  # after a wait as long as the fence
        caught = ("Take Over: look", "")
    if caught is not None:
        to, out = caught
        thread = carried._replace(at=to, out=out or carried.out)
        changed = state.replaced(move.e, move.x._replace(main=thread))
        yield f"{name} and goes to {thread.state}", settled(changed)
    if at in GIVES_UP:
        thread = carried._replace(at=working.CLOSE, out=INCOMPLETE)
        changed = state.replaced(move.e, move.x._replace(main=thread))
        yield f"{name} and gives the back-out up", settled(changed)
    if at in ENDS and (at != "Take Over" or move.rules.taken_claim_stays):
        yield f"{name} and ends", settled(ended(state, move.e, move.x, ENDS[at], move.t))
