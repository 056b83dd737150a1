"""Prove New Key: three spaced calls with the stored value, before anybody is told to use it."""

from __future__ import annotations

from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.rotate.proving import prove_version


def step(event: Event) -> Answer:
    """Prove the new key; a probe is a use, so when it ended is remembered."""
    rotation = event.rotation
    rotation.proven_at = prove_version(event.execution, rotation, rotation.new_version_id)
    rotation.probe_ended_at = rotation.proven_at
    return Answer("PROVEN", rotation)


handler = state_function(step)
