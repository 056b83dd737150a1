"""What a rotation costs by path: counted on the embedded AWS, and compared with the formula.

Transitions and invocations come from the histories, API calls from the record of what arrived on
the wire, functions that rules invoke from the record of invocations.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import localaws
from benchmarks.costs import SECRET_CALLS_A_LOOK
from benchmarks.counting import Measured, measured
from benchmarks.figures import Figure, Results
from benchmarks.walks import OF_A_BATCH, WALKS, looks_in
from localaws.consumer import Consumer, serve_health
from localaws.model import ApiCall
from proofs.stack.scenarios import consuming, recovery_of
from proofs.stack.support import PARAMETERS, Ended, MachineUser, Stack, eventually

_ROOT = Path(__file__).parent.parent
_PARAMETERS = PARAMETERS | {
    "QuietPeriodSeconds": "1",
    "LastUsedCoarsenessSeconds": "1",
    "LastUsedLagSeconds": "0",
    "PollMinSeconds": "2",
}
# A new key that nobody uses is given up soon.
_IMPATIENT = {"pickupTimeoutSeconds": 4}
_RETAINED = {"retentionSeconds": 2}
_OURS = ":assumed-role/keyturn-"
_LOOKING = ("-CheckPickupRole", "-CheckCutoverRole", "-CheckReturnRole")

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
        found = Counter(
            f"{call.service}:{call.action}"
            for call in self.stack.aws.control.calls(since=self.since)
            if _is_ours(call)
        )
        return dict(sorted(found.items()))

    def calls_a_look(self, looks: int) -> float | None:
        """Return the Secrets Manager calls of the functions that look, for each look."""
        if not looks:
            return None
        found = [
            call
            for call in self.stack.aws.control.calls(since=self.since, principal=_OURS)
            if call.service == "secretsmanager" and any(role in call.principal for role in _LOOKING)
        ]
        return len(found) / looks

    def by_rules(self, through_machines: int) -> int:
        """Count the invocations that no state machine asked for."""
        return len(self.stack.aws.control.invocations(since=self.since)) - through_machines


def _is_ours(call: ApiCall) -> bool:
    if call.service in ("lambda", "logs", "xray"):
        return False  # invocations are counted as such; logs and traces are no calls of ours
    return _OURS in call.principal or call.service == "sts"


Path_ = Callable[[Stack, Counting], Executions]


def measure() -> Results:
    """Deploy the real template to the embedded AWS and take every path once, one by one."""
    with localaws.start() as aws:
        outputs = localaws.deploy(
            aws, stack_name="keyturn", template=_ROOT / "template.yaml", parameters=_PARAMETERS
        )
        stack = Stack(aws, outputs)
        _rotated(stack, Counting(stack))  # starts the interpreters, which are not measured here
        data = [_taken(stack, name, path) for name, path in _PATHS.items()]
    return Results(_figures(data), data)


def _taken(stack: Stack, name: str, path: Path_) -> dict[str, Any]:
    counting = Counting(stack)
    counting.begin()
    executions = [
        _execution(walk, measured(stack.history(arn))) for walk, arn in path(stack, counting)
    ]
    counting.settle()
    return {
        "path": name,
        "executions": executions,
        "calls": counting.calls(),
        "secretCallsALook": counting.calls_a_look(
            sum(
                count
                for one in executions
                for loop, count in one["looks"].items()
                if loop != OF_A_BATCH.name
            )
        ),
        "byRules": counting.by_rules(sum(one["invocations"] for one in executions)),
    }


def _execution(walk: str, found: Measured) -> dict[str, Any]:
    looks = looks_in(found.states)
    if not found.states:
        # The emulator writes only the tasks of a Map's children into their histories.
        looks = {"batch": found.invocations - 1}
        states = tuple(WALKS[walk].states(looks))
        found = replace(found, states=states, retries=0)
    return {
        "walk": walk,
        "looks": looks,
        "transitions": found.transitions,
        "retries": found.retries,
        "invocations": found.invocations,
        "seconds": round(found.seconds, 2),
        "overhead": round(found.overhead, 2),
        "asInFormula": list(found.states) == WALKS[walk].states(looks),
    }


def differs(execution: Mapping[str, Any]) -> bool:
    """Whether an execution's counts are not those of the formula for as many looks."""
    walk, looks = WALKS[execution["walk"]], execution["looks"]
    return (
        not execution["asInFormula"]
        or execution["transitions"] != walk.transitions(looks) + execution["retries"]
        or execution["invocations"] != walk.invocations(looks) + execution["retries"]
    )


def _figures(data: list[dict[str, Any]]) -> list[Figure]:
    executions = [one for path in data for one in path["executions"]]
    different = [one["walk"] for one in executions if differs(one)]
    looking = [path["secretCallsALook"] for path in data if path["secretCallsALook"] is not None]
    return [
        Figure(
            "Secrets Manager calls of a look",
            max(looking, default=0),
            "",
            SECRET_CALLS_A_LOOK,
            "the formula of the cost has as many",
        ),
        Figure(
            "executions that did not go as the formula says",
            len(different),
            "",
            0,
            ", ".join(different) or f"of {len(executions)}, {len(data)} paths",
        ),
        *(
            Figure(
                f"{path['path']}: API calls", sum(path["calls"].values()), "", None,
                f"{sum(one['transitions'] for one in path['executions'])} transitions, "
                f"{sum(one['invocations'] for one in path['executions'])} invocations by the "
                f"machines and {path['byRules']} by rules",
            )
            for path in data
        ),
    ]  # fmt: skip


