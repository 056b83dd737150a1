"""Scenarios of the deployed stack: many run at once, because almost all of their time is waiting.

A test module registers functions with `Scenarios`; the first of its tests starts them all, and
each test then awaits its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from keyturn.model.identifiers import recovery_name
from localaws.consumer import Consumer
from proofs.stack.support import MachineUser, Stack, eventually

Scenario = Callable[[Stack], None]

# More scenarios than this at once would wait for the processor and not for AWS.
AT_ONCE = 24
SAMPLE_SECONDS = 0.2
# Where every execution of RotateKey begins.
FIRST_STATE = "Check Request"
# A rotation with this timing waits for its consumers until somebody interferes.
STAYS_OPEN = {"pickupTimeoutSeconds": 600, "quietPeriodSeconds": 300}


class Scenarios:
    """The scenarios of one module, by name."""

    def __init__(self) -> None:
        self._scenarios: dict[str, Scenario] = {}

    def __call__(self, scenario: Scenario) -> Scenario:
        """Register a scenario (a decorator)."""
        self.add(scenario.__name__, scenario)
        return scenario

    def add(self, name: str, scenario: Scenario) -> None:
        """Register a scenario under a name: one row of a table."""
        self._scenarios[name] = scenario

    @property
    def names(self) -> list[str]:
        """The names, for `pytest.mark.parametrize`."""
        return list(self._scenarios)

    @contextmanager
    def running(
        self, stack: Stack, request: pytest.FixtureRequest
    ) -> Iterator[dict[str, Future[None]]]:
        """Start every scenario that was selected from the requesting module."""
        wanted = {
            item.callspec.params.get("scenario")
            for item in request.session.items
            if isinstance(item, pytest.Function)
            and hasattr(item, "callspec")
            and item.module is request.module
        }
        pool = ThreadPoolExecutor(AT_ONCE)
        try:
            yield {
                name: pool.submit(scenario, stack)
                for name, scenario in self._scenarios.items()
                if name in wanted
            }
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def consuming(
    stack: Stack, user: MachineUser, *, separate_reader: bool = True, **options: Any
) -> Iterator[Consumer]:
    """A consumer of the user's secret that has made its first call.

    separate_reader: it reads its secret with another identity (here the administrator's), so
    that it finds the new key also after its own was deactivated.
    """
    consumer = Consumer(
        client=stack.aws.client,
        reader=stack.secrets if separate_reader else None,
        secret_name=user.secret_name,
        access_key_id=user.access_key_id,
        secret_access_key=user.secret_access_key,
        **options,
    ).start()
    try:
        eventually(lambda: consumer.counts.calls > 0, what="the consumer makes its first call")
        yield consumer
    finally:
        consumer.stop()


@contextmanager
def never_again(stack: Stack, user: str, key_id: str) -> Iterator[None]:
    """Assert that a key ends up unusable, and that from its deactivation on it stays so.

    Looks all the time, and in the end also at every call that was made: no step that knows of the
    key may even have asked to activate one, so no scenario may have a reason to.
    """
    seen: list[str] = []
    done = threading.Event()

    def sample() -> None:
        while not done.is_set():
            status = stack.keys(user).get(key_id, "deleted")
            if not seen or seen[-1] != status:
                seen.append(status)
            done.wait(SAMPLE_SECONDS)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(timeout=30)
    seen.append(stack.keys(user).get(key_id, "deleted"))
    assert "Active" not in seen[1:], f"the exposed key was {' then '.join(seen)}"
    assert seen[-1] in ("Inactive", "deleted")
    changes = stack.aws.control.calls(action="iam:UpdateAccessKey", about=key_id)
    assert not [call for call in changes if "Active" in call.about], "a key was activated"


def recovery_of(stack: Stack, dead: str, *, within_seconds: float = 60) -> str:
    """The ARN of the execution that the rule starts for a dead one, once it is there."""
    arn = f"{dead.rsplit(':', 1)[0]}:{recovery_name(dead)}"
    there = stack.aws.control.until(arn, FIRST_STATE, seconds=within_seconds)
    assert there, f"waited {within_seconds} seconds in vain until a back-out of {dead} starts"
    return arn


def stop(stack: Stack, arn: str) -> None:
    """Stop an execution as a person does."""
    stack.machines.stop_execution(executionArn=arn, error="Test", cause="stopped by a test")


def now() -> float:
    """Unix time, for `Control.calls(since=...)`."""
    return time.time()
