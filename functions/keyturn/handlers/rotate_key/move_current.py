"""Publish New Key and Restore Old Version: AWSCURRENT onto the new version, or back."""

from __future__ import annotations

from datetime import UTC, datetime

from keyturn.aws import secrets
from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.model.errors import WorldContradictory
from keyturn.model.rotation import Outcome, Rotation
from keyturn.model.world import Label, SecretState
from keyturn.rotate import claim, polls


def step(event: Event) -> Answer:
    """Move AWSCURRENT to the version that `to` names: NEW or OLD."""
    return _restore(event) if event.data["to"] == "OLD" else _publish(event)


def _publish(event: Event) -> Answer:
    """Publish the new key; labels that are where they should be already are left alone."""
    rotation = event.rotation
    state = claim.required(rotation.secret_name, event.mark)
    new = rotation.new_version_id or ""
    if state.version(Label.CURRENT) != new:
        _move_to_new(rotation, state, new)
    if state.version(Label.PENDING) == new:
        secrets.remove(state.arn, Label.PENDING, expected=new)
    now = datetime.now(UTC)
    rotation.published_at = now
    if rotation.old_access_key_id is None:
        rotation.ends(Outcome.ISSUED, rotation.why)
        return Answer("ISSUED", rotation)
    if rotation.old_exposed:
        return Answer("CUT_OVER", rotation)
    return Answer("WAIT", rotation, wait_seconds=polls.begin_pickup(rotation, now))


def _move_to_new(rotation: Rotation, state: SecretState, new: str) -> None:
    current = state.version(Label.CURRENT)
    if rotation.old_version_id is not None:
        if current != rotation.old_version_id:
            raise WorldContradictory(
                f"AWSCURRENT of {state.name} is on {current}, not on {rotation.old_version_id} "
                "where this rotation found it: somebody else changed the secret"
            )
        # First the way back, then the way forward.
        if not secrets.move(
            state.arn, Label.BACKOUT, to=current, expected=state.version(Label.BACKOUT)
        ):
            raise WorldContradictory(f"BACKOUT of {state.name} was moved by somebody else")
    if not secrets.move(state.arn, Label.CURRENT, to=new, expected=current):
        raise WorldContradictory(f"AWSCURRENT of {state.name} was moved by somebody else")


def _restore(event: Event) -> Answer:
    """Restore the old version by its id; RETIRE_NEW when the new key is exposed and must go."""
    rotation = event.rotation
    state = claim.required(rotation.secret_name, event.mark)
    old = rotation.old_version_id or ""
    current = state.version(Label.CURRENT)
    if current not in (old, rotation.new_version_id):
        raise WorldContradictory(
            f"AWSCURRENT of {state.name} is on {current}, on neither key of this rotation: "
            "somebody else changed the secret"
        )
    if not secrets.move(state.arn, Label.CURRENT, to=old, expected=current):
        raise WorldContradictory(f"AWSCURRENT of {state.name} was moved by somebody else")
    seconds = polls.begin_return(rotation, datetime.now(UTC))
    if rotation.new_access_key_id in state.exposed_keys:
        seconds = 0  # an exposed new key goes now, whoever uses it
    verdict = "RETIRE_NEW" if rotation.rotate_after_restore else "WAIT"
    return Answer(verdict, rotation, wait_seconds=seconds)


handler = state_function(step, answers_blocked=True)
