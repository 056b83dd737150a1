"""The decision table: what a request does, given the world as it stands.

`decide` is a pure function. It runs twice: before the claim is taken, where a rejection must not
have written anything, and again under the claim, where the answer is binding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from keyturn.model.identifiers import is_intent, key_of_version, mark_of_version, masked
from keyturn.model.request import Action, Mode
from keyturn.model.rotation import Policy
from keyturn.model.world import ClaimantState, Intent, Key, Label, SecretState, Tag, World


class Step(StrEnum):
    """What happens next. The state machine's Choices match on these words."""

    REJECT = "REJECT"
    SKIP = "SKIP"
    WAIT = "WAIT"
    STOP_CLAIMANT = "STOP_CLAIMANT"
    ISSUE = "ISSUE"
    RESUME_PROVE = "RESUME_PROVE"
    RESUME_PICKUP = "RESUME_PICKUP"
    RESUME_WATCH = "RESUME_WATCH"
    CUT_OVER = "CUT_OVER"
    BACK_OUT = "BACK_OUT"
    FINISH_BACK_OUT = "FINISH_BACK_OUT"
    DISCARD = "DISCARD"
    EXPOSED_ONLY = "EXPOSED_ONLY"


# A claimant creates its key at its very beginning. What is created a day later is somebody's,
# however long the claimant lived, or could not be looked up.
_CREATES_WITHIN = timedelta(days=1)


@dataclass(frozen=True)
class Ask:
    """What is asked for. `exposed_key_id` belongs to EMERGENCY, `recovery_of` to the rule."""

    action: Action = "ROTATE"
    mode: Mode = "STANDARD"
    force: bool = False
    exposed_key_id: str | None = None
    recovery_of: str | None = None


@dataclass(frozen=True)
class Decision:
    """The answer: a step, the reason in words, and the ids that the step works with.

    `room_key_id` is the key to delete so that IAM's quota of two leaves room for a new one.
    `emergency` says that the old key is exposed: no waiting for consumers, no way back to it.
    `until` is when a WAIT is over.
    """

    step: Step
    reason: str
    old_key_id: str | None = None
    old_version_id: str | None = None
    new_key_id: str | None = None
    new_version_id: str | None = None
    room_key_id: str | None = None
    emergency: bool = False
    rotate_after_restore: bool = False
    exposed_key_id: str | None = None
    until: datetime | None = None


def decide(world: World, ask: Ask, policy: Policy) -> Decision:
    """Return what to do for one user.

    Args:
        world: the snapshot, with AWS's clock in it.
        ask: what the execution's input asks for.
        policy: the settings of this execution (durations in seconds).
    """
    return (
        _subject_problem(world)
        or _secret_problem(world)
        or _claim_problem(world, ask, policy)
        or _act(world, ask, policy)
    )


def _act(world: World, ask: Ask, policy: Policy) -> Decision:
    picture = _Picture.of(world)
    if ask.action == "BACK_OUT":
        return _back_out(world, ask, picture)
    if ask.mode == "EMERGENCY":
        return _emergency(world, ask, picture)
    return _rotate(world, ask, policy, picture)


def _reject(reason: str) -> Decision:
    return Decision(Step.REJECT, reason)


def _skip(
    reason: str,
    *,
    old_key_id: str | None = None,
    new_key_id: str | None = None,
    exposed_key_id: str | None = None,
) -> Decision:
    return Decision(
        Step.SKIP,
        reason,
        old_key_id=old_key_id,
        new_key_id=new_key_id,
        exposed_key_id=exposed_key_id,
    )


# --- before any claim ---------------------------------------------------------------------------


def _subject_problem(world: World) -> Decision | None:
    name = world.user_name
    if not world.user_exists:
        return _reject(f"the IAM user {name} does not exist in this account; check the name")
    if not world.managed:
        return _reject(
            f"the IAM user {name} is not managed by this stack; `keyturn onboard {name}`, or tag "
            "the user with the stack's managed tag, and see that its path is below ManagedUserPath"
        )
    if "," in name:
        return _reject(
            f"the IAM user {name} cannot have a secret: Secrets Manager allows no comma in a name"
        )
    return None


