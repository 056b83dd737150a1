"""How a rotation ended, under whichever rule."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Ended(StrEnum):
    """The ways in which a rotation ends."""

    DONE = "rotated"
    STILL_IN_USE = "needs attention: old key in use at the timeout"
    SILENT = "needs attention: silent watch, old key reactivated"
    CONTRADICTION = "needs attention: health not good before the deactivation"
    BACKED_OUT = "backed out: new key not seen in use"
    UNDONE = "backed out: bad health or an alarm in the watch"
    BOTH_STAY = "needs attention: went back, new key still in use"
    SKIPPED = "skipped: key unused for 90 days"
    WAITING = "still waiting after 14 days"


UNDECIDED = (Ended.STILL_IN_USE, Ended.SILENT, Ended.CONTRADICTION, Ended.BOTH_STAY, Ended.WAITING)
"""A person has to find out what to do."""


@dataclass(frozen=True)
class Ending:
    """How and when it ended. Times in simulated seconds.

    old_gone_at: when the old key became inactive (the first time), or None. kept: whether it
    stayed so.
    """

    how: Ended
    at: float
    old_gone_at: float | None = None
    kept: bool = False
