"""The policy that a rotation gets when nobody sets anything: the template's own defaults."""

from __future__ import annotations

from functools import cache

from keyturn.fleet.settings import FleetSettings
from keyturn.model.request import TimingRequest
from keyturn.model.rotation import Policy
from keyturn.model.settings import Settings
from keyturn.rotate.policy import settle
from tools import template


@cache
def _settings() -> Settings:
    return Settings.from_env(template.environment())


def policy(**changed: int) -> Policy:
    """Return the template's default policy, with some durations (in seconds) changed.

    >>> policy().watch_seconds == policy(watch_seconds=1).watch_seconds
    False
    """
    return settle(_settings(), {}, TimingRequest()).model_copy(update=changed)


def fleet() -> FleetSettings:
    """Return the settings of the fleet run with the template's defaults."""
    parameters = template.load()["Parameters"]
    return FleetSettings(
        report_bucket="unset",
        max_key_age_days=int(parameters["MaxKeyAgeDays"]["Default"]),
        max_rotations_per_run=int(parameters["MaxRotationsPerRun"]["Default"]),
        rotations=_settings(),
    )
