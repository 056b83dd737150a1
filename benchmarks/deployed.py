"""The real template on the embedded AWS, and what an execution there took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import localaws
from localaws.consumer import Consumer, serve_health
from proofs.stack.support import PARAMETERS, MachineUser, Stack

_TEMPLATE = Path(__file__).resolve().parent.parent / "template.yaml"
_QUICK = {"QuietPeriodSeconds": "1", "LastUsedLagSeconds": "0", "PollMinSeconds": "2"}


@contextmanager
def deployed(*, preload: bool = True, **parameters: str) -> Iterator[Stack]:
    """Deploy the template with durations of seconds; `parameters` go before them.

    preload: whether a function's first call finds an interpreter that has loaded its modules.
    """
    with localaws.start(preload=preload) as aws:
        given = {**PARAMETERS, **_QUICK, **parameters}
        outputs = localaws.deploy(aws, stack_name="keyturn", template=_TEMPLATE, parameters=given)
        yield Stack(aws, outputs)


def tag(stack: Stack, user: MachineUser, name: str, value: str) -> None:
    """Set a user's setting, which is a tag of its secret."""
    stack.secrets.tag_resource(
        SecretId=user.secret_name, Tags=[{"Key": f"keyturn:{name}", "Value": value}]
    )


@contextmanager
def health_url(stack: Stack, user: MachineUser, consumer: Consumer) -> Iterator[None]:
    """Serve a consumer's health under the health URL of its user."""
    server = serve_health(consumer)
    tag(stack, user, "health-url", f"http://127.0.0.1:{server.server_port}/")
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


@dataclass(frozen=True)
class Measured:
    """One execution, counted from its history.

    `states` are those it entered, `retries` the transitions that AWS bills beyond them, `seconds`
    go from end to end, `waited` are the whole seconds that its Wait states were told to wait.
    """

    states: tuple[str, ...]
    retries: int
    invocations: int
    seconds: float
    waited: int


def measured(history: Sequence[dict[str, Any]]) -> Measured:
    """Count what is in an execution's history."""
    kinds = Counter(event["type"] for event in history)
    states = tuple(
        event["stateEnteredEventDetails"]["name"]
        for event in history
        if "stateEnteredEventDetails" in event
    )
    invocations = kinds["LambdaFunctionScheduled"] + sum(
        event["type"] == "TaskScheduled"
        and event["taskScheduledEventDetails"]["resourceType"] == "lambda"
        for event in history
    )
    tasks = kinds["TaskScheduled"] + kinds["LambdaFunctionScheduled"]
    retries = max(0, tasks - kinds["TaskStateEntered"])
    seconds = (history[-1]["timestamp"] - history[0]["timestamp"]).total_seconds()
    return Measured(states, retries, invocations, seconds, sum(_waits(history)))


def _waits(history: Sequence[dict[str, Any]]) -> Iterator[int]:
    began = None
    for event in history:
        if event["type"] == "WaitStateEntered":
            began = event["timestamp"]
        elif event["type"] == "WaitStateExited" and began is not None:
            # Waits are whole seconds; what a wait takes longer than that is not configured.
            yield int((event["timestamp"] - began).total_seconds() + 0.01)
