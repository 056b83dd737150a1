"""From Prove New Key to the end of the watch, and the deactivations."""

from __future__ import annotations

from collections.abc import Iterator

from proofs.model import calls
from proofs.model.moves import (
    ATTENTION,
    BACKED_OUT,
    CLAIM_LOST,
    ISSUED,
    ROTATED,
    Move,
    Next,
    step,
)
from proofs.model.state import BUSY, NONE, QUIET

CLOSE, DISCARD = "Close Rotation: look", "Discard New Key: look"
REACTIVATE, DEACTIVATE = "Reactivate Old Key: look", "Deactivate Old Key: look"


def lost(m: Move) -> Next:
    """claim.required: the claim is somebody else's, or gone."""
    return m.ends("finds the claim lost", CLAIM_LOST)


@step("Prove New Key: look")
def prove_new_key(m: Move) -> Iterator[Next]:
    """handlers/prove_key: a key that somebody deleted or deactivated does not prove."""
    if not m.holding:
        yield lost(m)
    elif m.w.is_active(m.t.new):
        yield m.enters("proves the new key", "Publish New Key: look")
    else:
        yield m.enters("cannot prove the new key", DISCARD)


@step("Publish New Key: look")
def publish_look(m: Move) -> Iterator[Next]:
    """handlers/move_current: AWSCURRENT has to be where this rotation found it."""
    if not m.holding:
        yield lost(m)
        return
    seen = (m.w.current, m.w.backout, m.w.pending)
    if m.w.current == m.t.new_version:
        yield m.writes("looks", "Publish New Key: AWSPENDING off", m.w, seen=seen)
    elif m.t.old_version == NONE:
        yield m.writes("looks", "Publish New Key: AWSCURRENT", m.w, seen=seen)
    elif m.w.current == m.t.old_version:
        yield m.writes("looks", "Publish New Key: BACKOUT", m.w, seen=seen)
    else:
        yield m.enters("finds AWSCURRENT moved", DISCARD)


@step("Publish New Key: BACKOUT")
def publish_backout(m: Move) -> Iterator[Next]:
    """handlers/move_current: first the way back."""
    current, backout, _ = m.t.seen
    if m.w.backout in (backout, current):
        world = m.w._replace(backout=current)
        yield m.writes("marks the way back", "Publish New Key: AWSCURRENT", world)
    else:
        yield m.enters("finds BACKOUT moved", DISCARD)


@step("Publish New Key: AWSCURRENT")
def publish_current(m: Move) -> Iterator[Next]:
    """handlers/move_current: the compare-and-swap that consumers see."""
    if m.w.current not in (m.t.seen[0], m.t.new_version):
        yield m.enters("finds AWSCURRENT moved", DISCARD)
        return
    world = calls.put_in_charge(m.w, m.t.new_version)._replace(open=m.e)
    text = f"moves AWSCURRENT to key {m.t.new}"
    yield m.writes(text, "Publish New Key: AWSPENDING off", world)


@step("Publish New Key: AWSPENDING off")
def publish_pending(m: Move) -> Iterator[Next]:
    """handlers/move_current: what is next depends on what the key replaces."""
    world = m.w
    if m.t.seen[2] == m.t.new_version == world.pending:
        world = world._replace(pending=NONE)
    if m.t.old == NONE:
        found = m.enters("has issued a first key", CLOSE, world, out=ISSUED)
    elif m.t.exposed:
        found = m.enters("has published", DEACTIVATE, world)
    else:
        found = m.enters("has published", "Check Pickup: look", world)
    yield found._replace(writes=True)


@step("Check Pickup: look")
def check_pickup(m: Move) -> Iterator[Next]:
    """handlers/check_consumers and evidence.judge_pickup, with every verdict that can be."""
    if m.x.older:
        return
    if not m.holding:
        yield lost(m)
        return
    if m.w.current != m.t.new_version:
        yield m.enters("finds AWSCURRENT moved", CLOSE, out=ATTENTION)
        return
    old_active = m.w.is_active(m.t.old)
    if not m.w.is_active(m.t.new):
        if old_active:
            yield m.enters("finds the new key gone", REACTIVATE)
        else:
            yield m.enters("finds both keys gone", CLOSE, out=ATTENTION)
        return
    moved = m.w.used(m.t.new, BUSY)
    yield m.enters("sees the consumers moved", DEACTIVATE, moved.used(m.t.old, QUIET))
    if old_active:
        both = moved.used(m.t.old, BUSY)
        yield m.enters("sees both keys in use", CLOSE, both, out=ATTENTION)
        yield m.enters("sees nobody move", REACTIVATE, m.w.used(m.t.old, BUSY))
    else:
        yield m.enters("sees nobody anywhere", CLOSE, out=ATTENTION)


