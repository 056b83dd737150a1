"""How often a rotation with the default durations looks: on the simulated clock.

The simulation's users are rotated by Keyturn's own functions (`proofs/simulation`): they decide
when to look again and when it is enough.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from benchmarks.figures import Figure, Results
from keyturn.fleet.choosing import BATCH
from keyturn.model.rotation import Polling, Rotation
from keyturn.rotate.waiting import next_wait
from proofs.simulation import defaults
from proofs.simulation.clock import EPOCH
from proofs.simulation.ending import Ended
from proofs.simulation.lastused import UNIFORM
from proofs.simulation.population import draw
from proofs.simulation.scene import Scene
from proofs.simulation.tally import percentile
from proofs.simulation.variants import Variant

USERS, SEED = 1_000, 1


def measure(users: int = USERS) -> Results:
    """Rotate so many users of the population and count the looks of each loop, by how it ended."""
    rule = Variant().keyturn()
    found: dict[Ended, list[dict[str, int]]] = {}
    seconds = []
    for index in range(users):
        user = draw(SEED, index)
        ending, rotation = rule.rotate(Scene(user, UNIFORM))
        found.setdefault(ending.how, []).append(_looks(rotation))
        if ending.how is not Ended.SKIPPED:
            seconds.append(ending.at - user.published_at)
    endings = {how.value: _summary(looks) for how, looks in sorted(found.items())}
    done = endings[Ended.DONE.value]["median"]
    note = f"median; {done['pickup']} for the pickup and {done['watch']} in the watch"
    figure = Figure("looks of a rotation with the default durations", sum(done.values()), note=note)
    batch = _batch_looks(seconds)
    return Results([figure], {"users": users, "seed": SEED, "endings": endings, "batch": batch})


def _looks(rotation: Rotation) -> dict[str, int]:
    return {phase.lower(): polling.polls for phase, polling in rotation.loops.items()}


def _summary(looks: Sequence[dict[str, int]]) -> dict[str, Any]:
    """Return the median and the 90th percentile of each loop's looks."""
    names = dict.fromkeys(name for each in looks for name in each)
    counts = {name: [each.get(name, 0) for each in looks] for name in names}
    return {
        "rotations": len(looks),
        "median": {name: round(statistics.median(each)) for name, each in counts.items()},
        "p90": {name: round(percentile(each, 0.9) or 0) for name, each in counts.items()},
    }


def _batch_looks(seconds: Sequence[float]) -> int:
    """Return the looks of a fleet run at a batch, whose longest rotation ends its watching."""
    longest = [max(seconds[at : at + BATCH]) for at in range(0, len(seconds), BATCH)]
    policy = defaults.policy()
    ends = EPOCH + timedelta(seconds=statistics.median(longest))
    until = EPOCH + timedelta(seconds=defaults.fleet().longest_rotation_seconds)
    rng = random.Random(SEED)  # noqa: S311 - the same figure in every run
    polling, now = Polling(began_at=EPOCH), EPOCH
    while now < min(ends, until):
        wait = next_wait(polling, policy, now=now, until=until, roll=rng.random())
        now += timedelta(seconds=wait)
        polling.polls += 1
    return polling.polls
