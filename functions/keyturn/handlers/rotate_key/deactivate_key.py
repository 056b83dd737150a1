"""Deactivate Old Key, New Key (in a back-out) or the exposed key: after one more look."""

from __future__ import annotations

from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.rotate.deactivating import deactivate


def step(event: Event) -> Answer:
    """Deactivate the key that `which` names: OLD, NEW or EXPOSED."""
    rotation = event.rotation
    found = deactivate(event.execution, rotation, event.data["which"])
    return Answer(found.word, rotation, wait_seconds=found.wait_seconds)


handler = state_function(step, answers_blocked=True)
