"""Walks the decision table over every combination of keys, labels, claim, record and request."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from keyturn.model.world import Claim, ClaimantState, Key, Label, SecretState, World
from keyturn.rotate.decision import Ask, Decision, Step, decide
from tests.unit.test_decision_table import ids_of
from tests.unit.worlds import (
    ARN,
    GONE,
    K1,
    K2,
    NOW,
    POLICY,
    claim,
    intent,
    key,
    ours,
    record,
    secret,
    world,
)

FOREIGN = "11111111-2222-3333-4444-555555555555"  # a version made by others; it holds key 1
EMPTY = "intent-" + "c" * 32  # a version without a key

STATES = (None, True, False)
CURRENTS = (None, ours(K1), ours(K2), ours(GONE), FOREIGN, EMPTY)
PENDINGS = (None, ours(K1), ours(K2), ours(GONE), FOREIGN)
BACKOUTS = (None, ours(K1), ours(K2), ours(GONE))
RECORDS = (None, K1, K2)
EXPOSED = (None, K1, K2)

OWN = intent(took_over=True)
CLAIMS: dict[str, tuple[Claim | None, bool]] = {
    "none": (None, False),
    "running": (claim(ClaimantState.RUNNING), False),
    "ended within the fence": (claim(free_in_seconds=30), False),
    "dead": (claim(), False),
    "unknown": (claim(ClaimantState.UNKNOWN), False),
    "ours": (claim(ClaimantState.RUNNING), True),
    "ours, taken over": (claim(ClaimantState.RUNNING, of=OWN), True),
}
LIVE = frozenset({"running", "ended within the fence", "unknown"})

ASKS = {
    "rotate": Ask(),
    "force": Ask(force=True),
    "back out": Ask(action="BACK_OUT"),
    "recovery": Ask(action="BACK_OUT", recovery_of=ARN),
    "emergency": Ask(mode="EMERGENCY"),
    "emergency for key 1": Ask(mode="EMERGENCY", exposed_key_id=K1),
    "emergency for key 2": Ask(mode="EMERGENCY", exposed_key_id=K2),
}

HARMLESS = frozenset({Step.REJECT, Step.SKIP, Step.WAIT, Step.STOP_CLAIMANT})


def worlds(claim_name: str) -> Iterator[tuple[World, SecretState]]:
    """Every world under one kind of claim."""
    holder, holding = CLAIMS[claim_name]
    # Key 2 is what a rotation would have made: created after the claim, and possibly never used.
    seconds = (None, *itertools.product((True, False), (None, 0.01)))
    for first, second in itertools.product(STATES, seconds):
        keys: list[Key] = []
        if first is not None:
            keys.append(key(K1, active=first))
        if second is not None:
            keys.append(key(K2, active=second[0], days_old=0.02, used_days_ago=second[1]))
        for current, pending, backout, noted, exposed in itertools.product(
            CURRENTS, PENDINGS, BACKOUTS, RECORDS, EXPOSED
        ):
            state = secret(
                current,
                pending=pending,
                backout=backout,
                exposed=ours(exposed) if exposed else None,
                foreign={FOREIGN: K1},
                record=record(noted) if noted else {},
            )
            yield (
                world(
                    *keys,
                    secret=state,
                    claim=holder,
                    holding=holding,
                    last_intent=None if holder else intent(),
                ),
                state,
            )


@pytest.mark.parametrize("claim_name", CLAIMS)
def test_every_world_has_one_answer_that_keeps_the_promise(claim_name: str) -> None:
    answers = 0
    for seen, state in worlds(claim_name):
        for ask in ASKS.values():
            decision = decide(seen, ask, POLICY)
            answers += 1
            problem = broken_promise(seen, state, ask, decision, live=claim_name in LIVE)
            assert problem is None, f"{problem}: {ask} {explained(decision, seen, state)}"
    assert answers == 15 * 6 * 5 * 4 * 3 * 3 * len(ASKS)


def explained(decision: Decision, seen: World, state: SecretState) -> str:
    """Return a decision and its world in a few words."""
    keys = {key.id[-1]: ("active" if key.active else "inactive", key.last_use) for key in seen.keys}
    return f"{decision.step} {ids_of(decision)} with {keys}, {dict(state.labels)}, {state.tags}"


def broken_promise(
    seen: World, state: SecretState, ask: Ask, decision: Decision, *, live: bool
) -> str | None:
    """Return the invariant that a decision breaks, or None."""
    step = decision.step
    if not decision.reason.strip() or "\n" in decision.reason:
        return "the reason is one sentence"
    if step in HARMLESS:
        return None
    if live:
        return "nobody acts while another execution may still be alive"
    old, new = seen.find(decision.old_key_id), seen.find(decision.new_key_id)
    exposed = seen.exposed_keys | {ask.exposed_key_id}
    checks = {
        "a rotation never goes on with an unusable new key": step
        not in {Step.RESUME_PICKUP, Step.RESUME_WATCH, Step.DEACTIVATE, Step.RESUME_PROVE}
        or (new is not None and new.active),
        "old and new are two keys": old is None or old != new,
        "a back-out leads to a key that exists": step is not Step.BACK_OUT or old is not None,
        "an exposed key never comes back": step is not Step.BACK_OUT
        or decision.old_key_id not in exposed,
        "only what we deactivated is reactivated": step is not Step.BACK_OUT
        or (old is not None and (old.active or state.deactivated_key == old.id)),
        "waiting for consumers needs an active old key": step is not Step.RESUME_PICKUP
        or (old is not None and old.active),
        "an exposed key is not waited for": step is not Step.RESUME_PICKUP
        or decision.old_key_id not in seen.exposed_keys,
        "a key is issued only where there is room": step is not Step.ISSUE
        or len(seen.keys) < 2
        or decision.room_key_id is not None,
        "what is deleted for room is nobody's": decision.room_key_id is None
        or may_go(seen, state, ask, decision),
        "the key that is rotated is not deleted for room": decision.room_key_id is None
        or decision.room_key_id != decision.old_key_id,
        "an exposed key is not put in charge": step is not Step.RESUME_PROVE
        or decision.new_key_id not in exposed,
        "an unpublished key is all that is discarded": step is not Step.DISCARD
        or decision.new_key_id in (None, state.key(Label.PENDING)),
    }
    return next((name for name, holds in checks.items() if not holds), None)


def may_go(seen: World, state: SecretState, ask: Ask, decision: Decision) -> bool:
    """Whether a key may be deleted: ours and inactive, unpublished, or a lost orphan."""
    room = seen.find(decision.room_key_id)
    if room is None:
        return False
    if room.id == state.key(Label.CURRENT) and (room.active or room.id not in state.exposed_keys):
        return False
    restored = state.version(Label.CURRENT) == state.version(Label.BACKOUT) is not None
    recorded = not room.active and state.deactivated_key == room.id
    unpublished = room.id == state.key(Label.PENDING)
    # After a back-out a key without a published use may be in use all the same.
    orphan = room.last_use is None and room.created_at > NOW.replace(hour=11) and not restored
    return recorded or unpublished or orphan
