"""What the stack's parameters say to the fleet run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keyturn.audit.model import Thresholds
from keyturn.model.environment import Environment
from keyturn.model.settings import Settings

DAY_SECONDS = 86_400
# FleetSchedule's default: a key that is not yet due today is looked at again a day later.
BETWEEN_RUNS_SECONDS = DAY_SECONDS
# IAM reuses a credential report that is younger (IAM User Guide, credential reports).
REPORT_STALENESS_SECONDS = 4 * 3_600


@dataclass(frozen=True)
class FleetSettings:
    """The settings of fleet runs, beside those of the rotations that they start."""

    report_bucket: str
    max_key_age_days: int
    max_rotations_per_run: int
    rotations: Settings
    central_bucket: str = ""
    """The bucket of the account that collects the reports of all accounts; empty: none."""

    @classmethod
    def from_env(cls, variables: Mapping[str, str] | None = None) -> FleetSettings:
        """Read the settings.

        Raises:
            SettingMissing: a variable is absent or not a whole number.
        """
        env = Environment(variables)
        return cls(
            report_bucket=env.text("REPORT_BUCKET"),
            max_key_age_days=env.number("MAX_KEY_AGE_DAYS"),
            max_rotations_per_run=env.number("MAX_ROTATIONS_PER_RUN"),
            rotations=Settings.from_env(variables),
            central_bucket=env.optional("CENTRAL_REPORT_BUCKET"),
        )

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds of the audit."""
        return Thresholds(
            max_key_age_days=self.max_key_age_days,
            unused_after_days=self.rotations.unused_after_days,
        )

    @property
    def due_after_seconds(self) -> int:
        """How old a key is when its rotation has to start to end before MaxKeyAgeDays.

        That much earlier: the longest time that a rotation takes, a day until the schedule comes
        round again, and the age that a credential report may have. Never younger than
        MinKeyAgeSeconds, because RotateKey would skip it.
        """
        durations = self.rotations.durations
        lead = (
            durations.pickup_timeout_seconds
            + durations.watch_seconds
            + BETWEEN_RUNS_SECONDS
            + REPORT_STALENESS_SECONDS
        )
        return max(self.max_key_age_days * DAY_SECONDS - lead, durations.min_key_age_seconds)

    @property
    def longest_rotation_seconds(self) -> int:
        """How long a rotation may take, back-out and calls included, before nobody waits for it.

        One whose own tags or watch make it longer is reported as still running, and goes on.
        """
        durations = self.rotations.durations
        return (
            durations.pickup_timeout_seconds
            + durations.watch_seconds
            + durations.backout_grace_seconds
            + 2 * durations.poll_max_seconds
            + 3 * self.rotations.fence_seconds
            + 60
        )
