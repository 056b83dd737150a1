"""Issue New Key: claims the user, makes room, creates the key and stores it as AWSPENDING."""

from __future__ import annotations

from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.rotate.issuing import issue


def step(event: Event) -> Answer:
    """Issue a key."""
    rotation = event.rotation
    issue(event.execution, rotation)
    return Answer("ISSUED", rotation)


handler = state_function(step, answers_blocked=True)
