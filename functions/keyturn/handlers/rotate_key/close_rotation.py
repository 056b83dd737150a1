"""Close Rotation: records the outcome and takes the claim off. That last step is the decision."""

from __future__ import annotations

from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.model.errors import failure_in_words
from keyturn.model.rotation import Rotation
from keyturn.rotate.announce import announce
from keyturn.rotate.closing import close, fail


def step(event: Event) -> Answer:
    """Close the rotation as judged, or as its failure says; run twice it changes nothing more."""
    rotation = event.rotation
    error = event.data.get("closing")
    if error:
        fail(rotation, failure_in_words(event.failure) or rotation.why, error)
    close(event.execution, rotation)
    return closed(event, rotation)


def closed(event: Event, rotation: Rotation) -> Answer:
    """Return the answer that ends an execution: result, announcement, and how it ended."""
    return Answer("CLOSED", rotation, announcement=announce(rotation, event.execution.arn))


# A redriven execution may have closed its rotation: it says so again. Its changes are fenced off.
handler = state_function(step, answers_redriven=True)
