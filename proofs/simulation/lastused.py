"""GetAccessKeyLastUsed as AWS publishes it: coarse, truncated and late.

Of the uses within one span only the first is recorded, dates lose their seconds, and a recorded
use is published after a lag. The same model as the embedded AWS's (`localaws.state.LastUsed`),
but fed by asking for the next use, so that the uses in between cost nothing; a test holds the two
against each other.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from proofs.simulation.clock import HOUR, MINUTE

NextUse = Callable[[float], tuple[float, str]]
"""Returns when a key is next used at or after a moment (infinity: never again), and for what."""


@dataclass(frozen=True)
class Lag:
    """How late a recorded use is published: one of some uniform spans, each with its weight.

    spans: (weight, shortest seconds, longest seconds).
    """

    name: str
    spans: Sequence[tuple[float, float, float]]

    @property
    def longest(self) -> float:
        """The longest possible lag, in seconds."""
        return max(high for _, _, high in self.spans)

    def draw(self, rng: random.Random) -> float:
        """Return one lag in seconds."""
        if len(self.spans) == 1:
            return rng.uniform(self.spans[0][1], self.spans[0][2])
        (_, low, high) = rng.choices(self.spans, weights=[span[0] for span in self.spans])[0]
        return rng.uniform(low, high)


UNIFORM = Lag("uniform up to 4 h", [(1, 0, 4 * HOUR)])
MOSTLY_PROMPT = Lag(
    "9 of 10 within 15 min, the others up to 4 h",
    [(9, MINUTE, 15 * MINUTE), (1, 15 * MINUTE, 4 * HOUR)],
)
ALWAYS_LATE = Lag("always 4 h", [(1, 4 * HOUR, 4 * HOUR)])
WORSE = Lag("uniform up to 8 h, twice what Keyturn is told", [(1, 0, 8 * HOUR)])


class LastUsed:
    """What is published of one key's uses.

    next_use: tells the uses. since: where the record begins; uses before it are not asked for.
    coalesce: seconds after a recorded use within which further ones are not recorded.
    """

    def __init__(
        self,
        next_use: NextUse,
        lag: Lag,
        rng: random.Random,
        *,
        since: float,
        coalesce: float = 15 * MINUTE,
    ) -> None:
        self._next_use = next_use
        self._lag = lag
        self._rng = rng
        self._coalesce = coalesce
        self._searched = since
        self._next: tuple[float, str] | None = None
        self._recorded: list[tuple[float, float, str]] = []

    def changed(self) -> None:
        """Say that future uses are not what they were; past ones stay recorded."""
        self._next = None

    def shown(self, now: float) -> tuple[float, str] | None:
        """Return the published last use at `now`: its time, cut to the minute, and service."""
        self._advance(now)
        recorded = self._recorded
        for place in range(len(recorded) - 1, -1, -1):
            time, visible_at, service = recorded[place]
            if visible_at <= now:
                del recorded[:place]  # what is older can never be shown again
                return time // MINUTE * MINUTE, service
        return None

    def _advance(self, now: float) -> None:
        while True:
            if self._next is None:
                self._next = self._next_use(self._searched)
            time, service = self._next
            if time > now:
                # Nothing until now: a change of plans can only concern what comes after it.
                self._searched = max(self._searched, now)
                return
            self._recorded.append((time, time + self._lag.draw(self._rng), service))
            self._searched = time + self._coalesce
            self._next = None
