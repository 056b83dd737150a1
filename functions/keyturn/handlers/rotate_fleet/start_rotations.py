"""Start Rotations: starts RotateKey for every user of one batch."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from keyturn.aws import executions, s3
from keyturn.fleet.choosing import SECONDS_BETWEEN_STARTS, Chosen
from keyturn.fleet.run import FleetRun
from keyturn.fleet.settings import FleetSettings
from keyturn.fleet.waiting import answer
from keyturn.fleet.watching import Batch, Stand, Watched, begin
from keyturn.handlers.frame import framed
from keyturn.model.errors import AwsRefused, AwsThrottled


def run(data: dict[str, Any]) -> dict[str, Any]:
    """Start them; a second try goes on where the first one stopped, and starts nobody twice."""
    settings = FleetSettings.from_env()
    this, number = FleetRun.load(data["run"]), int(data["number"])
    machine = os.environ["ROTATE_KEY_STATE_MACHINE_ARN"]
    now = datetime.now(UTC)
    known = s3.read_json(settings.report_bucket, this.outcomes_key(number))
    if known:
        batch = Batch.load(known)
    else:
        users = map(Chosen.load, s3.require_json(settings.report_bucket, this.batch_key(number)))
        until = now + timedelta(seconds=settings.longest_rotation_seconds)
        batch = begin(users, machine, now=now, until=until)
    try:
        pending = [
            index for index, item in enumerate(batch.rotations) if item.stand is Stand.PENDING
        ]
        for index in pending:
            batch.rotations[index] = _started(machine, batch.rotations[index])
            time.sleep(SECONDS_BETWEEN_STARTS)
    finally:
        # Also when Step Functions asks to wait: what was started is known to whoever sums up.
        s3.write_json(settings.report_bucket, this.outcomes_key(number), batch.dump())
    return answer(batch, settings, now=datetime.now(UTC))


def _started(machine: str, rotation: Watched) -> Watched:
    given = {"userName": rotation.user_name, "reason": rotation.asked}
    try:
        new = executions.start(machine, rotation.name, given)
    except AwsThrottled:
        raise
    except AwsRefused as refused:  # one user's trouble stops nobody
        return rotation.not_started(str(refused))
    return rotation.started(new=new)


handler = framed(__name__, run)