def _secret_problem(world: World) -> Decision | None:
    secret = world.secret
    if secret is None:
        return None
    if secret.scheduled_for_deletion:
        return _reject(f"the secret {secret.name} is scheduled for deletion; restore it first")
    if secret.owning_service:
        return _reject(
            f"the secret {secret.name} belongs to the service {secret.owning_service}; "
            "Keyturn does not write to it"
        )
    if secret.rotation_enabled:
        return _reject(
            f"native rotation is enabled on the secret {secret.name}; two rotators on one secret "
            "would undo each other: cancel it (CancelRotateSecret) first"
        )
    return None


def _claim_problem(world: World, ask: Ask, policy: Policy) -> Decision | None:
    claim = world.claim
    if world.holding:
        return None
    if claim is None:
        if not ask.recovery_of:
            return None
        exposed = [key.id for key in world.keys if key.active and key.id in world.exposed_keys]
        if exposed:
            return _reject(
                f"the key {masked(exposed[0])} is marked as exposed and still active, and nobody "
                "is working on it; start the EMERGENCY again"
            )
        return _skip("nothing to undo: the execution's claim is gone, so it had decided")
    if ask.recovery_of and claim.execution_arn != ask.recovery_of:
        return _skip(f"nothing to undo: the claim is held by {claim.execution_arn}")
    if claim.state is ClaimantState.RUNNING:
        return _running_claim(world, ask)
    if claim.state is ClaimantState.UNKNOWN:
        return _unknown_claim(world)
    free_at = claim.free_at or world.now
    if ask.recovery_of and claim.stopped_by_takeover:
        # Whoever stopped it goes first; this is for the case that it dies before it claims.
        free_at += timedelta(seconds=policy.fence_seconds + 30)
    if world.now < free_at:
        if ask.action == "ROTATE" and ask.mode == "STANDARD":
            return _reject(
                f"{claim.execution_arn} has just ended without deciding and its last call may "
                f"still take effect; start again after {free_at:%Y-%m-%d %H:%M:%S} UTC"
            )
        return Decision(Step.WAIT, "waiting until no call of it can take effect", until=free_at)
    return None


def _running_claim(world: World, ask: Ask) -> Decision:
    claim = world.claim
    assert claim is not None  # noqa: S101 - the caller looked
    doing = claim.intent.action if claim.intent else "unknown work"
    if ask.recovery_of:
        return _skip(f"nothing to undo: {claim.execution_arn} is running again")
    emergency = claim.intent is not None and claim.intent.mode == "EMERGENCY"
    if ask.mode == "EMERGENCY" and ask.action == "ROTATE":
        picture = _Picture.of(world)
        exposed = _exposed_key(world, ask)
        if isinstance(exposed, Decision):
            return exposed
        # The mark alone does not say so: an EMERGENCY may have died between the mark and the stop.
        about_it = claim.intent is not None and claim.intent.exposed_key_id == exposed
        if emergency and (about_it or picture.is_working_emergency(exposed)):
            return _reject(
                f"{claim.execution_arn} is already replacing the exposed key {masked(exposed)}"
            )
        return Decision(
            Step.STOP_CLAIMANT,
            f"stopping {claim.execution_arn}: a key of the user is exposed",
            exposed_key_id=exposed,
        )
    if ask.action == "BACK_OUT" and emergency:
        return _reject(
            f"{claim.execution_arn} is replacing an exposed key, which must never come back: there "
            "is nothing to back out; wait until it has ended"
        )
    if ask.action == "BACK_OUT" and doing == "ROTATE":
        return Decision(Step.STOP_CLAIMANT, f"stopping {claim.execution_arn} to back it out")
    return _reject(
        f"the user {world.user_name} is already being worked on ({doing}) by "
        f"{claim.execution_arn}; wait until it has ended"
    )


def _unknown_claim(world: World) -> Decision | None:
    claim = world.claim
    assert claim is not None  # noqa: S101 - the caller looked
    if claim.intent is None:
        return _reject(
            f"the label CLAIM is on version {claim.version_id}, which Keyturn did not write; "
            "find out who put it there and remove it"
        )
    if claim.is_free(world.now):
        return None
    return _reject(
        f"the claim is held by {claim.execution_arn}, whose state cannot be looked up; unknown "
        "never counts as dead: find that execution, or start again when the claim is a day old"
    )


# --- the picture of the labels -------------------------------------------------------------------


