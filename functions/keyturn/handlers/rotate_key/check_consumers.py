"""Check Pickup, Check Watch, Check Return: how are the consumers?"""

from __future__ import annotations

from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.model.rotation import Phase
from keyturn.rotate import claim
from keyturn.rotate.checking import check


def step(event: Event) -> Answer:
    """Look once, judge, and say how long to wait when it is not decided.

    `phase` is PICKUP (have they moved to the new key?), WATCH (does the deactivation hurt
    anybody?) or RETURN (have they come back, so that the new key can be deactivated?).
    """
    rotation = event.rotation
    secret = claim.required(rotation.secret_name, event.execution.mark)
    verdict, seconds = check(rotation, Phase(event.data["phase"]), secret)
    return Answer(verdict.value, rotation, wait_seconds=seconds)


handler = state_function(step, answers_blocked=True)
