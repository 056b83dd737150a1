"""What BACK_OUT does: go back, clean up, or go forward where the old key is exposed."""

from __future__ import annotations

from dataclasses import replace

from keyturn.model.decision import Ask, Decision, Step, reject, skip
from keyturn.model.identifiers import key_of_version, masked
from keyturn.model.world import Key, World
from keyturn.rotate.decision.emergency import emergency_start
from keyturn.rotate.decision.picture import Picture, in_current
from keyturn.rotate.decision.resuming import finish_back_out, resume_pending


def back_out(world: World, ask: Ask, picture: Picture) -> Decision:
    """Return what BACK_OUT does: go back, clean up, or go forward from an exposed key."""
    old = picture.published
    stored = picture.pending.version is not None and key_of_version(picture.pending.version)
    if stored and not (old and picture.pending.key is None):
        return _undo_pending(world, ask, picture)
    decided = world.undecided and not picture.open  # the dead one has not come to publishing
    if old and not (ask.recovery_of and decided):
        return _undo_published(world, ask, picture, old)
    if picture.restored:
        finished = finish_back_out(world, picture)
        if finished:
            return finished
    exposed = [key for key in world.keys if key.active and key.id in picture.exposed]
    if ask.recovery_of and world.undecided and exposed:
        # An EMERGENCY died before it had a new key: do what it was to do.
        return emergency_start(world, picture, exposed[0])
    if world.undecided or picture.restored:
        return Decision(
            Step.DISCARD,
            f"{_what_is_left(world, picture)}; cleaning up after the execution that died",
            old_key_id=picture.current.key.id if picture.current.key else None,
            old_version_id=picture.current.version,
        )
    return skip("nothing to undo: no rotation of this user is open or within its retention")


def _what_is_left(world: World, picture: Picture) -> str:
    if picture.restored:
        return "the back-out had been done but for its decision"
    before = world.intent.keys_before if world.intent else ()
    if picture.current.key is not None and world.intent and picture.current.key.id not in before:
        name = masked(picture.current.key.id)
        return f"there is no key to go back to, so {name} stays in AWSCURRENT"
    return "nothing had been published"


def _undo_pending(world: World, ask: Ask, picture: Picture) -> Decision:
    old, old_version = in_current(world, picture)
    exposed = old is not None and old.id in picture.exposed
    if exposed and ask.recovery_of:
        forward = resume_pending(world, picture)
        if forward:
            return forward
    if old is not None and exposed and not ask.recovery_of:
        return reject(
            f"the key {masked(old.id)} in AWSCURRENT is marked as exposed, and this back-out would "
            "delete the key that is to replace it; start a ROTATE to finish the rotation"
        )
    if picture.restored and picture.pending.key is not None and picture.pending.key.active:
        # Either the publishing died half-way, or a back-out of it did: then consumers may have
        # the key. The labels are the same, so the key goes by the rules for one that is in use.
        return Decision(
            Step.FINISH_BACK_OUT,
            f"{masked(picture.current.key_id)} is in AWSCURRENT; "
            f"{masked(picture.pending.key_id)} may have been, so it goes when nobody uses it",
            old_key_id=picture.current.key_id,
            old_version_id=picture.current.version,
            new_key_id=picture.pending.key_id,
            new_version_id=picture.pending.version,
        )
    return Decision(
        Step.DISCARD,
        f"the new key {masked(picture.pending.key_id)} had not been published",
        old_key_id=old.id if old else None,
        old_version_id=old_version,
        new_key_id=picture.pending.key_id,
        new_version_id=picture.pending.version,
    )


def _undo_published(world: World, ask: Ask, picture: Picture, old: Key) -> Decision:
    ids = Decision(
        Step.BACK_OUT,
        f"going back to the key {masked(old.id)}",
        old_key_id=old.id,
        old_version_id=picture.old.version,
        new_key_id=picture.current.key_id,
        new_version_id=picture.current.version,
    )
    if old.id in picture.exposed:
        if ask.recovery_of and picture.current.key is not None and picture.current.key.active:
            step = Step.DEACTIVATE if old.active else Step.RESUME_WATCH
            return replace(
                ids,
                step=step,
                old_exposed=True,
                reason="the old key is exposed, so the way is forward: finishing the rotation",
            )
        open_still = old.active or world.undecided
        way = "start a ROTATE to finish the rotation" if open_still else "the way is forward"
        return reject(
            f"the key {masked(old.id)} is marked as exposed and must never come back; {way}: "
            "move the consumers to the key in AWSCURRENT"
        )
    if picture.current.version and key_of_version(picture.current.version) is None:
        return reject(
            f"AWSCURRENT of {picture.secret.name} is on the version {picture.current.version}, "
            "which Keyturn did not write: somebody else changed the secret, and this would undo "
            f"that; both keys stay as they are: put AWSCURRENT where it should be, the old key "
            f"{masked(old.id)} is in {picture.old.version or 'no version'}"
        )
    if not old.active and not picture.recorded(old):
        return reject(
            f"the key {masked(old.id)} is inactive and Keyturn did not deactivate it; if it is "
            "safe, reactivate it by hand and start BACK_OUT again"
        )
    return ids
