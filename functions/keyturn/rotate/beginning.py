"""Begins an execution of RotateKey: what is asked for, what that does, and its rotation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from keyturn.aws import iam
from keyturn.model.errors import RequestRejected
from keyturn.model.execution import Execution
from keyturn.model.following import Next
from keyturn.model.request import RotateRequest, parse_rotate_request
from keyturn.model.rotation import Outcome, Policy, Rotation
from keyturn.model.settings import Settings
from keyturn.model.world import World
from keyturn.rotate import signals, snapshot
from keyturn.rotate.decision import Ask, Decision, Step, decide
from keyturn.rotate.policy import settle
from keyturn.rotate.refusal import patience_seconds

# What may be put off until the settings are mended; a back-out and an emergency may not.
_CAN_WAIT = ("ROTATE", "STANDARD")
_CHANGES_NOTHING = frozenset({Step.REJECT, Step.SKIP, Step.WAIT, Step.STOP_CLAIMANT})


def begin(
    execution: Execution, given: object, *, exposed_before: str | None
) -> tuple[Next, Rotation]:
    """Return what an execution does first, and the rotation to carry on.

    Args:
        execution: the one that begins.
        given: its input.
        exposed_before: the exposed key that an earlier look of it settled on.

    Raises:
        RequestRejected: it cannot be done; nothing was changed.
    """
    settings = Settings.from_env()
    request = parse_rotate_request(given)
    user_name = request.user_name or iam.owner_of(request.access_key_id or "")
    world = snapshot.look(user_name, settings, mark=execution.mark)
    policy = settle(settings, world.secret.tags if world.secret else {}, request.timing)
    ask = asked(request, world, exposed_before)
    decision = assess(world, ask, policy, missing=lambda: signals.missing(policy))
    if decision.step is Step.REJECT:
        raise RequestRejected(decision.reason)
    if decision.step in (Step.WAIT, Step.STOP_CLAIMANT):
        _assert_patience(execution, world, policy, decision)
    rotation = _rotation(execution, settings, request, world, policy)
    rotation.follow(decision)
    rotation.recovery_of = ask.recovery_of
    # Also where only a wait was decided: the look after it must not choose another key.
    rotation.exposed_key_id = decision.exposed_key_id or ask.exposed_key_id
    if decision.step is Step.SKIP and _leaves_something(world, decision):
        rotation.tidy_up = True
        return Next("TIDY_UP"), rotation
    if decision.step is Step.SKIP:
        rotation.ends(Outcome.SKIPPED, decision.reason)
    seconds = 0
    if decision.until is not None:
        seconds = max(1, math.ceil((decision.until - world.now).total_seconds()) + 1)
    return Next(decision.step.value, seconds), rotation


def assess(
    world: World, ask: Ask, policy: Policy, *, missing: Callable[[], Sequence[str]]
) -> Decision:
    """Return what a request would do in a world; pure but for `missing`.

    Args:
        world: the snapshot.
        ask: what is asked for.
        policy: the settings of this execution.
        missing: tells the names of signals that do not exist; asked only where it matters.
    """
    decision = decide(world, ask, policy)
    if decision.step in _CHANGES_NOTHING or (ask.action, ask.mode) != _CAN_WAIT:
        return decision
    names = ", ".join(missing())
    if not names:
        return decision
    return Decision(Step.REJECT, f"the secret's tags name alarms that do not exist: {names}")


def _leaves_something(world: World, decision: Decision) -> bool:
    """Whether even a skip has something to write, which only a claimant may do (Take Over).

    An exposed key that is inactive already must still be marked, or a back-out would bring it
    back; and the claim of a retirement that died would stay for ever.
    """
    exposed = decision.exposed_key_id
    unmarked = world.find(exposed) is not None and exposed not in world.exposed_keys
    return unmarked or (
        world.claim is not None and world.claim.retired and world.claim.is_free(world.now)
    )


def asked(request: RotateRequest, world: World, seen_before: str | None = None) -> Ask:
    """Return what is asked for; `seen_before` is the exposed key that an earlier look settled on.

    After a lost race there may be two active keys, or only the healthy one that replaced it.
    """
    recovery_of = None
    if request.recovery:
        holder = world.claim.execution_arn if world.claim else None
        dead = request.recovery
        recovery_of = holder if holder in dead.also else dead.execution_arn
    return Ask(
        action=request.action,
        mode=request.mode,
        force=request.force,
        exposed_key_id=(request.access_key_id or seen_before)
        if request.mode == "EMERGENCY"
        else None,
        recovery_of=recovery_of,
    )


def _rotation(
    execution: Execution, settings: Settings, request: RotateRequest, world: World, policy: Policy
) -> Rotation:
    return Rotation(
        user_name=world.user_name,
        action=request.action,
        mode=request.mode,
        force=request.force,
        request_reason=request.reason,
        policy=policy,
        secret_name=settings.secret_name(world.user_name),
        secret_arn=world.secret.arn if world.secret else None,
        started_at=execution.started_at,
    )


def _assert_patience(
    execution: Execution, world: World, policy: Policy, decision: Decision
) -> None:
    waited = (world.now - execution.started_at).total_seconds()
    if waited > patience_seconds(policy):
        raise RequestRejected(
            f"other executions kept taking the claim for {waited:.0f} seconds ({decision.reason}); "
            "look at what starts them, then start again"
        )
