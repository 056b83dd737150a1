"""Audit Account: fetches the credential report, judges it, and leaves the reports in the bucket."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from keyturn.fleet import account
from keyturn.fleet.digest import failed, going_on, rejected
from keyturn.fleet.run import FleetRun
from keyturn.fleet.settings import FleetSettings
from keyturn.handlers.frame import framed
from keyturn.model.errors import AuditFailed, AwsRefused, RequestRejected
from keyturn.model.request import parse_fleet_request


def run(data: dict[str, Any]) -> dict[str, Any]:
    """Audit; a bad request is refused before anything is fetched."""
    this = FleetRun.of(data["context"])
    try:
        request = parse_fleet_request(data["context"]["Execution"].get("Input"))
        summary = account.audit(this, FleetSettings.from_env(), asked_for=request.user_names or ())
    except RequestRejected as error:
        return {"run": None, "audit": None} | rejected(this, error, datetime.now(UTC))
    except (AuditFailed, AwsRefused) as error:
        said = failed(this, "could not audit the account", error, datetime.now(UTC))
        return {"run": None, "audit": None} | said
    return {"run": this.dump(), "audit": summary} | going_on("GO_ON")


handler = framed(__name__, run)