@dataclass(frozen=True)
class _Picture:
    """The keys behind the labels, with `old` the key that a published rotation replaces.

    `open` says that the key in charge is the work of an execution that died before it decided. A
    claimant that found that key has published nothing itself, so what it found had been decided.
    """

    secret: SecretState | None = None
    current_version: str | None = None
    current: Key | None = None
    current_id: str | None = None
    pending_version: str | None = None
    pending: Key | None = None
    pending_id: str | None = None
    backout_version: str | None = None
    old: Key | None = None
    old_id: str | None = None
    old_version: str | None = None
    exposed: frozenset[str] = frozenset()
    open: bool = False

    @classmethod
    def of(cls, world: World) -> _Picture:
        secret = world.secret
        if secret is None:
            return cls()
        current_version = secret.version(Label.CURRENT)
        current_id = secret.key(Label.CURRENT)
        pending_version = secret.version(Label.PENDING)
        if pending_version == current_version:
            pending_version = None  # left over from a publishing; harmless
        pending_id = key_of_version(pending_version) if pending_version else None
        if pending_id and pending_id in (current_id, secret.key(Label.BACKOUT)):
            pending_version = pending_id = None  # its key is in charge, so there is nothing stored
        backout_version = secret.version(Label.BACKOUT)
        old_id = old_version = None
        earlier = world.intent is not None and current_id in world.intent.keys_before
        if backout_version and backout_version != current_version:
            old_id, old_version = secret.key(Label.BACKOUT), backout_version
        elif (
            not backout_version
            and not earlier
            and current_version
            and key_of_version(current_version)
        ):
            old_id = _adopted_key(world.intent, current_id, pending_id)
        old = world.find(old_id) if old_id != current_id else None
        return cls(
            secret=secret,
            current_version=current_version,
            current=world.find(current_id),
            current_id=current_id,
            pending_version=pending_version,
            pending=world.find(pending_id),
            pending_id=pending_id,
            backout_version=backout_version,
            old=old,
            old_id=old_id if old else None,
            old_version=old_version if old else None,
            exposed=world.exposed_keys,
            open=world.undecided and not earlier,
        )

    @property
    def published(self) -> bool:
        """Whether a new key is in charge while the one it replaces still exists."""
        return self.old is not None and self.current_id is not None

    @property
    def restored(self) -> bool:
        """Whether a back-out had put the old version back in charge and not yet decided."""
        return self.backout_version is not None and self.backout_version == self.current_version

    def recorded(self, key: Key) -> bool:
        """Whether our own record says that we deactivated this (still inactive) key."""
        return not key.active and self.secret is not None and self.secret.deactivated_key == key.id

    def is_working_emergency(self, exposed: str) -> bool:
        """Whether the running claimant already works on this exposed key."""
        return exposed in self.exposed and (self.old_id == exposed or self.pending_id is not None)


def _adopted_key(
    intent: Intent | None, current_id: str | None, pending_id: str | None
) -> str | None:
    """Return the old key of an adoption: no version holds it, so the intent has to name it."""
    if intent is None or intent.old_key_id in (None, current_id, pending_id):
        return None
    return intent.old_key_id


def _is_orphan(world: World, picture: _Picture, key: Key) -> bool:
    """Whether a key was created by a claimant whose CreateAccessKey answer was lost.

    Not there before the claim, in no version in charge, never used, and created while the
    claimant (or the dead one that it inherited from) could still create. Anything less certain
    is somebody's key; so is the key that a back-out has just taken out of charge, whose uses
    may not be published yet.
    """
    intent = world.intent
    if intent is None or world.claim is None or picture.secret is None or picture.restored:
        return False
    in_charge = {picture.secret.key(at) for at in (Label.CURRENT, Label.BACKOUT, Label.PENDING)}
    if key.id in in_charge or key.last_use is not None:
        return False
    return _is_claimants(world, intent, key)


def _is_claimants(world: World, intent: Intent, key: Key) -> bool:
    """Whether a key was created while the claimant, or one that it inherited from, could."""
    if key.id in intent.keys_before:
        return False

    def between(since: datetime | None, until: datetime | None) -> bool:
        if since is None or until is None:
            return False
        # IAM gives creation dates in whole seconds.
        begun = since.replace(microsecond=0)
        return begun <= key.created_at <= min(until, begun + _CREATES_WITHIN)

    ended = world.claim.free_at if world.claim and not world.holding else None
    return between(intent.created_at, ended or world.now) or between(
        intent.inherited_since, intent.inherited_until
    )


