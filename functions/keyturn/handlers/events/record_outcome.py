"""Record Outcome: counts the executions of RotateKey that start and end, for people to look at.

Nothing depends on it: an event that is lost, late or delivered twice changes a graph. Nothing of
an execution's input or result is logged or counted but the outcome and the error of the contract.
"""

from __future__ import annotations

from typing import Any

from keyturn.alerts.counting import in_flight, values, with_error
from keyturn.aws.log import logger
from keyturn.aws.metrics import Measure, write
from keyturn.handlers.frame import framed
from keyturn.model import outcomes
from keyturn.model.environment import Environment


def run(event: dict[str, Any]) -> dict[str, Any]:
    """Count one status change; answers what was counted, for the log."""
    machine = Environment().text("ROTATE_KEY_STATE_MACHINE_ARN")
    detail = event.get("detail")
    if not isinstance(detail, dict) or not outcomes.is_execution_of(
        machine, detail.get("executionArn")
    ):
        logger.warning("not a status change of this stack's RotateKey; nothing is counted")
        return {"outcome": None}
    ending = outcomes.ending(with_error(detail))
    measured = values(ending) | in_flight(machine)
    if ending is not None:
        write({Measure.EXECUTIONS: 1}, Outcome=ending.outcome)
        logger.info("counted", execution=detail["executionArn"], outcome=ending.outcome)
    write(measured)
    return {"outcome": ending.outcome if ending else None}


handler = framed(__name__, run)
