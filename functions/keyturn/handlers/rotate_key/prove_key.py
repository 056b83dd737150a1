"""Prove New Key and Prove Old Key: three spaced calls with the stored value, before it is used."""

from __future__ import annotations

from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.rotate.proving import prove_new, prove_old


def step(event: Event) -> Answer:
    """Prove the key that `which` names: NEW, or OLD before consumers are sent back to it."""
    rotation = event.rotation
    (prove_old if event.data["which"] == "OLD" else prove_new)(event.execution, rotation)
    return Answer("PROVEN", rotation)


handler = state_function(step, answers_blocked=True)
