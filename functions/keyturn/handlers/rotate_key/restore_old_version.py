"""Restore Old Version: AWSCURRENT back onto the version to go back to, by its id."""

from __future__ import annotations

from datetime import UTC, datetime

from keyturn.aws import secrets
from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.model.errors import WorldContradictory
from keyturn.model.world import Label
from keyturn.rotate import claim, polls


def step(event: Event) -> Answer:
    """Restore, then wait for the return; RETIRE_NEW when the new key is exposed and must go."""
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


handler = state_function(step)