def orphans(world: World) -> list[Key]:
    """Return the keys that a claimant created and nobody stored: they can only be deleted."""
    picture = _Picture.of(world)
    return [key for key in world.keys if _is_orphan(world, picture, key)]


# --- ROTATE --------------------------------------------------------------------------------------


def _rotate(world: World, ask: Ask, policy: Policy, picture: _Picture) -> Decision:
    if picture.pending_version:
        resumed = _resume_pending(world, picture)
        if resumed:
            return resumed
    if picture.published:
        resumed = _resume_published(world, ask, picture)
        if resumed:
            return resumed
    elif picture.restored:
        finished = _finish_back_out(world, picture)
        if finished:
            return finished
    return _start(world, ask, policy, picture)


def _resume_pending(world: World, picture: _Picture) -> Decision | None:
    version = picture.pending_version
    assert version is not None  # noqa: S101 - the caller looked
    assert picture.secret is not None  # noqa: S101 - likewise
    if key_of_version(version) is None or mark_of_version(version) is None:
        return _reject(
            f"the label AWSPENDING of {picture.secret.name} is on version {version}, which "
            "Keyturn did not write: another rotation may be at work; remove the label when not"
        )
    if picture.pending is None or not picture.pending.active:
        return None  # nothing usable was stored: begin again
    if picture.pending_id in picture.exposed:
        return _replace_exposed_pending(world, picture)
    old, old_version = _in_charge(world, picture)
    return Decision(
        Step.RESUME_PROVE,
        f"resuming: the new key {masked(picture.pending_id)} is stored and not yet published",
        old_key_id=old.id if old else None,
        old_version_id=old_version,
        new_key_id=picture.pending_id,
        new_version_id=version,
        emergency=old is not None and old.id in picture.exposed,
    )


def _in_charge(world: World, picture: _Picture) -> tuple[Key | None, str | None]:
    """Return the key that consumers use before publishing, and its version (None: adoption)."""
    if picture.current is not None and picture.current.active:
        return picture.current, picture.current_version
    others = [key for key in world.keys if key.active and key.id != picture.pending_id]
    return (others[0], None) if len(others) == 1 else (None, None)


def _resume_published(world: World, ask: Ask, picture: _Picture) -> Decision | None:
    old, new = picture.old, picture.current
    assert old is not None  # noqa: S101 - the caller looked
    assert picture.secret is not None  # noqa: S101 - likewise
    if new is None or not new.active:
        if old.id in picture.exposed:
            return None  # there is no way back to it either: begin again, in place of it
        state = "deleted" if new is None else "inactive"
        return _reject(
            f"AWSCURRENT of {picture.secret.name} names the key {masked(picture.current_id)}, "
            f"which is {state}; start action BACK_OUT to return to {masked(old.id)}, or "
            "reactivate the key"
        )
    ids = Decision(
        Step.RESUME_PICKUP,
        f"resuming: the new key {masked(new.id)} is published",
        old_key_id=old.id,
        old_version_id=picture.old_version,
        new_key_id=new.id,
        new_version_id=picture.current_version,
        emergency=old.id in picture.exposed,
    )
    if old.active and ids.emergency:
        return replace(ids, step=Step.CUT_OVER, reason="the old key is exposed and active")
    if new.id in picture.exposed:
        return _emergency_published(world, picture, new)
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


def _start(world: World, ask: Ask, policy: Policy, picture: _Picture) -> Decision:
    old, problem = _key_to_rotate(world, picture)
    if problem:
        return problem
    emergency = old is not None and old.id in picture.exposed
    if world.has_console_password and not (ask.force or emergency):
        return _reject(
            f"the IAM user {world.user_name} has a console password: it looks like a person, not "
            "a machine; start with force to rotate it all the same"
        )
    if not (ask.force or emergency):
        problem = _something_else_in_charge(picture)
        if problem:
            return problem
    room, problem = _room(world, picture, keep=old)
    if problem and old and emergency:
        return _exposed_only(old, problem)
    if problem:
        return problem
    old_version = picture.current_version if old and old is picture.current else None
    ids = Decision(
        Step.ISSUE,
        "rotating" if old else "issuing a first key: the user has no usable key",
        old_key_id=old.id if old else None,
        old_version_id=old_version,
        room_key_id=room.id if room else None,
        emergency=emergency,
    )
    if old is None or emergency:
        return ids  # nobody waits for consumers, so neither timing nor age matters
    if policy.really_quiet_seconds >= policy.pickup_timeout_seconds:
        return _reject(
            f"the timing cannot be met: quietPeriodSeconds + coarseness + lag "
            f"({policy.really_quiet_seconds} seconds) must be less than pickupTimeoutSeconds "
            f"({policy.pickup_timeout_seconds} seconds)"
        )
    skip = None if ask.force else _not_due(world, old, policy)
    return replace(ids, step=Step.SKIP, reason=skip) if skip else ids


