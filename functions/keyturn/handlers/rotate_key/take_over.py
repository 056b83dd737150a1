"""Take Over: claims a user whose rotation is to be resumed, backed out, finished or cleaned up."""

from __future__ import annotations

from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.model.rotation import Outcome
from keyturn.rotate.announce import announce
from keyturn.rotate.taking_over import take_over


def step(event: Event) -> Answer:
    """Take over."""
    rotation = event.rotation
    found = take_over(event.execution, rotation)
    told = announce(rotation, event.execution.arn) if rotation.outcome is Outcome.SKIPPED else None
    return Answer(found.word, rotation, wait_seconds=found.wait_seconds, announcement=told)


handler = state_function(step)
