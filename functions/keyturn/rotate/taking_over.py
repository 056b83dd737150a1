"""Takes over a user whose rotation is to be resumed, backed out, finished or cleaned up."""

from __future__ import annotations

from datetime import datetime

from keyturn.model.decision import skip
from keyturn.model.errors import RequestRejected
from keyturn.model.execution import Execution
from keyturn.model.following import Next
from keyturn.model.rotation import Outcome, Phase, Rotation
from keyturn.model.settings import Settings
from keyturn.model.world import Tag, World
from keyturn.rotate import claim, snapshot, waiting
from keyturn.rotate.decision import Ask, Decision, Step, decide

_NOT_FROM_HERE = frozenset({Step.ISSUE, Step.WAIT, Step.STOP_CLAIMANT, Step.REJECT})


def take_over(execution: Execution, rotation: Rotation) -> Next:
    """Take the claim, decide again under it, and set the rotation up for what it goes on with.

    Raises:
        RequestRejected: the world changed, or somebody else was faster; nothing is left behind.
    """
    settings, mark = Settings.from_env(), execution.mark
    world = snapshot.look(rotation.user_name, settings, mark=mark)
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
        return _tidy_up(execution, rotation, world, ask, settings)
    entered = claim.enter(
        execution,
        world,
        ask,
        settings=settings,
        choose=lambda seen: decide(seen, ask, rotation.policy),
        claims=lambda found: None if found.step in {*_NOT_FROM_HERE, Step.SKIP} else found,
    )
    decision = entered.chosen
    state = claim.required(rotation.secret_name, mark) if entered.holding else None
    if state and decision.step is Step.ISSUE:
        return Next("ISSUE")  # Issue New Key decides again, under this same claim
    if decision.step in _NOT_FROM_HERE:
        if state:
            claim.give_back(entered.world, state, mark)
        raise RequestRejected(f"the world changed while this began: {decision.reason}")
    if state:
        _adopt(rotation, decision, entered.world)
        rotation.secret_arn = state.arn
        if decision.step is Step.SKIP:
            claim.release(state, mark)
    if decision.step is Step.SKIP:
        return _skip(rotation, decision.reason)
    return Next(decision.step.value, _set_up(rotation, decision, entered.world))


def _tidy_up(
    execution: Execution, rotation: Rotation, world: World, ask: Ask, settings: Settings
) -> Next:
    """Take a dead retirement's claim off; nothing else, because a SKIP was decided without it.

    Any other dead claim is left alone: it says that a rotation was never decided, and what was
    there before it.
    """
    dead = world.claim is not None and world.claim.retired and world.claim.is_free(world.now)
    nothing = skip(rotation.why)
    entered = claim.enter(
        execution,
        world,
        ask,
        settings=settings,
        choose=lambda seen: decide(seen, ask, rotation.policy),
        claims=lambda found: nothing if dead and found.step is Step.SKIP else None,
    )
    if entered.holding:  # also when an earlier try got as far as that
        claim.release(claim.required(rotation.secret_name, execution.mark), execution.mark)
    elif entered.chosen.step is not Step.SKIP:
        raise RequestRejected(f"the world changed while this began: {entered.chosen.reason}")
    return _skip(rotation, rotation.why)


def _skip(rotation: Rotation, reason: str) -> Next:
    rotation.ends(Outcome.SKIPPED, reason)
    return Next("SKIP")


def _adopt(rotation: Rotation, decision: Decision, world: World) -> None:
    rotation.follow(decision)
    # Whoever probed the new key before has ended by now; when exactly is not known.
    rotation.probe_ended_at = world.now
    old, new = world.find(decision.old_key_id), world.find(decision.new_key_id)
    rotation.seen.old_use = old.last_use if old else None
    rotation.seen.new_use = new.last_use if new else None


def _set_up(rotation: Rotation, decision: Decision, world: World) -> int:
    old = world.find(decision.old_key_id)
    if old is not None and not old.active:
        rotation.deactivated_at = _recorded_deactivation(world, decision.old_key_id)
    if decision.step is Step.RESUME_PICKUP:
        return waiting.begin(rotation, Phase.PICKUP, since=world.now)
    if decision.step is Step.RESUME_WATCH:
        since = rotation.deactivated_at or world.now
        seconds = waiting.begin(rotation, Phase.WATCH, since=since, now=world.now)
        # Nobody has looked since the other execution died: look soon.
        return min(rotation.policy.poll_min_seconds, seconds)
    if decision.step is Step.FINISH_BACK_OUT:
        seconds = waiting.begin(rotation, Phase.RETURN, since=world.now)
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
