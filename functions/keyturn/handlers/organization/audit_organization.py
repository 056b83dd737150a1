"""Audit Organization: one report of all accounts, in the account that collects."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from keyturn.fleet import organization
from keyturn.handlers.frame import framed, logger


def run(_: dict[str, Any]) -> dict[str, Any]:
    """Make the report; answers how many accounts are in it, and which are not, and why."""
    made = organization.make_report(organization.Settings.from_env(), datetime.now(UTC))
    numbers = EphemeralMetrics()
    for name, value in (
        ("AccountsJudged", made["judged"]),
        ("AccountsNotJudged", len(made["notJudged"])),
    ):
        numbers.add_metric(name=name, unit=MetricUnit.Count, value=value)
    numbers.flush_metrics()
    logger.info("done", judged=made["judged"], not_judged=len(made["notJudged"]))
    return made


handler = framed(__name__, run)
