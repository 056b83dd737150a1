"""Issue New Key, from the decision under the claim to the stored key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from keyturn.rotate.decision import Step
from proofs.model import calls, real
from proofs.model.claiming import clean_up_first, loses, marked, plan_claim
from proofs.model.moves import CLAIM_LOST, Move, Next, step
from proofs.model.state import AUTO, EMERGENCY, NONE, World


def _binding(m: Move) -> real.Answer:
    # An earlier try may have deleted the unpublished key that was exposed.
    gone = m.holding and m.x.kind == EMERGENCY and m.w.find(m.x.argument) is None
    if m.t.again or m.x.kind == AUTO or gone:
        return real.decide_plainly(m.state, m.e, m.rules)
    return real.decide(m.state, m.e, m.rules)


@step("Issue New Key: look")
def issue_look(m: Move) -> Iterator[Next]:
    """handlers/issue_new_key: run twice, the second run finds the first one's key."""
    if m.holding:
        for version in (m.w.pending, m.w.current):
            key = m.w.find(version)
            if key is not None and key.by == m.e:
                yield m.enters(
                    "finds its key stored",
                    "Prove New Key: look",
                    **_replaced_by(m, version),
                    new=version,
                    new_version=version,
                    again=False,
                )
                return
        yield from _plan_issue(m, marked(m))
        return
    if m.t.again:
        yield m.ends("finds the claim lost", CLAIM_LOST)
        return
    found = _binding(m)
    if found.step is not Step.ISSUE:
        changed = m._replace(state=m.state._replace(world=marked(m)))
        yield loses(changed, "finds the world changed", found.reason)
    else:
        yield plan_claim(m, found, "Issue New Key")


@step("Issue New Key: look again")
def issue_decide(m: Move) -> Iterator[Next]:
    """handlers/issue_new_key: the decision under the claim, and what has to go for room."""
    if m.holding:
        yield from _plan_issue(m, m.w)
    else:
        yield m.ends("finds the claim lost", CLAIM_LOST)


def _replaced_by(m: Move, version: int) -> dict[str, Any]:
    """What the key replaces: the request may have been made, and the intent put, before."""
    found = _binding(m)
    if found.new_version != version:
        return {}
    return {"old": found.old, "old_version": found.old_version, "exposed": found.exposed}


def _plan_issue(m: Move, world: World) -> Iterator[Next]:
    kept = m.t.seen[1:]
    found = real.unpacked(kept) if kept else _binding(m)
    if found.step is not Step.ISSUE:
        if m.t.again:  # not the beginning: AWSCURRENT was moved already
            yield m.enters(f"decides {found.step}", "Discard New Key: look", world)
        else:
            yield clean_up_first(m, found, world)
        return
    doomed = [key for key in real.orphans(m.state, m.e, m.rules) if key != found.room]
    room = (found.room,) if found.room != NONE else ()
    yield m.writes(
        "decides to issue a key",
        "Issue New Key: make room",
        world,
        doomed=(*doomed, *room),
        seen=(
            found.room,
            found.old,
            found.old_version,
            int(found.exposed),
            m.w.backout,
            m.w.record,
        ),
    )


@step("Issue New Key: make room")
def make_room(m: Move) -> Iterator[Next]:
    """handlers/issue_new_key._make_room: orphans, then the key that the decision names."""
    if m.t.doomed:
        key, *rest = m.t.doomed
        world = calls.delete_key(m.w, key)
        yield m.writes(f"deletes key {key}", "Issue New Key: make room", world, doomed=tuple(rest))
        return
    room, old, old_version, exposed, backout, record = m.t.seen
    if room != NONE and record == room:
        seen = (NONE, old, old_version, exposed, backout, NONE)
        yield m.writes("clears its record", m.t.at, m.w._replace(record=NONE), seen=seen)
        return
    world = m.w._replace(backout=NONE) if backout == m.w.backout else m.w
    text = "has room" if backout == NONE else "takes the earlier BACKOUT off"
    yield m.writes(text, "Issue New Key: create", world)


@step("Issue New Key: create")
def create(m: Move) -> Iterator[Next]:
    """handlers/issue_new_key: CreateAccessKey, without SDK retries."""
    if len(m.w.keys) >= 2:
        yield m.enters("finds no room", "Discard New Key: look")
        return
    world = calls.create_key(m.w, m.e, m.state.executions)
    yield m.writes(f"creates key {m.w.made}", "Issue New Key: store", world, doomed=(m.w.made,))


@step("Issue New Key: store")
def store(m: Move) -> Iterator[Next]:
    """handlers/issue_new_key._store: PutSecretValue, labelled AWSPENDING."""
    (key_id,) = m.t.doomed
    _, old, old_version, exposed, _, _ = m.t.seen
    key = m.w.find(key_id)
    world = m.w._replace(pending=key_id)
    if key is not None:
        world = world.with_key(key._replace(stored=True))
    yield m.enters(
        f"stores key {key_id} as AWSPENDING",
        "Prove New Key: look",
        world,
        old=old,
        old_version=old_version,
        new=key_id,
        new_version=key_id,
        exposed=bool(exposed),
        again=False,
    )._replace(writes=True)
