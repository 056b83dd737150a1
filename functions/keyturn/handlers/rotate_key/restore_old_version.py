"""Restore Old Version: AWSCURRENT back onto the version to go back to, by its id."""

from __future__ import annotations

from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.rotate.publishing import restore


def step(event: Event) -> Answer:
    """Restore."""
    rotation = event.rotation
    found = restore(event.execution, rotation)
    return Answer(found.word, rotation, wait_seconds=found.wait_seconds)


handler = state_function(step)
