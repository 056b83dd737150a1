"""Gathers the world of one user for the decision table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from pydantic import AwareDatetime, SecretStr, ValidationError

from keyturn.aws import executions, iam, secrets
from keyturn.model import outcomes
from keyturn.model.carried import Carried
from keyturn.model.identifiers import is_intent, is_intent_of
from keyturn.model.settings import Settings
from keyturn.model.world import Claim, ClaimantState, Intent, Label, SecretState, World, is_managed


class IntentRecord(Carried):
    """An intent as it is stored: what a claimant was about to do, and what it found."""

    user_name: str
    execution_arn: str
    action: str
    mode: str
    keys_before: list[dict[str, str]]
    old_access_key_id: str | None = None
    new_access_key_id: str | None = None
    exposed_access_key_id: str | None = None
    took_over: bool = False
    inherited_since: AwareDatetime | None = None
    inherited_until: AwareDatetime | None = None

    def text(self) -> SecretStr:
        """Return the JSON to store; without a clock of its own, so that a replay is identical."""
        return SecretStr(json.dumps(self.dump(), sort_keys=True))


def look(user_name: str, settings: Settings, *, mark: str) -> World:
    """Return everything that the decision table looks at.

    Args:
        user_name: the IAM user.
        settings: the stack's settings.
        mark: the looking execution's mark, to recognise its own claim.
    """
    user = iam.get_user(user_name)
    managed = user is not None and is_managed(user, settings)
    if user is None or not managed or "," in user_name:
        return World(
            now=datetime.now(UTC),
            user_name=user_name,
            user_exists=user is not None,
            managed=managed,
            has_console_password=False,
            keys=(),
            secret=None,
            claim=None,
        )
    # The secret's labels first: a key that is stored after this look is then one too many in
    # the list of keys, never one too few.
    held = look_at_secret(settings.secret_name(user.name))
    held_by = _holder(held, settings.fence_seconds, mark)
    ring = iam.list_keys(user.name)
    return World(
        now=ring.now,
        user_name=user.name,
        user_exists=True,
        managed=True,
        has_console_password=iam.has_console_password(user.name),
        keys=ring.keys,
        secret=held,
        claim=held_by.claim,
        last_intent=held_by.last_intent,
        holding=held_by.holding,
    )


def look_while_holding(user_name: str, name: str, *, mark: str) -> World:
    """Return the world of a user whose claim the looking execution holds (or held)."""
    held = look_at_secret(name)
    held_by = _own(held, mark)
    ring = iam.list_keys(user_name)
    return World(
        now=ring.now,
        user_name=user_name,
        user_exists=True,
        managed=True,
        has_console_password=False,
        keys=ring.keys,
        secret=held,
        claim=held_by.claim,
        holding=held_by.holding,
    )


def look_at_secret(name: str) -> SecretState | None:
    """Return a secret; versions that others made are understood by reading them."""
    state = secrets.describe(name)
    if state is None or state.scheduled_for_deletion:
        return state
    foreign = [
        state.labels[label]
        for label in (Label.CURRENT, Label.BACKOUT, Label.PENDING, Label.EXPOSED)
        if label in state.labels
        and state.key_ids.get(state.labels[label]) is None
        and not is_intent(state.labels[label])
    ]
    if not foreign:
        return state
    return replace(state, key_ids={**state.key_ids, **_read_keys(state.arn, foreign)})


def _read_keys(secret_id: str, versions: Sequence[str]) -> dict[str, str | None]:
    found = {version: secrets.read_key(secret_id, version) for version in dict.fromkeys(versions)}
    return {version: key.access_key_id if key else None for version, key in found.items()}


@dataclass(frozen=True)
class _Holder:
    """Who holds the claim; the newest intent when nobody does."""

    claim: Claim | None = None
    last_intent: Intent | None = None
    holding: bool = False


def _own(state: SecretState | None, mark: str) -> _Holder:
    version = state.version(Label.CLAIM) if state else None
    if state is None or version is None or not is_intent_of(version, mark):
        return _Holder()
    intent = read_intent(state.arn, version)
    return _Holder(Claim(version, ClaimantState.RUNNING, intent), holding=True)


def _holder(state: SecretState | None, fence_seconds: int, mark: str) -> _Holder:
    if state is None or state.scheduled_for_deletion:
        return _Holder()
    version = state.version(Label.CLAIM)
    if version is None:
        newest = state.version(Label.INTENT)
        return _Holder(last_intent=read_intent(state.arn, newest) if newest else None)
    if is_intent_of(version, mark):
        return _own(state, mark)
    intent = read_intent(state.arn, version)
    if intent is None:
        return _Holder(Claim(version, ClaimantState.UNKNOWN, None))
    return _Holder(_claim_of(version, intent, fence_seconds))


def _claim_of(version: str, intent: Intent, fence_seconds: int) -> Claim:
    found = executions.look_up(intent.execution_arn)
    if found.running is None:
        return Claim(version, ClaimantState.UNKNOWN, intent)
    if found.running or found.ended_at is None:
        return Claim(version, ClaimantState.RUNNING, intent)
    # Whether the fence is over is for the table to say, by AWS's clock.
    return Claim(
        version,
        ClaimantState.DEAD,
        intent,
        free_at=found.ended_at + timedelta(seconds=fence_seconds),
        stopped_by_takeover=found.error == outcomes.TAKEN_OVER_ERROR,
    )


def read_intent(secret_id: str, version_id: str) -> Intent | None:
    """Return an intent version's content, or None when it is not one."""
    found = secrets.read_json(secret_id, version_id) if is_intent(version_id) else None
    if found is None:
        return None
    fields, created_at = found
    try:
        record = IntentRecord.model_validate(fields)
    except ValidationError:
        return None
    return _intent(version_id, record, created_at)


def _intent(version_id: str, record: IntentRecord, created_at: datetime) -> Intent:
    return Intent(
        version_id=version_id,
        user_name=record.user_name,
        execution_arn=record.execution_arn,
        action=record.action,
        mode=record.mode,
        keys_before=tuple(key["id"] for key in record.keys_before if "id" in key),
        old_key_id=record.old_access_key_id,
        new_key_id=record.new_access_key_id,
        exposed_key_id=record.exposed_access_key_id,
        created_at=created_at,
        took_over=record.took_over,
        inherited_since=record.inherited_since,
        inherited_until=record.inherited_until,
    )
