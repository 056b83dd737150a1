"""Choose Users: plans a fleet run from the facts that the audit left in the bucket."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from keyturn.fleet.digest import failed, going_on
from keyturn.fleet.planning import plan
from keyturn.fleet.run import FleetRun
from keyturn.fleet.settings import FleetSettings
from keyturn.handlers.frame import framed
from keyturn.model.errors import AuditFailed, AwsRefused, HandoverMissing
from keyturn.model.request import parse_fleet_request


def run(data: dict[str, Any]) -> dict[str, Any]:
    """Choose once: a second try of the same run answers what the first one chose."""
    this = FleetRun.load(data["run"])
    try:
        numbers = plan(this, parse_fleet_request(data["input"]), FleetSettings.from_env())
    except (AuditFailed, AwsRefused, HandoverMissing) as error:
        return {"batches": []} | failed(
            this, "could not choose whom to rotate", error, datetime.now(UTC)
        )
    return {"batches": numbers} | going_on("ROTATE" if numbers else "SUM_UP")


handler = framed(__name__, run)
