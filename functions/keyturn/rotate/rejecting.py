"""What a rejected request is told, and who else hears of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from keyturn.model.execution import Execution
from keyturn.model.request import LONGEST_ARN, is_user_name
from keyturn.model.rotation import Outcome, make_result
from keyturn.rotate import announce


def announcement(execution: Execution, given: object, reason: str) -> announce.Announcement | None:
    """Return what people are told where nobody waits for the answer; else None."""
    fields = given if isinstance(given, dict) else {}
    name = _name(fields)
    recovery = fields.get("recovery")
    if recovery:  # started by the rule
        dead = recovery.get("executionArn") if isinstance(recovery, dict) else None
        if not (isinstance(dead, str) and dead.isprintable() and len(dead) <= LONGEST_ARN):
            dead = "an unreadable ARN"
        return announce.worded(
            "Rotation Needs Attention",
            name or "a dead execution",
            f"The automatic back-out of {dead} was rejected: {reason}.\nNext: find the user of "
            "that execution and start ROTATE or BACK_OUT for it by hand.\n"
            f"Execution: {execution.arn}",
        )
    if fields.get("mode") == "EMERGENCY" and fields.get("action") != "BACK_OUT":
        # An event may have asked for it, and the key stays as it is.
        return announce.worded(
            "Rotation Needs Attention",
            name or "an exposed key",
            f"An EMERGENCY was rejected: {reason}.\nNothing was changed: a key that is active and "
            "exposed still is.\nNext: clear what the reason names and start the EMERGENCY again, "
            f"or deactivate the key by hand.\nExecution: {execution.arn}",
        )
    return None


def result(execution: Execution, given: object, reason: str) -> dict[str, Any]:
    """Return the execution's result."""
    return make_result(
        outcome=Outcome.REJECTED,
        user_name=_name(given if isinstance(given, dict) else {}),
        reason=reason,
        startedAt=execution.started_at,
        endedAt=datetime.now(UTC),
    )


def _name(fields: dict[str, Any]) -> str | None:
    """The user's name; whatever else was pasted there is not repeated."""
    name = fields.get("userName")
    return name if is_user_name(name) else None
