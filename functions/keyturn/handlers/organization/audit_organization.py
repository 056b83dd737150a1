"""Audit Organization: one report of all accounts, in the account that collects."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from keyturn.aws.log import logger
from keyturn.aws.metrics import Measure, write
from keyturn.fleet import organization
from keyturn.handlers.frame import framed


def run(_: dict[str, Any]) -> dict[str, Any]:
    """Make the report; answers how many accounts are in it, and which are not, and why."""
    made = organization.make_report(organization.CentralSettings.from_env(), datetime.now(UTC))
    write({Measure.ACCOUNTS_NOT_JUDGED: len(made["notJudged"])})
    logger.info("done", judged=made["judged"], not_judged=len(made["notJudged"]))
    return made


handler = framed(__name__, run)
