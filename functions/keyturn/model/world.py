"""What a function sees of one user before it decides: a snapshot without secret material."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from keyturn.model.identifiers import key_of_version
from keyturn.model.moments import moment
from keyturn.model.settings import UNKNOWN_CLAIMANT_SECONDS, Settings


class Label(StrEnum):
    """Staging labels on the versions of a machine user's secret."""

    CURRENT = "AWSCURRENT"
    PENDING = "AWSPENDING"
    BACKOUT = "BACKOUT"
    CLAIM = "CLAIM"
    INTENT = "INTENT"
    EXPOSED = "EXPOSED"


class Tag(StrEnum):
    """Tags that Keyturn writes on the secret: its record of what it did.

    DEACTIVATED_KEY is written before the deactivation, so that whoever finds the key inactive
    knows whether this was our doing (and may be undone) or a person's.
    """

    DEACTIVATED_KEY = "keyturn:deactivated-key"
    DEACTIVATED_AT = "keyturn:deactivated-at"
    RETAINED_UNTIL = "keyturn:retained-until"
    EXPOSED_KEYS = "keyturn:exposed-keys"
    LAST_RESULT = "keyturn:last-result"
    # Written by whoever takes the user out of Keyturn's care. The managed tag of a user can only
    # be read user by user; the list of secrets comes with their tags.
    OFFBOARDED = "keyturn:offboarded"


# What made a rotation back out or call for a person is not mended by another one every day, and a
# finding can be older than the rotation that mends it.
COOL_DOWN = timedelta(days=7)


def cools_down(ended_at: datetime, now: datetime) -> bool:
    """Tell whether neither the fleet nor a finding rotates a user again yet.

    A time that is further ahead is not of our record: somebody has written it into the tag.
    """
    return abs(now - ended_at) < COOL_DOWN


@dataclass(frozen=True)
class LastResult:
    """How the last execution that decided ended: Keyturn's record in the tag LAST_RESULT."""

    outcome: str
    at: datetime


@dataclass(frozen=True)
class User:
    """An IAM user: its name, ARN, path, tags, and when it was created."""

    name: str
    arn: str
    path: str
    tags: Mapping[str, str]
    created_at: datetime


def is_managed(user: User, settings: Settings) -> bool:
    """Whether the stack may touch a user: by its tag and path, as the roles' policies say."""
    tag = user.tags.get(settings.managed_tag_key)
    return tag == settings.managed_tag_value and user.path.startswith(settings.managed_user_path)


@dataclass(frozen=True)
class LastUse:
    """The last use that IAM has published: when, of which service, in which Region."""

    at: datetime
    service: str
    region: str


@dataclass(frozen=True)
class Key:
    """One access key. `last_use` is None only when IAM says that it was never used."""

    id: str
    active: bool
    created_at: datetime
    last_use: LastUse | None


class ClaimantState(StrEnum):
    """What is known about the execution that holds the claim."""

    RUNNING = "RUNNING"
    DEAD = "DEAD"  # ended; no call of it can take effect after `Claim.free_at`
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class Intent:
    """What a claimant wrote down before it began: the content of an intent version.

    `keys_before` are the key ids that existed before the claimant (or those it inherited from)
    could create one. `new_key_id` is the key of the rotation that it was to go on with or to
    undo, None when it was to issue one; `exposed_key_id` the exposed one that an EMERGENCY is
    about. `inherited_since` and `inherited_until` bound the time in which a dead execution, whose
    claim this one took over, may have created a key that nobody stored.
    """

    version_id: str
    user_name: str
    execution_arn: str
    action: str
    mode: str
    keys_before: tuple[str, ...]
    old_key_id: str | None
    created_at: datetime
    new_key_id: str | None = None
    exposed_key_id: str | None = None
    took_over: bool = False
    inherited_since: datetime | None = None
    inherited_until: datetime | None = None


