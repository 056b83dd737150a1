"""Audit Account: fetches the credential report, judges it, and leaves the reports in the bucket."""

from __future__ import annotations

from typing import Any

from keyturn.fleet import account
from keyturn.fleet.run import Run
from keyturn.fleet.settings import FleetSettings
from keyturn.handlers.frame import framed
from keyturn.model.request import parse_fleet_request


def run(data: dict[str, Any]) -> dict[str, Any]:
    """Audit; a bad request is refused before anything is fetched."""
    this = Run.of(data["context"])
    request = parse_fleet_request(data["context"]["Execution"].get("Input"))
    summary = account.audit(this, FleetSettings.from_env(), asked_for=request.user_names or ())
    return {"run": this.dump(), "audit": summary}


handler = framed(__name__, run)
