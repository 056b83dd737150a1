"""The simulated clock: seconds since a Monday midnight, and repeatable chance without a state."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

MINUTE, HOUR, DAY, WEEK = 60.0, 3_600.0, 86_400.0, 604_800.0
NEVER = float("inf")

EPOCH = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
_MASK = (1 << 64) - 1
_UNIT = 2.0**-53


def moment(seconds: float) -> datetime:
    """Return a simulated time as AWS's clock tells it: in whole seconds, rounded down."""
    return EPOCH + timedelta(seconds=int(seconds))


def seconds_of(at: datetime) -> float:
    """Return the simulated time of a datetime, in seconds."""
    return (at - EPOCH).total_seconds()


def chance(salt: int, index: int) -> float:
    """Return a number in [0, 1) that depends on nothing but salt and index (Weyl's, mixed).

    So the thousandth call of a consumer can be asked for without making up those before it.
    """
    mixed = (salt + index * 0x9E3779B97F4A7C15) & _MASK
    mixed = ((mixed ^ (mixed >> 31)) * 0xBF58476D1CE4E5B9) & _MASK
    return ((mixed ^ (mixed >> 29)) >> 11) * _UNIT


def seed_of(seed: int, index: int, part: int = 0) -> int:
    """Return the seed of one part of one rotation, whoever computes it and in whatever order."""
    return int(chance(seed * 1_000_003 + part, index) * (1 << 53))
