"""What is asked for, and what the decision table answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from keyturn.model.request import Action, Mode


class Step(StrEnum):
    """What happens next. The state machine's Choices match on these words."""

    REJECT = "REJECT"
    SKIP = "SKIP"
    WAIT = "WAIT"
    STOP_CLAIMANT = "STOP_CLAIMANT"
    ISSUE = "ISSUE"
    RESUME_PROVE = "RESUME_PROVE"
    RESUME_PICKUP = "RESUME_PICKUP"
    RESUME_WATCH = "RESUME_WATCH"
    DEACTIVATE = "DEACTIVATE"
    BACK_OUT = "BACK_OUT"
    FINISH_BACK_OUT = "FINISH_BACK_OUT"
    DISCARD = "DISCARD"
    EXPOSED_ONLY = "EXPOSED_ONLY"


# A claimant creates its key at its very beginning. What is created a day later is somebody's,
# however long the claimant lived, or could not be looked up.


@dataclass(frozen=True)
class Ask:
    """What is asked for. `exposed_key_id` belongs to EMERGENCY, `recovery_of` to the rule."""

    action: Action = "ROTATE"
    mode: Mode = "STANDARD"
    force: bool = False
    exposed_key_id: str | None = None
    recovery_of: str | None = None


@dataclass(frozen=True)
class Decision:
    """The answer: a step, the reason in words, and the ids that the step works with.

    `room_key_id` is the key to delete so that IAM's quota of two leaves room for a new one.
    `old_exposed` says that the old key is exposed: no waiting for consumers, no way back to it.
    `until` is when a WAIT is over.
    """

    step: Step
    reason: str
    old_key_id: str | None = None
    old_version_id: str | None = None
    new_key_id: str | None = None
    new_version_id: str | None = None
    room_key_id: str | None = None
    old_exposed: bool = False
    rotate_after_restore: bool = False
    exposed_key_id: str | None = None
    until: datetime | None = None


def reject(reason: str) -> Decision:
    return Decision(Step.REJECT, reason)


def skip(
    reason: str,
    *,
    old_key_id: str | None = None,
    new_key_id: str | None = None,
    exposed_key_id: str | None = None,
) -> Decision:
    return Decision(
        Step.SKIP,
        reason,
        old_key_id=old_key_id,
        new_key_id=new_key_id,
        exposed_key_id=exposed_key_id,
    )
