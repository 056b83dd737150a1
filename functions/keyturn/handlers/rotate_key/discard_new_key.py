"""Discard New Key: cleans up a rotation that failed before publishing, after looking again."""

from __future__ import annotations

from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.handlers.rotate_key.close_rotation import closed
from keyturn.model.errors import failure_in_words
from keyturn.rotate.discarding import OVER, discard


def step(event: Event) -> Answer:
    """Delete the unpublished key and release the claim, unless it was published after all."""
    rotation = event.rotation
    found = discard(event.execution, rotation, failure_in_words(event.failure))
    return closed(event, rotation) if found.word == OVER else Answer(found.word, rotation)


handler = state_function(step)
