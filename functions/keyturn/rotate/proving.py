"""Proves a stored key, before anybody is told to use it."""

from __future__ import annotations

from datetime import datetime

from keyturn.aws import probe, secrets
from keyturn.model.errors import KeyNotProven
from keyturn.model.execution import Execution
from keyturn.model.rotation import Rotation
from keyturn.rotate import claim

# Within the function's timeout of 60 seconds, with room for one slow call.
GIVE_UP_AFTER_SECONDS = 40


def prove_new(execution: Execution, rotation: Rotation) -> None:
    """Prove the new key; a probe is a use, so when it ended is remembered."""
    rotation.proven_at = _prove(execution, rotation, rotation.new_version_id)
    rotation.probe_ended_at = rotation.proven_at


def prove_old(execution: Execution, rotation: Rotation) -> None:
    """Prove the key in the version to go back to."""
    _prove(execution, rotation, rotation.old_version_id)


def _prove(execution: Execution, rotation: Rotation, version_id: str | None) -> datetime:
    """Prove the key in a version and return when the last probe ended.

    Under the claim only: otherwise who may invoke this function could use any user's key.
    """
    claim.required(rotation.secret_name, execution.mark)
    key = secrets.read_key(rotation.secret_name, version_id) if version_id else None
    if key is None:
        raise KeyNotProven(f"the version {version_id} of {rotation.secret_name} holds no key")
    return probe.prove(
        key,
        user_name=rotation.user_name,
        account_id=execution.account_id,
        give_up_after_seconds=GIVE_UP_AFTER_SECONDS,
    ).ended_at
