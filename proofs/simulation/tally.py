"""Counts over many rotations, by rule and kind of user; merging is order-independent."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from keyturn.model.rotation import Policy
from proofs.simulation.clock import NEVER
from proofs.simulation.consumers import KeyName
from proofs.simulation.ending import UNDECIDED, Ended, Ending
from proofs.simulation.population import User
from proofs.simulation.scene import CutOff

# The worst that happened to a rotation, best first.
WORST = ("watch", "itself", "restart", "nobody")


@dataclass
class Tally:
    """What one rule did to one kind of users. Durations in seconds.

    cut: rotations that cut a consumer off, by what ended the worst of their cut-offs. Of those that
    the watch did not reverse: within: the user's consumers all call within the quiet period;
    moving: a consumer was cut off that, left alone, would have moved within the pickup timeout;
    rejected: it was the new key, deactivated in a back-out. lasted: the length of each cut-off,
    infinity until a person comes. gone_after: from the publishing to the (first) deactivation of
    the old key.
    """

    rotations: int = 0
    endings: Counter[Ended] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)
    within: int = 0
    moving: int = 0
    rejected: int = 0
    lasted: list[float] = field(default_factory=list)
    gone_after: list[float] = field(default_factory=list)

    def add(self, user: User, ending: Ending, cut_offs: Sequence[CutOff], policy: Policy) -> None:
        """Count one rotation."""
        self.rotations += 1
        self.endings[ending.how] += 1
        if cut_offs:
            worst = max((cut.by for cut in cut_offs), key=WORST.index)
            self.cut[worst] += 1
            lasting = [cut for cut in cut_offs if cut.by != "watch"]
            patience = user.published_at + policy.pickup_timeout_seconds
            self.within += bool(lasting) and user.longest_gap <= policy.quiet_period_seconds
            self.moving += any(cut.reads_at <= patience for cut in lasting)
            self.rejected += any(cut.key is KeyName.NEW for cut in lasting)
            self.lasted += [cut.seconds for cut in cut_offs]
        if ending.old_gone_at is not None:
            self.gone_after.append(ending.old_gone_at - user.published_at)

    def merge(self, other: Tally) -> None:
        """Add another tally."""
        self.rotations += other.rotations
        self.endings += other.endings
        self.cut += other.cut
        self.within += other.within
        self.moving += other.moving
        self.rejected += other.rejected
        self.lasted += other.lasted
        self.gone_after += other.gone_after

    @property
    def unreversed(self) -> int:
        """Rotations with a cut-off that no watch reversed."""
        return self.cut.total() - self.cut["watch"]

    @property
    def finite(self) -> list[float]:
        """The lengths of the cut-offs that end without a person."""
        return [seconds for seconds in self.lasted if seconds < NEVER]

    @property
    def endless(self) -> int:
        """How many cut-offs last until a person comes."""
        return len(self.lasted) - len(self.finite)

    @property
    def undecided(self) -> int:
        """Rotations that ended with a call for a person."""
        return sum(self.endings[how] for how in UNDECIDED)

    @property
    def backed_out(self) -> int:
        """Rotations that went back to the old key by themselves."""
        return self.endings[Ended.BACKED_OUT] + self.endings[Ended.UNDONE]


def merged(tallies: Iterable[Tally]) -> Tally:
    """Return the sum of tallies."""
    total = Tally()
    for tally in tallies:
        total.merge(tally)
    return total


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the nearest-rank percentile, or None of nothing.

    >>> percentile([4, 1, 3, 2], 0.5), percentile([], 0.5)
    (2, None)
    """
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
