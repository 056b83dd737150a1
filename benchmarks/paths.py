"""What a rotation costs by path: counted on the embedded AWS, and compared with the formula.

Transitions and invocations come from the histories, API calls from the record of what arrived on
the wire, functions that rules invoke from the record of invocations.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from benchmarks.costs import CALLS_A_LOOK
from benchmarks.deployed import Measured, deployed, health_url, measured, tag
from benchmarks.figures import Figure, Results
from benchmarks.walks import OF_A_BATCH, WALKS, looks_in
from localaws.model import ApiCall
from proofs.stack.scenarios import consuming, recovery_of
from proofs.stack.support import Ended, Stack, eventually

_OURS = ":assumed-role/keyturn-"
_LOOKING = ("-CheckConsumersRole",)
_ONE_LOOK = {"pickup": 1, "watch": 1}
_BOUNDED = "rotated, old key retained"
MOST_TRANSITIONS, MOST_INVOCATIONS, MOST_SECONDS_BEYOND_WAITS = 25, 9, 6.0

Executions = list[tuple[str, str]]
"""Pairs of a walk's name and the ARN of the execution that should have taken it."""


class Counting:
    """Counts from a moment on, when everything that came before is over."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.since = 0.0

    def begin(self) -> None:
        """Count what comes from now on."""
        self.settle()
        self.since = time.time()

    def settle(self) -> None:
        """Wait until the rules have invoked their functions for each execution of RotateKey."""
        stack = self.stack

        def settled() -> bool:
            pages = stack.machines.get_paginator("list_executions").paginate(
                stateMachineArn=stack.rotate_arn
            )
            found = Counter(one["status"] for page in pages for one in page["executions"])
            ended = found.total() - found["RUNNING"]
            done = Counter(
                one.function.rpartition("-")[2] for one in stack.aws.control.invocations()
            )
            return (
                done["RecordOutcome"] >= found.total() + ended
                and done["StartBackOut"] >= ended - found["SUCCEEDED"]
            )

        eventually(settled, within_seconds=60, what="all ends are recorded and looked at")

    def calls(self) -> dict[str, int]:
        """Count Keyturn's API calls by name: its roles', its machines', and its probes'."""
        calls = self.stack.aws.control.calls(since=self.since)
        found = Counter(f"{call.service}:{call.action}" for call in calls if _is_ours(call))
        return dict(sorted(found.items()))

    def calls_a_look(self, looks: int) -> float | None:
        """Return the Secrets Manager calls of the functions that look, for each look."""
        calls = self.stack.aws.control.calls(since=self.since, principal=_OURS)
        found = [
            call
            for call in calls
            if call.service == "secretsmanager" and any(role in call.principal for role in _LOOKING)
        ]
        return len(found) / looks if looks else None

    def by_rules(self, through_machines: int) -> int:
        """Count the invocations that no state machine asked for."""
        return len(self.stack.aws.control.invocations(since=self.since)) - through_machines


def _is_ours(call: ApiCall) -> bool:
    if call.service in ("lambda", "logs", "xray"):
        return False  # invocations are counted as such; logs and traces are no calls of ours
    return _OURS in call.principal or call.service == "sts"


Path = Callable[[Stack, Counting], Executions]


def measure() -> Results:
    """Deploy the real template to the embedded AWS and take every path once, one by one."""
    with deployed() as stack:
        _ROTATED(stack, Counting(stack))  # starts the interpreters, which are not measured here
        data = [_taken(stack, name, path) for name, path in PATHS.items()]
    return Results(_figures(data), data)


def _taken(stack: Stack, name: str, path: Path) -> dict[str, Any]:
    counting = Counting(stack)
    counting.begin()
    taken = path(stack, counting)
    executions = [_execution(walk, measured(stack.history(arn))) for walk, arn in taken]
    counting.settle()
    looks = Counter[str]()
    for one in executions:
        looks.update(one["looks"])
    del looks[OF_A_BATCH.name]
    return {
        "path": name,
        "executions": executions,
        "calls": counting.calls(),
        "secretCallsALook": counting.calls_a_look(looks.total()),
        "byRules": counting.by_rules(sum(one["invocations"] for one in executions)),
    }


def _execution(walk: str, found: Measured) -> dict[str, Any]:
    looks = looks_in(found.states)
    if not found.states:
        # The emulator writes only the tasks of a Map's children into their histories.
        looks = {OF_A_BATCH.name: found.invocations - 1}
        found = replace(found, states=tuple(WALKS[walk].states(looks)), retries=0)
    return {
        "walk": walk,
        "looks": looks,
        "transitions": len(found.states) + found.retries,
        "retries": found.retries,
        "invocations": found.invocations,
        "seconds": round(found.seconds, 2),
        "overhead": round(found.seconds - found.waited, 2),
        "asInFormula": list(found.states) == WALKS[walk].states(looks),
    }


def differs(execution: Mapping[str, Any]) -> bool:
    """Whether an execution's counts are not those of the formula for as many looks."""
    walk, looks, retries = WALKS[execution["walk"]], execution["looks"], execution["retries"]
    return (
        not execution["asInFormula"]
        or execution["transitions"] != walk.transitions(looks) + retries
        or execution["invocations"] != walk.invocations(looks) + retries
    )


