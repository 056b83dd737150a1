"""What other rotators go by. None of them looks again after it has deactivated the old key."""

from __future__ import annotations

import random

from proofs.simulation.clock import DAY, HOUR, MINUTE, seed_of
from proofs.simulation.consumers import KeyName
from proofs.simulation.ending import Ended, Ending
from proofs.simulation.keyturn_rule import PROBES
from proofs.simulation.scene import Scene

LOOK_EVERY = HOUR
PATIENCE = 14 * DAY


def age_only(scene: Scene) -> Ending:
    """Deactivate the old key 7 days after the new one was published, whatever happens."""
    return _cut_over(scene, scene.user.published_at + 7 * DAY)


def idle_for_a_day(scene: Scene) -> Ending:
    """Deactivate the old key at the first hourly look that shows it unused for 24 hours."""
    begun = scene.user.published_at
    now = begun + LOOK_EVERY
    while now < begun + PATIENCE:
        shown = scene.shown(KeyName.OLD, now)
        if shown is None or now - shown[0] >= DAY:
            return _cut_over(scene, now)
        now += LOOK_EVERY
    return Ending(Ended.WAITING, now)


def new_key_used(scene: Scene) -> Ending:
    """Deactivate the old key at the first hourly look that shows any use of the new one."""
    begun = scene.user.published_at
    now = begun + LOOK_EVERY
    while now < begun + PATIENCE:
        # The rotator's own test of the new key is a use like any other.
        if scene.shown(KeyName.NEW, now) is not None:
            return _cut_over(scene, now)
        now += LOOK_EVERY
    return Ending(Ended.WAITING, now)


def fixed_sleep(scene: Scene) -> Ending:
    """Sleep 10 seconds to 10 minutes, test the new key with sts, deactivate the old one."""
    rng = random.Random(seed_of(scene.user.seed, 0))  # noqa: S311 - repeatable, not secret
    return _cut_over(scene, scene.user.published_at + rng.uniform(10, 10 * MINUTE))


def publish(scene: Scene) -> None:
    """Test and publish the new key, as all of them do first."""
    for seconds in PROBES:
        scene.probe(KeyName.NEW, scene.user.published_at + seconds)
    scene.publish(KeyName.NEW, scene.user.published_at)


def _cut_over(scene: Scene, now: float) -> Ending:
    scene.deactivate(KeyName.OLD, now)
    return Ending(Ended.DONE, now, now, kept=True)
