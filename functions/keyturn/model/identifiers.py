"""Names that are computed: version ids, execution names, and masked key ids."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, date, datetime

_KEY_VERSION = re.compile(r"^(?P<key>\w{16,31})-(?P<mark>[0-9a-f]{32})$")
# AKIA: access keys of users; ASIA: temporary ones, which a person may paste by mistake.
_KEY_ID = re.compile(r"\b(?:AKIA|ASIA)\w{12,124}\b")
_INTENT_PREFIX = "intent-"
_INTENT = re.compile(r"^intent-(?P<mark>[0-9a-f]{32})(?:-[0-9a-f]{16})?$")


def execution_mark(execution_arn: str, started_at: datetime) -> str:
    """Return 32 hex characters that name one execution; a reused name has another start time."""
    material = f"{execution_arn}|{started_at.isoformat()}"
    return hashlib.sha256(material.encode()).hexdigest()[:32]


def key_version_id(access_key_id: str, mark: str) -> str:
    """Return the VersionId under which a key is stored: `<AccessKeyId>-<mark>`."""
    return f"{access_key_id}-{mark}"


def intent_version_id(mark: str, text: str) -> str:
    """Return the VersionId of an execution's intent (32 to 64 characters are allowed).

    The text is part of the name: a version keeps its first value, and an execution that looks
    again after a lost race has another one to store.
    """
    return f"{_INTENT_PREFIX}{mark}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def is_intent_of(version_id: str | None, mark: str) -> bool:
    """Tell whether a VersionId is that of an intent of this execution."""
    return version_id is not None and is_intent(version_id) and mark_of_version(version_id) == mark


def is_intent(version_id: str) -> bool:
    """Tell whether a VersionId is an intent's: such a version holds no key."""
    return version_id.startswith(_INTENT_PREFIX)


def key_of_version(version_id: str) -> str | None:
    """Return the access key id that a VersionId of ours names, or None for somebody else's.

    >>> key_of_version("AKIAIOSFODNN7EXAMPLE-" + "0" * 32)
    'AKIAIOSFODNN7EXAMPLE'
    """
    found = _KEY_VERSION.match(version_id)
    return found["key"] if found else None


def mark_of_version(version_id: str) -> str | None:
    """Return the execution mark in a VersionId of ours, or None for somebody else's."""
    found = _INTENT.match(version_id) or _KEY_VERSION.match(version_id)
    return found["mark"] if found else None


def masked(access_key_id: str | None) -> str:
    """Return a key id as people see it: its last four characters.

    >>> masked("AKIAIOSFODNN7EXAMPLE")
    '...MPLE'
    """
    return f"...{access_key_id[-4:]}" if access_key_id else "(none)"


def masked_in(text: str) -> str:
    """Return a text for people: every access key id in it (also of a VersionId) is masked.

    >>> masked_in("AWSCURRENT is on AKIAIOSFODNN7EXAMPLE-00ff")
    'AWSCURRENT is on ...MPLE-00ff'
    """
    return _KEY_ID.sub(lambda found: masked(found[0]), text)


def recovery_name(dead_execution_arn: str, redrive_count: int = 0) -> str:
    """Return the name of the execution that backs out a dead one; the same for every delivery.

    A redriven execution can die again, and needs another one then.
    """
    death = f"{dead_execution_arn}#{redrive_count}" if redrive_count else dead_execution_arn
    return f"backout-{hashlib.sha256(death.encode()).hexdigest()[:40]}"


def rotation_name(user_arn: str, user_created_at: datetime, day: date) -> str:
    """Return the name of a user's rotation that nobody started by hand: one a user and UTC day.

    ARN and creation time stand for the user's unique id, which the credential report does not
    have: a user that was deleted and made again is another one. A hash, because user names may
    have characters that execution names may not.

    >>> rotation_name("arn:aws:iam::1:user/a", datetime(2026, 1, 1, tzinfo=UTC), date(2026, 3, 1))
    'rotate-20260301-d5a9443bc949434e9badc0a09626de7abfebe6fc'
    """
    material = f"{user_arn}|{user_created_at.astimezone(UTC).isoformat(timespec='seconds')}|{day}"
    digest = hashlib.sha256(material.encode()).hexdigest()[:40]
    return f"rotate-{day:%Y%m%d}-{digest}"


def emergency_name(access_key_id: str, day: date) -> str:
    """Return the name of an EMERGENCY that an event starts: one a key and UTC day.

    >>> emergency_name("AKIAIOSFODNN7EXAMPLE", date(2026, 3, 1))
    'emergency-20260301-98dc34485f2710a5674952ba38b0fe12ad2573d1'
    """
    digest = hashlib.sha256(f"{access_key_id}|{day}".encode()).hexdigest()[:40]
    return f"emergency-{day:%Y%m%d}-{digest}"
