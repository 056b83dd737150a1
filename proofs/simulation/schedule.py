"""When a consumer calls AWS: worked out by arithmetic, not call by call.

All times are simulated seconds. Every schedule answers two questions in constant time: the first
call at or after a moment, and the last one before it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from proofs.simulation.clock import DAY, HOUR, NEVER, WEEK, chance

Days = Literal["all", "weekdays", "office"]
OPENS, CLOSES = 7 * HOUR, 19 * HOUR
# What a search steps over at most: skipped runs, weekends, outages one after the other.
_STEPS = 200


@dataclass(frozen=True, slots=True)
class Beat:
    """Moments `phase + k * period`, each late by a chance part of `jitter` (less than a period)."""

    period: float
    phase: float
    jitter: float
    salt: int

    def at(self, k: int) -> float:
        """Return the k-th moment."""
        return self.phase + k * self.period + chance(self.salt, k) * self.jitter

    def first(self, since: float) -> int:
        """Return the index of the first moment at or after `since`."""
        k = math.ceil((since - self.phase - self.jitter) / self.period)
        while self.at(k) < since:
            k += 1
        return k

    def next(self, since: float) -> float:
        """Return the first moment at or after `since`."""
        # The hot spot of the simulation, hence in one piece.
        period, phase, jitter, salt = self.period, self.phase, self.jitter, self.salt
        k = math.ceil((since - phase - jitter) / period)
        while True:
            found = phase + k * period
            if jitter:
                found += chance(salt, k) * jitter
            if found >= since:
                return found
            k += 1

    def last(self, before: float) -> int:
        """Return the index of the last moment before `before`."""
        k = math.floor((before - self.phase) / self.period)
        while self.at(k) >= before:
            k -= 1
        return k


@dataclass(frozen=True, slots=True)
class Calls:
    """A consumer's calls: single ones at each beat, or runs that begin at each beat.

    duration, gap: a run lasts `duration` and calls every `gap` seconds; 0: each beat is one call.
    skipped: the share of runs that do not take place.
    days: "weekdays" has no run that begins at a weekend; "office" calls from 7 to 19 on weekdays.
    outages: times in which the consumer is switched off altogether.
    """

    beat: Beat
    duration: float = 0
    gap: float = 30
    skipped: float = 0
    days: Days = "all"
    outages: tuple[tuple[float, float], ...] = ()

    def first(self, since: float) -> float:
        """Return the time of the first call at or after `since`."""
        if not (self.duration or self.skipped or self.outages) and self.days == "all":
            return self.beat.next(since)
        for _ in range(_STEPS):
            since = self._open(since)
            found = self._candidate(since)
            opened = self._open(found)
            if opened == found:
                return found
            since = opened
        return NEVER

    def last(self, before: float) -> float:
        """Return the time of the last call before `before`, or minus infinity."""
        for _ in range(_STEPS):
            k = self.beat.last(before)
            start = self.beat.at(k)
            if self.duration and self.held(k):
                steps = min(self.duration, math.nextafter(before, 0) - start) // self.gap
                found = start + steps * self.gap
            else:
                found = start
            if self.held(k) and self._open(found) == found:
                return found
            before = min(found, self._shut(found))
        return -NEVER

    def first_run(self, since: float) -> float:
        """Return when the first run (or single call) at or after `since` begins."""
        k = self.beat.first(since)
        for step in range(_STEPS):
            start = self.beat.at(k + step)
            if self.held(k + step) and self._open(start) == start:
                return start
        return NEVER

    def held(self, k: int) -> bool:
        """Whether the k-th run takes place, outages apart."""
        if self.days == "weekdays" and self.beat.at(k) % WEEK >= 5 * DAY:
            return False
        return not self.skipped or chance(self.beat.salt ^ 0x5EED, k) >= self.skipped

    @property
    def longest_gap(self) -> float:
        """The longest time without a call that this schedule can have, in seconds."""
        gap = self.beat.period + self.beat.jitter
        if self.skipped:
            return NEVER
        if self.days == "weekdays":
            # A run a little before midnight can fall on Saturday, and is left out then.
            crosses = self.beat.phase % DAY + self.beat.jitter >= DAY
            gap += (3 if crosses else 2) * DAY
        elif self.days == "office":
            gap += 2 * DAY + (DAY - CLOSES) + OPENS
        return gap + sum(end - start for start, end in self.outages)

    def _candidate(self, since: float) -> float:
        """Return the first call at or after `since` if nothing is switched off."""
        if not self.duration:
            k = self.beat.first(since)
        else:
            k = self.beat.last(math.nextafter(since, NEVER))
            start = self.beat.at(k)
            if self.held(k):
                # A hair less, so that a call's own time, computed another way, finds the call.
                call = start + math.ceil((since - start) / self.gap - 1e-9) * self.gap
                if call <= start + self.duration:
                    return max(call, since)
            k += 1
        for step in range(_STEPS):
            if self.held(k + step):
                return self.beat.at(k + step)
        return NEVER

    def _open(self, at: float) -> float:
        """Return the first moment at or after `at` at which the consumer is switched on."""
        if self.days == "office":
            at = _office(at)
        for start, end in self.outages:
            if start <= at < end:
                at = end if self.days != "office" else _office(end)
        return at

    def _shut(self, at: float) -> float:
        """Return since when the consumer is switched off at a moment, or infinity if it is on."""
        if self.days == "office" and _office(at) != at:
            midnight = at - at % DAY
            hours = at - midnight
            return midnight + CLOSES if hours >= CLOSES else midnight - DAY + CLOSES
        return min((start for start, end in self.outages if start <= at < end), default=NEVER)


def _office(at: float) -> float:
    midnight = at - at % DAY
    hour = at - midnight
    if hour >= CLOSES:
        midnight, hour = midnight + DAY, 0.0
    day = midnight % WEEK / DAY
    if day >= 5:
        return midnight + (7 - day) * DAY + OPENS
    return max(midnight + OPENS, midnight + hour)
