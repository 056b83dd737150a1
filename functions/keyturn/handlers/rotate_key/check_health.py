"""Check Health: asks the user's health URL. Its role can do nothing else."""

from __future__ import annotations

from datetime import UTC, datetime

from keyturn.aws.health import ask
from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.model.environment import Environment


def step(event: Event) -> Answer:
    """Ask once and count bad answers in a row."""
    rotation = event.rotation
    url = rotation.policy.health_url
    assert url is not None  # noqa: S101 - the state machine asked
    allow_private = Environment().flag("ALLOW_PRIVATE_HEALTH_URLS")
    health = ask(url, allow_private=allow_private, now=datetime.now(UTC))
    seen = rotation.seen
    seen.health = health
    seen.bad_health_in_a_row = 0 if health.good else seen.bad_health_in_a_row + 1
    return Answer("ASKED", rotation, wait_seconds=event.data.get("waitSeconds", 0))


handler = state_function(step)
