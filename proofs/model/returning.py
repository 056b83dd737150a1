"""The back-out: Reactivate Old Key to Check Return."""

from __future__ import annotations

from collections.abc import Iterator

from proofs.model import calls
from proofs.model.moves import ATTENTION, BACKED_OUT, BOTH_ACTIVE, INCOMPLETE, Move, Next, step
from proofs.model.state import BUSY, MAYBE, NONE, QUIET, UNUSED
from proofs.model.working import CLOSE, DEACTIVATE, REACTIVATE, lost


@step("Wait Out Own Calls: wait")
def wait_out_own_calls(m: Move) -> Iterator[Next]:
    """The Wait before the back-out: a call of the state that failed may still take effect."""
    if m.x.ghost is None or not m.rules.back_out_waits:
        yield m.enters("goes back", REACTIVATE)


@step(REACTIVATE)
def reactivate_look(m: Move) -> Iterator[Next]:
    """handlers/reactivate_old_key: only what we deactivated, and never an exposed key."""
    if not m.holding:
        yield lost(m)
        return
    old = m.w.find(m.t.old)
    exposed = m.t.exposed or m.w.is_exposed(m.t.old)
    if exposed and m.rules.exposed_stays:
        yield m.enters("finds the old key exposed", DEACTIVATE, exposed=True, out=ATTENTION)
    elif old is None or (not old.active and m.w.record != m.t.old):
        yield m.enters("has nothing to go back to", CLOSE, out=INCOMPLETE)
    elif old.active:
        yield _reactivated(m, "finds the old key active")
    else:
        at = "Reactivate Old Key: UpdateAccessKey"
        yield m.writes("looks", at, m.w, seen=(m.t.old, int(exposed)))


@step("Reactivate Old Key: UpdateAccessKey")
def reactivate(m: Move) -> Iterator[Next]:
    """handlers/reactivate_old_key."""
    if m.w.find(m.t.old) is None:
        yield m.enters("finds the old key deleted", CLOSE, out=INCOMPLETE)
    else:
        yield _reactivated(m, f"activates key {m.t.old}", m.t.old)._replace(writes=True)


def _reactivated(m: Move, text: str, key: int = NONE) -> Next:
    world = m.w
    if key != NONE:
        world = calls.activate_key(world, key, was_exposed=bool(m.t.seen[1]))
    back = m.t.reactivated or m.t.deactivated
    if m.t.silent:
        return m.enters(text, CLOSE, world, out=ATTENTION, reactivated=back)
    if m.t.old_version == NONE:
        return m.enters(text, CLOSE, world, out=INCOMPLETE, reactivated=back)
    return m.enters(text, "Prove Old Key: look", world, reactivated=back)


@step("Prove Old Key: look")
def prove_old_key(m: Move) -> Iterator[Next]:
    """handlers/prove_key: AWSCURRENT stays on the new key until the old one works."""
    if not m.holding:
        yield lost(m)
    elif m.w.is_active(m.t.old):
        yield m.enters("proves the old key", "Restore Old Version: look")
    else:
        yield m.enters("cannot prove the old key", CLOSE, out=INCOMPLETE)


@step("Restore Old Version: look")
def restore_look(m: Move) -> Iterator[Next]:
    """handlers/move_current."""
    if not m.holding:
        yield lost(m)
    elif m.w.current in (m.t.old_version, m.t.new_version):
        seen = (m.w.current,)
        yield m.writes("looks", "Restore Old Version: AWSCURRENT", m.w, seen=seen)
    else:
        yield m.enters("finds AWSCURRENT moved", CLOSE, out=INCOMPLETE)


@step("Restore Old Version: AWSCURRENT")
def restore(m: Move) -> Iterator[Next]:
    """handlers/move_current: by the version's id."""
    if m.w.current not in (m.t.seen[0], m.t.old_version):
        yield m.enters("finds AWSCURRENT moved", CLOSE, out=INCOMPLETE)
        return
    if _undoes_what_is_decided(m):
        raise calls.Broken("the automatic back-out undoes a rotation that had been decided")
    world = calls.put_in_charge(m.w, m.t.old_version)
    at = "Deactivate New Key: look" if m.t.again else "Check Return: look"
    yield m.enters(f"moves AWSCURRENT to key {m.t.old}", at, world)._replace(writes=True)


def _undoes_what_is_decided(m: Move) -> bool:
    """Whether the automatic back-out goes back although nobody has asked for that."""
    asked = any(m.state.executions[dead].kind == "BACK_OUT" for dead in m.x.dead)
    decided = m.w.said == "ROTATED" and m.w.open == NONE
    exposed = m.w.is_exposed(m.w.key_in(m.w.current))
    moves = m.w.current != m.t.old_version
    return m.x.kind == "AUTO" and moves and decided and not asked and not exposed


@step("Check Return: look")
def check_return(m: Move) -> Iterator[Next]:
    """handlers/check_consumers and evidence.judge_return, with every verdict that can be."""
    if m.x.older:
        return
    if not m.holding:
        yield lost(m)
        return
    key = m.w.find(m.t.new)
    at = "Deactivate New Key: look"
    if key is None or not key.active:
        yield m.enters("finds the new key gone", at, out=BACKED_OUT)
    elif m.w.is_exposed(m.t.new):
        yield m.enters("finds the new key exposed", at, out=BACKED_OUT)
    else:
        quiet = m.w.used(m.t.new, UNUSED if key.use == MAYBE else QUIET)
        yield m.enters("sees nobody on the new key", at, quiet, out=BACKED_OUT)
        busy = m.w.used(m.t.new, BUSY)
        yield m.enters("sees a consumer stay", CLOSE, busy, out=BOTH_ACTIVE)