# --- the paths ------------------------------------------------------------------------------------


def _ended(ended: Ended, outcome: str) -> str:
    if ended.result.get("outcome") != outcome:
        raise RuntimeError(f"{outcome} was expected: {ended.error} {ended.result}")
    return ended.arn


def _rotated(stack: Stack, counting: Counting) -> Executions:
    user = stack.user()
    with consuming(stack, user):
        counting.begin()
        return [("rotated", _ended(stack.rotate(user.name), "ROTATED"))]


def _with_health_url(stack: Stack, counting: Counting) -> Executions:
    user = stack.user()
    with consuming(stack, user) as consumer, _health(stack, user, consumer):
        counting.begin()
        return [("rotated, with a health URL", _ended(stack.rotate(user.name), "ROTATED"))]


@contextmanager
def _health(stack: Stack, user: MachineUser, consumer: Consumer) -> Iterator[None]:
    server = serve_health(consumer)
    _tag(stack, user, "keyturn:health-url", f"http://127.0.0.1:{server.server_port}/")
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def _tag(stack: Stack, user: MachineUser, key: str, value: str) -> None:
    stack.secrets.tag_resource(SecretId=user.secret_name, Tags=[{"Key": key, "Value": value}])


def _retired(stack: Stack, counting: Counting) -> Executions:
    user = stack.user()
    with consuming(stack, user):
        counting.begin()
        arn = _ended(stack.rotate(user.name, timing=_RETAINED), "ROTATED")
        found = stack.machines.list_executions(stateMachineArn=stack.retire_arn, maxResults=1)
        retirement = stack.ended(found["executions"][0]["executionArn"])
        if retirement.status != "SUCCEEDED":
            raise RuntimeError(f"the retirement ended as {retirement.status}: {retirement.result}")
    return [("rotated, old key retained", arn), ("its retirement", retirement.arn)]


def _not_picked_up(stack: Stack, counting: Counting) -> Executions:
    user = stack.user()
    with consuming(stack, user, refresh_seconds=None):
        counting.begin()
        ended = stack.rotate(user.name, timing=_IMPATIENT)
    return [("backed out: nobody moved", _ended(ended, "BACKED_OUT"))]


def _alarm(stack: Stack, counting: Counting) -> Executions:
    user = stack.user()
    alarm = stack.new_alarm(user.name)
    _tag(stack, user, "keyturn:alarm-1", alarm)
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


def _recovered(stack: Stack, counting: Counting) -> Executions:
    user = stack.user()
    with consuming(stack, user):
        arn = stack.start(user.name, timing={"watchSeconds": 300})
        stack.reaches(arn, "Watch Consumers")
        counting.begin()
        stack.machines.stop_execution(executionArn=arn, error="Test", cause="a benchmark")
        ended = stack.ended(recovery_of(stack, arn))
    return [("recovery of a dead execution", _ended(ended, "BACKED_OUT"))]


def _emergency(stack: Stack, counting: Counting) -> Executions:
    user = stack.user()
    with consuming(stack, user):
        counting.begin()
        ended = stack.rotate(user.name, mode="EMERGENCY", reason="a benchmark")
    return [("EMERGENCY", _ended(ended, "ROTATED"))]


def _first_key(stack: Stack, counting: Counting) -> Executions:
    user = stack.user(key=False)
    counting.begin()
    return [("first key", _ended(stack.rotate(user.name), "ISSUED"))]


def _skipped(stack: Stack, counting: Counting) -> Executions:
    user = stack.user(days_old=0)
    counting.begin()
    return [("skipped", _ended(stack.rotate(user.name), "SKIPPED"))]


def _rejected(stack: Stack, counting: Counting) -> Executions:
    user = stack.user(managed=False)
    counting.begin()
    return [("rejected", _ended(stack.rotate(user.name), "REJECTED"))]


def _fleet(stack: Stack, counting: Counting) -> Executions:
    user = stack.user()
    with consuming(stack, user):
        counting.begin()
        ended = stack.fleet(userNames=[user.name])
    if ended.status != "SUCCEEDED":
        raise RuntimeError(f"the fleet run ended as {ended.status}: {ended.result}")
    (run,) = stack.machines.list_map_runs(executionArn=ended.arn)["mapRuns"]
    (batch,) = stack.machines.list_executions(mapRunArn=run["mapRunArn"])["executions"]
    found = stack.machines.list_executions(stateMachineArn=stack.rotate_arn, maxResults=1)
    return [
        ("fleet run", ended.arn),
        ("fleet run: one batch of users", batch["executionArn"]),
        ("rotated", found["executions"][0]["executionArn"]),
    ]


_PATHS: dict[str, Path_] = {
    "rotated": _rotated,
    "rotated, with a health URL": _with_health_url,
    "rotated, and the old key retired": _retired,
    "backed out: nobody moved": _not_picked_up,
    "backed out: an alarm in the watch": _alarm,
    "backed out by hand after a rotation": _by_hand,
    "recovery of a dead execution": _recovered,
    "EMERGENCY": _emergency,
    "first key": _first_key,
    "skipped: not due": _skipped,
    "rejected": _rejected,
    "fleet run that rotates one user": _fleet,
}