def _figures(data: list[dict[str, Any]]) -> list[Figure]:
    executions = [one for path in data for one in path["executions"]]
    different = [one["walk"] for one in executions if differs(one)]
    looking = [path["secretCallsALook"] for path in data if path["secretCallsALook"] is not None]
    beyond = [one["overhead"] for one in executions if one["walk"] == _BOUNDED]
    walk, note = WALKS[_BOUNDED], "by the formula, with one look at the pickup and one in the watch"
    return [
        Figure("one rotation: state transitions", walk.transitions(_ONE_LOOK), "",
               MOST_TRANSITIONS, note),
        Figure("one rotation: function invocations", walk.invocations(_ONE_LOOK), "",
               MOST_INVOCATIONS, note),
        *(Figure("one rotation: time beyond the configured waits", seconds, "s",
                 MOST_SECONDS_BEYOND_WAITS, "1.5 s are the spaced probes") for seconds in beyond),
        Figure("Secrets Manager calls of a look", max(looking, default=0), "",
               CALLS_A_LOOK, "the formula of the cost has as many"),
        Figure("executions that did not go as the formula says", len(different), "",
               0, ", ".join(different) or f"of {len(executions)}, {len(data)} paths"),
    ]  # fmt: skip


# --- the paths ------------------------------------------------------------------------------------


def _ended(ended: Ended, outcome: str) -> str:
    if ended.result.get("outcome") != outcome:
        raise RuntimeError(f"{outcome} was expected: {ended.error} {ended.result}")
    return ended.arn


def _newest(stack: Stack, machine: str) -> str:
    found = stack.machines.list_executions(stateMachineArn=machine, maxResults=1)
    return str(found["executions"][0]["executionArn"])


def _one(
    walk: str,
    outcome: str,
    *,
    user: Mapping[str, Any] | None = None,
    consumer: Mapping[str, Any] | None = None,
    **asked: Any,
) -> Path:
    """Make the path of one execution of RotateKey.

    user: how the user is made; with that, nobody consumes its key. consumer: how one does.
    """

    def path(stack: Stack, counting: Counting) -> Executions:
        one = stack.user(**user or {})
        with nullcontext() if user else consuming(stack, one, **consumer or {}):
            counting.begin()
            return [(walk, _ended(stack.rotate(one.name, **asked), outcome))]

    return path


def _with_health_url(stack: Stack, counting: Counting) -> Executions:
    user = stack.user()
    with consuming(stack, user) as consumer, health_url(stack, user, consumer):
        counting.begin()
        return [("rotated, with a health URL", _ended(stack.rotate(user.name), "ROTATED"))]


def _retired(stack: Stack, counting: Counting) -> Executions:
    user = stack.user()
    with consuming(stack, user):
        counting.begin()
        arn = _ended(stack.rotate(user.name, timing={"retentionSeconds": 2}), "ROTATED")
        retirement = stack.ended(_newest(stack, stack.retire_arn))
        if retirement.status != "SUCCEEDED":
            raise RuntimeError(f"the retirement ended as {retirement.status}: {retirement.result}")
    return [("rotated, old key retained", arn), ("its retirement", retirement.arn)]


def _alarm(stack: Stack, counting: Counting) -> Executions:
    user = stack.user()
    alarm = stack.new_alarm(user.name)
    tag(stack, user, "alarm-1", alarm)
    with consuming(stack, user):
        counting.begin()
        arn = stack.start(user.name)
        stack.reaches(arn, "Watch Consumers")
        stack.goes_off(alarm)
        ended = stack.ended(arn)
    return [("backed out: an alarm in the watch", _ended(ended, "BACKED_OUT"))]


def _by_hand(stack: Stack, counting: Counting) -> Executions:
    user = stack.user()
    with consuming(stack, user):
        _ended(stack.rotate(user.name), "ROTATED")
        counting.begin()
        ended = stack.rotate(user.name, action="BACK_OUT")
    return [("backed out by hand", _ended(ended, "BACKED_OUT"))]


def recovered(stack: Stack, counting: Counting, *, dies_in: str = "Watch Consumers") -> Executions:
    """Let an execution die in a state; the rule's back-out is the path."""
    user = stack.user()
    with consuming(stack, user):
        arn = stack.start(user.name, timing={"watchSeconds": 300})
        stack.reaches(arn, dies_in)
        counting.begin()
        stack.machines.stop_execution(executionArn=arn, error="Test", cause="a benchmark")
        ended = stack.ended(recovery_of(stack, arn))
    return [("recovery of a dead execution", _ended(ended, "BACKED_OUT"))]


def _fleet(stack: Stack, counting: Counting) -> Executions:
    user = stack.user()
    with consuming(stack, user):
        counting.begin()
        ended = stack.fleet(userNames=[user.name])
    if ended.status != "SUCCEEDED":
        raise RuntimeError(f"the fleet run ended as {ended.status}: {ended.result}")
    (run,) = stack.machines.list_map_runs(executionArn=ended.arn)["mapRuns"]
    (batch,) = stack.machines.list_executions(mapRunArn=run["mapRunArn"])["executions"]
    return [
        ("fleet run", ended.arn),
        ("fleet run: one batch of users", batch["executionArn"]),
        ("rotated", _newest(stack, stack.rotate_arn)),
    ]


_ROTATED = _one("rotated", "ROTATED")
PATHS: dict[str, Path] = {
    "rotated": _ROTATED,
    "rotated, with a health URL": _with_health_url,
    "rotated, and the old key retired": _retired,
    "backed out: nobody moved": _one(
        "backed out: nobody moved",
        "BACKED_OUT",
        consumer={"refresh_seconds": None},
        timing={"pickupTimeoutSeconds": 4},
    ),
    "backed out: an alarm in the watch": _alarm,
    "backed out by hand after a rotation": _by_hand,
    "recovery of a dead execution": recovered,
    "EMERGENCY": _one("EMERGENCY", "ROTATED", mode="EMERGENCY", reason="a benchmark"),
    "first key": _one("first key", "ISSUED", user={"key": False}),
    "skipped: not due": _one("skipped", "SKIPPED", user={"days_old": 0}),
    "rejected": _one("rejected", "REJECTED", user={"managed": False}),
    "fleet run that rotates one user": _fleet,
}
