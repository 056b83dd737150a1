"""What the demo knows about its users and consumers: plain data, no I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

_KEY_ID = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b")
_KEY_VERSION = re.compile(r"^(?P<key>\w{16,31})-[0-9a-f]{32}$")
INTENT = "intent"


def masked(access_key_id: str) -> str:
    """Return a key id as people see it: its last four characters.

    >>> masked("AKIAIOSFODNN7EXAMPLE")
    '...MPLE'
    """
    return f"...{access_key_id[-4:]}"


def scrubbed(text: str) -> str:
    """Return text from elsewhere with every access key id masked.

    >>> scrubbed("the key AKIAIOSFODNN7EXAMPLE is gone")
    'the key ...MPLE is gone'
    """
    return _KEY_ID.sub(lambda found: masked(found[0]), text)


def counted(number: int, thing: str) -> str:
    """Return a number of things in words.

    >>> counted(1, "call"), counted(0, "error")
    ('1 call', '0 errors')
    """
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


class Kind(StrEnum):
    """What a line of the story is about; the view colours by it."""

    STATE = "state"
    KEYS = "keys"
    CONSUMER = "consumer"
    GOOD = "good"
    MIXED = "mixed"
    BAD = "bad"


@dataclass(frozen=True)
class Moment:
    """One line of the story. `at` is Unix time; `who` is a user or a consumer."""

    at: float
    who: str
    text: str
    kind: Kind


@dataclass(frozen=True, kw_only=True)
class ConsumerRole:
    """A program of a user. `refresh_seconds` None: it reads its secret once and never again."""

    name: str
    interval_seconds: float
    refresh_seconds: float | None
    health: bool = False

    @property
    def well_behaved(self) -> bool:
        """Whether it re-reads its secret."""
        return self.refresh_seconds is not None


@dataclass(frozen=True, kw_only=True)
class UserRole:
    """A machine user of the demo and how its rotation must end."""

    name: str
    key_age_days: int
    consumers: tuple[ConsumerRole, ...]
    outcome: str
    status: str


@dataclass
class ConsumerSeen:
    """A consumer as last seen."""

    role: ConsumerRole
    access_key_id: str
    calls: int = 0
    errors: int = 0
    last_error: str = ""
    failing_since: float | None = None
    """Unix time of the first failed call since the last good one."""
    recovered_at: float | None = None
    """Unix time of the first good call after failed ones."""
    health: int | None = None
    """The HTTP status of its health endpoint; 0: no answer."""


@dataclass(frozen=True)
class Ended:
    """How an execution ended."""

    status: str
    error: str
    result: dict[str, Any]

    @property
    def outcome(self) -> str:
        """The outcome of the result, or the status when there is no result."""
        return str(self.result.get("outcome") or self.status)

    @property
    def reason(self) -> str:
        """The reason in words, without key ids."""
        return scrubbed(str(self.result.get("reason") or self.error or "(no reason given)"))


@dataclass
class UserSeen:
    """A user, its keys, its secret and its rotation as last seen."""

    role: UserRole
    old_key: str
    original_version: str
    consumers: list[ConsumerSeen]
    execution_arn: str = ""
    state: str = "(not started)"
    state_since: float = 0
    """Unix time; the turns of a waiting loop count together."""
    waits_for: str = ""
    deactivated_at: float | None = None
    reactivated_at: float | None = None
    keys: dict[str, str] = field(default_factory=dict)
    """Key id to status, oldest first."""
    labels: dict[str, str] = field(default_factory=dict)
    """Staging label to key id, or to INTENT for the versions that hold no key."""
    ended: Ended | None = None
    ended_at: float | None = None

    @property
    def new_key(self) -> str | None:
        """The key that the rotation issued."""
        return next((key for key in self.keys if key != self.old_key), None)

    def labels_of(self, key: str) -> list[str]:
        """Return the labels on a key's version."""
        return sorted(label for label, holder in self.labels.items() if holder == key)

    def holder(self, version_id: str) -> str:
        """Return the key that a version holds, told by the VersionId alone."""
        if version_id == self.original_version:
            return self.old_key
        found = _KEY_VERSION.match(version_id)
        return found["key"] if found else INTENT
