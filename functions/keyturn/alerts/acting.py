"""Acts on what was decided about an alert: starts an execution, tells people, counts."""

from __future__ import annotations

from keyturn.alerts.deciding import Response, Stack, problems_in_words
from keyturn.alerts.reading import Reading
from keyturn.aws import executions, notify
from keyturn.aws.log import logger
from keyturn.aws.metrics import Measure, write
from keyturn.model.environment import Environment
from keyturn.model.identifiers import masked_in
from keyturn.model.settings import Settings


def act(verdict: Response, stack: Stack) -> bool:
    """Start the execution, tell people; return whether one began."""
    start = verdict.start
    began = start is not None and executions.start(stack.machine_arn, start.name, start.data)
    logger.info(
        "alert",
        why=masked_in(verdict.why),
        execution=start.name if start else None,
        started=began,
    )
    if verdict.tell and (began or not start):
        notify.tell(verdict.tell["subject"], verdict.tell["message"])
    return began


def report_problems(reading: Reading) -> None:
    """Log and count what was not understood, and tell people if it is serious."""
    if not reading.problems:
        return
    write({Measure.MALFORMED_EVENTS: 1})
    logger.warning("not understood", event=masked_in(reading.name), problems=reading.problems)
    if reading.serious:
        words = problems_in_words(reading)
        notify.tell(words["subject"], words["message"])


def this_stack() -> Stack:
    """Return the stack that the function belongs to, from its environment."""
    env = Environment()
    machine_arn = env.text("ROTATE_KEY_STATE_MACHINE_ARN")
    return Stack(
        account_id=machine_arn.split(":")[4],
        machine_arn=machine_arn,
        settings=Settings.from_env(),
        guard_duty_action=env.optional("GUARD_DUTY_ACTION", "NOTIFY"),
    )
