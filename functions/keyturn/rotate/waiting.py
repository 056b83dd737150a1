"""The three waiting loops: one look, and how long to wait before the next one."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Protocol

from keyturn.aws import iam
from keyturn.model.rotation import Phase, Polling, Rotation
from keyturn.model.settings import MAX_POLLS
from keyturn.model.world import SecretState
from keyturn.rotate import signals
from keyturn.rotate.evidence import Look, observe, watch_ends_at

_GROWTH = 1.5


def begin(rotation: Rotation, phase: Phase, *, since: datetime, now: datetime | None = None) -> int:
    """Begin a loop; return the seconds until its first look.

    Args:
        rotation: gets the loop.
        phase: what is waited for.
        since: the moment of the publishing, the deactivation or the restoring.
        now: AWS's clock, when the loop begins later than that.
    """
    rotation.loops[phase] = Polling(began_at=since)
    if phase is Phase.WATCH:
        rotation.seen.bad_health_in_a_row = 0
    return wait(rotation, phase, now or since)


def wait(rotation: Rotation, phase: Phase, now: datetime) -> int:
    """Set and return the seconds until a loop's next look."""
    loop = rotation.loops[phase]
    # The jitter only spreads calls; nothing secret depends on it.
    roll = random.random()  # noqa: S311
    until = _ENDS[phase](rotation, now)
    loop.wait_seconds = next_wait(loop, rotation.policy, now=now, until=until, roll=roll)
    return loop.wait_seconds


def _pickup_ends(rotation: Rotation, _: datetime) -> datetime:
    timeout = timedelta(seconds=rotation.policy.pickup_timeout_seconds)
    return rotation.loops[Phase.PICKUP].began_at + timeout


def _watch_ends(rotation: Rotation, _: datetime) -> datetime:
    return watch_ends_at(rotation)


def _return_ends(rotation: Rotation, now: datetime) -> datetime:
    policy, restored_at = rotation.policy, rotation.loops[Phase.RETURN].began_at
    grace = restored_at + timedelta(seconds=policy.backout_grace_seconds)
    settled = grace + timedelta(seconds=policy.really_quiet_seconds)
    last = settled + timedelta(seconds=policy.poll_max_seconds)
    return next((moment for moment in (grace, settled) if moment > now), last)


# When a look of a phase decides at the latest.
_ENDS: Mapping[Phase, Callable[[Rotation, datetime], datetime]] = {
    Phase.PICKUP: _pickup_ends,
    Phase.WATCH: _watch_ends,
    Phase.RETURN: _return_ends,
}


def glance(rotation: Rotation, secret: SecretState, *, health_asked: bool) -> Look:
    """Look at both keys and the signals; the secret was looked at under the claim."""
    ring = iam.list_keys(rotation.user_name)
    return Look(
        now=ring.now,
        old=ring.find(rotation.old_access_key_id),
        new=ring.find(rotation.new_access_key_id),
        signals=signals.look(rotation) + (signals.answered(rotation) if health_asked else []),
        secret=secret,
    )


def look(rotation: Rotation, phase: Phase, secret: SecretState) -> Look:
    """Look once in a loop, and add what is seen to `rotation.seen`."""
    rotation.loops[phase].polls += 1
    # In the watch, the health URL is asked before each look.
    seen = glance(rotation, secret, health_asked=phase is Phase.WATCH)
    rotation.seen = observe(rotation, seen)
    return seen


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
