"""Check Request: validates the input and decides, changing nothing."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from keyturn.aws import alarms, fence, iam
from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.model.errors import ExecutionRedriven, RequestRejected
from keyturn.model.request import LONGEST_ARN, RotateRequest, is_user_name, parse_rotate_request
from keyturn.model.rotation import Outcome, Policy, Rotation, make_result
from keyturn.model.settings import Settings
from keyturn.model.world import World
from keyturn.rotate import announce, snapshot
from keyturn.rotate.decision import Ask, Decision, Step, decide
from keyturn.rotate.policy import settle
from keyturn.rotate.refusal import patience_seconds

# What may be put off until the settings are mended; a back-out and an emergency may not.
_CAN_WAIT = ("ROTATE", "STANDARD")


def step(event: Event) -> Answer:
    """Return the decision; a rejection is an answer, not an error."""
    try:
        fence.assert_not_redriven()
        return _check(event)
    except (RequestRejected, ExecutionRedriven) as rejected:
        return _rejected(event, str(rejected))


def _check(event: Event) -> Answer:
    settings = Settings.from_env()
    request = parse_rotate_request(event.execution_input)
    user_name = request.user_name or iam.owner_of(request.access_key_id or "")
    world = snapshot.look(user_name, settings, mark=event.mark)
    policy = settle(settings, world.secret.tags if world.secret else {}, request.timing)
    ask = _ask(request, world, event.data.get("exposedKeyId"))
    decision = decide(world, ask, policy)
    if decision.step is Step.REJECT:
        return _rejected(event, decision.reason)
    if decision.step in (Step.WAIT, Step.STOP_CLAIMANT):
        _assert_patience(event, world, policy, decision)
    elif decision.step is not Step.SKIP and (request.action, request.mode) == _CAN_WAIT:
        _assert_alarms_exist(policy)
    rotation = _begin(event, request, world, policy, decision)
    rotation.recovery_of = ask.recovery_of
    # Also where only a wait was decided: the look after it must not choose another key.
    rotation.exposed_key_id = decision.exposed_key_id or ask.exposed_key_id
    if decision.step is Step.SKIP and _leaves_something(world, decision):
        rotation.tidy_up = True
        return Answer("TIDY_UP", rotation)
    if decision.step is Step.SKIP:
        rotation.ends(Outcome.SKIPPED, decision.reason)
        return Answer("SKIP", rotation, announcement=announce.announce(rotation, event.arn))
    seconds = 0
    if decision.until is not None:
        seconds = max(1, math.ceil((decision.until - world.now).total_seconds()) + 1)
    return Answer(decision.step.value, rotation, wait_seconds=seconds)


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


def _ask(request: RotateRequest, world: World, seen_before: str | None) -> Ask:
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


def _begin(
    event: Event, request: RotateRequest, world: World, policy: Policy, decision: Decision
) -> Rotation:
    settings = Settings.from_env()
    return Rotation(
        user_name=world.user_name,
        action=request.action,
        mode=request.mode,
        force=request.force,
        request_reason=request.reason,
        policy=policy,
        secret_name=snapshot.secret_name(settings, world.user_name),
        secret_arn=world.secret.arn if world.secret else None,
        old_access_key_id=decision.old_key_id,
        old_version_id=decision.old_version_id,
        new_access_key_id=decision.new_key_id,
        new_version_id=decision.new_version_id,
        old_exposed=decision.emergency,
        started_at=event.started_at,
        why=decision.reason,
    )


def _assert_patience(event: Event, world: World, policy: Policy, decision: Decision) -> None:
    waited = (world.now - event.started_at).total_seconds()
    if waited > patience_seconds(policy):
        raise RequestRejected(
            f"other executions kept taking the claim for {waited:.0f} seconds ({decision.reason}); "
            "look at what starts them, then start again"
        )


def _assert_alarms_exist(policy: Policy) -> None:
    missing = alarms.missing(policy.alarms)
    if missing:
        raise RequestRejected(
            f"the secret's tags name alarms that do not exist: {', '.join(missing)}"
        )


def _rejected(event: Event, reason: str) -> Answer:
    given = event.execution_input if isinstance(event.execution_input, dict) else {}
    name = given.get("userName")
    if not is_user_name(name):
        name = None  # whatever was pasted there is not repeated
    recovery = given.get("recovery")
    announcement = None
    if recovery:  # started by the rule, so nobody waits for the answer
        dead = recovery.get("executionArn") if isinstance(recovery, dict) else None
        if not (isinstance(dead, str) and dead.isprintable() and len(dead) <= LONGEST_ARN):
            dead = "an unreadable ARN"
        announcement = announce.worded(
            "Rotation Needs Attention",
            name or "a dead execution",
            f"The automatic back-out of {dead} was rejected: {reason}.\nNext: find the user of "
            f"that execution and start ROTATE or BACK_OUT for it by hand.\nExecution: {event.arn}",
        )
    elif given.get("mode") == "EMERGENCY" and given.get("action") != "BACK_OUT":
        # An event may have asked for it, so nobody waits, and the key stays as it is.
        announcement = announce.worded(
            "Rotation Needs Attention",
            name or "an exposed key",
            f"An EMERGENCY was rejected: {reason}.\nNothing was changed: a key that is active and "
            "exposed still is.\nNext: clear what the reason names and start the EMERGENCY again, "
            f"or deactivate the key by hand.\nExecution: {event.arn}",
        )
    return Answer(
        "REJECTED",
        ending="RequestRejected",
        announcement=announcement,
        result=make_result(
            outcome=Outcome.REJECTED,
            user_name=name,
            reason=reason,
            startedAt=event.started_at,
            endedAt=datetime.now(UTC),
        ),
    )


handler = state_function(step, answers_redriven=True)
