"""Check Cutover: does the deactivation hurt anybody?"""

from __future__ import annotations

from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.model.rotation import Phase
from keyturn.rotate import claim
from keyturn.rotate.checking import check


def step(event: Event) -> Answer:
    """Look once, judge, and say how long to wait when it is not decided."""
    rotation = event.rotation
    secret = claim.required(rotation.secret_name, event.execution.mark)
    verdict, seconds = check(rotation, Phase.WATCH, secret)
    return Answer(verdict.value, rotation, wait_seconds=seconds)


handler = state_function(step)
