"""Prove New Key and Prove Old Key: three spaced calls with the stored value, before it is used."""

from __future__ import annotations

from datetime import datetime

from keyturn.aws import probe, secrets
from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.model.errors import KeyNotProven
from keyturn.model.rotation import Rotation
from keyturn.rotate import claim

# Within the function's timeout of 60 seconds, with room for one slow call.
GIVE_UP_AFTER_SECONDS = 40


def step(event: Event) -> Answer:
    """Prove the key that `which` names: NEW, or OLD before consumers are sent back to it."""
    rotation = event.rotation
    if event.data["which"] == "OLD":
        _prove(event, rotation, rotation.old_version_id)
        return Answer("PROVEN", rotation)
    rotation.proven_at = _prove(event, rotation, rotation.new_version_id)
    rotation.probe_ended_at = rotation.proven_at  # a probe is a use
    return Answer("PROVEN", rotation)


def _prove(event: Event, rotation: Rotation, version_id: str | None) -> datetime:
    """Prove the key in a version and return when the last probe ended.

    Under the claim only: otherwise who may invoke this function could use any user's key.
    """
    claim.required(rotation.secret_name, event.mark)
    key = secrets.read_key(rotation.secret_name, version_id) if version_id else None
    if key is None:
        raise KeyNotProven(f"the version {version_id} of {rotation.secret_name} holds no key")
    return probe.prove(
        key,
        user_name=rotation.user_name,
        account_id=event.account_id,
        give_up_after_seconds=GIVE_UP_AFTER_SECONDS,
    ).ended_at


handler = state_function(step, answers_blocked=True)
