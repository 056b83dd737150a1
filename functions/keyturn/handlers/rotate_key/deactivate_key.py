"""Deactivate Old Key (cutover), New Key (back-out) or the exposed key: after one more look."""

from __future__ import annotations

from datetime import UTC, datetime

from keyturn.aws import iam, secrets
from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.model.errors import CutoverPostponed, WorldContradictory
from keyturn.model.identifiers import masked
from keyturn.model.rotation import Rotation, iso
from keyturn.model.world import Key, Label, SecretState, Tag
from keyturn.rotate import claim, polls
from keyturn.rotate.evidence import Verdict, is_quiet, judge_health_before_cutover


def step(event: Event) -> Answer:
    """Deactivate the key that `which` names: OLD, NEW or EXPOSED."""
    rotation = event.rotation
    state = claim.required(rotation.secret_name, event.mark)
    ring = iam.list_keys(rotation.user_name)
    which = event.data["which"]
    if which == "NEW":
        _deactivate(rotation, state, ring.find(rotation.new_access_key_id))
        rotation.new_key_deactivated = True
        return Answer("DEACTIVATED", rotation)
    old = ring.find(rotation.old_access_key_id)
    if which == "OLD":
        _look_once_more(rotation, state, old, ring.find(rotation.new_access_key_id), ring.now)
    _deactivate(rotation, state, old)
    rotation.reactivated_at = None  # by an earlier pass of an EMERGENCY, if at all
    rotation.deactivated_at = datetime.now(UTC)
    seconds = polls.begin_watch(rotation, rotation.deactivated_at)
    return Answer("DEACTIVATED", rotation, wait_seconds=seconds)


def _look_once_more(
    rotation: Rotation, state: SecretState, old: Key | None, new: Key | None, now: datetime
) -> None:
    """Raise when the evidence has changed since the last look, however shortly ago that was."""
    if state.version(Label.CURRENT) != rotation.new_version_id:
        raise WorldContradictory(
            f"AWSCURRENT of {state.name} is not on this rotation's version any more: somebody "
            "else changed the secret; both keys stay active"
        )
    if new is None or not new.active:
        raise WorldContradictory("the new key was deactivated or deleted by somebody else")
    if rotation.old_exposed:
        return
    health = judge_health_before_cutover(rotation, now)
    if health.verdict is Verdict.ATTENTION:
        raise WorldContradictory(health.reason)
    if health.verdict is Verdict.WAIT:
        raise CutoverPostponed(health.reason)
    if not is_quiet(old, now, rotation.policy):
        raise CutoverPostponed("the old key was used again just now")
    if state.replicas_out_of_sync:
        late = ", ".join(state.replicas_out_of_sync)
        problem = f"replicas of the secret are not in sync: {late}"
        raise WorldContradictory(problem) if _too_late(rotation, now) else CutoverPostponed(problem)


def _too_late(rotation: Rotation, now: datetime) -> bool:
    began = rotation.pickup.began_at if rotation.pickup else now
    return (now - began).total_seconds() >= rotation.policy.pickup_timeout_seconds


def _deactivate(rotation: Rotation, state: SecretState, key: Key | None) -> None:
    if key is None:
        rotation.seen.notes.append("the key to deactivate had been deleted by somebody else")
        return
    if not key.active:
        if state.deactivated_key != key.id:
            rotation.seen.notes.append(
                f"the key {masked(key.id)} had been deactivated by somebody else"
            )
        return
    # The record before the act: who finds the key inactive knows whose doing it was.
    secrets.tag(
        state.arn,
        {Tag.DEACTIVATED_KEY: key.id, Tag.DEACTIVATED_AT: iso(datetime.now(UTC))},
    )
    iam.set_active(rotation.user_name, key.id, active=False)


handler = state_function(step, answers_blocked=True)
