"""What one execution carries from state to state, and the result that it ends with.

Executions outlive deployments: fields may be added (with a default), never renamed or removed.
Nothing secret belongs here, because the state machine's history shows all of it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from keyturn.model.identifiers import masked
from keyturn.model.request import Action, Mode
from keyturn.model.world import LastUse


class Carried(BaseModel):
    """A part of the carried state; unknown fields of a newer deployment pass through."""

    model_config = ConfigDict(
        extra="allow",
        alias_generator=to_camel,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    def dump(self) -> dict[str, Any]:
        """Return the JSON form, with camelCase names and ISO 8601 UTC times."""
        return self.model_dump(mode="json", by_alias=True)


class Outcome(StrEnum):
    """The outcomes of the contract, and SUCCESS for those that end green."""

    ROTATED = "ROTATED"
    ISSUED = "ISSUED"
    SKIPPED = "SKIPPED"
    BACKED_OUT = "BACKED_OUT"
    REJECTED = "REJECTED"
    FAILED = "FAILED"
    NEEDS_ATTENTION = "NEEDS_ATTENTION"


class Policy(Carried):
    """The settings of this execution, frozen at its start. All durations are in seconds."""

    pickup_timeout_seconds: int
    quiet_period_seconds: int
    coarseness_seconds: int
    lag_seconds: int
    watch_seconds: int
    backout_grace_seconds: int
    retention_seconds: int
    poll_min_seconds: int
    poll_max_seconds: int
    min_key_age_seconds: int
    unused_after_days: int
    fence_seconds: int
    health_url: str | None = None
    alarms: list[str] = Field(default_factory=list)

    @property
    def really_quiet_seconds(self) -> int:
        """How old a published last use must be before the key counts as quiet."""
        return self.quiet_period_seconds + self.lateness_seconds

    @property
    def lateness_seconds(self) -> int:
        """How far the published last use may lag behind the truth."""
        return self.coarseness_seconds + self.lag_seconds


class Use(Carried):
    """A last use as it was published."""

    at: AwareDatetime
    service: str
    region: str

    @classmethod
    def of(cls, use: LastUse | None) -> Use | None:
        """Convert a snapshot's last use."""
        return None if use is None else cls(at=use.at, service=use.service, region=use.region)


class Health(Carried):
    """One answer of the health URL: only the status is kept, or why there was none."""

    good: bool
    status: int | None = None
    problem: str | None = None
    checked_at: AwareDatetime | None = None


class Polling(Carried):
    """A waiting loop: when it began, how often it looked, how long the next wait is (seconds)."""

    began_at: AwareDatetime
    polls: int = 0
    wait_seconds: int = 0


class Observations(Carried):
    """What the looks have seen so far; facts only accumulate."""

    consumer_use: Use | None = None
    """The latest use of the new key by somebody else than our own probe."""
    old_use: Use | None = None
    new_use: Use | None = None
    new_read_at: AwareDatetime | None = None
    """When the old key last read a secret while the new key was in it: somebody has the new key."""
    looked_at: AwareDatetime | None = None
    longest_interval_seconds: int = 0
    """The longest silence of either key, between two uses, that this rotation has seen."""
    health: Health | None = None
    bad_health_in_a_row: int = 0
    alarms_not_ok: list[str] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)


