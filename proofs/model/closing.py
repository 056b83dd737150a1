"""Close Rotation, Discard New Key and RetireKey: the ends."""

from __future__ import annotations

from collections.abc import Iterator

from keyturn.rotate.decision import Step
from proofs.model import calls, real
from proofs.model.claiming import loses
from proofs.model.moves import (
    ATTENTION,
    BACKED_OUT,
    BOTH_ACTIVE,
    DELETED,
    FAILED,
    ISSUED,
    KEPT,
    SUPERSEDED,
    Move,
    Next,
    step,
)
from proofs.model.state import AUTO, BACK_OUT, EMERGENCY, FOREIGN, NONE, World
from proofs.model.working import DEACTIVATE, lost

# With both keys active the label stays: it alone tells that the new key was in AWSCURRENT.
_WAY_BACK_ENDS = (BACKED_OUT, ISSUED, FAILED)


@step("Close Rotation: look")
def decide_look(m: Move) -> Iterator[Next]:
    """handlers/close_rotation: a claim that is gone after our own decision is a success."""
    if m.holding or not m.rules.own_claim:
        yield _plan(m, m.w, m.t.out)
    elif m.w.last == m.e:
        yield m.ends("had decided", m.t.out)
    else:
        yield lost(m)


def _plan(m: Move, world: World, out: str) -> Next:
    seen = (world.backout, world.pending, world.record)
    return m.writes("looks", f"{m.t.state}: clear the labels", world, out=out, seen=seen)


@step("Close Rotation: clear the labels")
@step("Discard New Key: clear the labels")
def clear_labels(m: Move) -> Iterator[Next]:
    """handlers/close_rotation.record: BACKOUT where the way back ends here, and our AWSPENDING."""
    backout, pending, record = m.t.seen
    at = f"{m.t.state}: record"
    ends = m.t.out in _WAY_BACK_ENDS or (m.t.out == BOTH_ACTIVE and not m.rules.backout_stays)
    if backout != NONE and ends and m.w.backout == backout:
        seen = (NONE, pending, record)
        world = m.w._replace(backout=NONE)
        yield m.writes("takes BACKOUT off", f"{m.t.state}: clear the labels", world, seen=seen)
    elif pending != NONE and pending == m.t.new_version == m.w.pending:
        yield m.writes("takes AWSPENDING off", at, m.w._replace(pending=NONE))
    else:
        yield from record_outcome(m)


@step("Close Rotation: record")
@step("Discard New Key: record")
def record_outcome(m: Move) -> Iterator[Next]:
    """handlers/close_rotation.record: the tags."""
    world = m.w._replace(last=m.e)
    if m.rules.intent_is_the_claimants:
        world = world._replace(intent=m.e)
    if m.t.reactivated and m.t.seen[2] == m.t.old:
        world = world._replace(record=NONE)
    yield m.writes("records the outcome", f"{m.t.state}: release", world)


@step("Close Rotation: release")
@step("Discard New Key: release")
def release(m: Move) -> Iterator[Next]:
    """claim.release: the decision, and its last step."""
    if not m.holding and m.rules.own_claim:
        yield lost(m)
        return
    if m.w.claim not in (m.e, NONE) and m.state.executions[m.w.claim].main is not None:
        raise calls.Broken(f"{m.e} takes the claim off under which {m.w.claim} is at work")
    world = m.w._replace(claim=NONE, open=NONE, said=m.t.out)
    yield Next("releases the claim", world, None, m.t.out, writes=True)


@step("Discard New Key: wait")
def wait_to_discard(m: Move) -> Iterator[Next]:
    """The Wait before Discard New Key, when the invocation that failed may still be running."""
    if m.x.ghost is None or not m.rules.discard_waits:
        yield m.enters("begins to discard", "Discard New Key: look")


@step("Discard New Key: look")
def discard_look(m: Move) -> Iterator[Next]:
    """handlers/discard_new_key: looks again before it deletes."""
    new = m.t.new_version
    if new == NONE:
        for version in (m.w.pending, m.w.current):
            key = m.w.find(version)
            if new == NONE and key is not None and key.by == m.e:
                new = version
    found = m._replace(t=m.t._replace(new=m.w.key_in(new), new_version=new))
    if new != NONE and new == m.w.current and m.rules.discard_looks:
        yield _published(found)
    elif m.holding:
        yield _plan_discard(found)
    elif m.x.kind in (EMERGENCY, AUTO) and m.w.last != m.e:
        yield loses(found, "finds that it has no claim")
    else:
        yield found.ends("finds the claim lost", _discarded(m))


def _published(m: Move) -> Next:
    if m.t.old == NONE and m.holding:
        return _plan(m, m.w, ISSUED)
    if m.t.old == NONE:
        return m.ends("finds its key published", ISSUED)
    at = DEACTIVATE if m.t.exposed else "Wait Out Own Calls: wait"
    return m.enters("finds its key published", at)


