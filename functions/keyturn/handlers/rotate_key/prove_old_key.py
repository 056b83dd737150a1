"""Prove Old Key: before consumers are sent back to it, in a back-out."""

from __future__ import annotations

from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.handlers.rotate_key.prove_new_key import prove_version


def step(event: Event) -> Answer:
    """Prove the key in the version to go back to."""
    rotation = event.rotation
    prove_version(event, rotation.old_version_id)
    return Answer("PROVEN", rotation)


handler = state_function(step)
