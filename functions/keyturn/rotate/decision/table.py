"""The decision table: what a request does, given the world as it stands.

`decide` is a pure function. It runs twice: before the claim is taken, where a rejection must not
have written anything, and again under the claim, where the answer is binding.
"""

from __future__ import annotations

from datetime import timedelta

from keyturn.model.decision import Ask, Decision, Step, reject, skip
from keyturn.model.identifiers import masked
from keyturn.model.rotation import Policy
from keyturn.model.world import Claim, ClaimantState, World
from keyturn.rotate.decision.backing_out import back_out
from keyturn.rotate.decision.emergency import emergency, exposed_key
from keyturn.rotate.decision.picture import Picture
from keyturn.rotate.decision.rotating import rotate


def decide(world: World, ask: Ask, policy: Policy) -> Decision:
    """Return what to do for one user.

    Args:
        world: the snapshot, with AWS's clock in it.
        ask: what the execution's input asks for.
        policy: the settings of this execution (durations in seconds).
    """
    return (
        _subject_problem(world)
        or _secret_problem(world)
        or _claim_problem(world, ask, policy)
        or _act(world, ask, policy)
    )


def _act(world: World, ask: Ask, policy: Policy) -> Decision:
    picture = Picture.of(world)
    if ask.action == "BACK_OUT":
        return back_out(world, ask, picture)
    if ask.mode == "EMERGENCY":
        return emergency(world, ask, picture)
    return rotate(world, ask, policy, picture)


def _subject_problem(world: World) -> Decision | None:
    name = world.user_name
    if not world.user_exists:
        return reject(f"the IAM user {name} does not exist in this account; check the name")
    if not world.managed:
        return reject(
            f"the IAM user {name} is not managed by this stack; `keyturn onboard {name}`, or tag "
            "the user with the stack's managed tag, and see that its path is below ManagedUserPath"
        )
    if "," in name:
        return reject(
            f"the IAM user {name} cannot have a secret: Secrets Manager allows no comma in a name"
        )
    return None


def _secret_problem(world: World) -> Decision | None:
    secret = world.secret
    if secret is None:
        return None
    if secret.scheduled_for_deletion:
        return reject(f"the secret {secret.name} is scheduled for deletion; restore it first")
    if secret.owning_service:
        return reject(
            f"the secret {secret.name} belongs to the service {secret.owning_service}; "
            "Keyturn does not write to it"
        )
    if secret.rotation_enabled:
        return reject(
            f"native rotation is enabled on the secret {secret.name}; two rotators on one secret "
            "would undo each other: cancel it (CancelRotateSecret) first"
        )
    return None


def _claim_problem(world: World, ask: Ask, policy: Policy) -> Decision | None:
    claim = world.claim
    if world.holding:
        return None
    if claim is None:
        if not ask.recovery_of:
            return None
        exposed = [key.id for key in world.keys if key.active and key.id in world.exposed_keys]
        if exposed:
            return reject(
                f"the key {masked(exposed[0])} is marked as exposed and still active, and nobody "
                "is working on it; start the EMERGENCY again"
            )
        return skip("nothing to undo: the execution's claim is gone, so it had decided")
    if ask.recovery_of and claim.execution_arn != ask.recovery_of:
        return skip(f"nothing to undo: the claim is held by {claim.execution_arn}")
    if claim.state is ClaimantState.RUNNING:
        return _running_claim(world, ask, claim)
    if claim.state is ClaimantState.UNKNOWN:
        return _unknown_claim(world, claim)
    free_at = claim.free_at or world.now
    if ask.recovery_of and claim.stopped_by_takeover:
        # Whoever stopped it goes first; this is for the case that it dies before it claims.
        free_at += timedelta(seconds=policy.fence_seconds + 30)
    if world.now < free_at:
        if ask.action == "ROTATE" and ask.mode == "STANDARD":
            return reject(
                f"{claim.execution_arn} has just ended without deciding and its last call may "
                f"still take effect; start again after {free_at:%Y-%m-%d %H:%M:%S} UTC"
            )
        return Decision(Step.WAIT, "waiting until no call of it can take effect", until=free_at)
    return None


def _running_claim(world: World, ask: Ask, claim: Claim) -> Decision:
    doing = claim.intent.action if claim.intent else "unknown work"
    if ask.recovery_of:
        return skip(f"nothing to undo: {claim.execution_arn} is running again")
    urgent = claim.intent is not None and claim.intent.mode == "EMERGENCY"
    if ask.mode == "EMERGENCY" and ask.action == "ROTATE":
        picture = Picture.of(world)
        exposed = exposed_key(world, ask)
        if isinstance(exposed, Decision):
            return exposed
        # The mark alone does not say so: an EMERGENCY may have died between the mark and the stop.
        about_it = claim.intent is not None and claim.intent.exposed_key_id == exposed.id
        if urgent and (about_it or picture.is_working_emergency(exposed.id)):
            return reject(
                f"{claim.execution_arn} is already replacing the exposed key {masked(exposed.id)}"
            )
        return Decision(
            Step.STOP_CLAIMANT,
            f"stopping {claim.execution_arn}: a key of the user is exposed",
            exposed_key_id=exposed.id,
        )
    if ask.action == "BACK_OUT" and urgent:
        return reject(
            f"{claim.execution_arn} is replacing an exposed key, which must never come back: there "
            "is nothing to back out; wait until it has ended"
        )
    if ask.action == "BACK_OUT" and doing == "ROTATE":
        return Decision(Step.STOP_CLAIMANT, f"stopping {claim.execution_arn} to back it out")
    return reject(
        f"the user {world.user_name} is already being worked on ({doing}) by "
        f"{claim.execution_arn}; wait until it has ended"
    )


def _unknown_claim(world: World, claim: Claim) -> Decision | None:
    if claim.intent is None:
        return reject(
            f"the label CLAIM is on version {claim.version_id}, which Keyturn did not write; "
            "find out who put it there and remove it"
        )
    if claim.is_free(world.now):
        return None
    return reject(
        f"the claim is held by {claim.execution_arn}, whose state cannot be looked up; unknown "
        "never counts as dead: find that execution, or start again when the claim is a day old"
    )