def _plan_discard(m: Move) -> Next:
    doomed = set(real.orphans(m.state, m.e, m.rules))
    labelled = (m.w.key_in(m.w.current), m.w.key_in(m.w.backout))
    own = NONE if m.t.again else m.t.new  # then it is the exposed one, which was published
    if own != NONE and (own not in labelled or not m.rules.discard_looks):
        doomed.add(own)
    if m.w.pending < FOREIGN and m.w.pending not in (NONE, *labelled):
        doomed.add(m.w.pending)  # stored by a dead execution, and in no label that counts
    seen = (m.w.pending, m.w.backout)
    return m.writes(
        "looks", "Discard New Key: delete", m.w, doomed=tuple(sorted(doomed)), seen=seen
    )


@step("Discard New Key: delete")
def discard_delete(m: Move) -> Iterator[Next]:
    """handlers/discard_new_key._clean_up: our unpublished key, and orphans."""
    if m.t.doomed:
        key, *rest = m.t.doomed
        world = calls.delete_key(m.w, key)
        yield m.writes(f"deletes key {key}", "Discard New Key: delete", world, doomed=tuple(rest))
        return
    pending, backout = m.t.seen
    if pending != NONE and pending < FOREIGN and m.w.pending == pending:
        world = m.w._replace(pending=NONE)
        yield m.writes("takes AWSPENDING off", m.t.at, world, seen=(NONE, backout))
        return
    world = m.w._replace(backout=NONE) if backout == m.w.backout else m.w
    if m.t.exposed and m.x.kind != BACK_OUT:
        yield m.enters("has nothing to publish", "Deactivate Exposed Key: look", world)
    else:
        yield _plan(m, world, _discarded(m))._replace(writes=world is not m.w)


def _discarded(m: Move) -> str:
    if m.t.again:
        return ATTENTION
    return BACKED_OUT if m.x.kind in (BACK_OUT, AUTO) else FAILED


# --- RetireKey ------------------------------------------------------------------------------------


@step("Retire Old Key: start")
@step("Retire Old Key: look")
def retire_look(m: Move) -> Iterator[Next]:
    """handlers/retire_old_key: judges, claims, and judges again. TRY_AGAIN stays here."""
    verdict = real.judge(m.state, m.e, m.rules)
    if m.holding:
        yield from _retire(m, verdict)
    elif verdict == "DELETE":
        found = real.Answer(Step.ISSUE, "retiring", m.t.old)
        planned = real.intent(m.state, m.e, found, m.rules, issues=True)
        at = "Retire Old Key: put the intent"
        yield m.writes("looks", at, m.w, seen=(m.w.claim,), planned=planned)
    elif verdict != "TRY_AGAIN":
        yield m.ends(f"judges {verdict}", SUPERSEDED if verdict == SUPERSEDED else KEPT)


@step("Retire Old Key: look again")
def retire_decide(m: Move) -> Iterator[Next]:
    """handlers/retire_old_key: under the claim the judgement binds."""
    yield from _retire(m, real.judge(m.state, m.e, m.rules))


def _retire(m: Move, verdict: str) -> Iterator[Next]:
    if verdict == "DELETE":
        seen = (m.w.backout, m.w.record)
        yield m.writes("judges DELETE", "Retire Old Key: delete", m.w, seen=seen)
    elif m.holding:
        yield m.writes(f"judges {verdict}", "Retire Old Key: give back", m.w, out=verdict)
    else:
        yield m.ends(f"judges {verdict}", KEPT)


@step("Retire Old Key: give back")
def retire_give_back(m: Move) -> Iterator[Next]:
    """handlers/retire_old_key: releases what it cannot use."""
    world = m.w._replace(claim=NONE) if m.holding else m.w
    if m.t.out == "TRY_AGAIN":
        yield m.enters("releases the claim", "Retire Old Key: look", world, out="")
    else:
        result = SUPERSEDED if m.t.out == SUPERSEDED else KEPT
        yield Next("releases the claim", world, None, result, writes=True)


@step("Retire Old Key: delete")
def retire_delete(m: Move) -> Iterator[Next]:
    """handlers/retire_old_key._delete: the key, by its id."""
    if m.w.current != m.t.new_version and not m.w.touched and m.w.foreign == NONE:
        raise calls.Broken(f"the key {m.t.old} is deleted within the retention of a later rotation")
    world = calls.delete_key(m.w, m.t.old)
    yield m.writes(f"deletes key {m.t.old}", "Retire Old Key: clear", world)


@step("Retire Old Key: clear")
def retire_clear(m: Move) -> Iterator[Next]:
    """handlers/retire_old_key._delete: the way back, and the record of it."""
    backout, record = m.t.seen
    if backout != NONE and m.w.backout == backout:
        world = m.w._replace(backout=NONE)
        yield m.writes("takes BACKOUT off", m.t.at, world, seen=(NONE, record))
        return
    world = m.w._replace(record=NONE) if record == m.t.old else m.w
    yield m.writes("clears its record", "Retire Old Key: release", world)


@step("Retire Old Key: release")
def retire_release(m: Move) -> Iterator[Next]:
    """claim.release."""
    if m.holding:
        yield Next("releases the claim", m.w._replace(claim=NONE), None, DELETED, writes=True)
    else:
        yield m.ends("finds the claim lost", DELETED)
