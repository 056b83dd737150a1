"""Settles the durations of one execution: input first, then tags on the secret, then the stack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from keyturn.model.errors import RequestRejected
from keyturn.model.request import TimingRequest
from keyturn.model.rotation import Policy
from keyturn.model.settings import Settings

TAG_PREFIX = "keyturn:"
HEALTH_URL_TAG = f"{TAG_PREFIX}health-url"
ALARM_TAG_PREFIX = f"{TAG_PREFIX}alarm-"

# Consumers are protected by these: a user's tag or an input may only lengthen them.
_NEVER_SHORTER = frozenset({"quiet_period_seconds", "watch_seconds", "backout_grace_seconds"})
_AT_LEAST_ONE = frozenset({"pickup_timeout_seconds", "poll_min_seconds", "poll_max_seconds"})
_LONGEST_SECONDS = 31_536_000


def settle(settings: Settings, tags: Mapping[str, str], timing: TimingRequest) -> Policy:
    """Return the policy of one execution; all durations are in seconds.

    Args:
        settings: the stack's settings.
        tags: the tags on the user's secret, such as `keyturn:watch-seconds`.
        timing: the `timing` of the execution input.

    Raises:
        RequestRejected: a tag is not a number of seconds, or a value would shorten a duration
            that may only be lengthened, or the poll bounds contradict each other.
    """
    stack = asdict(settings.durations)
    asked = timing.model_dump()
    settled: dict[str, int] = {}
    for name, floor in stack.items():
        tag = TAG_PREFIX + name.replace("_", "-")
        value, origin = floor, "the stack"
        if asked.get(name) is not None:
            value, origin = asked[name], "the input's timing"
        elif tag in tags:
            value, origin = _seconds(tag, tags[tag], name), f"the secret's tag {tag}"
        if name in _NEVER_SHORTER and value < floor:
            raise RequestRejected(
                f"{_camel(name)} is {value} seconds in {origin}, but may only be lengthened: the "
                f"stack's value is {floor} seconds"
            )
        settled[name] = value
    if settled["poll_min_seconds"] > settled["poll_max_seconds"]:
        raise RequestRejected("pollMinSeconds must not be more than pollMaxSeconds")
    return Policy(
        **settled,
        coarseness_seconds=settings.last_used_coarseness_seconds,
        lag_seconds=settings.last_used_lag_seconds,
        unused_after_days=settings.unused_after_days,
        fence_seconds=settings.fence_seconds,
        health_url=tags.get(HEALTH_URL_TAG) or None,
        alarms=sorted(
            value for key, value in tags.items() if key.startswith(ALARM_TAG_PREFIX) and value
        ),
    )


def _seconds(tag: str, text: str, name: str) -> int:
    least = 1 if name in _AT_LEAST_ONE else 0
    if not (text.isascii() and text.isdecimal() and least <= int(text) <= _LONGEST_SECONDS):
        raise RequestRejected(
            f"the secret's tag {tag} must be a whole number of seconds from {least} to "
            f"{_LONGEST_SECONDS}"
        )
    return int(text)


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
