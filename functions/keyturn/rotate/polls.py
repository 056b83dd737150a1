"""Looks and waits that the three waiting loops have in common."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from keyturn.aws import alarms, iam
from keyturn.model.rotation import Polling, Rotation
from keyturn.rotate.evidence import Look, observe, watch_ends_at
from keyturn.rotate.polling import next_wait


def look(rotation: Rotation) -> Look:
    """Look at both keys and the alarms, and add what is seen to `rotation.seen`."""
    ring = iam.list_keys(rotation.user_name)
    alarming, unclear = alarms.states(rotation.policy.alarms)
    seen = Look(
        now=ring.now,
        old=ring.find(rotation.old_access_key_id),
        new=ring.find(rotation.new_access_key_id),
        alarming=alarming,
        alarms_unclear=unclear,
    )
    rotation.seen = observe(rotation, seen)
    return seen


def wait(rotation: Rotation, polling: Polling, *, now: datetime, until: datetime) -> int:
    """Set and return the seconds until the loop's next look."""
    # The jitter only spreads calls; nothing secret depends on it.
    roll = random.random()  # noqa: S311
    polling.wait_seconds = next_wait(polling, rotation.policy, now=now, until=until, roll=roll)
    return polling.wait_seconds


def begin_pickup(rotation: Rotation, now: datetime) -> int:
    """Begin the wait for the consumers; return the seconds until the first look."""
    rotation.pickup = Polling(began_at=now)
    return wait_for_pickup(rotation, now)


def wait_for_pickup(rotation: Rotation, now: datetime) -> int:
    """Return the seconds until the next look at the pickup."""
    assert rotation.pickup is not None  # noqa: S101 - begun at the publishing
    ends = rotation.pickup.began_at + timedelta(seconds=rotation.policy.pickup_timeout_seconds)
    return wait(rotation, rotation.pickup, now=now, until=ends)


def begin_watch(rotation: Rotation, now: datetime) -> int:
    """Begin the watch; return the seconds until the first look."""
    rotation.watch = Polling(began_at=now)
    rotation.seen.bad_health_in_a_row = 0
    return wait_for_cutover(rotation, now)


def wait_for_cutover(rotation: Rotation, now: datetime) -> int:
    """Return the seconds until the next look in the watch."""
    assert rotation.watch is not None  # noqa: S101 - begun at the deactivation
    return wait(rotation, rotation.watch, now=now, until=watch_ends_at(rotation))


def begin_return(rotation: Rotation, now: datetime) -> int:
    """Begin the wait for the consumers' return; return the seconds until the first look."""
    rotation.restored_at = now
    rotation.back = Polling(began_at=now)
    return wait_for_return(rotation, now)


def wait_for_return(rotation: Rotation, now: datetime) -> int:
    """Return the seconds until the next look at the return."""
    policy = rotation.policy
    assert rotation.back is not None  # noqa: S101 - begun at the restoring
    assert rotation.restored_at is not None  # noqa: S101 - likewise
    grace = rotation.restored_at + timedelta(seconds=policy.backout_grace_seconds)
    settled = grace + timedelta(seconds=policy.really_quiet_seconds)
    last = settled + timedelta(seconds=policy.poll_max_seconds)
    until = next((moment for moment in (grace, settled) if moment > now), last)
    return wait(rotation, rotation.back, now=now, until=until)
