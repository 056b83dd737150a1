"""Choose Users: whom this fleet run rotates, by the facts that the audit left in the bucket."""

from __future__ import annotations

from typing import Any

from keyturn.fleet.planning import hand_out, plan
from keyturn.fleet.run import FleetRun
from keyturn.fleet.settings import FleetSettings
from keyturn.handlers.frame import framed
from keyturn.model.request import parse_fleet_request


def run(data: dict[str, Any]) -> dict[str, Any]:
    """Choose once: a second try of the same run answers what the first one chose."""
    settings = FleetSettings.from_env()
    this = FleetRun.load(data["run"])
    request = parse_fleet_request(data["input"])
    made = plan(this, request, settings)
    numbers = [] if request.dry_run else hand_out(this, made, settings.report_bucket)
    return {"chosen": len(made["chosen"]), "dryRun": request.dry_run, "batches": numbers}


handler = framed(__name__, run)
