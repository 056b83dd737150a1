"""Publish New Key and Restore Old Version: AWSCURRENT onto the new version, or back."""

from __future__ import annotations

from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.rotate.publishing import publish, restore


def step(event: Event) -> Answer:
    """Move AWSCURRENT to the version that `to` names: NEW or OLD."""
    rotation = event.rotation
    move = restore if event.data["to"] == "OLD" else publish
    found = move(event.execution, rotation)
    return Answer(found.word, rotation, wait_seconds=found.wait_seconds)


handler = state_function(step, answers_blocked=True)
