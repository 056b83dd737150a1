"""What became of each user's keys and secret, state by state, as an outside observer sees them.

Sampling over the API would miss what lasts shorter than a sample, so the middleware takes the
picture right after every call that may have changed something.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from typing import Any

from ministack.services import iam, secretsmanager

from localaws.model import Change
from localaws.state import Request

READ_ONLY = ("Get", "List", "Describe", "Simulate", "BatchGet")
WATCHED = frozenset({"iam", "secretsmanager"})


class Journal:
    """The changes of every user, oldest first, and when each key last made a consumer's call."""

    def __init__(self) -> None:
        self._changes: dict[str, list[Change]] = defaultdict(list)
        self._used: dict[str, float] = {}

    def used(self, key: str, service: str) -> None:
        """Note a use of a key in truth; a call of `sts` is a probe, not work."""
        if service != "sts":
            self._used[key] = time.time()

    def note(self, request: Request) -> None:
        """Take a picture of every user whom a request is about, if it may have changed anything."""
        if request.service not in WATCHED or request.action.startswith(READ_ONLY):
            return
        for user in (name for name in request.about if name in iam._users):
            self._changes[user].append(self._picture(user, request))

    def of(self, user: str) -> list[Change]:
        """The changes of one user."""
        return [*self._changes[user]]

    def _picture(self, user: str, request: Request) -> Change:
        keys = {
            key: record["Status"]
            for key, record in iam._access_keys.items()
            if record["UserName"] == user
        }
        secret = next(
            (
                found
                for name, found in secretsmanager._secrets.items()
                if name.rsplit("/", 1)[-1] == user
            ),
            None,
        )
        versions = secret["Versions"] if secret is not None else {}
        return Change(
            time=time.time(),
            action=request.name,
            principal=request.principal,
            function=request.function,
            keys=keys,
            labels={
                label: version_id
                for version_id, version in versions.items()
                for label in version["Stages"]
            },
            holds={
                version_id: key
                for version_id, version in versions.items()
                if (key := _key_in(version)) is not None
            },
            tags={tag["Key"]: tag["Value"] for tag in (secret or {}).get("Tags", [])},
            used={key: self._used[key] for key in keys if key in self._used},
        )


def _key_in(version: dict[str, Any]) -> str | None:
    """The access key id that a version holds; nothing else of it is looked at."""
    try:
        value = json.loads(version.get("SecretString") or "")
    except (ValueError, RecursionError):
        return None
    key = value.get("AccessKeyId") if isinstance(value, dict) else None
    return key if isinstance(key, str) else None


journal = Journal()
