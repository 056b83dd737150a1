"""One scenario's hands on a target: it takes part in the time there, and sees its contract."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from localaws.consumer import Consumer
from proofs.default_durations.target import Target
from proofs.stack.scenarios import consuming
from proofs.stack.support import Ended, MachineUser, Stack, result_of

MINUTE, HOUR, DAY = 60, 3600, 86_400
# Jobs that run twice a day and read their secret with an identity of their own.
WORKS_EVERY = 12 * HOUR
LOOKS_EVERY = 12 * HOUR
LONGEST_EXECUTION = 40 * DAY


@dataclass(frozen=True)
class Told(Ended):
    """An execution that has ended, with the size of its history in events."""

    events: int

    def seconds(self, since: str, until: str) -> float:
        """The seconds between two of its timestamps, such as "published" and "deactivated"."""
        one, other = (datetime.fromisoformat(self.result[f"{at}At"]) for at in (since, until))
        return (other - one).total_seconds()


class Hands(Stack):
    """A stack in the hands of one scenario, which is awake except while it sleeps."""

    def __init__(self, target: Target) -> None:
        super().__init__(target.aws, target.outputs)
        self.target = target
        self._time = target.join()

    def __enter__(self) -> Hands:
        return self

    def __exit__(self, *_: object) -> None:
        self._time.leave()

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self._time.sleep(seconds)

    def sleep_until(self, condition: Callable[[], bool], *, within: float) -> None:
        """Let time pass until something is seen to be so, or fail."""
        ends = self.target.now().timestamp() + within
        while not condition():
            assert self.target.now().timestamp() < ends, f"not so within {within:g} seconds"
            self.sleep(LOOKS_EVERY)

    @contextmanager
    def working(
        self, user: MachineUser, *, moves: bool = True, for_days: float = 2
    ) -> Iterator[Consumer]:
        """A consumer that has worked for some days already, so that what it does is known.

        moves: it reads its secret; otherwise it stays on the key that it began with.
        """
        with ExitStack() as at_end:
            consumer = at_end.enter_context(
                consuming(
                    self,
                    user,
                    interval_seconds=WORKS_EVERY,
                    refresh_seconds=WORKS_EVERY if moves else None,
                    joined=self.target.join(passive=True),
                )
            )
            self.sleep(for_days * DAY)
            yield consumer

    def old_user(self) -> MachineUser:
        """A user with a key of today, in its secret; `working` lets it get older."""
        return self.user(days_old=0)

    def ended(self, arn: str, *, within_seconds: float = LONGEST_EXECUTION) -> Told:
        """Let time pass until an execution has ended and return how."""
        self.sleep_until(lambda: self._described(arn)["status"] != "RUNNING", within=within_seconds)
        found = self._described(arn)
        events = len(self.history(arn))
        return Told(arn, found["status"], found.get("error"), result_of(found), [], events)

    def rotate(self, user: str | None = None, **fields: Any) -> Told:
        """Run RotateKey to its end."""
        return self.ended(self.start(user, **fields))

    def fleet(self, **fields: Any) -> Told:
        """Run RotateFleet to its end."""
        started = self.machines.start_execution(
            stateMachineArn=self.fleet_arn, input=json.dumps(fields)
        )
        return self.ended(started["executionArn"])

    def others_of(self, machine: str, user: str, *, but: str = "") -> list[str]:
        """The executions of a machine that are about a user, newest first."""
        pages = self.machines.get_paginator("list_executions").paginate(stateMachineArn=machine)
        arns = [item["executionArn"] for page in pages for item in page["executions"]]
        return [arn for arn in arns if arn != but and user in self._described(arn)["input"]]

    def _described(self, arn: str) -> dict[str, Any]:
        found: dict[str, Any] = self.machines.describe_execution(executionArn=arn)
        return found
