"""Who is rotated: machine users of named kinds, drawn from a seed.

The shares and ranges are assumptions, not measurements of anybody's fleet. They are chosen so that
every way of holding a credential that the rules differ on occurs often enough to be counted.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from proofs.simulation.clock import DAY, HOUR, MINUTE, WEEK, seed_of
from proofs.simulation.consumers import Consumer
from proofs.simulation.schedule import Beat, Calls, Days


class Kind(StrEnum):
    """The kinds of machine users, by their consumers."""

    CONTINUOUS = "continuous"
    HOURLY_CACHE = "hourly cache"
    HOURLY_BATCH = "hourly batch"
    NIGHTLY = "nightly batch"
    WEEKLY = "weekly batch"
    RESTART_ONLY = "restart-only"
    DORMANT = "dormant"
    SEVERAL = "several, all moving"
    STRAGGLER = "straggler, calls daily"
    RARE = "straggler, calls rarely"
    AWAY = "one away for days"


SHARES = {
    Kind.CONTINUOUS: 16,
    Kind.HOURLY_CACHE: 14,
    Kind.HOURLY_BATCH: 10,
    Kind.NIGHTLY: 12,
    Kind.WEEKLY: 6,
    Kind.RESTART_ONLY: 12,
    Kind.DORMANT: 4,
    Kind.SEVERAL: 12,
    Kind.STRAGGLER: 8,
    Kind.RARE: 3,
    Kind.AWAY: 3,
}

# Every user's key is older than any consumer is patient, so that its age plays no part.
_FIRST_WEEK = 60
OWN_KEY_SHARE, STS_SHARE, OUTAGE_SHARE = 0.4, 0.15, 0.05


@dataclass(frozen=True)
class User:
    """One machine user in one rotation. `published_at` is in simulated seconds."""

    kind: Kind
    seed: int
    published_at: float
    consumers: tuple[Consumer, ...]

    @property
    def longest_gap(self) -> float:
        """The longest silence of a consumer that may hold a stale key, in seconds."""
        return max(consumer.longest_gap for consumer in self.consumers)


def draw(seed: int, index: int, only: Kind | None = None) -> User:
    """Return user number `index` of a population; the same for everybody who asks."""
    rng = random.Random(seed_of(seed, index))  # noqa: S311 - repeatable, nothing secret
    kind = rng.choices(list(SHARES), weights=list(SHARES.values()))[0]
    kind = only or kind
    # Rotations start at any time of the week.
    published_at = (_FIRST_WEEK + rng.random()) * WEEK
    consumers = _MAKERS[kind](_Maker(rng, published_at))
    return User(kind, seed_of(seed, index, part=1), published_at, tuple(consumers))


class _Maker:
    """Draws consumers around one publishing."""

    def __init__(self, rng: random.Random, published_at: float) -> None:
        self.rng = rng
        self.published_at = published_at

    def beat(self, period: float, jitter: float, *, phase: float | None = None) -> Beat:
        """Return a beat at a chance phase."""
        if phase is None:
            phase = self.rng.random() * period
        return Beat(period, phase, jitter, self.rng.getrandbits(60))

    def between(self, low: float, high: float) -> float:
        """Return a number that is as likely in each octave."""
        return math.exp(self.rng.uniform(math.log(low), math.log(high)))

    def steady(self, days: Days = "all") -> Calls:
        """Return calls every few seconds to minutes."""
        period = self.between(5, 10 * MINUTE)
        return Calls(self.beat(period, period * 0.99), days=days)

    def batch(
        self,
        period: float,
        jitter: float,
        *,
        longest: float,
        skipped: float = 0,
        days: Days = "all",
    ) -> Calls:
        """Return runs of a minute to `longest` seconds."""
        return Calls(
            self.beat(period, jitter),
            duration=self.between(MINUTE, longest),
            gap=self.between(5, 5 * MINUTE),
            skipped=skipped,
            days=days,
        )

    def nightly(self, *, days: Days = "all", skipped: float = 0) -> Calls:
        """Return one run a night, up to 90 minutes late."""
        return self.batch(DAY, self.rng.uniform(0, 90 * MINUTE), longest=3 * HOUR,
                          skipped=skipped, days=days)  # fmt: skip

    def weekly(self, *, skipped: float = 0) -> Calls:
        """Return one run a week, up to 2 hours late."""
        return self.batch(WEEK, self.rng.uniform(0, 2 * HOUR), longest=6 * HOUR, skipped=skipped)

    def consumer(self, name: str, calls: Calls, *, heals: float = 0, **other: object) -> Consumer:
        """Return a consumer that reads again after a failure with the probability `heals`."""
        rng = self.rng
        return Consumer(
            name=name,
            calls=self._with_outage(calls),
            own_key=rng.random() < OWN_KEY_SHARE,
            heals_after=rng.uniform(1, MINUTE) if rng.random() < heals else None,
            service="sts" if rng.random() < STS_SHARE else "s3",
            **other,  # type: ignore[arg-type]
        )

    def _with_outage(self, calls: Calls) -> Calls:
        if self.rng.random() >= OUTAGE_SHARE:
            return calls
        start = self.published_at + self.rng.uniform(-2 * DAY, 12 * DAY)
        return replace(calls, outages=((start, start + self.between(2 * HOUR, 20 * HOUR)),))

    # --- kinds of consumers -------------------------------------------------------------------

    def continuous(self) -> Consumer:
        """Calls all the time, reads every few minutes to 12 hours."""
        every = self.between(5 * MINUTE, 12 * HOUR)
        days: Days = "office" if self.rng.random() < 0.15 else "all"
        return self.consumer("continuous", self.steady(days), heals=0.5,
                             reads=self.beat(every, every * 0.1))  # fmt: skip

    def hourly_cache(self) -> Consumer:
        """Calls all the time, reads every hour."""
        return self.consumer("hourly cache", self.steady(), heals=0.3, reads=self.beat(HOUR, 0))

    def hourly_batch(self) -> Consumer:
        """Runs every hour and reads at each run."""
        calls = self.batch(HOUR, 5 * MINUTE, longest=20 * MINUTE)
        return self.consumer("hourly batch", calls, reads_at_each_run=True)

    def nightly_batch(self, *, gaps: bool) -> Consumer:
        """Runs every night and reads at each run; some only on weekdays, some miss nights."""
        roll = self.rng.random() if gaps else 1.0
        days: Days = "weekdays" if roll < 0.3 else "all"
        skipped = 0.05 if 0.3 <= roll < 0.5 else 0.0
        calls = self.nightly(days=days, skipped=skipped)
        return self.consumer("nightly batch", calls, reads_at_each_run=True)

    def weekly_batch(self) -> Consumer:
        """Runs every week and reads at each run."""
        calls = self.weekly(skipped=0.05 if self.rng.random() < 0.3 else 0.0)
        return self.consumer("weekly batch", calls, reads_at_each_run=True)

    def long_lived(self, name: str, calls: Calls, low: float, high: float) -> Consumer:
        """Reads at its restarts alone, `low` to `high` seconds apart."""
        every = self.between(low, high)
        return self.consumer(name, calls, heals=0.15, restarts=True,
                             reads=self.beat(every, every * 0.5))  # fmt: skip

    def restart_only(self) -> Consumer:
        """A service that reads at its start; some work in office hours, by the hour or at night."""
        roll = self.rng.random()
        if roll < 0.15:
            calls = self.steady("office")
        elif roll < 0.3:
            calls = self.nightly()
        elif roll < 0.4:
            calls = self.batch(HOUR, 5 * MINUTE, longest=20 * MINUTE)
        else:
            calls = self.steady()
        return self.long_lived("restart-only", calls, DAY, 30 * DAY)

    def dormant(self) -> Consumer:
        """Runs every 1 to 6 months; a script that reads each time, or a service that restarts."""
        calls = self.batch(self.rng.uniform(30, 180) * DAY, 10 * DAY, longest=HOUR)
        if self.rng.random() < 0.6:
            return self.consumer("dormant script", calls, reads_at_each_run=True)
        return self.long_lived("dormant service", calls, 7 * DAY, 60 * DAY)

    def moving(self, least: int, most: int) -> list[Consumer]:
        """Return some consumers that all read again within a day."""
        makers: list[Callable[[], Consumer]] = [
            self.continuous,
            self.hourly_cache,
            self.hourly_batch,
            lambda: self.nightly_batch(gaps=False),
        ]
        return [self.rng.choice(makers)() for _ in range(self.rng.randint(least, most))]

    def stale(self, name: str, calls: Calls) -> Consumer:
        """A straggler: static credentials, or a restart a week to two months away."""
        if self.rng.random() < 0.5:
            return self.consumer(f"{name}, static", calls)
        return self.long_lived(f"{name}, late restart", calls, 8 * DAY, 60 * DAY)

    def daily_straggler(self) -> Consumer:
        """A straggler that calls every day at least."""
        roll = self.rng.random()
        if roll < 0.5:
            return self.stale("busy", self.steady())
        if roll < 0.75:
            return self.stale("hourly", self.batch(HOUR, 5 * MINUTE, longest=20 * MINUTE))
        return self.stale("nightly", self.nightly())

    def rare_straggler(self) -> Consumer:
        """A straggler that is silent for a weekend, for missed nights or for a week."""
        roll = self.rng.random()
        if roll < 0.25:
            return self.stale("office hours", self.steady("office"))
        if roll < 0.5:
            return self.stale("weekdays", self.nightly(days="weekdays"))
        if roll < 0.7:
            return self.stale("misses nights", self.nightly(skipped=0.05))
        return self.stale("weekly", self.weekly())

    def away(self) -> Consumer:
        """Hourly or continuous, but switched off for 2 to 6 days around the publishing."""
        found = self.rng.choice([self.continuous, self.hourly_cache, self.hourly_batch])()
        start = self.published_at + self.rng.uniform(-2 * DAY, DAY)
        off = ((start, start + self.rng.uniform(2, 6) * DAY),)
        return replace(found, name=f"{found.name}, away", calls=replace(found.calls, outages=off))


_MAKERS: dict[Kind, Callable[[_Maker], list[Consumer]]] = {
    Kind.CONTINUOUS: lambda maker: [maker.continuous()],
    Kind.HOURLY_CACHE: lambda maker: [maker.hourly_cache()],
    Kind.HOURLY_BATCH: lambda maker: [maker.hourly_batch()],
    Kind.NIGHTLY: lambda maker: [maker.nightly_batch(gaps=True)],
    Kind.WEEKLY: lambda maker: [maker.weekly_batch()],
    Kind.RESTART_ONLY: lambda maker: [maker.restart_only()],
    Kind.DORMANT: lambda maker: [maker.dormant()],
    Kind.SEVERAL: lambda maker: maker.moving(2, 4),
    Kind.STRAGGLER: lambda maker: [*maker.moving(1, 3), maker.daily_straggler()],
    Kind.RARE: lambda maker: [*maker.moving(1, 3), maker.rare_straggler()],
    Kind.AWAY: lambda maker: [*maker.moving(1, 2), maker.away()],
}
