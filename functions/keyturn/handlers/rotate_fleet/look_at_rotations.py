"""Look At Rotations: asks Step Functions how the rotations of one batch stand."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

from keyturn.aws import executions, s3
from keyturn.fleet.run import FleetRun
from keyturn.fleet.settings import FleetSettings
from keyturn.fleet.waiting import answer
from keyturn.fleet.watching import Batch, Stand
from keyturn.handlers.frame import framed
from keyturn.model.errors import AwsThrottled


def run(data: dict[str, Any]) -> dict[str, Any]:
    """Look once at those that ran at the last look, and say when to look again."""
    settings = FleetSettings.from_env()
    this, number = FleetRun.load(data["run"]), int(data["number"])
    key = this.outcomes_key(number)
    known = s3.require_json(settings.report_bucket, key)
    batch = Batch.load(known, polls=int(data["polls"]))
    _look(batch)
    said = answer(batch, settings, now=datetime.now(UTC))
    if batch.dump() != known:
        s3.write_json(settings.report_bucket, key, batch.dump())
    return said


def _look(batch: Batch) -> None:
    running = [index for index, item in enumerate(batch.rotations) if item.stand is Stand.RUNNING]
    # In another order each time: when Step Functions throttles, the same ones must not always
    # be those that nobody gets to.
    random.shuffle(running)
    try:
        for index in running:
            found = executions.result_of(batch.rotations[index].execution_arn)
            if found and found.outcome:
                batch.rotations[index] = batch.rotations[index].ended(found.outcome, found.reason)
    except AwsThrottled:
        return  # the next look goes on; who was not looked at counts as running


handler = framed(__name__, run)
