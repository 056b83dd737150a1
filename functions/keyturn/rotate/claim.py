"""The claim: a compare-and-swap on a staging label, taken before the first change.

First an intent version is stored under an id of its own, then the label CLAIM is moved onto it,
which Secrets Manager refuses while another version has it. Removing the label is the decision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from keyturn.aws import iam, secrets
from keyturn.model.errors import ClaimLost, RequestRejected
from keyturn.model.execution import Execution
from keyturn.model.identifiers import intent_version_id, is_intent_of
from keyturn.model.settings import Settings
from keyturn.model.world import ClaimantState, Label, SecretState, Tag, World
from keyturn.rotate import snapshot
from keyturn.rotate.decision import Ask, Decision, Step, orphans
from keyturn.rotate.snapshot import IntentRecord

T = TypeVar("T")

_CONTINUES = frozenset(
    {
        Step.RESUME_PROVE,
        Step.RESUME_PICKUP,
        Step.RESUME_WATCH,
        Step.DEACTIVATE,
        Step.BACK_OUT,
        Step.FINISH_BACK_OUT,
        Step.DISCARD,
    }
)


@dataclass(frozen=True)
class Entered(Generic[T]):
    """How an execution stands after `enter`: the world, what it chose in it, and whether it holds
    the claim."""

    world: World
    chosen: T
    holding: bool


def enter(
    execution: Execution,
    world: World,
    ask: Ask,
    *,
    settings: Settings,
    choose: Callable[[World], T],
    claims: Callable[[T], Decision | None],
    action: str | None = None,
) -> Entered[T]:
    """Choose, claim, look again, and choose again: only the second choice is binding.

    Args:
        execution: the claimant.
        world: what it has just looked at.
        ask: what is asked for.
        settings: the stack's settings.
        choose: what to do in a world.
        claims: the decision to write down before the claim, or None where nothing is claimed.
        action: what the intent says is done, when it is not `ask.action` (RetireKey).

    Raises:
        RequestRejected: somebody else has the claim, or took it first.
    """
    chosen = choose(world)
    decision = None if world.holding else claims(chosen)
    if decision is None:
        return Entered(world, chosen, world.holding)
    name = settings.secret_name(world.user_name)
    take(execution, world, ask, decision, name=name, action=action)
    world = snapshot.look(world.user_name, settings, mark=execution.mark)
    return Entered(world, choose(world), holding=True)


def take(
    execution: Execution,
    world: World,
    ask: Ask,
    decision: Decision,
    *,
    name: str,
    action: str | None = None,
) -> None:
    """Take the claim for an execution; having it already is success.

    Args:
        execution: the claimant.
        world: the snapshot on which `decision` was made.
        ask: what is asked for.
        decision: the decision before the claim (it runs again under it).
        name: the secret's name; an empty secret is created when there is none.
        action: what the intent says is done, when it is not `ask.action` (RetireKey).

    Raises:
        RequestRejected: somebody else has the claim, or took it first.
    """
    _assert_free(world)
    text = _record(world, ask, decision, execution.arn, action).text()
    version = intent_version_id(execution.mark, text.get_secret_value())
    if world.secret is None:
        secrets.create(name, {"keyturn:user-name": world.user_name})
    secrets.put(name, version, text, Label.INTENT)
    dead = world.claim.version_id if world.claim else None
    if secrets.move(name, Label.CLAIM, to=version, expected=dead):
        return
    # An earlier try of this execution, with another intent, may have been the faster one.
    if not is_intent_of(secrets.require(name).version(Label.CLAIM), execution.mark):
        raise RequestRejected(
            f"another execution began to work on {world.user_name} at the same moment; wait "
            "until it has ended"
        )


def _assert_free(world: World) -> None:
    """Raise when the claim is one that must not be taken over, whatever led here.

    The compare-and-swap alone would take it even from a running execution, because the look has
    found that execution's claim.
    """
    claim = world.claim
    if claim is None or world.holding:
        return
    if not claim.is_free(world.now):
        why = {
            ClaimantState.RUNNING: "which is running",
            ClaimantState.DEAD: "whose last call may still take effect",
            ClaimantState.UNKNOWN: "which cannot be looked up",
        }[claim.state]
        raise RequestRejected(
            f"the claim on {world.user_name} is held by {claim.execution_arn}, {why}; start again "
            "when it is over"
        )


def _record(
    world: World, ask: Ask, decision: Decision, execution_arn: str, action: str | None
) -> IntentRecord:
    dead = world.claim.intent if world.claim else None
    keys_before = [
        {"id": key.id, "status": "Active" if key.active else "Inactive"} for key in world.keys
    ]
    inherited = dead or (world.last_intent if decision.step in _CONTINUES else None)
    if inherited:
        status = {key["id"]: key["status"] for key in keys_before}
        keys_before = [
            {"id": key_id, "status": status.get(key_id, "Deleted")}
            for key_id in inherited.keys_before
        ]
    if decision.step in _CONTINUES:
        # The key that the rotation issued was not there before it, whoever looked in between.
        keys_before = [key for key in keys_before if key["id"] != decision.new_key_id]
    return IntentRecord(
        user_name=world.user_name,
        execution_arn=execution_arn,
        action=action or ask.action,
        mode="EMERGENCY" if decision.old_exposed else ask.mode,
        keys_before=keys_before,
        old_access_key_id=decision.old_key_id,
        new_access_key_id=decision.new_key_id,
        exposed_access_key_id=decision.exposed_key_id
        or (decision.old_key_id if decision.old_exposed else None),
        # A dead retirement leaves nothing undecided.
        took_over=dead is not None and dead.action != "RETIRE",
        inherited_since=min(dead.inherited_since or dead.created_at, dead.created_at)
        if dead
        else None,
        inherited_until=(world.claim.free_at if world.claim else None)
        or (world.now if dead else None),
    )


def verify(state: SecretState, mark: str) -> None:
    """Return when the claim is this execution's.

    Raises:
        ClaimLost: it is somebody else's, or gone.
    """
    holder = state.version(Label.CLAIM)
    if not is_intent_of(holder, mark):
        raise ClaimLost(
            f"the claim on {state.name} is {f'held by {holder}' if holder else 'gone'}: another "
            "execution or a person took over, so this execution changes nothing more"
        )


def required(name: str, mark: str) -> SecretState:
    """Return the secret's state as found under this execution's claim (else ClaimLost)."""
    state = secrets.require(name)
    verify(state, mark)
    return state


def release(state: SecretState, mark: str) -> None:
    """Take the label off: the decision, and its last step. Gone already is success."""
    own = state.version(Label.CLAIM)
    if is_intent_of(own, mark) and not secrets.remove(state.arn, Label.CLAIM, expected=own):
        raise ClaimLost(f"the claim on {state.name} was taken over while it was being released")


def give_back(world: World, state: SecretState, mark: str) -> None:
    """Release a claim under which nothing is to be done after all.

    The keys that a claimant created and nobody stored go first: only this claim (and the intents
    that it inherited) tells them from somebody's keys.
    """
    for key in orphans(world):
        iam.delete_key(world.user_name, key.id)
    release(state, mark)


def mark_exposed(world: World, *, name: str, key_id: str) -> None:
    """Record that a key must never come back: by the label EXPOSED, or by a tag.

    The label marks the version that holds the key; when no version does, or when the label is
    needed for another key that still exists, a tag on the secret says it.

    Raises:
        RequestRejected: the user is not managed, so its secret is not ours to write to.
    """
    if not world.managed:
        raise RequestRejected(f"the IAM user {world.user_name} is not managed by this stack")
    state = world.secret
    if state is None:
        secrets.create(name, {"keyturn:user-name": world.user_name})
        state = secrets.require(name)
    if key_id in state.exposed_keys:
        return
    version = next((version for version, key in state.key_ids.items() if key == key_id), None)
    labelled = state.key(Label.EXPOSED)
    label_is_free = labelled is None or world.find(labelled) is None
    if (
        version
        and label_is_free
        and secrets.move(name, Label.EXPOSED, to=version, expected=state.version(Label.EXPOSED))
    ):
        return
    still_there = sorted({key.id for key in world.keys} & state.exposed_keys | {key_id})
    secrets.tag(name, {Tag.EXPOSED_KEYS: " ".join(still_there)})
