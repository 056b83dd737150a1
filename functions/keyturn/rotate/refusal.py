"""What an execution says that may not go on: its request is refused, or its claim is lost."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from keyturn.model.execution import Execution
from keyturn.model.request import LONGEST_ARN, is_user_name
from keyturn.model.rotation import Outcome, Policy, Rotation, make_result
from keyturn.rotate.announce import Announcement, worded

_SECONDS, _IN_FENCES = 600, 6
LOOKS_AGAIN_AFTER_SECONDS = 5


def patience_seconds(policy: Policy) -> int:
    """How long an execution waits for others to get out of the way before it gives up."""
    return _SECONDS + _IN_FENCES * policy.fence_seconds


def looks_again(rotation: Rotation, waited_seconds: float) -> bool:
    """Whether to decide anew after another execution was faster, or the world changed.

    An exposed key must not stay active for that, nor a dead rotation half way. A ROTATE can be
    started again by whoever started it.
    """
    cannot_wait = rotation.mode == "EMERGENCY" or rotation.action == "BACK_OUT"
    return cannot_wait and waited_seconds < patience_seconds(rotation.policy)


def rejected(rotation: Rotation, reason: str, execution_arn: str) -> Announcement | None:
    """End a rotation that changed no key; return what people are told, if they are.

    They are told of an EMERGENCY and of an automatic back-out, whose start nobody looks at: what
    these were to mend stays as it is.
    """
    rotation.ends(Outcome.REJECTED, reason, error="RequestRejected")
    if rotation.mode == "EMERGENCY":
        kind, about = "EMERGENCY", "an exposed key"
        left = (
            "one that is active and exposed still is. Next: start the EMERGENCY again, or "
            "deactivate the key by hand."
        )
    elif rotation.recovery_of:
        kind, about = "automatic back-out", "a dead execution"
        left = (
            f"the rotation of {rotation.user_name} that died stays half way. Next: see who changes "
            "the keys, then start ROTATE or BACK_OUT for the user by hand."
        )
    else:
        return None
    return worded(
        "Rotation Needs Attention",
        about,
        f"The {kind} {execution_arn} has given up: {reason}. It changed no key: {left}",
    )


def claim_lost(
    rotation: Rotation, reason: str, execution_arn: str, *, redriven: bool
) -> Announcement:
    """End an execution that must not touch anything any more; return what people are told."""
    rotation.ends(Outcome.NEEDS_ATTENTION, reason, error="AttentionNeeded")
    if redriven:
        message = (
            f"The execution {execution_arn} was redriven, which changes nothing. Start ROTATE or "
            f"BACK_OUT for {rotation.user_name} instead."
        )
    else:
        message = (
            f"The execution {execution_arn} lost its claim on {rotation.user_name} and stopped. If "
            "another execution took over, watch that one; otherwise start ROTATE again."
        )
    return worded("Rotation Needs Attention", rotation.user_name, message)


def of_request(execution: Execution, given: object, reason: str) -> Announcement | None:
    """Return what people are told where nobody waits for the answer; else None."""
    fields = given if isinstance(given, dict) else {}
    name = _name(fields)
    recovery = fields.get("recovery")
    if recovery:  # started by the rule
        dead = recovery.get("executionArn") if isinstance(recovery, dict) else None
        if not (isinstance(dead, str) and dead.isprintable() and len(dead) <= LONGEST_ARN):
            dead = "an unreadable ARN"
        return worded(
            "Rotation Needs Attention",
            name or "a dead execution",
            f"The automatic back-out of {dead} was rejected: {reason}.\nNext: find the user of "
            "that execution and start ROTATE or BACK_OUT for it by hand.\n"
            f"Execution: {execution.arn}",
        )
    if fields.get("mode") == "EMERGENCY" and fields.get("action") != "BACK_OUT":
        # An event may have asked for it, and the key stays as it is.
        return worded(
            "Rotation Needs Attention",
            name or "an exposed key",
            f"An EMERGENCY was rejected: {reason}.\nNothing was changed: a key that is active and "
            "exposed still is.\nNext: clear what the reason names and start the EMERGENCY again, "
            f"or deactivate the key by hand.\nExecution: {execution.arn}",
        )
    return None


def result_of_request(execution: Execution, given: object, reason: str) -> dict[str, Any]:
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
