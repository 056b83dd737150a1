"""Builds worlds for the decision table: two keys, labels, a claim, a record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from keyturn.model.request import TimingRequest
from keyturn.model.settings import Settings
from keyturn.model.signals import ALARM, HEALTH_URL, Signal, SignalState
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
from keyturn.rotate.policy import settle
from tools import template

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
K1, K2, GONE = "AKIA1111111111111111", "AKIA2222222222222222", "AKIA9999999999999999"
MARK, OTHER_MARK = "a" * 32, "b" * 32
ARN = "arn:aws:states:eu-west-1:123456789012:execution:keyturn-RotateKey:dead"

# Durations that are easy to reckon with, each different; what is not named is the template's.
ENVIRONMENT = template.environment(
    SECRET_NAME_PREFIX="machine-user/",
    MANAGED_TAG_VALUE="eu-west-1",
    QUIET_PERIOD_SECONDS=93_600,
    WATCH_SECONDS=108_000,
    LAST_USED_COARSENESS_SECONDS=900,
)
SETTINGS = Settings.from_env(ENVIRONMENT)
POLICY = settle(SETTINGS, {}, TimingRequest())


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


def alarm(state: SignalState, name: str = "errors") -> Signal:
    """Return what an alarm says, once."""
    bad = int(state is SignalState.BAD)
    return Signal(kind=ALARM, name=name, state=state, words="in a state", bad_in_a_row=bad)


def health(bad_in_a_row: int, state: SignalState | None = None) -> Signal:
    """Return what the health URL answered: good, or bad so often in a row."""
    return Signal(
        kind=HEALTH_URL,
        name="",
        state=state or (SignalState.BAD if bad_in_a_row else SignalState.OK),
        words="status 503" if bad_in_a_row else "status 200",
        limit=2,
        bad_in_a_row=bad_in_a_row,
    )
