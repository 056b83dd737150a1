"""The AWS calls that change something: their effect on the world, and what they must never do.

Each function returns the new world. The invariants that are about one call are checked here.
"""

from __future__ import annotations

from proofs.model.state import (
    FREE,
    IN_USE,
    LONG_AGO,
    MAYBE,
    NEVER,
    NONE,
    PERSON,
    Execution,
    Key,
    World,
    after,
    during,
)

Executions = tuple[Execution, ...]


class Broken(Exception):
    """An invariant does not hold. The message says which and how."""


def born_now(world: World, executions: Executions) -> int:
    """Return the time of creation of a key that is made now."""
    if world.claim == NONE:
        return LONG_AGO
    fenced = executions[world.claim].status == FREE
    return after(world.claim) if fenced else during(world.claim)


def intents_put(executions: Executions) -> int:
    """Return the executions that have put their intent, as bits."""
    return sum(1 << number for number, each in enumerate(executions) if each.intent is not None)


def create_key(world: World, by: int, executions: Executions) -> World:
    """CreateAccessKey. The caller has seen that the user has fewer than two keys."""
    for key in world.keys:
        if key.by not in (by, PERSON) and key.by >= 0 and _is_at_work(executions[key.by]):
            raise Broken(
                f"two executions create: {by} makes a key while {key.by} works on key {key.id}"
            )
    later = intents_put(executions)
    made = Key(world.made, True, by, born_now(world, executions), NEVER, False, later)
    return world._replace(keys=(*world.keys, made), made=world.made + 1)


def _is_at_work(execution: Execution) -> bool:
    """Whether an execution is between its CreateAccessKey and its decision."""
    threads = (execution.main, execution.ghost)
    return any(thread is not None and thread.state != "Close Rotation" for thread in threads)


def delete_key(world: World, key_id: int) -> World:
    """DeleteAccessKey: of a key that is gone, a success."""
    key = world.find(key_id)
    if key is None:
        return world
    gone = not key.active and (world.is_exposed(key_id) or world.touched >> key_id & 1)
    if key_id == world.key_in(world.current) and not gone:
        raise Broken(f"the key {key_id} in AWSCURRENT is deleted")
    marked = key_id == world.key_in(world.backout) and not world.is_exposed(key_id)
    if world.open != NONE and marked:
        raise Broken(f"the key {key_id} is deleted, which BACKOUT marks in an undecided rotation")
    # Where a person deleted or deactivated the key in AWSCURRENT, consumers are without one.
    current = world.key_in(world.current)
    cut_off = current != NONE and world.touched >> current & 1 and not world.is_active(current)
    if key.active and key.use in IN_USE and not world.is_exposed(key_id) and not cut_off:
        raise Broken(f"the key {key_id} is deleted while consumers may use it")
    # An odd time: LONG_AGO, or after a claimant's fenced end.
    ours = world.is_exposed(key_id) or key_id in (world.record, world.foreign)
    if key.by == PERSON and key.born % 2 == 1 and not ours:
        raise Broken(f"the key {key_id} is deleted, which a person made and Keyturn cannot know")
    return world._replace(keys=tuple(each for each in world.keys if each.id != key_id))


def deactivate_key(world: World, key_id: int) -> World:
    """UpdateAccessKey to Inactive: of a key that is gone, nothing."""
    key = world.find(key_id)
    if key is None or not key.active:
        return world
    if not world.is_exposed(key_id):
        if key_id == world.key_in(world.current):
            raise Broken(f"the key {key_id} in AWSCURRENT is deactivated")
        if key.use in IN_USE:
            raise Broken(f"the key {key_id} is deactivated while consumers may use it")
    return world.with_key(key._replace(active=False))


def activate_key(world: World, key_id: int, *, was_exposed: bool) -> World:
    """UpdateAccessKey to Active: of a key that is gone, nothing.

    `was_exposed` is whether the caller could know; one that is marked between the look and the
    call is deactivated again by the EMERGENCY that marked it, which the check at rest looks at.
    """
    key = world.find(key_id)
    if key is None or key.active:
        return world
    if was_exposed:
        raise Broken(f"the exposed key {key_id} becomes active again")
    return world.with_key(key._replace(active=True))


def put_in_charge(world: World, version: int) -> World:
    """UpdateSecretVersionStage: AWSCURRENT onto a version, whose key consumers read from now on."""
    key_id = world.key_in(version)
    old = world.key_in(world.current)
    touched = world.touched >> max(key_id, 0) & 1
    if world.is_active(old) and not world.is_active(key_id) and not touched:
        raise Broken(f"AWSCURRENT is moved onto the key {key_id}, which is not active")
    key = world.find(key_id)
    changed = world._replace(current=version)
    return changed.used(key_id, MAYBE) if key is not None and key.use == NEVER else changed
