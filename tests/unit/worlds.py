"""Builds worlds for the decision table: two keys, labels, a claim, a record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from keyturn.model.rotation import Policy
from keyturn.model.world import (
    Claim,
    ClaimantState,
    Intent,
    Key,
    Label,
    LastUse,
    SecretState,
    Tag,
    World,
)

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
K1, K2, GONE = "AKIA1111111111111111", "AKIA2222222222222222", "AKIA9999999999999999"
MARK, OTHER_MARK = "a" * 32, "b" * 32
ARN = "arn:aws:states:eu-west-1:123456789012:execution:keyturn-RotateKey:dead"

POLICY = Policy(
    pickup_timeout_seconds=604_800,
    quiet_period_seconds=93_600,
    coarseness_seconds=900,
    lag_seconds=14_400,
    watch_seconds=108_000,
    backout_grace_seconds=3_600,
    retention_seconds=604_800,
    poll_min_seconds=300,
    poll_max_seconds=3_600,
    min_key_age_seconds=86_400,
    unused_after_days=90,
    fence_seconds=120,
)


def key(
    key_id: str,
    *,
    active: bool = True,
    days_old: float = 100,
    used_days_ago: float | None = 0.1,
) -> Key:
    """Return a key; `used_days_ago` None means never used."""
    use = None
    if used_days_ago is not None:
        use = LastUse(NOW - timedelta(days=used_days_ago), "s3", "eu-west-1")
    return Key(key_id, active, NOW - timedelta(days=days_old), use)


def ours(key_id: str, mark: str = OTHER_MARK) -> str:
    """Return the VersionId under which Keyturn stores a key."""
    return f"{key_id}-{mark}"


def secret(
    current: str | None = None,
    *,
    pending: str | None = None,
    backout: str | None = None,
    exposed: str | None = None,
    foreign: dict[str, str] | None = None,
    **other: object,
) -> SecretState:
    """Return a secret whose labels are on the given VersionIds; `foreign` maps ids to keys."""
    placed = {
        Label.CURRENT: current,
        Label.PENDING: pending,
        Label.BACKOUT: backout,
        Label.EXPOSED: exposed,
    }
    labels = {str(label): version for label, version in placed.items() if version}
    tags = {str(tag): value for tag, value in other.pop("record", {}).items()}  # type: ignore[attr-defined]
    return SecretState(
        arn="arn:aws:secretsmanager:eu-west-1:123456789012:secret:machine-user/u-AbCdEf",
        name="machine-user/u",
        labels=labels,
        key_ids=dict(foreign or {}),
        tags=tags,
        **other,  # type: ignore[arg-type]
    )


def intent(
    *,
    before: tuple[str, ...] = (K1,),
    old: str | None = K1,
    action: str = "ROTATE",
    mode: str = "STANDARD",
    took_over: bool = False,
    minutes_ago: float = 60,
    exposed: str | None = None,
) -> Intent:
    """Return an intent that was written `minutes_ago`."""
    return Intent(
        version_id=f"intent-{OTHER_MARK}",
        user_name="u",
        execution_arn=ARN,
        action=action,
        mode=mode,
        keys_before=before,
        old_key_id=old,
        created_at=NOW - timedelta(minutes=minutes_ago),
        exposed_key_id=exposed,
        took_over=took_over,
    )


def claim(
    state: ClaimantState = ClaimantState.DEAD,
    *,
    free_in_seconds: float = -60,
    stopped_by_takeover: bool = False,
    of: Intent | None = None,
) -> Claim:
    """Return a claim whose execution can have no effect any more in `free_in_seconds`."""
    free_at = NOW + timedelta(seconds=free_in_seconds) if state is ClaimantState.DEAD else None
    return Claim(f"intent-{OTHER_MARK}", state, of or intent(), free_at, stopped_by_takeover)


def world(
    *keys: Key,
    secret: SecretState | None = None,
    claim: Claim | None = None,
    last_intent: Intent | None = None,
    holding: bool = False,
    managed: bool = True,
    exists: bool = True,
    name: str = "u",
    console_password: bool = False,
) -> World:
    """Return the world of one user."""
    return World(
        now=NOW,
        user_name=name,
        user_exists=exists,
        managed=managed,
        has_console_password=console_password,
        keys=keys,
        secret=secret,
        claim=claim,
        last_intent=last_intent,
        holding=holding,
    )


def record(key_id: str, *, retained_days: float | None = None) -> dict[Tag, str]:
    """Return the record that Keyturn deactivated a key an hour ago."""
    tags = {
        Tag.DEACTIVATED_KEY: key_id,
        Tag.DEACTIVATED_AT: (NOW - timedelta(hours=1)).isoformat(),
    }
    if retained_days is not None:
        tags[Tag.RETAINED_UNTIL] = (NOW + timedelta(days=retained_days)).isoformat()
    return tags
