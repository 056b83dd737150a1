"""What the stack's parameters say, read once per function from its environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keyturn.model.durations import LIMITS, Durations, variable
from keyturn.model.environment import Environment

# A changing call may begin this long after its state was entered. It is shorter than the default
# FenceSeconds by the timeout of the functions that change something, so that a call begun in time
# has ended with its invocation when somebody else may take over.
CHANGE_BUDGET_SECONDS = 90

# A claim whose execution cannot be looked up is taken over only when it is this old.
UNKNOWN_CLAIMANT_SECONDS = 86_400

MAX_POLLS = 1_000


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
    def from_env(cls, variables: Mapping[str, str] | None = None) -> Settings:
        """Read the settings.

        Raises:
            SettingMissing: a variable is absent or is not a whole number of seconds.
        """
        env = Environment(variables)
        return cls(
            secret_name_prefix=env.text("SECRET_NAME_PREFIX"),
            managed_tag_key=env.text("MANAGED_TAG_KEY"),
            managed_tag_value=env.text("MANAGED_TAG_VALUE"),
            managed_user_path=env.text("MANAGED_USER_PATH"),
            durations=Durations(**{name: env.number(variable(name)) for name in LIMITS}),
            last_used_coarseness_seconds=env.number("LAST_USED_COARSENESS_SECONDS"),
            last_used_lag_seconds=env.number("LAST_USED_LAG_SECONDS"),
            fence_seconds=env.number("FENCE_SECONDS"),
            unused_after_days=env.number("UNUSED_AFTER_DAYS"),
        )

    def secret_name(self, user_name: str) -> str:
        """Return the name of a user's secret."""
        return self.secret_name_prefix + user_name
