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
from typing import Any

from benchmarks.deployed import deployed
from benchmarks.figures import Figure, Results
from benchmarks.paths import PATHS, Counting, recovered
from localaws.model import Invocation
from proofs.stack.alerts import sample
from proofs.stack.outcomes import LINGERING
from proofs.stack.scenarios import consuming
from proofs.stack.support import Stack
from tools import template

ROUNDS = 2
_NAME = "keyturn"
_PATHS = (
    "rotated, with a health URL",
    "rotated, and the old key retired",
    "fleet run that rotates one user",
)


def measure(rounds: int = ROUNDS) -> Results:
    """Take, in each round, paths on which every function is invoked."""
    with deployed(preload=False) as stack:
        for _ in range(rounds):
            stack.aws.control.end_idle_workers()
            _round(stack)
        _round(stack)  # warm
        done = stack.aws.control.invocations()
    found: dict[str, list[Invocation]] = {name: [] for name in _functions()}
    for one in done:
        found.setdefault(one.function.removeprefix(f"{_NAME}-"), []).append(one)
    functions = [_of(*item) for item in sorted(found.items())]
    never = [one["function"] for one in functions if not one["colds"]]
    slowest = max(functions, key=lambda one: one["init"] or 0)
    figures = [
        Figure("functions whose cold start was not measured", len(never), "",
               0, ", ".join(never) or f"of {len(functions)}"),
        Figure("slowest import of a handler in a cold start", slowest["init"], "ms",
               None, f"{slowest['function']}; median of {slowest['colds']}"),
    ]  # fmt: skip
    return Results(figures, {"rounds": rounds, "functions": functions})


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


def _round(stack: Stack) -> None:
    """Rotate, retire, run a fleet; discard a dead execution's key; take a claim over; alert."""
    counting = Counting(stack)
    for name in _PATHS:
        PATHS[name](stack, counting)
    recovered(stack, counting, dies_in="Prove New Key")
    user = stack.user()
    with consuming(stack, user):
        running = stack.start(user.name, timing=LINGERING)
        stack.reaches(running, "Wait For Consumers")
        stack.rotate(user.name, action="BACK_OUT")
    event = sample(stack, "security_hub_iam3", stack.user(days_old=0))
    stack.aws.client("lambda").invoke(
        FunctionName=f"{_NAME}-StartRotation", Payload=json.dumps(event)
    )
