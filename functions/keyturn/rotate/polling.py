"""How long a waiting loop sleeps before it looks again."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Protocol

from keyturn.model.settings import MAX_POLLS

_GROWTH = 1.5


class Loop(Protocol):
    """A waiting loop; its `polls` counts the looks already taken."""

    @property
    def polls(self) -> int: ...


class Bounds(Protocol):
    """The shortest and the longest interval between two looks, in seconds."""

    @property
    def poll_min_seconds(self) -> int: ...

    @property
    def poll_max_seconds(self) -> int: ...


def next_wait(polling: Loop, policy: Bounds, *, now: datetime, until: datetime, roll: float) -> int:
    """Return the seconds to wait before the next look: growing, jittered, up to `until`.

    Args:
        polling: the loop so far; its `polls` counts the looks already taken.
        policy: gives the bounds, `poll_min_seconds` and `poll_max_seconds`.
        now: AWS's clock.
        until: the moment at which a look will decide; the wait ends a second later at the latest.
        roll: a random number in [0, 1) for the jitter (it only ever shortens the wait).

    The result is at least 1 second. Near its 1,000th look a loop waits as long as it takes for
    the rest of the time to fit, so an execution's history (25,000 events) cannot overflow.
    """
    grown = policy.poll_min_seconds * _GROWTH ** min(polling.polls, 60)
    bounded = min(grown, policy.poll_max_seconds)
    jittered = max(policy.poll_min_seconds, bounded * (1 - 0.2 * roll))
    remaining = max(0.0, (until - now).total_seconds())
    rationed = remaining / max(1, MAX_POLLS - polling.polls)
    wait = max(jittered, rationed)
    if remaining > 0:
        # AWS's clock comes in whole seconds, rounded down: one more, so that the look which is to
        # decide does not come a moment too early.
        wait = min(wait, remaining + 1)
    return max(1, math.ceil(wait))
