"""A function's environment variables, read with one message for those that are missing or wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping

from keyturn.model.errors import SettingMissing


class Environment:
    """Reads variables; every method raises SettingMissing, which names the variable."""

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._variables = os.environ if variables is None else variables

    def text(self, name: str) -> str:
        """Return a variable that must be there and not empty."""
        value = self._variables.get(name)
        if not value:
            raise SettingMissing(
                f"the environment variable {name} is not set; deploy the stack again"
            )
        return value

    def number(self, name: str) -> int:
        """Return a whole number of 0 or more."""
        value = self.text(name)
        if not value.isdecimal():
            raise SettingMissing(f"the environment variable {name} must be a whole number")
        return int(value)

    def flag(self, name: str) -> bool:
        """Return whether a variable is `true`; one that is not there is not."""
        return self._variables.get(name) == "true"

    def optional(self, name: str, otherwise: str = "") -> str:
        """Return a variable that may be absent."""
        return self._variables.get(name, otherwise)
