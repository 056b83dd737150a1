"""What one execution carries from state to state, and the result that it ends with.

Executions outlive deployments: fields may be added (with a default), never renamed or removed.
Nothing secret belongs here, because the state machine's history shows all of it.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import AwareDatetime, Field

from keyturn.model.carried import Carried
from keyturn.model.decision import Decision
from keyturn.model.durations import Durations
from keyturn.model.identifiers import masked
from keyturn.model.moments import iso
from keyturn.model.request import Action, Mode
from keyturn.model.signals import ALARM, Signal
from keyturn.model.world import LastUse


class Outcome(StrEnum):
    """The outcomes of the contract, and SUCCESS for those that end green."""

    ROTATED = "ROTATED"
    ISSUED = "ISSUED"
    SKIPPED = "SKIPPED"
    BACKED_OUT = "BACKED_OUT"
    REJECTED = "REJECTED"
    FAILED = "FAILED"
    NEEDS_ATTENTION = "NEEDS_ATTENTION"


class Policy(Durations):
    """The settings of this execution, frozen at its start. All durations are in seconds."""

    coarseness_seconds: int
    lag_seconds: int
    unused_after_days: int
    fence_seconds: int
    health_url: str | None = None
    signals: dict[str, list[str]] = Field(default_factory=dict)
    """The names of the signals to look at, by kind."""

    @property
    def really_quiet_seconds(self) -> int:
        """How old a published last use must be before the key counts as quiet."""
        return self.quiet_period_seconds + self.lateness_seconds

    @property
    def lateness_seconds(self) -> int:
        """How far the published last use may lag behind the truth."""
        return self.coarseness_seconds + self.lag_seconds


class Health(Carried):
    """One answer of the health URL: only the status is kept, or why there was none."""

    good: bool
    status: int | None = None
    problem: str | None = None
    checked_at: AwareDatetime | None = None


class Phase(StrEnum):
    """What a rotation waits for: the consumers' pickup, harm in the watch, or their return."""

    PICKUP = "PICKUP"
    WATCH = "WATCH"
    RETURN = "RETURN"


class Polling(Carried):
    """A waiting loop: when it began, how often it looked, how long the next wait is (seconds).

    It begins with the publishing, the deactivation or the restoring.
    """

    began_at: AwareDatetime
    polls: int = 0
    wait_seconds: int = 0


class Observations(Carried):
    """What the looks have seen so far; facts only accumulate."""

    consumer_use: LastUse | None = None
    """The latest use of the new key by somebody else than our own probe."""
    old_use: LastUse | None = None
    new_use: LastUse | None = None
    new_read_at: AwareDatetime | None = None
    """When the old key last read a secret while the new key was in it: somebody has the new key."""
    looked_at: AwareDatetime | None = None
    longest_interval_seconds: int = 0
    """The longest silence of either key, between two uses, that this rotation has seen."""
    health: Health | None = None
    bad_health_in_a_row: int = 0
    signals: list[Signal] = Field(default_factory=list)
    """The latest answers, but for the health URL's."""
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
    """The version that a back-out restores; None when no version holds the key."""
    old_exposed: bool = False
    exposed_key_id: str | None = None
    new_access_key_id: str | None = None
    new_version_id: str | None = None
    started_at: AwareDatetime
    proven_at: AwareDatetime | None = None
    published_at: AwareDatetime | None = None
    deactivated_at: AwareDatetime | None = None
    reactivated_at: AwareDatetime | None = None
    probe_ended_at: AwareDatetime | None = None
    """When our own last use of the new key ended, or the latest moment at which it can have."""
    new_key_deactivated: bool = False
    rotate_after_restore: bool = False
    tidy_up: bool = False
    silent: bool = False
    """The watch ended in silence: the old key is reactivated, the new one stays in AWSCURRENT."""
    seen: Observations = Field(default_factory=Observations)
    loops: dict[Phase, Polling] = Field(default_factory=dict)
    """The waiting loops that have begun."""
    outcome: Outcome | None = None
    error: str | None = None
    """The name of the Fail state's error; None when the execution succeeds."""
    why: str = ""

    @property
    def back_out_requested(self) -> bool:
        """Whether a back-out is what was asked for (then BACKED_OUT ends green)."""
        return self.action == "BACK_OUT"

    @property
    def restored_at(self) -> datetime | None:
        """When AWSCURRENT was put back, in a back-out."""
        loop = self.loops.get(Phase.RETURN)
        return loop.began_at if loop else None

    @property
    def exposed_is_active(self) -> bool:
        """Whether the exposed key was to be deactivated and has not been."""
        return self.old_exposed and self.deactivated_at is None

    def follow(self, decision: Decision) -> None:
        """Take over the keys and the reason of a decision."""
        self.old_access_key_id = decision.old_key_id
        self.old_version_id = decision.old_version_id
        self.new_access_key_id = decision.new_key_id
        self.new_version_id = decision.new_version_id
        self.old_exposed = decision.old_exposed
        self.rotate_after_restore = decision.rotate_after_restore
        self.why = decision.reason

    @property
    def ending(self) -> str | None:
        """How this rotation ended: the Fail error, else the outcome; None while it has not."""
        return self.error or (self.outcome.value if self.outcome else None)

    def ends(self, outcome: Outcome, why: str, *, error: str | None = None) -> None:
        """Set how this rotation ends, the reason in words and the Fail error (None: green)."""
        self.outcome, self.why, self.error = outcome, why, error

    def result(self, ended_at: datetime | None = None) -> dict[str, Any]:
        """Return the execution result of the contract; `endedAt` only when given."""
        seen, carried = self.seen, self.seen.dump()
        evidence: dict[str, Any] = {
            "oldKeyLastUse": carried["oldUse"],
            "newKeyLastUse": carried["newUse"],
            "newKeyConsumerUse": carried["consumerUse"],
            "longestIntervalSeconds": seen.longest_interval_seconds,
            "health": carried["health"],
            "alarmsNotOk": sorted(
                signal.name for signal in seen.signals if signal.kind == ALARM and not signal.ok
            ),
            "polls": {phase.lower(): loop.polls for phase, loop in self.loops.items()},
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
