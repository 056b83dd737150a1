"""A state of the model as the snapshot that the decision table looks at, and ids back again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from keyturn.model import world as snapshot
from keyturn.model.world import ClaimantState, Label, Tag
from proofs.model.rules import Rules
from proofs.model.state import (
    BUSY,
    ENDED,
    FOREIGN,
    INTENTS,
    LONG_AGO,
    NONE,
    PERSON,
    QUIET,
    RUNNING,
    Intent,
    Key,
)

_BASE = datetime(2026, 1, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)
_FOREIGN_VERSION = "0f0f0f0f-aaaa-4bbb-8ccc-dddddddddddd"


class Seen(NamedTuple):
    """All that a look can tell, which is what the answers are remembered by."""

    keys: tuple[Key, ...]
    labels: tuple[int, int, int]
    foreign: int
    exposed: int
    record: int
    claim: int
    claimant: str
    holding: bool
    intent: Intent | None
    intent_of: int


def key_name(key_id: int) -> str:
    """Return the access key id of a key of the model."""
    return f"AKIA{key_id:016d}"


def arn(execution: int) -> str:
    return f"execution-{execution}"


def version_name(version: int) -> str:
    if version >= INTENTS:
        return f"intent-{version - INTENTS:032x}"
    return _FOREIGN_VERSION if version == FOREIGN else f"{key_name(version)}-{version:032x}"


def number_of(key_id: str | None) -> int:
    return NONE if key_id is None else int(key_id[4:])


def version_of(version: str | None) -> int:
    if version is None:
        return NONE
    if version == _FOREIGN_VERSION:
        return FOREIGN
    if version.startswith("intent-"):
        return INTENTS + int(version[7:], 16)
    return int(version[-32:], 16)


def snapshot_of(seen: Seen, rules: Rules) -> snapshot.World:
    """Return the world as the functions see it, on a time scale with one hour for each claim.

    Within a claimant's hour: the intent at 0 minutes, keys of its own at 20, its fenced end at
    40, what was made after that at 50. IAM's times are coarse, so a person's key that is older
    than all of this may well have the very second of the first claim.
    """
    intent = seen.intent
    chain = (*(intent.chain if intent else ()), seen.intent_of)
    own = len(chain) - 1
    begun = _BASE + own * _HOUR
    free_at = begun + timedelta(minutes=40)
    now = begun + _HOUR
    if seen.claimant == ENDED:
        now = begun + timedelta(minutes=30)
    keys = tuple(
        snapshot.Key(
            key_name(key.id),
            key.active,
            _born(key, chain, rules),
            snapshot.LastUse(now, "s3", "eu-west-1") if key.use in (BUSY, QUIET) else None,
        )
        for key in seen.keys
    )
    written = _intent(seen, intent, begun, rules) if intent else None
    claim = None
    if seen.claim != NONE:
        running = seen.holding or seen.claimant == RUNNING
        claim = snapshot.Claim(
            version_name(INTENTS + seen.claim),
            ClaimantState.RUNNING if running else ClaimantState.DEAD,
            written,
            None if running else free_at,
        )
    return snapshot.World(
        now=now,
        user_name="u",
        user_exists=True,
        managed=True,
        has_console_password=False,
        keys=keys,
        secret=_secret(seen),
        claim=claim,
        last_intent=None if claim else written,
        holding=seen.holding,
    )


def _born(key: Key, chain: tuple[int, ...], rules: Rules) -> datetime:
    if not rules.window:
        return _BASE + (len(chain) - 1) * _HOUR + timedelta(minutes=1)
    if chain[-1] != NONE and key.later >> chain[-1] & 1 and key.born // 2 not in chain:
        return _BASE + (len(chain) - 1) * _HOUR + timedelta(minutes=20)  # the newest intent lost
    if key.born == LONG_AGO or key.born // 2 not in chain:
        return _BASE if key.by == PERSON else _BASE - timedelta(days=100)
    minutes = 20 if key.born % 2 == 0 else 50
    return _BASE + chain.index(key.born // 2) * _HOUR + timedelta(minutes=minutes)


def _intent(seen: Seen, intent: Intent, begun: datetime, rules: Rules) -> snapshot.Intent:
    inherited = bool(intent.chain)
    return snapshot.Intent(
        version_id=version_name(INTENTS + seen.intent_of),
        user_name="u",
        execution_arn=arn(seen.intent_of),
        action=intent.action,
        mode="EMERGENCY" if intent.emergency else "STANDARD",
        keys_before=tuple(map(key_name, intent.before)) if rules.keys_before else (),
        old_key_id=key_name(intent.old) if intent.old != NONE else None,
        new_key_id=key_name(intent.new) if intent.new != NONE else None,
        created_at=begun,
        took_over=intent.took_over,
        inherited_since=_BASE if inherited else None,
        inherited_until=begun - _HOUR + timedelta(minutes=40) if inherited else None,
    )


def _secret(seen: Seen) -> snapshot.SecretState | None:
    current, pending, backout = seen.labels
    if current == NONE and not seen.exposed:
        return None
    marked = {Label.CURRENT: current, Label.PENDING: pending, Label.BACKOUT: backout}
    labels = {str(label): version_name(at) for label, at in marked.items() if at != NONE}
    tags = {}
    if seen.record != NONE:
        tags[str(Tag.DEACTIVATED_KEY)] = key_name(seen.record)
        tags[str(Tag.DEACTIVATED_AT)] = (_BASE - _HOUR).isoformat()
    if seen.exposed:
        exposed = [
            key_name(key) for key in range(seen.exposed.bit_length()) if seen.exposed >> key & 1
        ]
        tags[str(Tag.EXPOSED_KEYS)] = " ".join(exposed)
    foreign = {_FOREIGN_VERSION: key_name(seen.foreign) if seen.foreign != NONE else None}
    return snapshot.SecretState("arn", "machine-user/u", labels, foreign, tags)
