"""When a batch is looked at again, and when nobody looks any more."""

from __future__ import annotations

import random
from datetime import datetime
from typing import Any

from keyturn.fleet.settings import FleetSettings
from keyturn.fleet.watching import Batch
from keyturn.model.settings import MAX_POLLS
from keyturn.rotate.waiting import next_wait


def answer(batch: Batch, settings: FleetSettings, *, now: datetime) -> dict[str, Any]:
    """Return what a state of a batch answers, and mark the batch when it is done."""
    batch.polls += 1
    batch.done = not batch.running or now >= batch.until or batch.polls > MAX_POLLS
    # The jitter only spreads calls; nothing secret depends on it.
    roll = random.random()  # noqa: S311
    wait = next_wait(batch, settings.rotations.durations, now=now, until=batch.until, roll=roll)
    return {
        "next": "DONE" if batch.done else "WAIT",
        "waitSeconds": wait,
        "polls": batch.polls,
        "running": batch.running,
    }
