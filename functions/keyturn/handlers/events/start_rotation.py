"""Start Rotation: starts a rotation, or tells people, when another service raises an alert.

The names of the executions are hashes of the subject and the day, so that an event may be
delivered any number of times. What fails for one user or key stops no other; the event is then
delivered again.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from keyturn.alerts.deciding import Stack, Verdict, decide, problems_in_words
from keyturn.alerts.looking import look_up
from keyturn.alerts.reading import Reading, read
from keyturn.aws import calls, executions
from keyturn.aws.metrics import Measure, write
from keyturn.handlers.frame import framed, logger
from keyturn.model.errors import KeyturnError
from keyturn.model.identifiers import masked_in
from keyturn.model.settings import Settings, required
from keyturn.rotate.announce import Announcement


def run(event: Any) -> dict[str, Any]:
    """Act on an event; answers how many alerts it had and how many executions were started."""
    now = datetime.now(UTC)
    reading, stack = read(event, now), _stack()
    failures: list[KeyturnError] = []
    started = 0
    for alert in reading.alerts:
        try:
            started += _act(decide(reading, alert, look_up(alert, stack), stack, now), stack)
        except KeyturnError as error:
            failures.append(error)
    _report_problems(reading)
    if failures:
        raise failures[0]
    return {"alerts": len(reading.alerts), "started": started, "problems": len(reading.problems)}


def _act(verdict: Verdict, stack: Stack) -> bool:
    start = verdict.start
    began = start is not None and executions.start(stack.machine_arn, start.name, start.data)
    logger.info(
        "alert",
        why=masked_in(verdict.why),
        execution=start.name if start else None,
        started=began,
    )
    if verdict.tell and (began or not start):
        _tell(verdict.tell)
    return began


def _report_problems(reading: Reading) -> None:
    if not reading.problems:
        return
    write({Measure.MALFORMED_EVENTS: 1})
    logger.warning("not understood", event=masked_in(reading.name), problems=reading.problems)
    if reading.serious:
        _tell(problems_in_words(reading))


def _tell(words: Announcement) -> None:
    with calls.translated("sns:Publish"):
        calls.sns().publish(
            TopicArn=required("NOTIFICATION_TOPIC_ARN"),
            Subject=words["subject"],
            Message=words["message"],
        )


def _stack() -> Stack:
    machine_arn = required("ROTATE_KEY_STATE_MACHINE_ARN")
    return Stack(
        account_id=machine_arn.split(":")[4],
        machine_arn=machine_arn,
        settings=Settings.from_env(),
        guard_duty_action=os.environ.get("GUARD_DUTY_ACTION", "NOTIFY"),
    )


handler = framed(__name__, run)
