"""The picture that the labels give: the key in AWSCURRENT, the pending and the old one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from keyturn.model.decision import Decision, reject
from keyturn.model.identifiers import key_of_version, masked
from keyturn.model.world import Intent, Key, Label, SecretState, World

# A claimant creates its key at its very beginning. What is created a day later is somebody's,
# however long the claimant lived, or could not be looked up.
_CREATES_WITHIN = timedelta(days=1)

_NO_SECRET = SecretState(arn="", name="")


@dataclass(frozen=True)
class Held:
    """A version under a label, the id of the key in it, and that key if IAM has it."""

    version: str | None = None
    key_id: str | None = None
    key: Key | None = None


@dataclass(frozen=True)
class Picture:
    """The keys behind the labels, with `old` the key that a published rotation replaces.

    `open` says that the key in AWSCURRENT is the work of an execution that died before it closed
    its rotation. A key that existed when that claimant began is not its work.
    """

    secret: SecretState
    current: Held
    pending: Held
    old: Held
    exposed: frozenset[str]
    open: bool

    @classmethod
    def of(cls, world: World) -> Picture:
        """Read the labels of a world; without a secret there are none."""
        secret = world.secret or _NO_SECRET
        current_id = secret.key(Label.CURRENT)
        current = Held(secret.version(Label.CURRENT), current_id, world.find(current_id))
        pending = _pending(world, secret, current)
        known_before = world.intent is not None and current_id in world.intent.keys_before
        return cls(
            secret=secret,
            current=current,
            pending=pending,
            old=_old(world, secret, current, pending, known_before=known_before),
            exposed=world.exposed_keys,
            open=world.undecided and not known_before,
        )

    @property
    def published(self) -> Key | None:
        """The old key, when a new one is in AWSCURRENT while the one it replaces still exists."""
        return self.old.key if self.current.key_id is not None else None

    @property
    def restored(self) -> bool:
        """Whether a back-out had put AWSCURRENT back and has not been closed."""
        backout = self.secret.version(Label.BACKOUT)
        return backout is not None and backout == self.current.version

    def recorded(self, key: Key) -> bool:
        """Whether our own record says that we deactivated this (still inactive) key."""
        return not key.active and self.secret.deactivated_key == key.id

    def is_working_emergency(self, exposed: str) -> bool:
        """Whether the running claimant already works on this exposed key."""
        working = self.old.key_id == exposed or self.pending.key_id is not None
        return exposed in self.exposed and working


def _pending(world: World, secret: SecretState, current: Held) -> Held:
    version = secret.version(Label.PENDING)
    if version is None or version == current.version:
        return Held()  # the latter is left over from a publishing; harmless
    key_id = key_of_version(version)
    if key_id and key_id in (current.key_id, secret.key(Label.BACKOUT)):
        return Held()  # its key is published already, so there is nothing stored
    return Held(version, key_id, world.find(key_id))


def _old(
    world: World, secret: SecretState, current: Held, pending: Held, *, known_before: bool
) -> Held:
    backout = secret.version(Label.BACKOUT)
    key_id = version = None
    if backout and backout != current.version:
        key_id, version = secret.key(Label.BACKOUT), backout
    elif not backout and not known_before and current.version and key_of_version(current.version):
        key_id = _adopted_key(world.intent, current.key_id, pending.key_id)
    key = world.find(key_id) if key_id != current.key_id else None
    return Held(version, key_id, key) if key else Held()


def _adopted_key(
    intent: Intent | None, current_id: str | None, pending_id: str | None
) -> str | None:
    """Return the old key of an adoption: no version holds it, so the intent has to name it."""
    if intent is None or intent.old_key_id in (None, current_id, pending_id):
        return None
    return intent.old_key_id


def is_orphan(world: World, picture: Picture, key: Key) -> bool:
    """Whether a key was created by a claimant whose CreateAccessKey answer was lost.

    Not there before the claim, in no version under a label, never used, and created while the
    claimant (or the dead one that it inherited from) could still create. Anything less certain
    is somebody's key; so is the key that a back-out has just taken out of AWSCURRENT, whose uses
    may not be published yet.
    """
    intent = world.intent
    if intent is None or world.claim is None or picture.restored:
        return False
    labelled = {picture.secret.key(at) for at in (Label.CURRENT, Label.BACKOUT, Label.PENDING)}
    if key.id in labelled or key.last_use is not None:
        return False
    return is_claimants(world, intent, key)


def is_claimants(world: World, intent: Intent, key: Key) -> bool:
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
    picture = Picture.of(world)
    return [key for key in world.keys if is_orphan(world, picture, key)]


def in_current(world: World, picture: Picture) -> tuple[Key | None, str | None]:
    """Return the key that consumers use before publishing, and its version (None: adoption)."""
    if picture.current.key is not None and picture.current.key.active:
        return picture.current.key, picture.current.version
    others = [key for key in world.keys if key.active and key.id != picture.pending.key_id]
    return (others[0], None) if len(others) == 1 else (None, None)


def room_for(
    world: World, picture: Picture, *, keep: Key | None
) -> tuple[Key | None, Decision | None]:
    """Return the key to delete for room (None: there is room), or why there is none."""
    if len(world.keys) < 2:
        return None, None
    others = [key for key in world.keys if keep is None or key.id != keep.id]
    for key in others:
        if key.id == picture.current.key_id and key.id not in picture.exposed:
            continue  # in AWSCURRENT, so it is not ours to delete, whoever deactivated it
        useless = not key.active or key.id in picture.exposed
        unpublished = picture.pending.key_id == key.id and useless
        if unpublished or picture.recorded(key) or is_orphan(world, picture, key):
            return key, None
    blocking = others[-1]
    state = "active" if blocking.active else "inactive"
    return None, reject(
        f"there is no room for a new key: IAM allows two, and the {state} key "
        f"{masked(blocking.id)} of {world.user_name} is not one that Keyturn deactivated; "
        "find out who uses it, then delete it"
    )