@step(DEACTIVATE)
def deactivate_look(m: Move) -> Iterator[Next]:
    """handlers/deactivate_key: the evidence is as old as the last poll."""
    if not m.holding:
        yield lost(m)
    elif m.w.current != m.t.new_version:
        yield m.enters("finds AWSCURRENT moved", CLOSE, out=ATTENTION)
    elif not m.w.is_active(m.t.new):
        yield m.enters("finds the new key gone", CLOSE, out=ATTENTION)
    elif m.w.is_active(m.t.old):
        yield m.writes("looks once more", "Deactivate Old Key: record", m.w, seen=(m.t.old,))
    else:
        yield _deactivated(m, "finds it inactive")


@step("Deactivate New Key: look")
@step("Deactivate Exposed Key: look")
def deactivate_other_look(m: Move) -> Iterator[Next]:
    """handlers/deactivate_key: the new key in a back-out, or an exposed one without successor."""
    key = m.t.new if m.t.state == "Deactivate New Key" else m.t.old
    if not m.holding:
        yield lost(m)
    elif m.w.is_active(key):
        yield m.writes("looks", f"{m.t.state}: record", m.w, seen=(key,))
    else:
        yield _deactivated(m, "finds it inactive")


@step("Deactivate Old Key: record")
@step("Deactivate New Key: record")
@step("Deactivate Exposed Key: record")
def deactivate_record(m: Move) -> Iterator[Next]:
    """handlers/deactivate_key._deactivate: the record before the act."""
    (key,) = m.t.seen
    yield m.writes("records it", f"{m.t.state}: UpdateAccessKey", m.w._replace(record=key))


@step("Deactivate Old Key: UpdateAccessKey")
@step("Deactivate New Key: UpdateAccessKey")
@step("Deactivate Exposed Key: UpdateAccessKey")
def deactivate(m: Move) -> Iterator[Next]:
    """handlers/deactivate_key._deactivate."""
    (key,) = m.t.seen
    yield _deactivated(m, f"deactivates key {key}", key)._replace(writes=True)


def _deactivated(m: Move, text: str, key: int = NONE) -> Next:
    world = calls.deactivate_key(m.w, key) if key != NONE else m.w
    if m.t.state == "Deactivate Old Key":
        back = {"deactivated": True, "reactivated": False}
        return m.enters(text, "Check Watch: look", world, **back)
    if m.t.state == "Deactivate Exposed Key":
        return m.enters(text, CLOSE, world, out=ATTENTION)
    if m.t.again:
        return m.enters(text, "Issue New Key: look", world)
    return m.enters(text, CLOSE, world, out=BACKED_OUT)


@step("Check Watch: look")
def check_watch(m: Move) -> Iterator[Next]:
    """handlers/check_consumers and evidence.judge_watch, with every verdict that can be."""
    if m.x.older:
        return
    if not m.holding:
        yield lost(m)
        return
    bad = ATTENTION if m.t.exposed else ""
    goes_back = CLOSE if m.t.exposed else REACTIVATE
    if not m.w.is_active(m.t.new):
        yield m.enters("finds the new key gone", goes_back, out=bad)
        return
    if m.w.current != m.t.new_version:
        silent = not m.t.exposed
        yield m.enters("finds AWSCURRENT moved", goes_back, out=bad, silent=silent)
        return
    yield m.enters("sees the deactivation healthy", CLOSE, m.w.used(m.t.new, BUSY), out=ROTATED)
    yield m.enters("sees a consumer hurt", goes_back, m.w.used(m.t.old, BUSY), out=bad)
    yield m.enters("sees nothing to the end", goes_back, out=bad, silent=not m.t.exposed)