class Rotation(Carried):
    """One rotation of one user."""

    user_name: str
    action: Action = "ROTATE"
    mode: Mode = "STANDARD"
    force: bool = False
    request_reason: str = ""
    recovery_of: str | None = None
    policy: Policy
    secret_name: str
    secret_arn: str | None = None
    old_access_key_id: str | None = None
    old_version_id: str | None = None
    """The version that goes back in charge in a back-out; None when no version holds the key."""
    old_exposed: bool = False
    exposed_key_id: str | None = None
    new_access_key_id: str | None = None
    new_version_id: str | None = None
    started_at: AwareDatetime
    proven_at: AwareDatetime | None = None
    published_at: AwareDatetime | None = None
    deactivated_at: AwareDatetime | None = None
    reactivated_at: AwareDatetime | None = None
    restored_at: AwareDatetime | None = None
    probe_ended_at: AwareDatetime | None = None
    """When our own last use of the new key ended, or the latest moment at which it can have."""
    new_key_deactivated: bool = False
    rotate_after_restore: bool = False
    tidy_up: bool = False
    silent: bool = False
    """The watch ended in silence: the old key is reactivated, the new one stays in charge."""
    seen: Observations = Field(default_factory=Observations)
    pickup: Polling | None = None
    watch: Polling | None = None
    back: Polling | None = None
    outcome: Outcome | None = None
    error: str | None = None
    """The name of the Fail state's error; None when the execution succeeds."""
    why: str = ""

    @property
    def back_out_requested(self) -> bool:
        """Whether a back-out is what was asked for (then BACKED_OUT ends green)."""
        return self.action == "BACK_OUT"

    @property
    def exposed_is_active(self) -> bool:
        """Whether the exposed key was to be deactivated and has not been."""
        return self.old_exposed and self.deactivated_at is None

    @property
    def ending(self) -> str | None:
        """How this rotation ended: the Fail error, else the outcome; None while it has not."""
        return self.error or (self.outcome.value if self.outcome else None)

    def ends(self, outcome: Outcome, why: str, *, error: str | None = None) -> None:
        """Set how this rotation ends, the reason in words and the Fail error (None: green)."""
        self.outcome, self.why, self.error = outcome, why, error

    def result(self, ended_at: datetime | None = None) -> dict[str, Any]:
        """Return the execution result of the contract; `endedAt` only when given."""
        seen = self.seen
        evidence: dict[str, Any] = {
            "oldKeyLastUse": seen.old_use.dump() if seen.old_use else None,
            "newKeyLastUse": seen.new_use.dump() if seen.new_use else None,
            "newKeyConsumerUse": seen.consumer_use.dump() if seen.consumer_use else None,
            "longestIntervalSeconds": seen.longest_interval_seconds,
            "health": seen.health.dump() if seen.health else None,
            "alarmsNotOk": list(seen.alarms_not_ok),
            "polls": {
                name: loop.polls
                for name, loop in (
                    ("pickup", self.pickup),
                    ("watch", self.watch),
                    ("return", self.back),
                )
                if loop is not None
            },
            "notes": list(seen.notes),
            "requestReason": self.request_reason,
        }
        return make_result(
            outcome=self.outcome,
            user_name=self.user_name,
            reason=self.why,
            old_access_key_id=self.old_access_key_id,
            new_access_key_id=self.new_access_key_id,
            secret_arn=self.secret_arn,
            evidence=evidence,
            startedAt=self.started_at,
            provenAt=self.proven_at,
            publishedAt=self.published_at,
            deactivatedAt=self.deactivated_at,
            reactivatedAt=self.reactivated_at,
            endedAt=ended_at,
        )

    def describe_keys(self) -> str:
        """Return both keys in words, masked for people."""
        return f"old key {masked(self.old_access_key_id)}, new key {masked(self.new_access_key_id)}"


def make_result(
    *,
    outcome: Outcome | None,
    user_name: str | None,
    reason: str,
    old_access_key_id: str | None = None,
    new_access_key_id: str | None = None,
    secret_arn: str | None = None,
    evidence: dict[str, Any] | None = None,
    **times: datetime | None,
) -> dict[str, Any]:
    """Return a result in the contract's one shape; timestamps that do not apply are left out."""
    result: dict[str, Any] = {
        "outcome": outcome.value if outcome else None,
        "userName": user_name,
        "reason": reason,
        "oldAccessKeyId": old_access_key_id,
        "newAccessKeyId": new_access_key_id,
        "secretArn": secret_arn,
        "evidence": evidence or {},
    }
    result.update({name: iso(at) for name, at in times.items() if at is not None})
    return result


def iso(at: datetime) -> str:
    """Return ISO 8601 UTC with milliseconds and a Z.

    >>> iso(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    '2026-01-02T03:04:05.000Z'
    """
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
