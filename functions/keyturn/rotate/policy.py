"""Settles the durations of one execution: input first, then tags on the secret, then the stack."""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.model.durations import LIMITS, LONGEST_SECONDS, input_field, tag
from keyturn.model.errors import RequestRejected
from keyturn.model.request import TimingRequest
from keyturn.model.rotation import Policy
from keyturn.model.settings import Settings
from keyturn.model.signals import HEALTH_URL
from keyturn.rotate import signals


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
    asked = timing.model_dump()
    settled: dict[str, int] = {}
    for name, limits in LIMITS.items():
        floor: int = getattr(settings.durations, name)
        value, origin = floor, "the stack"
        if asked.get(name) is not None:
            value, origin = asked[name], "the input's timing"
        elif tag(name) in tags:
            value, origin = _seconds(tags, name), f"the secret's tag {tag(name)}"
        if limits.only_longer and value < floor:
            raise RequestRejected(
                f"{input_field(name)} is {value} seconds in {origin}, but may only be lengthened: "
                f"the stack's value is {floor} seconds"
            )
        settled[name] = value
    if settled["poll_min_seconds"] > settled["poll_max_seconds"]:
        raise RequestRejected("pollMinSeconds must not be more than pollMaxSeconds")
    named = signals.named_by(tags)
    return Policy(
        **settled,
        coarseness_seconds=settings.last_used_coarseness_seconds,
        lag_seconds=settings.last_used_lag_seconds,
        unused_after_days=settings.unused_after_days,
        fence_seconds=settings.fence_seconds,
        health_url=next(iter(named.pop(HEALTH_URL)), None),
        signals=named,
    )


def _seconds(tags: Mapping[str, str], name: str) -> int:
    text, least = tags[tag(name)], LIMITS[name].least
    if not (text.isascii() and text.isdecimal() and least <= int(text) <= LONGEST_SECONDS):
        raise RequestRejected(
            f"the secret's tag {tag(name)} must be a whole number of seconds from {least} to "
            f"{LONGEST_SECONDS}"
        )
    return int(text)
