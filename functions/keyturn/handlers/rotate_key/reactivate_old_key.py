"""Reactivate Old Key: only one that this rotation deactivated, and never an exposed one."""

from __future__ import annotations

from datetime import UTC, datetime

from keyturn.aws import iam
from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.model.errors import WorldContradictory
from keyturn.model.identifiers import masked
from keyturn.model.rotation import Outcome, Rotation
from keyturn.model.world import Label
from keyturn.rotate import claim


def step(event: Event) -> Answer:
    """Make the old key active; answer RESTORE (go on with the secret) or STAY (decide now)."""
    rotation = event.rotation
    state = claim.required(rotation.secret_name, event.mark)
    old = iam.list_keys(rotation.user_name).find(rotation.old_access_key_id)
    name = masked(rotation.old_access_key_id)
    # By the version too: the label may be on one made by others, whose key only reading would tell.
    if (
        rotation.old_exposed
        or rotation.old_access_key_id in state.exposed_keys
        or state.version(Label.EXPOSED) == rotation.old_version_id is not None
    ):
        return _exposed(rotation)
    if old is None:
        raise WorldContradictory(f"the old key {name} was deleted: there is nothing to go back to")
    if not old.active:
        if state.deactivated_key != old.id:
            raise WorldContradictory(
                f"the old key {name} is inactive, and not by Keyturn's doing: it is not reactivated"
            )
        if not iam.set_active(rotation.user_name, old.id, active=True):
            raise WorldContradictory(f"the old key {name} was deleted just now")
    # Also when an earlier try, whose answer was lost, made it active.
    if rotation.deactivated_at and not rotation.reactivated_at:
        rotation.reactivated_at = datetime.now(UTC)
    return Answer(_next(rotation), rotation)


def _exposed(rotation: Rotation) -> Answer:
    """Answer CUT_OVER: an exposed key never comes back, so its deactivation is finished."""
    rotation.old_exposed = True
    rotation.ends(
        Outcome.NEEDS_ATTENTION,
        f"{rotation.why}; the exposed key {masked(rotation.old_access_key_id)} is not "
        "reactivated, and its deactivation could not be completed: deactivate it by hand",
        error="AttentionNeeded",
    )
    return Answer("CUT_OVER", rotation)


def _next(rotation: Rotation) -> str:
    if rotation.silent:
        rotation.ends(
            Outcome.NEEDS_ATTENTION,
            f"{rotation.why}; the old key was reactivated and AWSCURRENT left as it is",
            error="AttentionNeeded",
        )
        return "STAY"
    if rotation.old_version_id is None:
        rotation.ends(
            Outcome.NEEDS_ATTENTION,
            f"{rotation.why}; the old key is active, but no version of the secret holds it, so "
            "AWSCURRENT stays on the new one: give the consumers the key that they should use",
            error="BackoutIncomplete",
        )
        return "STAY"
    return "RESTORE"


handler = state_function(step, answers_blocked=True)
