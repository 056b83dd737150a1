"""Record Outcome: counts the executions of RotateKey that start and end, for people to look at.

Nothing depends on it: an event that is lost, late or delivered twice changes a graph. Nothing of
an execution's input or result is logged or counted but the outcome and the error of the contract.
"""

from __future__ import annotations

from typing import Any

from keyturn.aws import executions
from keyturn.aws.metrics import Measure, write
from keyturn.handlers.frame import framed, logger
from keyturn.model import outcomes
from keyturn.model.errors import AwsRefused, AwsThrottled
from keyturn.model.settings import required


def run(event: dict[str, Any]) -> dict[str, Any]:
    """Count one status change; answers what was counted, for the log."""
    machine = required("ROTATE_KEY_STATE_MACHINE_ARN")
    detail = event.get("detail")
    if not isinstance(detail, dict) or not outcomes.is_execution_of(
        machine, detail.get("executionArn")
    ):
        logger.warning("not a status change of this stack's RotateKey; nothing is counted")
        return {"outcome": None}
    ending = outcomes.ending(_with_error(detail))
    values = _values(ending) | _in_flight(machine)
    if ending is not None:
        write({Measure.EXECUTIONS: 1}, Outcome=ending.outcome)
        logger.info("counted", execution=detail["executionArn"], outcome=ending.outcome)
    write(values)
    return {"outcome": ending.outcome if ending else None}


def _with_error(detail: dict[str, Any]) -> dict[str, Any]:
    """Whether Keyturn stopped an execution itself is in its error, which the event may lack."""
    if detail.get("status") != "ABORTED" or detail.get("error"):
        return detail
    try:
        return detail | {"error": executions.look_up(detail["executionArn"]).error}
    except AwsThrottled:
        return detail  # counted as a death, then: one alarm too many rather than one too few


def _values(ending: outcomes.Ending | None) -> dict[Measure, float]:
    if ending is None:
        return {}
    values: dict[Measure, float] = {}
    if ending.backed_out:
        values[Measure.BACK_OUTS] = 1
    if ending.back_out_incomplete:
        values[Measure.BACK_OUTS_INCOMPLETE] = 1
    if ending.pickup_seconds is not None:
        values[Measure.TIME_TO_PICKUP] = ending.pickup_seconds
    return values


def _in_flight(machine: str) -> dict[Measure, float]:
    """How many executions run; nothing when AWS does not say, so that the end is counted once.

    An error would bring the event again, and all of it would be counted again.
    """
    try:
        return {Measure.ROTATIONS_IN_FLIGHT: executions.count_running(machine)}
    except (AwsThrottled, AwsRefused) as error:
        logger.warning("cannot count the running executions", error=type(error).__name__)
        return {}


handler = framed(__name__, run)
