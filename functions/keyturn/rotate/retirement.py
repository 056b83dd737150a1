"""Whether a retained old key may be deleted: a pure decision."""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.model.identifiers import masked
from keyturn.model.request import RetireRequest
from keyturn.model.world import ClaimantState, Label, SecretState, Tag, World


@dataclass(frozen=True)
class Judgement:
    """A verdict and its reason in words.

    DELETE: everything fits. SUPERSEDED: a newer rotation or a back-out made the retirement moot.
    KEPT: something does not fit, so the key stays. TRY_AGAIN: somebody holds the claim.
    """

    verdict: str
    reason: str


def judge(world: World, request: RetireRequest) -> Judgement:
    """Judge from the world as it stands, after the retention and again under the claim."""
    state = world.secret
    if not world.user_exists:
        return Judgement("SUPERSEDED", "the user does not exist any more")
    if not world.managed:
        return Judgement(
            "KEPT", f"the user {world.user_name} is not managed by this stack any more"
        )
    if state is None:
        return Judgement("SUPERSEDED", "the user's secret does not exist any more")
    if state.version(Label.CURRENT) != request.version_id:
        return Judgement(
            "SUPERSEDED",
            "AWSCURRENT is not on this rotation's version any more: a newer rotation "
            "or a back-out has taken its place",
        )
    if _claimed_by_others(world):
        return Judgement("TRY_AGAIN", "another execution is working on the user")
    old = world.find(request.old_access_key_id)
    if old is None and not world.holding:
        return Judgement("SUPERSEDED", "the old key has been deleted already")
    return _judge_keys(world, state, request)


def _claimed_by_others(world: World) -> bool:
    claim = world.claim
    if claim is None or world.holding:
        return False
    if claim.state is not ClaimantState.DEAD:
        return True
    retirement = claim.intent is not None and claim.intent.action == "RETIRE"
    fenced = claim.free_at is None or world.now < claim.free_at
    # A rotation or back-out that died undecided needs the old key; a retirement does not.
    return fenced or not retirement


def _judge_keys(world: World, state: SecretState, request: RetireRequest) -> Judgement:
    old = world.find(request.old_access_key_id)
    name = masked(request.old_access_key_id)
    new_id = state.key(Label.CURRENT)
    new = world.find(new_id)
    if request.old_access_key_id == new_id:
        return Judgement("KEPT", f"the key {name} is the one in AWSCURRENT")
    if old is not None and old.active:
        return Judgement("KEPT", f"the old key {name} is active: somebody still needs it")
    if old is not None and state.deactivated_key != old.id:
        return Judgement("KEPT", f"no record says that Keyturn deactivated the old key {name}")
    if new is None or not new.active:
        return Judgement("KEPT", f"the new key {masked(new_id)} is not active")
    deactivated_at = state.time(Tag.DEACTIVATED_AT)
    if old is not None and (
        new.last_use is None or deactivated_at is None or new.last_use.at <= deactivated_at
    ):
        return Judgement(
            "KEPT", f"the new key {masked(new_id)} has not been seen in use since the deactivation"
        )
    return Judgement("DELETE", "the new key is in use and the retention is over")
