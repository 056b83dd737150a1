"""How to go on with what an execution began that died."""

from __future__ import annotations

from dataclasses import replace

from keyturn.model.decision import Ask, Decision, Step, reject
from keyturn.model.identifiers import key_of_version, mark_of_version, masked
from keyturn.model.world import Key, Tag, World
from keyturn.rotate.decision.emergency import emergency_published, replace_exposed_pending
from keyturn.rotate.decision.picture import Picture, in_current, is_claimants


def resume_pending(world: World, picture: Picture) -> Decision | None:
    """Return how to go on with a key that is stored and not published; None: begin again."""
    version = picture.pending.version
    if version is None:
        return None
    if key_of_version(version) is None or mark_of_version(version) is None:
        return reject(
            f"the label AWSPENDING of {picture.secret.name} is on version {version}, which "
            "Keyturn did not write: another rotation may be at work; remove the label when not"
        )
    if picture.pending.key is None or not picture.pending.key.active:
        return None  # nothing usable was stored: begin again
    if picture.pending.key_id in picture.exposed:
        return replace_exposed_pending(world, picture)
    old, old_version = in_current(world, picture)
    return Decision(
        Step.RESUME_PROVE,
        f"resuming: the new key {masked(picture.pending.key_id)} is stored and not yet published",
        old_key_id=old.id if old else None,
        old_version_id=old_version,
        new_key_id=picture.pending.key_id,
        new_version_id=version,
        old_exposed=old is not None and old.id in picture.exposed,
    )


def resume_published(world: World, ask: Ask, picture: Picture, old: Key) -> Decision | None:
    """Return how to go on with a key that is published; None: the next rotation may begin."""
    new = picture.current.key
    if new is None or not new.active:
        if old.id in picture.exposed:
            return None  # there is no way back to it either: begin again, in place of it
        state = "deleted" if new is None else "inactive"
        return reject(
            f"AWSCURRENT of {picture.secret.name} names the key {masked(picture.current.key_id)}, "
            f"which is {state}; start action BACK_OUT to return to {masked(old.id)}, or "
            "reactivate the key"
        )
    ids = Decision(
        Step.RESUME_PICKUP,
        f"resuming: the new key {masked(new.id)} is published",
        old_key_id=old.id,
        old_version_id=picture.old.version,
        new_key_id=new.id,
        new_version_id=picture.current.version,
        old_exposed=old.id in picture.exposed,
    )
    if old.active and ids.old_exposed:
        return replace(ids, step=Step.DEACTIVATE, reason="the old key is exposed and active")
    if new.id in picture.exposed:
        return emergency_published(world, picture, old, new)
    if old.active:
        return ids
    if picture.open:
        return replace(
            ids,
            step=Step.RESUME_WATCH,
            reason=f"resuming: the old key {masked(old.id)} is inactive and was being watched",
        )
    retained_until = picture.secret.time(Tag.RETAINED_UNTIL)
    if not ask.force and retained_until is not None and world.now < retained_until:
        return replace(
            ids,
            step=Step.SKIP,
            reason=(
                f"rotated already: the old key {masked(old.id)} is inactive and kept until "
                f"{retained_until:%Y-%m-%d %H:%M:%S} UTC; force starts the next rotation now and "
                "deletes it"
            ),
        )
    return None  # the next rotation makes room from the retained key


def finish_back_out(world: World, picture: Picture) -> Decision | None:
    """Return how to finish a back-out that died after the old version was put back."""
    intent = world.intent
    others = [
        key
        for key in world.keys
        if key.active
        and key.id != picture.current.key_id
        and intent is not None
        and (key.id == intent.new_key_id or is_claimants(world, intent, key))
    ]
    if picture.current.key is None or not picture.current.key.active or len(others) != 1:
        return None
    return Decision(
        Step.FINISH_BACK_OUT,
        f"finishing the back-out: {masked(picture.current.key_id)} is in AWSCURRENT again",
        old_key_id=picture.current.key_id,
        old_version_id=picture.current.version,
        new_key_id=others[0].id,
    )
