"""Deactivates a key, after a last look at the evidence; and makes the old one active again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from keyturn.aws import iam, secrets
from keyturn.model.errors import DeactivationPostponed, WorldContradictory
from keyturn.model.execution import Execution
from keyturn.model.following import Next
from keyturn.model.identifiers import masked
from keyturn.model.moments import iso
from keyturn.model.rotation import Outcome, Phase, Rotation
from keyturn.model.world import Key, Label, SecretState, Tag
from keyturn.rotate import claim, waiting
from keyturn.rotate.evidence import Conclusion, Verdict, judge_pickup

Which = Literal["OLD", "NEW", "EXPOSED"]


def deactivate(execution: Execution, rotation: Rotation, which: Which) -> Next:
    """Deactivate the key that `which` names; the old one only if all evidence still is good.

    Raises:
        DeactivationPostponed: there is a reason to go on waiting for the consumers.
        WorldContradictory: there is one that waiting does not mend.
    """
    state = claim.required(rotation.secret_name, execution.mark)
    if which == "OLD":
        look = waiting.glance(rotation, state, health_asked=True)
        _assert_still_so(judge_pickup(rotation, look))
        key = look.old
    else:
        ring = iam.list_keys(rotation.user_name)
        new, old = rotation.new_access_key_id, rotation.old_access_key_id
        key = ring.find(new if which == "NEW" else old)
    _deactivate(rotation, state, key)
    if which == "NEW":
        rotation.new_key_deactivated = True
        return Next("DEACTIVATED")
    rotation.reactivated_at = None  # by an earlier pass of an EMERGENCY, if at all
    rotation.deactivated_at = datetime.now(UTC)
    seconds = waiting.begin(rotation, Phase.WATCH, since=rotation.deactivated_at)
    return Next("DEACTIVATED", seconds)


def _assert_still_so(finding: Conclusion) -> None:
    """Raise when the evidence has changed since the last look, however shortly ago that was."""
    if finding.verdict is Verdict.WAIT:
        raise DeactivationPostponed(finding.reason)
    if finding.verdict is not Verdict.GO_ON:
        raise WorldContradictory(finding.reason)


def _deactivate(rotation: Rotation, state: SecretState, key: Key | None) -> None:
    if key is None:
        rotation.seen.notes.append("the key to deactivate had been deleted by somebody else")
        return
    if not key.active:
        if state.deactivated_key != key.id:
            rotation.seen.notes.append(
                f"the key {masked(key.id)} had been deactivated by somebody else"
            )
        return
    # The record before the act: who finds the key inactive knows whose doing it was.
    secrets.tag(
        state.arn,
        {Tag.DEACTIVATED_KEY: key.id, Tag.DEACTIVATED_AT: iso(datetime.now(UTC))},
    )
    iam.set_active(rotation.user_name, key.id, active=False)


def reactivate(execution: Execution, rotation: Rotation) -> Next:
    """Make the old key active, if this rotation deactivated it and it is not exposed.

    RESTORE goes on with the secret, STAY and DEACTIVATE close the rotation; the latter deactivates
    an exposed key first.

    Raises:
        WorldContradictory: a person deleted or deactivated it.
    """
    state = claim.required(rotation.secret_name, execution.mark)
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
    return Next(_way_back(rotation))


def _exposed(rotation: Rotation) -> Next:
    """Answer DEACTIVATE: an exposed key never comes back, so its deactivation is finished."""
    rotation.old_exposed = True
    rotation.ends(
        Outcome.NEEDS_ATTENTION,
        f"{rotation.why}; the exposed key {masked(rotation.old_access_key_id)} is not "
        "reactivated, and its deactivation could not be completed: deactivate it by hand",
        error="AttentionNeeded",
    )
    return Next("DEACTIVATE")


def _way_back(rotation: Rotation) -> str:
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
