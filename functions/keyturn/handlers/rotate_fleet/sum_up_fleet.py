"""Sum Up: gathers how the rotations ended, and writes the run's one digest."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from keyturn.aws import s3
from keyturn.fleet.choosing import batches
from keyturn.fleet.digest import Told, digest, ended_of, nothing_done, result
from keyturn.fleet.run import FleetRun
from keyturn.fleet.settings import FleetSettings
from keyturn.fleet.watching import Batch
from keyturn.handlers.frame import framed
from keyturn.model.errors import failure_in_words


def run(data: dict[str, Any]) -> dict[str, Any]:
    """Return the result and the announcement; everything in full goes to the bucket."""
    settings = FleetSettings.from_env()
    bucket, this = settings.report_bucket, FleetRun.load(data["run"])
    plan = s3.require_json(bucket, this.plan_key)
    ended = []
    if not plan["dryRun"]:
        numbers = range(len(batches(plan["chosen"])))
        ended = ended_of(plan["chosen"], [_batch(bucket, this, number) for number in numbers])
    told = Told(
        run=this,
        plan=plan,
        ended=ended,
        audit=data["audit"],
        failure=failure_in_words(data.get("failure")) or nothing_done(ended),
        report={"reportBucket": bucket, "reportPrefix": this.audit_prefix},
    )
    summary = result(told, datetime.now(UTC))
    s3.write_json(
        bucket,
        this.result_key,
        {**summary, "plan": plan, "rotations": [item.dump() for item in ended]},
    )
    ending = "FleetRunFailed" if told.failure else "ENDED"
    return {"next": "END", "ending": ending, "result": summary, "announcement": digest(told)}


def _batch(bucket: str, this: FleetRun, number: int) -> Batch | None:
    found = s3.read_json(bucket, this.outcomes_key(number))
    return Batch.load(found) if found else None


handler = framed(__name__, run)
