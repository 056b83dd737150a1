"""Closes a rotation: records the outcome and takes the claim off, which is the last step."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from keyturn.aws import secrets
from keyturn.model.execution import Execution
from keyturn.model.identifiers import is_intent_of
from keyturn.model.moments import iso
from keyturn.model.rotation import Outcome, Rotation
from keyturn.model.world import Label, SecretState, Tag
from keyturn.rotate import claim


def close(execution: Execution, rotation: Rotation) -> None:
    """Close a rotation that has an outcome; run twice it changes nothing more."""
    state, mark = secrets.require(rotation.secret_name), execution.mark
    if is_intent_of(state.version(Label.CLAIM), mark) or not closed(state, mark):
        claim.verify(state, mark)
        record(rotation, state, mark)


def fail(rotation: Rotation, why: str, error: str) -> None:
    """Let a rotation end with what a person has to do, and the Fail state's error."""
    rotation.ends(Outcome.NEEDS_ATTENTION, _with_left_to_do(rotation, why, error), error=error)


def record(rotation: Rotation, state: SecretState, mark: str) -> None:
    """Write the outcome down and release the claim, in that order."""
    if rotation.outcome in (Outcome.BACKED_OUT, Outcome.ISSUED, Outcome.FAILED):
        secrets.remove(state.arn, Label.BACKOUT, expected=state.version(Label.BACKOUT))
    pending = state.version(Label.PENDING)
    if pending and pending == rotation.new_version_id:
        secrets.remove(state.arn, Label.PENDING, expected=pending)
    if rotation.reactivated_at and state.deactivated_key == rotation.old_access_key_id:
        secrets.untag(state.arn, Tag.DEACTIVATED_KEY, Tag.DEACTIVATED_AT)
    outcome = rotation.outcome.value if rotation.outcome else "UNKNOWN"
    now = datetime.now(UTC)
    kept: dict[Tag, str] = {Tag.LAST_RESULT: f"{outcome} {iso(now)} {mark}"}
    if rotation.outcome is Outcome.ROTATED and rotation.policy.retention_seconds > 0:
        until = now + timedelta(seconds=rotation.policy.retention_seconds)
        kept[Tag.RETAINED_UNTIL] = iso(until)
    elif Tag.RETAINED_UNTIL in state.tags:
        secrets.untag(state.arn, Tag.RETAINED_UNTIL)
    secrets.tag(state.arn, kept)
    _keep_own_intent(state, mark)
    claim.release(state, mark)


def _keep_own_intent(state: SecretState, mark: str) -> None:
    """Leave the label INTENT on the last claimant's intent.

    Whoever lost the compare-and-swap has put one, too, which knows nothing of this rotation.
    """
    own, newest = state.version(Label.CLAIM), state.version(Label.INTENT)
    if own and newest != own and is_intent_of(own, mark):
        secrets.move(state.arn, Label.INTENT, to=own, expected=newest)


def _with_left_to_do(rotation: Rotation, why: str, error: str) -> str:
    left = []
    if rotation.exposed_is_active:
        left.append("the exposed key is still active: start the EMERGENCY again")
    if error != "BackoutIncomplete":
        return f"{why}. Left to do: {left[0]}" if left else why
    if rotation.deactivated_at and not rotation.reactivated_at:
        left.append("reactivate the old key if it is inactive")
    if rotation.restored_at is None:
        left.append("put AWSCURRENT back onto the old version if the consumers need it")
    elif not rotation.new_key_deactivated:
        left.append("deactivate the new key once nobody uses it")
    if not left:
        return why
    return f"{why}. Left to do: {'; '.join(left)}"


def closed(state: SecretState, mark: str) -> bool:
    """Whether this execution has written its outcome down already."""
    return state.tags.get(Tag.LAST_RESULT, "").endswith(mark)


# A redriven execution may have decided before: then it says so again. Its changes are fenced off.
