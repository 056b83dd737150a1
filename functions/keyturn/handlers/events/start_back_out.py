"""Start Back-Out: starts a BACK_OUT for an execution that was aborted, timed out or died.

Such an execution cannot back itself out. The new execution's name is a hash of the dead one's
ARN, so that the event may be delivered any number of times, and it acts only if the claim still
names the dead execution.
"""

from __future__ import annotations

import json
from typing import Any

from keyturn.aws import calls, executions
from keyturn.handlers.frame import framed, logger
from keyturn.model import outcomes
from keyturn.model.identifiers import recovery_name
from keyturn.model.settings import required

MAX_GENERATIONS = 3


def run(event: dict[str, Any]) -> dict[str, Any]:
    """Start the back-out; answers what was done, for the log."""
    detail = event["detail"]
    machine = required("ROTATE_KEY_STATE_MACHINE_ARN")
    dead = detail["executionArn"]
    if not outcomes.is_execution_of(machine, dead):
        return {"started": False, "why": "not an execution of this stack's RotateKey"}
    if outcomes.has_decided(detail):
        return {"started": False, "why": "the execution had decided"}
    given = _input(detail)
    subject = _subject(given)
    if not subject:
        _tell(f"{dead} ended ({detail.get('status')}) and its event names no user", dead)
        return {"started": False, "why": "no user is named"}
    generation = 1 + _generation(given)
    if generation > MAX_GENERATIONS:
        _tell(f"{dead} was the third attempt to back out a dead rotation; a person has to", dead)
        return {"started": False, "why": "too many generations"}
    started = executions.start(
        machine,
        recovery_name(dead, outcomes.redrives(detail)),
        {
            **subject,
            "action": "BACK_OUT",
            "reason": f"{dead} ended as {detail.get('status')} without deciding",
            "recovery": {"executionArn": dead, "generation": generation, **_also(given)},
        },
    )
    logger.info("back-out", dead_execution=dead, started=started, generation=generation)
    return {"started": started, "why": f"generation {generation}"}


def _subject(given: dict[str, Any]) -> dict[str, str]:
    for name in ("userName", "accessKeyId"):
        value = given.get(name)
        if isinstance(value, str) and value:
            return {name: value}
    return {}


def _generation(given: dict[str, Any]) -> int:
    recovery = given.get("recovery")
    if recovery is None:
        return 0
    generation = recovery.get("generation") if isinstance(recovery, dict) else None
    # What cannot be counted counts as the last one: a person looks, and no chain grows.
    return generation if isinstance(generation, int) and generation > 0 else MAX_GENERATIONS


def _also(given: dict[str, Any]) -> dict[str, list[str]]:
    """Return whom the dead execution was to back out: it may have died before it took over."""
    recovery = given.get("recovery")
    if not isinstance(recovery, dict):
        return {}
    earlier = recovery.get("also")
    found = [recovery.get("executionArn"), *(earlier if isinstance(earlier, list) else ())]
    arns = [arn for arn in found if isinstance(arn, str) and arn]
    return {"also": arns[:MAX_GENERATIONS]} if arns else {}


def _input(detail: dict[str, Any]) -> dict[str, Any]:
    try:
        given = json.loads(detail.get("input") or "{}")
    except ValueError:
        return {}
    return given if isinstance(given, dict) else {}


def _tell(problem: str, dead: str) -> None:
    with calls.translated("sns:Publish"):
        calls.sns().publish(
            TopicArn=required("NOTIFICATION_TOPIC_ARN"),
            Subject="Rotation Needs Attention: a dead execution",
            Message=f"{problem}.\nNext: look at the execution {dead}, find its user, and start "
            "RotateKey with action BACK_OUT for that user by hand.",
        )


handler = framed(__name__, run)
