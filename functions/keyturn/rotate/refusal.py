"""What an execution says that may not go on: rejected under its claim, or without a claim."""

from __future__ import annotations

from keyturn.model.rotation import Outcome, Policy, Rotation
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
