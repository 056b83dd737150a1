"""Check Return: have the consumers come back, so that the new key can be deactivated?"""

from __future__ import annotations

from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.model.rotation import Phase
from keyturn.rotate import claim
from keyturn.rotate.checking import check


def step(event: Event) -> Answer:
    """Look once, judge, and say how long to wait when it is not decided."""
    rotation = event.rotation
    secret = claim.required(rotation.secret_name, event.execution.mark)
    verdict, seconds = check(rotation, Phase.RETURN, secret)
    return Answer(verdict.value, rotation, wait_seconds=seconds)


handler = state_function(step)
