"""What a scenario with default durations runs on: a deployed stack, seen through its contract.

The scenarios know nothing else. Here an embedded AWS with a moved clock stands behind it
(`embedded.py`), so that a week takes seconds. A real account can stand behind it as well: there,
time is real, and what AWS lets nobody do (make a key older) is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from localaws import Account
from localaws.consumer import Participant


class Target(Protocol):
    """A stack deployed with the template's default durations."""

    @property
    def aws(self) -> Account:
        """Makes clients, the administrator's and those of keys; nothing else of it is used."""

    @property
    def outputs(self) -> dict[str, str]:
        """The stack's outputs."""

    def now(self) -> datetime:
        """The time there."""

    def join(self, *, passive: bool = False) -> Participant:
        """Take part in the time there, which goes on when all who take part sleep.

        A passive one (a consumer) does not make it go on alone.
        """

    def age(self, access_key_id: str, days: float) -> None:
        """Make a key look so old. Raises NotImplementedError where that is impossible."""

    def health_url(self, healthy: Callable[[], bool]) -> AbstractContextManager[str]:
        """A URL that the stack may ask, which answers 200 or 503."""