def _something_else_in_charge(picture: _Picture) -> Decision | None:
    version = picture.current_version
    if version is None or is_intent(version) or picture.current_id is not None:
        return None
    assert picture.secret is not None  # noqa: S101 - it has a version
    return _reject(
        f"AWSCURRENT of {picture.secret.name} holds something else than an access key, and whoever "
        "reads it could not be taken back to it; find out what it is, then remove it, or start "
        "with force to put the key in its place"
    )


def _key_to_rotate(world: World, picture: _Picture) -> tuple[Key | None, Decision | None]:
    """Return the key to replace (None: there is no usable key), or why that is not clear."""
    active = [key for key in world.keys if key.active and not _is_orphan(world, picture, key)]
    if picture.current is not None and picture.current.active:
        return picture.current, None
    if picture.pending is not None:
        active = [key for key in active if key.id != picture.pending_id]
    if len(active) > 1:
        names = " and ".join(masked(key.id) for key in active)
        return None, _reject(
            f"the user {world.user_name} has two active keys ({names}) and the secret names "
            "neither, so it is not clear which one the consumers use; deactivate the other"
        )
    return (active[0] if active else None), None


def _room(
    world: World, picture: _Picture, *, keep: Key | None
) -> tuple[Key | None, Decision | None]:
    """Return the key to delete for room (None: there is room), or why there is none."""
    if len(world.keys) < 2:
        return None, None
    others = [key for key in world.keys if keep is None or key.id != keep.id]
    for key in others:
        if key.id == picture.current_id and key.id not in picture.exposed:
            continue  # in charge, so it is not ours to delete, whoever deactivated it
        useless = not key.active or key.id in picture.exposed
        unpublished = picture.pending_id == key.id and useless
        if unpublished or picture.recorded(key) or _is_orphan(world, picture, key):
            return key, None
    blocking = others[-1]
    state = "active" if blocking.active else "inactive"
    return None, _reject(
        f"there is no room for a new key: IAM allows two, and the {state} key "
        f"{masked(blocking.id)} of {world.user_name} is not one that Keyturn deactivated; "
        "find out who uses it, then delete it"
    )


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


# --- BACK_OUT ------------------------------------------------------------------------------------


def _back_out(world: World, ask: Ask, picture: _Picture) -> Decision:
    stored = picture.pending_version is not None and key_of_version(picture.pending_version)
    if stored and not (picture.published and picture.pending is None):
        return _undo_pending(world, ask, picture)
    decided = world.undecided and not picture.open  # the dead one has not come to publishing
    if picture.published and not (ask.recovery_of and decided):
        return _undo_published(world, ask, picture)
    if picture.restored:
        finished = _finish_back_out(world, picture)
        if finished:
            return finished
    exposed = [key for key in world.keys if key.active and key.id in picture.exposed]
    if ask.recovery_of and world.undecided and exposed:
        # An EMERGENCY died before it had a new key: do what it was to do.
        return _emergency_start(world, picture, exposed[0])
    if world.undecided or picture.restored:
        return Decision(
            Step.DISCARD,
            f"{_what_is_left(world, picture)}; cleaning up after the execution that died",
            old_key_id=picture.current.id if picture.current else None,
            old_version_id=picture.current_version,
        )
    return _skip("nothing to undo: no rotation of this user is open or within its retention")


def _what_is_left(world: World, picture: _Picture) -> str:
    if picture.restored:
        return "the back-out had been done but for its decision"
    before = world.intent.keys_before if world.intent else ()
    if picture.current is not None and world.intent and picture.current.id not in before:
        return f"there is no key to go back to, so {masked(picture.current.id)} stays in charge"
    return "nothing had been published"


