"""One fleet run: its names in the report bucket, which its functions hand on through S3.

What grows with the number of users never passes through the state machine, whose states hold at
most 256 KiB: the functions leave it in the bucket under these keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keyturn.model.identifiers import execution_mark
from keyturn.model.moments import iso, parsed

# Who was tried when, over all runs, and in which batch: a rotation that is rejected leaves no
# trace on the secret.
ATTEMPTS_KEY = "fleet/attempts.json"


@dataclass(frozen=True)
class FleetRun:
    """An execution of RotateFleet."""

    id: str
    arn: str
    started_at: datetime

    @classmethod
    def of(cls, context: Mapping[str, Any]) -> FleetRun:
        """Name the run of a context object (`$states.context`); a redrive keeps the name."""
        execution = context["Execution"]
        started_at = parsed(execution["StartTime"])
        mark = execution_mark(execution["Id"], started_at)[:8]
        return cls(f"{started_at:%Y%m%dT%H%M%SZ}-{mark}", execution["Id"], started_at)

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> FleetRun:
        """Read what `dump` wrote."""
        return cls(data["id"], data["arn"], parsed(data["startedAt"]))

    def dump(self) -> dict[str, str]:
        """Return the JSON form, which the states hand on."""
        return {"id": self.id, "arn": self.arn, "startedAt": iso(self.started_at)}

    @property
    def account_id(self) -> str:
        return self.arn.split(":")[4]

    @property
    def audit_prefix(self) -> str:
        """Where the report of this run is."""
        return f"audits/{self.account_id}/{self.started_at:%Y-%m-%d}/{self.id}/"

    @property
    def latest_prefix(self) -> str:
        """Where the newest report of the account is."""
        return f"audits/{self.account_id}/latest/"

    @property
    def facts_key(self) -> str:
        return f"fleet/{self.id}/managed.json"

    @property
    def plan_key(self) -> str:
        return f"fleet/{self.id}/plan.json"

    @property
    def result_key(self) -> str:
        return f"fleet/{self.id}/result.json"

    def batch_key(self, number: int) -> str:
        """Who is rotated by a batch."""
        return f"fleet/{self.id}/batches/{number}.json"

    def outcomes_key(self, number: int) -> str:
        """What is known of a batch's rotations."""
        return f"fleet/{self.id}/outcomes/{number}.json"
