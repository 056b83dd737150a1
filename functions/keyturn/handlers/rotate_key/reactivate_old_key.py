"""Reactivate Old Key: only one that this rotation deactivated, and never an exposed one."""

from __future__ import annotations

from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.rotate.deactivating import reactivate


def step(event: Event) -> Answer:
    """Make the old key active; RESTORE goes on with the secret, STAY closes the rotation."""
    rotation = event.rotation
    return Answer(reactivate(event.execution, rotation).word, rotation)


handler = state_function(step, answers_blocked=True)
