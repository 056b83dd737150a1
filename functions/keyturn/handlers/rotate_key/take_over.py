"""Take Over: claims a user whose rotation is to be resumed, backed out, finished or cleaned up."""

from __future__ import annotations

from datetime import datetime

from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.model.errors import RequestRejected
from keyturn.model.rotation import Outcome, Rotation, Use
from keyturn.model.settings import Settings
from keyturn.model.world import Tag, World
from keyturn.rotate import announce, claim, polls, snapshot
from keyturn.rotate.decision import Ask, Decision, Step, decide

_NOT_FROM_HERE = frozenset({Step.ISSUE, Step.WAIT, Step.STOP_CLAIMANT, Step.REJECT})


def step(event: Event) -> Answer:
    """Take the claim, decide again under it, and set the rotation up for the state to go on in."""
    rotation = event.rotation
    settings = Settings.from_env()
    world = snapshot.look(rotation.user_name, settings, mark=event.mark)
    if rotation.exposed_key_id:
        claim.mark_exposed(world, name=rotation.secret_name, key_id=rotation.exposed_key_id)
    ask = Ask(
        action=rotation.action,
        mode=rotation.mode,
        force=rotation.force,
        exposed_key_id=rotation.exposed_key_id if rotation.mode == "EMERGENCY" else None,
        recovery_of=rotation.recovery_of,
    )
    if rotation.tidy_up:
        return _tidy_up(event, rotation, world, ask)
    if not world.holding:
        decision = decide(world, ask, rotation.policy)
        if decision.step in _NOT_FROM_HERE:
            raise RequestRejected(f"the world changed while this began: {decision.reason}")
        if decision.step is Step.SKIP:
            return _skip(event, rotation, decision.reason)
        claim.take(
            world,
            ask,
            decision,
            name=rotation.secret_name,
            execution_arn=event.arn,
            mark=event.mark,
        )
        world = snapshot.look(rotation.user_name, settings, mark=event.mark)
    state = claim.required(rotation.secret_name, event.mark)
    decision = decide(world, ask, rotation.policy)
    if decision.step is Step.ISSUE:
        return Answer("ISSUE", rotation)  # Issue New Key decides again, under this same claim
    if decision.step in _NOT_FROM_HERE:
        claim.give_back(world, state, event.mark)
        raise RequestRejected(f"the world changed while this began: {decision.reason}")
    _adopt(rotation, decision, world)
    rotation.secret_arn = state.arn
    if decision.step is Step.SKIP:
        claim.release(state, event.mark)
        return _skip(event, rotation, decision.reason)
    return Answer(decision.step.value, rotation, wait_seconds=_set_up(rotation, decision, world))


def _tidy_up(event: Event, rotation: Rotation, world: World, ask: Ask) -> Answer:
    """Take a dead retirement's claim off; nothing else, because a SKIP was decided without it.

    Any other dead claim is left alone: it says that a rotation was never decided, and what was
    there before it.
    """
    if not world.holding:
        decision = decide(world, ask, rotation.policy)
        if decision.step is not Step.SKIP:
            raise RequestRejected(f"the world changed while this began: {decision.reason}")
    if world.claim is not None and world.claim.retired and world.claim.is_free(world.now):
        claim.take(
            world,
            ask,
            Decision(Step.SKIP, rotation.why),
            name=rotation.secret_name,
            execution_arn=event.arn,
            mark=event.mark,
        )
        claim.release(claim.required(rotation.secret_name, event.mark), event.mark)
    elif world.holding and world.secret is not None:
        claim.release(world.secret, event.mark)  # an earlier try got as far as that
    return _skip(event, rotation, rotation.why)


def _skip(event: Event, rotation: Rotation, reason: str) -> Answer:
    rotation.ends(Outcome.SKIPPED, reason)
    return Answer("SKIP", rotation, announcement=announce.announce(rotation, event.arn))


def _adopt(rotation: Rotation, decision: Decision, world: World) -> None:
    rotation.old_access_key_id = decision.old_key_id
    rotation.old_version_id = decision.old_version_id
    rotation.new_access_key_id = decision.new_key_id
    rotation.new_version_id = decision.new_version_id
    rotation.old_exposed = decision.emergency
    rotation.rotate_after_restore = decision.rotate_after_restore
    rotation.why = decision.reason
    # Whoever probed the new key before has ended by now; when exactly is not known.
    rotation.probe_ended_at = world.now
    old, new = world.find(decision.old_key_id), world.find(decision.new_key_id)
    rotation.seen.old_use = Use.of(old.last_use) if old else None
    rotation.seen.new_use = Use.of(new.last_use) if new else None


def _set_up(rotation: Rotation, decision: Decision, world: World) -> int:
    old = world.find(decision.old_key_id)
    if old is not None and not old.active:
        rotation.deactivated_at = _recorded_deactivation(world, decision.old_key_id)
    if decision.step is Step.RESUME_PICKUP:
        return polls.begin_pickup(rotation, world.now)
    if decision.step is Step.RESUME_WATCH:
        # Nobody has looked since the other execution died: look soon.
        return min(rotation.policy.poll_min_seconds, polls.begin_watch(rotation, world.now))
    if decision.step is Step.FINISH_BACK_OUT:
        seconds = polls.begin_return(rotation, world.now)
        return 0 if decision.new_key_id in world.exposed_keys else seconds
    if decision.step is Step.EXPOSED_ONLY:
        rotation.ends(Outcome.NEEDS_ATTENTION, decision.reason, error="AttentionNeeded")
    return 0


def _recorded_deactivation(world: World, old_key_id: str | None) -> datetime:
    state = world.secret
    recorded = state.time(Tag.DEACTIVATED_AT) if state else None
    if state is None or recorded is None or state.deactivated_key != old_key_id:
        return world.now
    return min(recorded, world.now)


handler = state_function(step)
