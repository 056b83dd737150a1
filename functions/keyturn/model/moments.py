"""Moments as text: ISO 8601, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime

# Longer than any form of ISO 8601; anybody may have put anything into an event or a tag.
_LONGEST = 40


def iso(at: datetime) -> str:
    """Return ISO 8601 UTC with milliseconds and a Z.

    >>> iso(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    '2026-01-02T03:04:05.000Z'
    """
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parsed(text: str) -> datetime:
    """Return the moment of an ISO 8601 text, in UTC; one without a zone is in UTC already.

    Raises:
        ValueError, OverflowError: it is none (the latter: the year 1, east of Greenwich).
    """
    at = datetime.fromisoformat(text)
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def moment(text: object) -> datetime | None:
    """Return a moment, or None for anything else (`N/A`, `no_information`, no text at all)."""
    if not isinstance(text, str) or len(text) > _LONGEST:
        return None
    try:
        return parsed(text)
    except (ValueError, OverflowError):
        return None
