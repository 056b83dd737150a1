"""Publish New Key: BACKOUT onto the version in charge, AWSCURRENT onto the new one."""

from __future__ import annotations

from datetime import UTC, datetime

from keyturn.aws import secrets
from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.model.errors import WorldContradictory
from keyturn.model.rotation import Outcome, Rotation
from keyturn.model.world import Label, SecretState
from keyturn.rotate import claim, polls


def step(event: Event) -> Answer:
    """Publish; labels that are where they should be already are left alone."""
    rotation = event.rotation
    state = claim.required(rotation.secret_name, event.mark)
    new = rotation.new_version_id or ""
    if state.version(Label.CURRENT) != new:
        _publish(rotation, state, new)
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


def _publish(rotation: Rotation, state: SecretState, new: str) -> None:
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


handler = state_function(step)