def _undo_pending(world: World, ask: Ask, picture: _Picture) -> Decision:
    old, old_version = _in_charge(world, picture)
    exposed = old is not None and old.id in picture.exposed
    if exposed and ask.recovery_of:
        forward = _resume_pending(world, picture)
        if forward:
            return forward
    if old is not None and exposed and not ask.recovery_of:
        return _reject(
            f"the key {masked(old.id)} in charge is marked as exposed, and this back-out would "
            "delete the key that is to replace it; start a ROTATE to finish the rotation"
        )
    if picture.restored and picture.pending is not None and picture.pending.active:
        # Either the publishing died half-way, or a back-out of it did: then consumers may have
        # the key. The labels are the same, so the key goes by the rules for one that is in use.
        return Decision(
            Step.FINISH_BACK_OUT,
            f"{masked(picture.current_id)} is in charge; {masked(picture.pending_id)} may have "
            "been, so it goes when nobody uses it",
            old_key_id=picture.current_id,
            old_version_id=picture.current_version,
            new_key_id=picture.pending_id,
            new_version_id=picture.pending_version,
        )
    return Decision(
        Step.DISCARD,
        f"the new key {masked(picture.pending_id)} had not been published",
        old_key_id=old.id if old else None,
        old_version_id=old_version,
        new_key_id=picture.pending_id,
        new_version_id=picture.pending_version,
    )


def _undo_published(world: World, ask: Ask, picture: _Picture) -> Decision:
    old = picture.old
    assert old is not None  # noqa: S101 - the caller looked
    assert picture.secret is not None  # noqa: S101 - likewise
    ids = Decision(
        Step.BACK_OUT,
        f"going back to the key {masked(old.id)}",
        old_key_id=old.id,
        old_version_id=picture.old_version,
        new_key_id=picture.current_id,
        new_version_id=picture.current_version,
    )
    if old.id in picture.exposed:
        if ask.recovery_of and picture.current is not None and picture.current.active:
            step = Step.CUT_OVER if old.active else Step.RESUME_WATCH
            return replace(
                ids,
                step=step,
                emergency=True,
                reason="the old key is exposed, so the way is forward: finishing the rotation",
            )
        open_still = old.active or world.undecided
        way = "start a ROTATE to finish the rotation" if open_still else "the way is forward"
        return _reject(
            f"the key {masked(old.id)} is marked as exposed and must never come back; {way}: "
            "move the consumers to the key in AWSCURRENT"
        )
    if picture.current_version and key_of_version(picture.current_version) is None:
        return _reject(
            f"AWSCURRENT of {picture.secret.name} is on the version {picture.current_version}, "
            "which Keyturn did not write: somebody else changed the secret, and this would undo "
            f"that; both keys stay as they are: put AWSCURRENT where it should be, the old key "
            f"{masked(old.id)} is in {picture.old_version or 'no version'}"
        )
    if not old.active and not picture.recorded(old):
        return _reject(
            f"the key {masked(old.id)} is inactive and Keyturn did not deactivate it; if it is "
            "safe, reactivate it by hand and start BACK_OUT again"
        )
    return ids


def _finish_back_out(world: World, picture: _Picture) -> Decision | None:
    """Return how to finish a back-out that died after the old version was put back."""
    intent = world.intent
    others = [
        key
        for key in world.keys
        if key.active
        and key.id != picture.current_id
        and intent is not None
        and (key.id == intent.new_key_id or _is_claimants(world, intent, key))
    ]
    if picture.current is None or not picture.current.active or len(others) != 1:
        return None
    return Decision(
        Step.FINISH_BACK_OUT,
        f"finishing the back-out: {masked(picture.current_id)} is in charge again",
        old_key_id=picture.current_id,
        old_version_id=picture.current_version,
        new_key_id=others[0].id,
    )


# --- EMERGENCY -----------------------------------------------------------------------------------


def _exposed_key(world: World, ask: Ask) -> str | Decision:
    if ask.exposed_key_id:
        if world.find(ask.exposed_key_id) is None:
            return _skip(
                f"the user {world.user_name} has no key {masked(ask.exposed_key_id)} any more",
                exposed_key_id=ask.exposed_key_id,
            )
        return ask.exposed_key_id
    active = [
        key for key in world.keys if key.active and not _is_orphan(world, _Picture.of(world), key)
    ]
    if len(active) == 1:
        return active[0].id
    if not active:
        return _skip(f"the user {world.user_name} has no active key")
    return _reject(
        f"the user {world.user_name} has two active keys; say which one is exposed: accessKeyId"
    )


