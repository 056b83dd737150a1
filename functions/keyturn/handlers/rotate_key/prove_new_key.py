"""Prove New Key: three spaced calls with the stored value, before anybody is told to use it."""

from __future__ import annotations

from datetime import datetime

from keyturn.aws import probe, secrets
from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.model.errors import KeyNotProven
from keyturn.rotate import claim

# Within the function's timeout of 60 seconds, with room for one slow call.
GIVE_UP_AFTER_SECONDS = 40


def step(event: Event) -> Answer:
    """Prove the new key; a probe is a use, so when it ended is remembered."""
    rotation = event.rotation
    rotation.proven_at = prove_version(event, rotation.new_version_id)
    rotation.probe_ended_at = rotation.proven_at
    return Answer("PROVEN", rotation)


def prove_version(event: Event, version_id: str | None) -> datetime:
    """Prove the key in a version and return when the last probe ended.

    Under the claim only: otherwise who may invoke this function could use any user's key.
    """
    rotation = event.rotation
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


handler = state_function(step)
