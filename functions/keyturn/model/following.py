"""What a step says to the state machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Next:
    """What comes next: a word for the Choice that follows, and the seconds to wait before it."""

    word: str
    wait_seconds: int = 0