def _emergency(world: World, ask: Ask, picture: _Picture) -> Decision:
    exposed_id = _exposed_key(world, ask)
    if isinstance(exposed_id, Decision):
        return exposed_id
    exposed = world.find(exposed_id)
    assert exposed is not None  # noqa: S101 - _exposed_key looked
    if exposed_id == picture.pending_id:
        decision = _replace_exposed_pending(world, picture)
    elif (
        picture.pending is not None
        and picture.pending.active
        and picture.pending_id not in picture.exposed
    ):
        decision = _publish_pending_instead(picture, exposed)
    elif picture.published:
        decision = _emergency_published(world, picture, exposed)
    else:
        decision = _emergency_start(world, picture, exposed)
    return replace(decision, exposed_key_id=exposed_id)


def _replace_exposed_pending(world: World, picture: _Picture) -> Decision:
    """The exposed key was never published: delete it and rotate the one in charge as usual."""
    old, old_version = _in_charge(world, picture)
    return Decision(
        Step.ISSUE,
        "the exposed key was not published yet: replacing it",
        old_key_id=old.id if old else None,
        old_version_id=old_version,
        room_key_id=picture.pending_id,
        emergency=old is not None and old.id in picture.exposed,
    )


def _publish_pending_instead(picture: _Picture, exposed: Key) -> Decision:
    in_charge = picture.current is not None and picture.current.id == exposed.id
    return Decision(
        Step.RESUME_PROVE,
        f"publishing the key {masked(picture.pending_id)} in place of the exposed one",
        old_key_id=exposed.id,
        old_version_id=picture.current_version if in_charge else None,
        new_key_id=picture.pending_id,
        new_version_id=picture.pending_version,
        emergency=True,
    )


def _emergency_published(world: World, picture: _Picture, exposed: Key) -> Decision:
    old, new = picture.old, picture.current
    assert old is not None  # noqa: S101 - the caller looked
    if exposed.id == old.id:
        if new is None or not new.active:
            return _emergency_start(world, picture, exposed)
        if not old.active and not picture.open:
            return _skip(
                f"the exposed key {masked(old.id)} is inactive already; it is marked now and "
                "will not come back",
                old_key_id=old.id,
                new_key_id=new.id,
            )
        return Decision(
            Step.CUT_OVER if old.active else Step.RESUME_WATCH,
            f"deactivating the exposed key {masked(old.id)}: {masked(new.id)} is published",
            old_key_id=old.id,
            old_version_id=picture.old_version,
            new_key_id=new.id,
            new_version_id=picture.current_version,
            emergency=True,
        )
    may_return = old.id not in picture.exposed and (old.active or picture.recorded(old))
    if may_return and (old.active or picture.open) and picture.old_version:
        return Decision(
            Step.BACK_OUT,
            f"the exposed key {masked(exposed.id)} is the new one: going back to "
            f"{masked(old.id)}, then rotating that",
            old_key_id=old.id,
            old_version_id=picture.old_version,
            new_key_id=exposed.id,
            new_version_id=picture.current_version,
            rotate_after_restore=True,
        )
    return _emergency_start(world, picture, exposed)


def _emergency_start(world: World, picture: _Picture, exposed: Key) -> Decision:
    current = picture.current
    if exposed.id != picture.current_id and current is not None and current.active:
        if not exposed.active:
            return _skip(
                f"the exposed key {masked(exposed.id)} is inactive already; it is marked now and "
                "will not come back",
                old_key_id=exposed.id,
                new_key_id=current.id,
            )
        return Decision(
            Step.CUT_OVER,
            f"deactivating the exposed key {masked(exposed.id)}: {masked(current.id)} is published",
            old_key_id=exposed.id,
            new_key_id=current.id,
            new_version_id=picture.current_version,
            emergency=True,
        )
    room, problem = _room(world, picture, keep=exposed)
    if problem:
        return _exposed_only(exposed, problem)
    return Decision(
        Step.ISSUE,
        f"replacing the exposed key {masked(exposed.id)}",
        old_key_id=exposed.id,
        old_version_id=picture.current_version if current is exposed else None,
        room_key_id=room.id if room else None,
        emergency=True,
    )


def _exposed_only(exposed: Key, problem: Decision) -> Decision:
    return Decision(
        Step.EXPOSED_ONLY,
        f"deactivating the exposed key only; {problem.reason}",
        old_key_id=exposed.id,
        emergency=True,
    )
