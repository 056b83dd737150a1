"""What ROTATE does: resume what was begun, or begin."""

from __future__ import annotations

from dataclasses import replace

from keyturn.model.decision import Ask, Decision, Step, reject
from keyturn.model.identifiers import is_intent, masked
from keyturn.model.rotation import Policy
from keyturn.model.world import Key, World
from keyturn.rotate.decision.emergency import exposed_only
from keyturn.rotate.decision.picture import Picture, is_orphan, room_for
from keyturn.rotate.decision.resuming import finish_back_out, resume_pending, resume_published


def rotate(world: World, ask: Ask, policy: Policy, picture: Picture) -> Decision:
    """Return what ROTATE does: go on with what was begun, or begin."""
    resumed = resume_pending(world, picture)
    old = picture.published
    if not resumed and old:
        resumed = resume_published(world, ask, picture, old)
    elif not resumed and picture.restored:
        resumed = finish_back_out(world, picture)
    return resumed or _start(world, ask, policy, picture)


def _start(world: World, ask: Ask, policy: Policy, picture: Picture) -> Decision:
    old, problem = _key_to_rotate(world, picture)
    if problem:
        return problem
    emergency = old is not None and old.id in picture.exposed
    if world.has_console_password and not (ask.force or emergency):
        return reject(
            f"the IAM user {world.user_name} has a console password: it looks like a person, not "
            "a machine; start with force to rotate it all the same"
        )
    if not (ask.force or emergency):
        problem = _something_else_in_current(picture)
        if problem:
            return problem
    room, problem = room_for(world, picture, keep=old)
    if problem and old and emergency:
        return exposed_only(old, problem)
    if problem:
        return problem
    old_version = picture.current.version if old and old is picture.current.key else None
    ids = Decision(
        Step.ISSUE,
        "rotating" if old else "issuing a first key: the user has no usable key",
        old_key_id=old.id if old else None,
        old_version_id=old_version,
        room_key_id=room.id if room else None,
        old_exposed=emergency,
    )
    if old is None or emergency:
        return ids  # nobody waits for consumers, so neither timing nor age matters
    if policy.really_quiet_seconds >= policy.pickup_timeout_seconds:
        return reject(
            f"the timing cannot be met: quietPeriodSeconds + coarseness + lag "
            f"({policy.really_quiet_seconds} seconds) must be less than pickupTimeoutSeconds "
            f"({policy.pickup_timeout_seconds} seconds)"
        )
    skip = None if ask.force else _not_due(world, old, policy)
    return replace(ids, step=Step.SKIP, reason=skip) if skip else ids


def _something_else_in_current(picture: Picture) -> Decision | None:
    version = picture.current.version
    if version is None or is_intent(version) or picture.current.key_id is not None:
        return None
    return reject(
        f"AWSCURRENT of {picture.secret.name} holds something else than an access key, and whoever "
        "reads it could not be taken back to it; find out what it is, then remove it, or start "
        "with force to put the key in its place"
    )


def _key_to_rotate(world: World, picture: Picture) -> tuple[Key | None, Decision | None]:
    """Return the key to replace (None: there is no usable key), or why that is not clear."""
    active = [key for key in world.keys if key.active and not is_orphan(world, picture, key)]
    if picture.current.key is not None and picture.current.key.active:
        return picture.current.key, None
    if picture.pending.key is not None:
        active = [key for key in active if key.id != picture.pending.key_id]
    if len(active) > 1:
        names = " and ".join(masked(key.id) for key in active)
        return None, reject(
            f"the user {world.user_name} has two active keys ({names}) and the secret names "
            "neither, so it is not clear which one the consumers use; deactivate the other"
        )
    return (active[0] if active else None), None


def _not_due(world: World, old: Key, policy: Policy) -> str | None:
    age = (world.now - old.created_at).total_seconds()
    if age < policy.min_key_age_seconds:
        return (
            f"the key {masked(old.id)} is only {age:.0f} seconds old (minKeyAgeSeconds is "
            f"{policy.min_key_age_seconds}); force rotates it all the same"
        )
    last = old.last_use.at if old.last_use else old.created_at
    unused_days = (world.now - last).days
    if unused_days >= policy.unused_after_days:
        return (
            f"the key {masked(old.id)} has not been used for {unused_days} days: it should be "
            "removed, not rotated; force rotates it all the same"
        )
    return None
