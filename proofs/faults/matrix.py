"""The matrix: which fault at which call. The calls are recorded from a clean run of each journey.

A new call of a function is therefore in the matrix by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from localaws.model import ApiCall, FaultRule
from tools.asl.__main__ import FOLDER
from tools.asl.definition import Definition

READS = ("Get", "List", "Describe")
# These run again and again; their first two calls of a kind stand for all.
POLLING = ("Check Pickup", "Check Watch", "Check Return", "Check Health")

STATES = frozenset(
    state
    for machine in ("rotate_key", "retire_key")
    for state in Definition.load(FOLDER / f"{machine}.asl.json").root.states
)

# Invoked by an EventBridge rule, so not a task that a fault rule of the state machine can strike.
STARTED_BY_RULE = "keyturn-StartBackOut"
# Only counts, in its own time: nothing that strikes it can reach a rotation, and when it calls
# depends on how busy the computer is.
ONLY_LOOKS_ON = "keyturn-RecordOutcome"

# The faults of one call, as rules without the place where they strike.
FAULTS: dict[str, FaultRule] = {
    # Every attempt of the SDK fails, so the function does, once.
    "error before": FaultRule(action="*", kind="error_before", count=3),
    "refused": FaultRule(action="*", kind="error_before", status=403, code="AccessDenied"),
    "lost answer": FaultRule(action="*", kind="lost_answer"),
    "answers lost": FaultRule(action="*", kind="lost_answer", answer="http_500", count=3),
    # More than one invocation's attempts.
    "throttled": FaultRule(action="*", kind="throttle", count=7),
    "killed": FaultRule(action="*", kind="kill_worker", moment="after"),
    "timed out": FaultRule(action="*", kind="kill_worker", surfaces_as="Sandbox.Timedout"),
    # The caller's patience (8 seconds) ends first: it tries again, then this takes effect.
    "late": FaultRule(action="*", kind="delay", delay_seconds=9.5),
}
WRITE_FAULTS = tuple(FAULTS)
# A read has no effect, so that its lost answer is an error, and that a timeout is a death, holds
# for every read alike: the first one of a function stands for the others.
READ_FAULTS = ("error before", "refused", "throttled", "killed")
FIRST_READ_FAULTS = (*READ_FAULTS, "lost answer", "timed out")
# Where a call that changes something was struck by all of them on another journey already.
AGAIN_FAULTS = ("error before", "answers lost", "killed", "late")
# The probe signs with the user's key, so no worker can be found behind it.
PROBE_FAULTS = ("error before", "refused", "lost answer", "throttled", "late")
# A task of the state machine as a whole: the invocation of a function, or an SDK integration.
TASK_FAULTS = ("error before", "lost answer", "throttled")


@dataclass(frozen=True, order=True)
class Point:
    """One call of a journey: the nth of an action that a state makes by its function.

    `place` is that state, a function that no state calls, or "" for the machine itself.
    """

    journey: str
    place: str
    action: str
    nth: int

    @property
    def faults(self) -> tuple[str, ...]:
        """The faults that can strike here."""
        if self.action == "lambda:InvokeFunction":
            return TASK_FAULTS
        if self.action == "sts:GetCallerIdentity":
            return PROBE_FAULTS
        if not self.place:
            return TASK_FAULTS
        if not self.reads:
            return WRITE_FAULTS
        return FIRST_READ_FAULTS if self.nth == 1 else READ_FAULTS

    @property
    def reads(self) -> bool:
        """Whether the call changes nothing."""
        return self.action.split(":")[1].startswith(READS)

    def rule(self, fault: str, user: str) -> FaultRule:
        """The rule that lets a fault strike this call of a user's executions."""
        return replace(
            FAULTS[fault],
            action=self.action,
            user=user,
            state=self.place if self.place in STATES else None,
            function=STARTED_BY_RULE if self.place == STARTED_BY_RULE else None,
            # The first StartExecution for a user is the test's own.
            nth=self.nth + (self.action == "states:StartExecution" and not self.place),
        )

    def __str__(self) -> str:
        place = self.place or "state machine"
        return f"{self.journey}: {place} {self.action} #{self.nth}"


def points(journey: str, calls: Iterable[ApiCall]) -> Iterator[Point]:
    """The points of a journey, from the calls of a clean run of it."""
    seen: Counter[tuple[str, str]] = Counter()
    places: dict[str, None] = {}
    for call in calls:
        found = _place(call)
        if found is None:
            continue
        place, action = found
        if place:
            places.setdefault(place)
        seen[place, action] += 1
        number = seen[place, action]
        if number <= 2 or place not in POLLING:
            yield Point(journey, place, action, number)
    for place in (name for name in places if name != STARTED_BY_RULE):
        yield Point(journey, place, "lambda:InvokeFunction", 1)


def _place(call: ApiCall) -> tuple[str, str] | None:
    """Place and action of a call that Keyturn made, or None."""
    action = f"{call.service}:{call.action}"
    if action == "lambda:InvokeFunction":
        return None  # counted once for each function
    if call.source == "states":
        return "", action
    if ":assumed-role/" in call.principal:
        function = call.principal.rsplit("/", 1)[-1]
        (state,) = STATES.intersection(call.about) or {function}
        return None if function == ONLY_LOOKS_ON else (state, action)
    if ":user/" in call.principal and call.service == "sts":
        return "", action
    return None
