"""The durations of a rotation: the table from which everything else about them is derived.

`watch_seconds` is the template's parameter WatchSeconds, which has the default, the functions'
variable WATCH_SECONDS, `timing.watchSeconds` in the input, and the tag `keyturn:watch-seconds` on a
user's secret. A new duration is a line here, a parameter and a variable
in the template, and a line in the docs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic.alias_generators import to_camel

from keyturn.model.carried import Carried

LONGEST_SECONDS = 31_536_000


@dataclass(frozen=True)
class Limits:
    """What an input or a tag may set: `least` seconds or more, or only more than the stack has."""

    least: int = 0
    only_longer: bool = False


# Consumers are protected by these.
_ONLY_LONGER = Limits(only_longer=True)
_AT_LEAST_ONE = Limits(least=1)
_ANY = Limits()


class Durations(Carried):
    """Durations of one rotation, all in seconds."""

    pickup_timeout_seconds: Annotated[int, _AT_LEAST_ONE]
    quiet_period_seconds: Annotated[int, _ONLY_LONGER]
    watch_seconds: Annotated[int, _ONLY_LONGER]
    backout_grace_seconds: Annotated[int, _ONLY_LONGER]
    retention_seconds: Annotated[int, _ANY]
    poll_min_seconds: Annotated[int, _AT_LEAST_ONE]
    poll_max_seconds: Annotated[int, _AT_LEAST_ONE]
    min_key_age_seconds: Annotated[int, _ANY]


LIMITS: Mapping[str, Limits] = {
    name: limits
    for name, field in Durations.model_fields.items()
    for limits in field.metadata
    if isinstance(limits, Limits)
}


def variable(name: str) -> str:
    """Return the environment variable of a duration.

    >>> variable("watch_seconds")
    'WATCH_SECONDS'
    """
    return name.upper()


def input_field(name: str) -> str:
    """Return the field of `timing` in the input.

    >>> input_field("watch_seconds")
    'watchSeconds'
    """
    return to_camel(name)


def tag(name: str) -> str:
    """Return the tag on a user's secret.

    >>> tag("watch_seconds")
    'keyturn:watch-seconds'
    """
    return f"keyturn:{name.replace('_', '-')}"
