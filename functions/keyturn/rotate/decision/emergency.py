"""What an EMERGENCY does: replace the exposed key, and wait for nobody."""

from __future__ import annotations

from dataclasses import replace

from keyturn.model.decision import Ask, Decision, Step, reject, skip
from keyturn.model.identifiers import masked
from keyturn.model.world import Key, World
from keyturn.rotate.decision.picture import Picture, in_current, is_orphan, room_for


def exposed_key(world: World, ask: Ask) -> Key | Decision:
    """Return the key that is exposed, or why nothing is to be done or it is not clear."""
    if ask.exposed_key_id:
        found = world.find(ask.exposed_key_id)
        if found is None:
            return skip(
                f"the user {world.user_name} has no key {masked(ask.exposed_key_id)} any more",
                exposed_key_id=ask.exposed_key_id,
            )
        return found
    active = [
        key for key in world.keys if key.active and not is_orphan(world, Picture.of(world), key)
    ]
    if len(active) == 1:
        return active[0]
    if not active:
        return skip(f"the user {world.user_name} has no active key")
    return reject(
        f"the user {world.user_name} has two active keys; say which one is exposed: accessKeyId"
    )


def emergency(world: World, ask: Ask, picture: Picture) -> Decision:
    """Return what an EMERGENCY does about the exposed key."""
    exposed = exposed_key(world, ask)
    if isinstance(exposed, Decision):
        return exposed
    old = picture.published
    if exposed.id == picture.pending.key_id:
        decision = replace_exposed_pending(world, picture)
    elif (
        picture.pending.key is not None
        and picture.pending.key.active
        and picture.pending.key_id not in picture.exposed
    ):
        decision = _publish_pending_instead(picture, exposed)
    elif old:
        decision = emergency_published(world, picture, old, exposed)
    else:
        decision = emergency_start(world, picture, exposed)
    return replace(decision, exposed_key_id=exposed.id)


def replace_exposed_pending(world: World, picture: Picture) -> Decision:
    """Return how to go on when the exposed key was never published: it goes, and is replaced."""
    old, old_version = in_current(world, picture)
    return Decision(
        Step.ISSUE,
        "the exposed key was not published yet: replacing it",
        old_key_id=old.id if old else None,
        old_version_id=old_version,
        room_key_id=picture.pending.key_id,
        old_exposed=old is not None and old.id in picture.exposed,
    )


def _publish_pending_instead(picture: Picture, exposed: Key) -> Decision:
    in_current = picture.current.key is not None and picture.current.key.id == exposed.id
    return Decision(
        Step.RESUME_PROVE,
        f"publishing the key {masked(picture.pending.key_id)} in place of the exposed one",
        old_key_id=exposed.id,
        old_version_id=picture.current.version if in_current else None,
        new_key_id=picture.pending.key_id,
        new_version_id=picture.pending.version,
        old_exposed=True,
    )


def emergency_published(world: World, picture: Picture, old: Key, exposed: Key) -> Decision:
    """Return what is done when a new key is published and one of the two is exposed."""
    new = picture.current.key
    if exposed.id == old.id:
        if new is None or not new.active:
            return emergency_start(world, picture, exposed)
        if not old.active and not picture.open:
            return skip(
                f"the exposed key {masked(old.id)} is inactive already; it is marked now and "
                "will not come back",
                old_key_id=old.id,
                new_key_id=new.id,
            )
        return Decision(
            Step.DEACTIVATE if old.active else Step.RESUME_WATCH,
            f"deactivating the exposed key {masked(old.id)}: {masked(new.id)} is published",
            old_key_id=old.id,
            old_version_id=picture.old.version,
            new_key_id=new.id,
            new_version_id=picture.current.version,
            old_exposed=True,
        )
    may_return = old.id not in picture.exposed and (old.active or picture.recorded(old))
    if may_return and (old.active or picture.open) and picture.old.version:
        return Decision(
            Step.BACK_OUT,
            f"the exposed key {masked(exposed.id)} is the new one: going back to "
            f"{masked(old.id)}, then rotating that",
            old_key_id=old.id,
            old_version_id=picture.old.version,
            new_key_id=exposed.id,
            new_version_id=picture.current.version,
            rotate_after_restore=True,
        )
    return emergency_start(world, picture, exposed)


def emergency_start(world: World, picture: Picture, exposed: Key) -> Decision:
    """Return how to begin: deactivate the exposed key, after issuing another where needed."""
    current = picture.current.key
    if exposed.id != picture.current.key_id and current is not None and current.active:
        if not exposed.active:
            return skip(
                f"the exposed key {masked(exposed.id)} is inactive already; it is marked now and "
                "will not come back",
                old_key_id=exposed.id,
                new_key_id=current.id,
            )
        return Decision(
            Step.DEACTIVATE,
            f"deactivating the exposed key {masked(exposed.id)}: {masked(current.id)} is published",
            old_key_id=exposed.id,
            new_key_id=current.id,
            new_version_id=picture.current.version,
            old_exposed=True,
        )
    room, problem = room_for(world, picture, keep=exposed)
    if problem:
        return exposed_only(exposed, problem)
    return Decision(
        Step.ISSUE,
        f"replacing the exposed key {masked(exposed.id)}",
        old_key_id=exposed.id,
        old_version_id=picture.current.version if current is exposed else None,
        room_key_id=room.id if room else None,
        old_exposed=True,
    )


def exposed_only(exposed: Key, problem: Decision) -> Decision:
    """Return the decision where there is no room for another key."""
    return Decision(
        Step.EXPOSED_ONLY,
        f"deactivating the exposed key only; {problem.reason}",
        old_key_id=exposed.id,
        old_exposed=True,
    )
