"""What a cold start of each function takes, and what its later invocations take.

The functions run in real executions on the embedded AWS, whose workers here begin with an
interpreter that has loaded nothing: a cold start imports the handler and all that it needs. Before
each round but the last the workers are ended, so that every function starts cold once a round at
least, and is warm at least once.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import localaws
from benchmarks.figures import Figure, Results
from localaws.consumer import serve_health
from localaws.model import Invocation
from proofs.stack.alerts import sample
from proofs.stack.outcomes import LINGERING
from proofs.stack.scenarios import consuming, recovery_of
from proofs.stack.support import PARAMETERS, Stack
from tools import template

_ROOT = Path(__file__).parent.parent
ROUNDS = 2
_PARAMETERS = PARAMETERS | {
    "QuietPeriodSeconds": "1",
    "LastUsedCoarsenessSeconds": "1",
    "LastUsedLagSeconds": "0",
    "PollMinSeconds": "2",
    "RetentionSeconds": "1",
}
_NAME = "keyturn"


def measure(rounds: int = ROUNDS) -> Results:
    """Take, in each round, paths on which every function is invoked."""
    with localaws.start(preload=False) as aws:
        outputs = localaws.deploy(
            aws, stack_name=_NAME, template=_ROOT / "template.yaml", parameters=_PARAMETERS
        )
        stack = Stack(aws, outputs)
        for _ in range(rounds):
            aws.control.end_idle_workers()
            _round(stack)
        _round(stack)  # warm
        done = aws.control.invocations()
    found: dict[str, list[Invocation]] = {name: [] for name in _functions()}
    for one in done:
        found.setdefault(one.function.removeprefix(f"{_NAME}-"), []).append(one)
    data: dict[str, Any] = {
        "rounds": rounds,
        "functions": [_of(*item) for item in sorted(found.items())],
    }
    return Results(_figures(data["functions"]), data)


def _functions() -> list[str]:
    return [
        name.removesuffix("Function")
        for name, resource in template.load()["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    ]


def _of(name: str, done: Sequence[Invocation]) -> dict[str, Any]:
    """Return the medians of one function, in milliseconds; of a refused call, too."""
    cold = [one for one in done if one.init_seconds is not None]
    warm = [one for one in done if one.init_seconds is None]
    return {
        "function": name,
        "init": _milliseconds([one.init_seconds or 0.0 for one in cold]),
        "cold": _milliseconds([one.seconds for one in cold]),
        "warm": _milliseconds([one.seconds for one in warm]),
        "colds": len(cold),
        "warms": len(warm),
    }


def _milliseconds(seconds: Sequence[float]) -> float | None:
    return round(1_000 * statistics.median(seconds), 1) if seconds else None


def _figures(functions: Sequence[dict[str, Any]]) -> list[Figure]:
    never = [one["function"] for one in functions if not one["colds"]]
    slowest = max(functions, key=lambda one: one["init"] or 0)
    return [
        Figure(
            "functions whose cold start was not measured",
            len(never),
            "",
            0,
            ", ".join(never) or f"of {len(functions)}",
        ),
        Figure(
            "slowest import of a handler in a cold start",
            slowest["init"],
            "ms",
            None,
            f"{slowest['function']}; median of {slowest['colds']}",
        ),
    ]


def _round(stack: Stack) -> None:
    """Rotate and retire; back out by hand; clean a dead execution up; run a fleet; alert."""
    user = stack.user()
    with consuming(stack, user) as consumer:
        server = serve_health(consumer)
        try:
            url = f"http://127.0.0.1:{server.server_port}/"
            stack.secrets.tag_resource(
                SecretId=user.secret_name, Tags=[{"Key": "keyturn:health-url", "Value": url}]
            )
            stack.rotate(user.name)
        finally:
            server.shutdown()
            server.server_close()
        found = stack.machines.list_executions(stateMachineArn=stack.retire_arn, maxResults=1)
        stack.ended(found["executions"][0]["executionArn"])
    user = stack.user()
    with consuming(stack, user):
        running = stack.start(user.name, timing=LINGERING)
        stack.reaches(running, "Wait For Consumers")
        stack.rotate(user.name, action="BACK_OUT")
    user = stack.user()
    with consuming(stack, user):
        arn = stack.start(user.name)
        stack.reaches(arn, "Prove New Key")
        stack.machines.stop_execution(executionArn=arn, error="Test", cause="a benchmark")
        stack.ended(recovery_of(stack, arn))
    user = stack.user()
    with consuming(stack, user):
        stack.fleet(userNames=[user.name])
    event = sample(stack, "security_hub_iam3", user)  # of a user who has just been rotated
    stack.aws.client("lambda").invoke(
        FunctionName=f"{_NAME}-StartRotation", Payload=json.dumps(event)
    )
