"""Start Back-Out: starts a BACK_OUT for an execution that was aborted, timed out or died.

Such an execution cannot back itself out. The new execution's name is a hash of the dead one's
ARN, so that the event may be delivered any number of times, and it acts only if the claim still
names the dead execution.
"""

from __future__ import annotations

from typing import Any

from keyturn.alerts.recovering import recovery
from keyturn.aws import executions, notify
from keyturn.aws.log import logger
from keyturn.handlers.frame import framed
from keyturn.model.environment import Environment


def run(event: dict[str, Any]) -> dict[str, Any]:
    """Start the back-out; answers what was done, for the log."""
    machine = Environment().text("ROTATE_KEY_STATE_MACHINE_ARN")
    found, dead = recovery(event["detail"], machine), event["detail"]["executionArn"]
    if found.problem:
        notify.tell(
            "Rotation Needs Attention: a dead execution",
            f"{found.problem}.\nNext: look at the execution {dead}, find its user, and start "
            "RotateKey with action BACK_OUT for that user by hand.",
        )
    started = found.data is not None and executions.start(machine, found.name, found.data)
    if found.data is not None:
        logger.info("back-out", dead_execution=dead, started=started, why=found.why)
    return {"started": started, "why": found.why}


handler = framed(__name__, run)