@dataclass(frozen=True)
class Claim:
    """The lock as found: whose it is and whether that execution can still act.

    `intent` is None when the version is not readable as an intent (somebody else's work).
    `free_at` is FenceSeconds after the end of a dead claimant.
    """

    version_id: str
    state: ClaimantState
    intent: Intent | None
    free_at: datetime | None = None
    stopped_by_takeover: bool = False

    @property
    def retired(self) -> bool:
        """Whether it is the claim of a dead retirement, whose rotation had been decided."""
        retirement = self.intent is not None and self.intent.action == "RETIRE"
        return retirement and self.state is not ClaimantState.RUNNING

    def is_free(self, now: datetime) -> bool:
        """Whether it may be taken over: its claimant is dead, and no call of it can take effect.

        One that cannot be looked up counts as dead when its claim is a day old.
        """
        if self.state is ClaimantState.DEAD:
            return self.free_at is None or now >= self.free_at
        if self.state is ClaimantState.UNKNOWN and self.intent is not None:
            age = (now - self.intent.created_at).total_seconds()
            return age > UNKNOWN_CLAIMANT_SECONDS
        return False

    @property
    def execution_arn(self) -> str:
        return self.intent.execution_arn if self.intent else f"(version {self.version_id})"


@dataclass(frozen=True)
class SecretState:
    """A secret as DescribeSecret shows it, with the key that each labelled version holds.

    `labels` maps a label to the VersionId that carries it; `key_ids` maps a VersionId to its
    access key id, or to None where the version holds no key that we understand.
    """

    arn: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    key_ids: Mapping[str, str | None] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    rotation_enabled: bool = False
    scheduled_for_deletion: bool = False
    owning_service: str | None = None
    replicas_out_of_sync: tuple[str, ...] = ()

    def version(self, label: Label) -> str | None:
        """Return the VersionId that carries a label, or None."""
        return self.labels.get(label)

    def key(self, label: Label) -> str | None:
        """Return the access key id in the version that carries a label, or None."""
        version_id = self.labels.get(label)
        if version_id is None:
            return None
        return self.key_ids.get(version_id) or key_of_version(version_id)

    @property
    def exposed_keys(self) -> frozenset[str]:
        """Key ids that must never come back, from the label and from the tag."""
        found = set(self.tags.get(Tag.EXPOSED_KEYS, "").split())
        labelled = self.key(Label.EXPOSED)
        if labelled:
            found.add(labelled)
        return frozenset(found)

    def time(self, tag: Tag) -> datetime | None:
        """Return the time that a tag of our record holds, or None."""
        return moment(self.tags.get(tag))

    @property
    def last_result(self) -> LastResult | None:
        """How the last execution that decided ended, or None without a record of ours."""
        outcome, _, rest = self.tags.get(Tag.LAST_RESULT, "").partition(" ")
        at = moment(rest.partition(" ")[0])
        return LastResult(outcome, at) if outcome and at else None

    @property
    def offboarded(self) -> bool:
        """Whether the user was taken out of Keyturn's care and the secret was kept.

        Nobody is offboarded while a rotation is in flight, so a result after the mark is that of a
        user whom somebody has tagged as managed again. A time that cannot be read undoes no mark.
        """
        text, last = self.tags.get(Tag.OFFBOARDED), self.last_result
        if text is None:
            return False
        marked = moment(text)
        if marked is None or last is None:
            return True
        if len(text) <= len("2026-01-01"):  # a day, which counts to its end
            return last.at.date() <= marked.date()
        return last.at <= marked

    @property
    def deactivated_key(self) -> str | None:
        """The key that our own record says we deactivated, or None."""
        return self.tags.get(Tag.DEACTIVATED_KEY) or None


@dataclass(frozen=True)
class World:
    """Everything that the decision table looks at for one user.

    `now` is AWS's clock (the Date of its answers), or an earlier moment; never a later one.
    """

    now: datetime
    user_name: str
    user_exists: bool
    managed: bool
    has_console_password: bool
    keys: tuple[Key, ...]
    secret: SecretState | None
    claim: Claim | None
    last_intent: Intent | None = None
    holding: bool = False
    """Whether the claim is the looking execution's own."""

    def find(self, key_id: str | None) -> Key | None:
        """Return the key with this id, or None when IAM has no such key for the user."""
        return next((key for key in self.keys if key.id == key_id), None)

    @property
    def exposed_keys(self) -> frozenset[str]:
        return self.secret.exposed_keys if self.secret else frozenset()

    @property
    def intent(self) -> Intent | None:
        """The claimant's intent, or the newest one when nobody holds the claim."""
        return self.claim.intent if self.claim else self.last_intent

    @property
    def undecided(self) -> bool:
        """Whether an execution died (or was stopped) before it decided what it had begun."""
        if self.claim is None:
            return False
        if self.holding:
            return self.claim.intent is not None and self.claim.intent.took_over
        # A retirement follows a decision: that it died does not open the rotation again.
        dead = self.claim.state in (ClaimantState.DEAD, ClaimantState.UNKNOWN)
        return dead and not self.claim.retired
