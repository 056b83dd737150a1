"""Start Rotation: starts a rotation, or tells people, when another service raises an alert.

The names of the executions are hashes of the subject and the day, so that an event may be
delivered any number of times. What fails for one user or key stops no other; the event is then
delivered again.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from keyturn.alerts.acting import act, report_problems, this_stack
from keyturn.alerts.deciding import decide
from keyturn.alerts.looking import look_up
from keyturn.alerts.reading import read
from keyturn.handlers.frame import framed
from keyturn.model.errors import KeyturnError


def run(event: Any) -> dict[str, Any]:
    """Act on an event; answers how many alerts it had and how many executions were started."""
    now = datetime.now(UTC)
    reading, stack = read(event, now), this_stack()
    failures: list[KeyturnError] = []
    started = 0
    for alert in reading.alerts:
        try:
            started += act(decide(reading, alert, look_up(alert, stack), stack, now), stack)
        except KeyturnError as error:
            failures.append(error)
    report_problems(reading)
    if failures:
        raise failures[0]
    return {"alerts": len(reading.alerts), "started": started, "problems": len(reading.problems)}


handler = framed(__name__, run)
