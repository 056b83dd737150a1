"""Cleans up a rotation that failed before publishing, after looking again."""

from __future__ import annotations

from keyturn.aws import iam, secrets
from keyturn.model.errors import RequestRejected
from keyturn.model.execution import Execution
from keyturn.model.following import Next
from keyturn.model.identifiers import key_of_version, mark_of_version, masked
from keyturn.model.rotation import Outcome, Rotation
from keyturn.model.world import Label, SecretState, World
from keyturn.rotate import claim, snapshot
from keyturn.rotate.closing import closed, record
from keyturn.rotate.decision import orphans

OVER = "OVER"
"""The word that says that the rotation has ended."""
_OVER = Next(OVER)


def discard(execution: Execution, rotation: Rotation, failure: str) -> Next:
    """Delete the unpublished key and release the claim, unless it was published after all.

    Args:
        execution: the one that failed.
        rotation: its rotation; it has an outcome afterwards where it is over.
        failure: what led here, in words; "" when nothing failed.

    Raises:
        RequestRejected: it had no claim yet, and what it was to mend must not stay as it is.
    """
    mark, why = execution.mark, failure or rotation.why
    world = snapshot.look_while_holding(rotation.user_name, rotation.secret_name, mark=mark)
    _find_own_version(rotation, world, mark)
    if world.secret and rotation.new_version_id == world.secret.version(Label.CURRENT) is not None:
        return _published(rotation, mark, why)
    if not world.holding and _looks_again(rotation, world, mark):
        raise RequestRejected(why)
    if world.holding and world.secret is not None:
        why = _clean_up(rotation, world, world.secret, why)
    by_hand = rotation.back_out_requested and not rotation.recovery_of
    if rotation.old_exposed and world.holding and not by_hand:
        rotation.ends(
            Outcome.NEEDS_ATTENTION,
            f"no new key could be published ({why}); the exposed key is deactivated all the same",
            error="AttentionNeeded",
        )
        return Next("EXPOSED_ONLY")
    if rotation.back_out_requested:
        rotation.ends(Outcome.BACKED_OUT, why)
    elif rotation.rotate_after_restore:
        rotation.ends(
            Outcome.NEEDS_ATTENTION,
            f"the exposed key is inactive and {masked(rotation.old_access_key_id)} is in "
            f"AWSCURRENT again, but it could not be rotated then, as it should be: {why}",
            error="AttentionNeeded",
        )
    else:
        rotation.ends(Outcome.FAILED, why, error="RotationFailed")
    if world.holding and world.secret is not None:
        record(rotation, secrets.require(rotation.secret_name), mark)
    return _OVER


def _looks_again(rotation: Rotation, world: World, mark: str) -> bool:
    """Whether it failed before it had the claim, and what it was to mend must not stay as it is."""
    cannot_wait = rotation.mode == "EMERGENCY" or rotation.recovery_of is not None
    return cannot_wait and not (world.secret and closed(world.secret, mark))


def _published(rotation: Rotation, mark: str, why: str) -> Next:
    """Answer how to go on when the publishing took effect after all."""
    if rotation.old_access_key_id is None:
        rotation.ends(Outcome.ISSUED, "issued a first key; the publishing had taken effect")
        record(rotation, claim.required(rotation.secret_name, mark), mark)
        return _OVER
    rotation.why = why
    return Next("DEACTIVATE" if rotation.old_exposed else "PUBLISHED")


def _find_own_version(rotation: Rotation, world: World, mark: str) -> None:
    """Fill in what was stored by an Issue New Key whose answer never arrived."""
    if rotation.new_version_id is not None or world.secret is None:
        return
    for label in (Label.PENDING, Label.CURRENT):
        version = world.secret.version(label)
        if version and key_of_version(version) and mark_of_version(version) == mark:
            rotation.new_version_id = version
            rotation.new_access_key_id = key_of_version(version)


def _clean_up(rotation: Rotation, world: World, state: SecretState, why: str) -> str:
    labelled = {state.key(Label.CURRENT), state.key(Label.BACKOUT)}
    doomed = {key.id for key in orphans(world)}
    # Before a rotation after a way back, the "new" key is the exposed one, which was published.
    own = None if rotation.rotate_after_restore else rotation.new_access_key_id
    if own and own not in labelled:
        doomed.add(own)
    pending = state.version(Label.PENDING)
    stored = key_of_version(pending) if pending else None
    if stored and stored not in labelled and world.find(stored):
        doomed.add(stored)  # of an execution that this one took over from
    for key_id in sorted(doomed):
        iam.delete_key(rotation.user_name, key_id)
    if pending and stored:
        secrets.remove(state.arn, Label.PENDING, expected=pending)
    secrets.remove(state.arn, Label.BACKOUT, expected=state.version(Label.BACKOUT))
    if not doomed:
        return f"{why}; no key had been issued"
    return f"{why}; deleted the unpublished key {', '.join(masked(key) for key in sorted(doomed))}"
