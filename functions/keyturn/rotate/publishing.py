"""Moves AWSCURRENT: forward onto the new key's version, or back onto the old one's."""

from __future__ import annotations

from datetime import UTC, datetime

from keyturn.aws import secrets
from keyturn.model.errors import WorldContradictory
from keyturn.model.execution import Execution
from keyturn.model.following import Next
from keyturn.model.rotation import Outcome, Phase, Rotation
from keyturn.model.world import Label, SecretState
from keyturn.rotate import claim, waiting


def publish(execution: Execution, rotation: Rotation) -> Next:
    """Publish; labels that are where they should be already are left alone."""
    state = claim.required(rotation.secret_name, execution.mark)
    new = rotation.new_version_id or ""
    if state.version(Label.CURRENT) != new:
        _move_forward(rotation, state, new)
    if state.version(Label.PENDING) == new:
        secrets.remove(state.arn, Label.PENDING, expected=new)
    now = datetime.now(UTC)
    rotation.published_at = now
    if rotation.old_access_key_id is None:
        rotation.ends(Outcome.ISSUED, rotation.why)
        return Next("ISSUED")
    if rotation.old_exposed:
        return Next("DEACTIVATE")
    return Next("WAIT", waiting.begin(rotation, Phase.PICKUP, since=now))


def _move_forward(rotation: Rotation, state: SecretState, new: str) -> None:
    current = state.version(Label.CURRENT)
    if rotation.old_version_id is not None:
        if current != rotation.old_version_id:
            raise WorldContradictory(
                f"AWSCURRENT of {state.name} is on {current}, not on {rotation.old_version_id} "
                "where this rotation found it: somebody else changed the secret"
            )
        # First the way back, then the way forward.
        if not secrets.move(
            state.arn, Label.BACKOUT, to=current, expected=state.version(Label.BACKOUT)
        ):
            raise WorldContradictory(f"BACKOUT of {state.name} was moved by somebody else")
    if not secrets.move(state.arn, Label.CURRENT, to=new, expected=current):
        raise WorldContradictory(f"AWSCURRENT of {state.name} was moved by somebody else")


def restore(execution: Execution, rotation: Rotation) -> Next:
    """Restore, then wait for the return; RETIRE_NEW when the new key is exposed and must go."""
    state = claim.required(rotation.secret_name, execution.mark)
    old = rotation.old_version_id or ""
    current = state.version(Label.CURRENT)
    if current not in (old, rotation.new_version_id):
        raise WorldContradictory(
            f"AWSCURRENT of {state.name} is on {current}, on neither key of this rotation: "
            "somebody else changed the secret"
        )
    if not secrets.move(state.arn, Label.CURRENT, to=old, expected=current):
        raise WorldContradictory(f"AWSCURRENT of {state.name} was moved by somebody else")
    seconds = waiting.begin(rotation, Phase.RETURN, since=datetime.now(UTC))
    if rotation.new_access_key_id in state.exposed_keys:
        seconds = 0  # an exposed new key goes now, whoever uses it
    return Next("RETIRE_NEW" if rotation.rotate_after_restore else "WAIT", seconds)
