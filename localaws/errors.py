"""The one error that this package raises."""

from __future__ import annotations


class LocalAwsError(Exception):
    """The embedded AWS could not start, deploy, or be controlled; the message says why."""
