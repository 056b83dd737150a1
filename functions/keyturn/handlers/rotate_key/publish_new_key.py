"""Publish New Key: BACKOUT onto the version in AWSCURRENT, AWSCURRENT onto the new one."""

from __future__ import annotations

from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.rotate.publishing import publish


def step(event: Event) -> Answer:
    """Publish."""
    rotation = event.rotation
    found = publish(event.execution, rotation)
    return Answer(found.word, rotation, wait_seconds=found.wait_seconds)


handler = state_function(step)
