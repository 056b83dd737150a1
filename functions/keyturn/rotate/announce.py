"""What people and other systems are told at the end: an event and a message in words."""

from __future__ import annotations

from typing import TypedDict

from keyturn.model.identifiers import masked, masked_in
from keyturn.model.rotation import Outcome, Rotation

_DETAIL_TYPES = {
    Outcome.ROTATED: "Key Rotated",
    Outcome.ISSUED: "Key Rotated",
    Outcome.BACKED_OUT: "Rotation Backed Out",
    Outcome.NEEDS_ATTENTION: "Rotation Needs Attention",
    Outcome.FAILED: "Rotation Failed",
    Outcome.SKIPPED: "Rotation Skipped",
}

_NEXT = {
    Outcome.ROTATED: "Nothing is left to do; the old key is kept inactive for its retention.",
    Outcome.ISSUED: "Point the consumers at the secret.",
    Outcome.BACKED_OUT: "Find out what went wrong, then start the rotation again.",
    Outcome.NEEDS_ATTENTION: "Look at the evidence, mend the cause, then start ROTATE again: it "
    "resumes from here.",
    Outcome.FAILED: "Mend the cause, then start the rotation again.",
    Outcome.SKIPPED: "Nothing was changed.",
}


class Announcement(TypedDict):
    """An event's detail-type, and a notification's subject (ASCII, 100 at most) and message."""

    detailType: str
    subject: str
    message: str


def announcement(outcome: Outcome, user_name: str, message: str) -> Announcement:
    """Return an announcement in the contract's words."""
    detail_type = _DETAIL_TYPES[outcome]
    return worded(detail_type, user_name, message)


def worded(detail_type: str, user_name: str, message: str) -> Announcement:
    """Return an announcement that SNS accepts, with every key id in it masked."""
    subject = f"{detail_type}: {user_name}".encode("ascii", "replace").decode()
    printable = "".join(char if char.isprintable() else "?" for char in subject)
    return Announcement(detailType=detail_type, subject=printable[:100], message=masked_in(message))


def _next(rotation: Rotation, outcome: Outcome) -> str:
    if outcome in (Outcome.NEEDS_ATTENTION, Outcome.FAILED) and rotation.exposed_is_active:
        return "Mend the cause, then start the EMERGENCY again: the exposed key is still active."
    return _NEXT[outcome]


def announce(rotation: Rotation, execution_arn: str) -> Announcement:
    """Return the announcement of a rotation that has ended; key ids are masked."""
    outcome = rotation.outcome
    assert outcome is not None  # noqa: S101 - only ended rotations are announced
    lines = [
        f"{rotation.user_name}: {outcome.value}",
        f"Why: {rotation.why}",
        f"Keys: {rotation.describe_keys()}",
    ]
    if rotation.deactivated_at and not rotation.reactivated_at:
        lines.append(f"The old key {masked(rotation.old_access_key_id)} is inactive.")
    if rotation.reactivated_at:
        lines.append(f"The old key {masked(rotation.old_access_key_id)} is active again.")
    lines += [f"Note: {note}" for note in rotation.seen.notes]
    lines += [f"Next: {_next(rotation, outcome)}", f"Execution: {execution_arn}"]
    return announcement(outcome, rotation.user_name, "\n".join(lines))
