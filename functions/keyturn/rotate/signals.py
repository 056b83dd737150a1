"""The sources of signals, and how all of them are asked.

Another source needs an adapter in `keyturn.aws`, a line in `SOURCES`, and a line in the docs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from keyturn.aws import alarms
from keyturn.model.rotation import Policy, Rotation
from keyturn.model.signals import ALARM, HEALTH_URL, Signal, SignalState, counted


@dataclass(frozen=True)
class Source:
    """A kind of signal.

    `tag` is the tag on a user's secret that names it, or ends in "-" and begins all those that do.
    `limit` bad answers in a row send a rotation back. `ask` asks for some names; it is None where a
    state of its own asks.
    """

    kind: str
    tag: str
    limit: int
    ask: Callable[[Sequence[str]], list[Signal]] | None


SOURCES = (
    # Check Health asks, because its role can do nothing else. One bad answer may be chance.
    Source(HEALTH_URL, tag="keyturn:health-url", limit=2, ask=None),
    Source(ALARM, tag="keyturn:alarm-", limit=1, ask=alarms.ask),
)


def named_by(tags: Mapping[str, str]) -> dict[str, list[str]]:
    """Return what the tags of a secret name, by kind."""
    return {
        source.kind: sorted(
            value
            for key, value in tags.items()
            if value
            and (key == source.tag or (source.tag[-1] == "-" and key.startswith(source.tag)))
        )
        for source in SOURCES
    }


def ask(policy: Policy) -> list[Signal]:
    """Ask every source but those that a state of its own asks."""
    return [
        signal.model_copy(update={"limit": source.limit})
        for source in SOURCES
        if source.ask is not None
        for signal in source.ask(policy.signals.get(source.kind, []))
    ]


def missing(policy: Policy) -> list[str]:
    """Return the names of signals that do not exist."""
    return [signal.name for signal in ask(policy) if not signal.exists]


def look(rotation: Rotation) -> list[Signal]:
    """Ask again, and count the bad answers in a row."""
    return counted(rotation.seen.signals, ask(rotation.policy))


def answered(rotation: Rotation) -> list[Signal]:
    """Return what Check Health was answered last, as a signal; nothing without a health URL."""
    if rotation.policy.health_url is None:
        return []
    health, (limit,) = rotation.seen.health, [at.limit for at in SOURCES if at.kind == HEALTH_URL]
    if health is None:
        state, words = SignalState.UNCLEAR, "it was not asked"
    else:
        state = SignalState.OK if health.good else SignalState.BAD
        words = f"status {health.status}" if health.status is not None else str(health.problem)
    return [
        Signal(
            kind=HEALTH_URL,
            name="",
            state=state,
            words=words,
            limit=limit,
            bad_in_a_row=rotation.seen.bad_health_in_a_row,
        )
    ]
