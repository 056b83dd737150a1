"""A signal: what something outside of IAM says about a user's consumers."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from keyturn.model.carried import Carried

HEALTH_URL = "health URL"
ALARM = "alarm"


class SignalState(StrEnum):
    """What a signal says. Unknown never counts as good: then it is UNCLEAR."""

    OK = "OK"
    BAD = "BAD"
    UNCLEAR = "UNCLEAR"


class Signal(Carried):
    """One answer of a source, such as an alarm.

    `words` describe the answer. After `limit` bad answers in a row, this one included, the
    rotation goes back. A signal that nobody knows is UNCLEAR and does not exist.
    """

    kind: str
    name: str
    state: SignalState
    words: str
    exists: bool = True
    limit: int = 1
    bad_in_a_row: int = 0

    @property
    def ok(self) -> bool:
        """Whether the answer is good."""
        return self.state is SignalState.OK

    @property
    def goes_back(self) -> bool:
        """Whether it was bad often enough to back out."""
        return self.bad_in_a_row >= self.limit

    def __str__(self) -> str:
        return f"the {self.kind} {self.name}".rstrip()


def counted(before: Sequence[Signal], answers: Sequence[Signal]) -> list[Signal]:
    """Return the answers, each with its count of bad ones in a row."""
    counts = {(signal.kind, signal.name): signal.bad_in_a_row for signal in before}
    return [
        answer.model_copy(
            update={
                "bad_in_a_row": counts.get((answer.kind, answer.name), 0) + 1
                if answer.state is SignalState.BAD
                else 0
            }
        )
        for answer in answers
    ]
