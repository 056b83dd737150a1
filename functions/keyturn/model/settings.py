"""What the stack's parameters say, read once per function from its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from keyturn.model.errors import SettingMissing

# A changing call may begin this long after its state was entered. It is shorter than the default
# FenceSeconds by the timeout of the functions that change something, so that a call begun in time
# has ended with its invocation when somebody else may take over.
CHANGE_BUDGET_SECONDS = 90

# A claim whose execution cannot be looked up is taken over only when it is this old.
UNKNOWN_CLAIMANT_SECONDS = 86_400

MAX_POLLS = 1_000


@dataclass(frozen=True)
class Durations:
    """Durations of one rotation, all in seconds."""

    pickup_timeout_seconds: int
    quiet_period_seconds: int
    watch_seconds: int
    backout_grace_seconds: int
    retention_seconds: int
    poll_min_seconds: int
    poll_max_seconds: int
    min_key_age_seconds: int


@dataclass(frozen=True)
class Settings:
    """The stack's settings. Durations are in seconds."""

    secret_name_prefix: str
    managed_tag_key: str
    managed_tag_value: str
    managed_user_path: str
    durations: Durations
    last_used_coarseness_seconds: int
    last_used_lag_seconds: int
    fence_seconds: int
    unused_after_days: int

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read the settings.

        Raises:
            SettingMissing: a variable is absent or is not a whole number of seconds.
        """
        source = os.environ if env is None else env

        def text(name: str) -> str:
            value = source.get(name)
            if not value:
                raise SettingMissing(
                    f"the environment variable {name} is not set; deploy the stack again"
                )
            return value

        def number(name: str) -> int:
            value = text(name)
            if not value.isdecimal():
                raise SettingMissing(f"the environment variable {name} must be a whole number")
            return int(value)

        return cls(
            secret_name_prefix=text("SECRET_NAME_PREFIX"),
            managed_tag_key=text("MANAGED_TAG_KEY"),
            managed_tag_value=text("MANAGED_TAG_VALUE"),
            managed_user_path=text("MANAGED_USER_PATH"),
            durations=Durations(
                pickup_timeout_seconds=number("PICKUP_TIMEOUT_SECONDS"),
                quiet_period_seconds=number("QUIET_PERIOD_SECONDS"),
                watch_seconds=number("WATCH_SECONDS"),
                backout_grace_seconds=number("BACKOUT_GRACE_SECONDS"),
                retention_seconds=number("RETENTION_SECONDS"),
                poll_min_seconds=number("POLL_MIN_SECONDS"),
                poll_max_seconds=number("POLL_MAX_SECONDS"),
                min_key_age_seconds=number("MIN_KEY_AGE_SECONDS"),
            ),
            last_used_coarseness_seconds=number("LAST_USED_COARSENESS_SECONDS"),
            last_used_lag_seconds=number("LAST_USED_LAG_SECONDS"),
            fence_seconds=number("FENCE_SECONDS"),
            unused_after_days=number("UNUSED_AFTER_DAYS"),
        )


def required(name: str) -> str:
    """Read a variable that one function alone has.

    Raises:
        SettingMissing: it is absent or empty.
    """
    value = os.environ.get(name)
    if not value:
        raise SettingMissing(f"the environment variable {name} is not set; deploy the stack again")
    return value


def secret_name_prefix() -> str:
    """Read SecretNamePrefix: the secret of user U is named with this prefix and U."""
    return os.environ.get("SECRET_NAME_PREFIX", "")


def allow_private_health_urls() -> bool:
    """Read AllowPrivateHealthUrls: whether health URLs may be http and private."""
    return os.environ.get("ALLOW_PRIVATE_HEALTH_URLS") == "true"
