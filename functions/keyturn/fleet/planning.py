"""Plans a fleet run once: chooses its users from the facts that the audit left in the bucket."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from keyturn.aws import s3
from keyturn.fleet.choosing import Clock, batches, choose
from keyturn.fleet.facts import FleetUser
from keyturn.fleet.run import ATTEMPTS_KEY, FleetRun
from keyturn.fleet.settings import FleetSettings
from keyturn.fleet.watching import Batch, Stand
from keyturn.model.errors import AuditFailed
from keyturn.model.moments import iso, moment
from keyturn.model.request import FleetRequest
from keyturn.model.world import cools_down


def plan(this: FleetRun, request: FleetRequest, settings: FleetSettings) -> list[int]:
    """Leave the run's plan and its batches in the bucket; return the numbers of the batches.

    A second try of the same run keeps to what the first one chose.

    Raises:
        AuditFailed: which users are managed is not known.
        HandoverMissing: the audit left nothing.
    """
    bucket = settings.report_bucket
    made = s3.read_json(bucket, this.plan_key)
    if made is None:
        made = _plan(this, request, settings)
        s3.write_json(bucket, this.plan_key, made)
    if request.dry_run:
        return []
    numbers = _write_batches(this, made, bucket)
    _remember(this, made, bucket)
    return numbers


def _plan(this: FleetRun, request: FleetRequest, settings: FleetSettings) -> dict[str, Any]:
    facts = s3.require_json(settings.report_bucket, this.facts_key)
    if facts["unavailable"] and not request.user_names:
        raise AuditFailed(
            f"which users are managed is not known ({facts['unavailable']}); nothing was started"
        )
    chosen = choose(
        map(FleetUser.load, facts["users"]),
        clock=Clock(
            now=this.started_at,
            report_at=moment(facts["reportAt"]) or this.started_at,
            due_after_seconds=settings.due_after_seconds,
        ),
        attempts=_attempts(this, settings.report_bucket),
        limit=min(
            request.max_rotations or settings.max_rotations_per_run, settings.max_rotations_per_run
        ),
        asked_for=request.user_names or (),
    )
    managed = sum(user["managed"] for user in facts["users"])
    return {"dryRun": request.dry_run, "managed": managed, **chosen.dump()}


def _attempts(this: FleetRun, bucket: str) -> dict[str, datetime]:
    """Return when other runs last tried each user.

    Noted is whom a run was about to try; only its batch tells whether it came so far. Asked of
    the last days alone: older attempts hold nobody back, they only put the user behind others.
    """
    kept = s3.read_json(bucket, ATTEMPTS_KEY) or {}
    begun: dict[str, set[str]] = {}
    found = {}
    for user, item in kept.items():
        at = moment(item["at"])
        if at is None or item["run"] == this.id:
            continue
        key = item.get("batch")  # an older deployment noted none
        if key and cools_down(at, this.started_at):
            if key not in begun:
                begun[key] = _begun(bucket, key)
            if user not in begun[key]:
                continue
        found[user] = at
    return found


def _begun(bucket: str, key: str) -> set[str]:
    """Return the users whose rotations a batch has started."""
    known = s3.read_json(bucket, key)
    rotations = Batch.load(known).rotations if known else []
    return {item.user_name for item in rotations if item.stand in (Stand.RUNNING, Stand.ENDED)}


def _write_batches(this: FleetRun, plan: dict[str, Any], bucket: str) -> list[int]:
    divided = batches(plan["chosen"])
    for number, users in enumerate(divided):
        s3.write_json(bucket, this.batch_key(number), users)
    return list(range(len(divided)))


def _remember(this: FleetRun, plan: dict[str, Any], bucket: str) -> None:
    """Note the attempts before they are made: who is still due tomorrow was tried in vain.

    Two runs that choose at the same moment may lose each other's notes; then somebody is tried
    again a day later.
    """
    if not plan["chosen"]:
        return
    kept = s3.read_json(bucket, ATTEMPTS_KEY) or {}
    new = {"at": iso(this.started_at), "run": this.id}
    for number, users in enumerate(batches(plan["chosen"])):
        noted = new | {"batch": this.outcomes_key(number)}
        kept |= {user["userName"]: noted for user in users}
    s3.write_json(bucket, ATTEMPTS_KEY, kept)
