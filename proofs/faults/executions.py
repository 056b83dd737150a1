"""Which executions there are of each user, from the status events of the state machines.

One queue for everybody: polling each execution would cost more than the rotations themselves.
"""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from typing import Any

from keyturn.model.identifiers import recovery_name
from proofs.faults.journeys import user_of
from proofs.faults.observer import DECIDED, Run
from proofs.stack.support import Stack
from proofs.stack.sweep import queue_of_events

# Between the end of an execution and the start of the one that recovers it: an event, a function
# and a call. Under load that takes a while.
SETTLED_SECONDS = 3.0
RECOVERED_WITHIN_SECONDS = 60.0


class Executions:
    """Follows the executions of all users."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._sqs = stack.aws.client("sqs")
        self._lock = threading.Lock()
        self._owners: dict[str, str] = {}
        self._details: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        self._done = threading.Event()
        self._url = queue_of_events(stack.aws, "faults-status", "aws.states")
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def give_up(self) -> None:
        """Let everybody who waits for a rest fail now."""
        self._done.set()

    def close(self) -> None:
        """Stop following."""
        self.give_up()
        self._thread.join(timeout=30)

    def owns(self, key_id: str, user: str) -> None:
        """Say whose an access key is: an execution may be started with that alone."""
        self._owners[key_id] = user

    def _follow(self) -> None:
        while not self._done.is_set():
            received = self._sqs.receive_message(
                QueueUrl=self._url, MaxNumberOfMessages=10, WaitTimeSeconds=1
            )
            for message in received.get("Messages", []):
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
                self._note(json.loads(message["Body"])["detail"])

    def _note(self, detail: dict[str, Any]) -> None:
        name, key = user_of(detail.get("input") or "")
        user = name or self._owners.get(key or "")
        if user is None:
            return
        with self._lock:
            known = self._details[user].get(detail["executionArn"])
            if known is None or known["status"] == "RUNNING":
                self._details[user][detail["executionArn"]] = {**detail, "seen": time.time()}

    def runs(self, user: str) -> list[Run]:
        """The executions of RotateKey and RetireKey for a user that have ended."""
        with self._lock:
            details = [*self._details[user].values()]
        return [
            _run(detail, rotates=detail["stateMachineArn"] == self._stack.rotate_arn)
            for detail in details
            if detail["status"] != "RUNNING"
        ]

    def rest(self, user: str, *, since: float, within_seconds: float = 400) -> bool:
        """Wait until nothing is under way for a user, and something has been; whether it came."""
        ends = time.monotonic() + within_seconds
        while time.monotonic() < ends:
            if self._at_rest(user, since):
                return True
            assert not self._done.wait(0.3), "given up"
        return False

    def _at_rest(self, user: str, since: float) -> bool:
        with self._lock:
            details = [*self._details[user].values()]
        now = time.time()
        if not any(detail["seen"] >= since for detail in details):
            return False
        if any(detail["status"] == "RUNNING" for detail in details):
            return False
        if any(now - detail["seen"] < SETTLED_SECONDS for detail in details):
            return False
        missing = self.unrecovered(user)
        return not missing or all(
            now - detail["seen"] > RECOVERED_WITHIN_SECONDS
            for detail in details
            if detail["executionArn"] in missing
        )

    def unrecovered(self, user: str) -> list[str]:
        """Executions that died without deciding and that nothing was started to back out."""
        with self._lock:
            details = dict(self._details[user])
        return [
            arn
            for arn, detail in details.items()
            if detail["stateMachineArn"] == self._stack.rotate_arn
            and _died(detail)
            and f"{arn.rsplit(':', 1)[0]}:{recovery_name(arn)}" not in details
            and _generation(detail) < 3
        ]


def _died(detail: dict[str, Any]) -> bool:
    if detail["status"] in ("RUNNING", "SUCCEEDED"):
        return False
    return detail.get("error") not in DECIDED


def _generation(detail: dict[str, Any]) -> int:
    recovery = json.loads(detail["input"]).get("recovery") or {}
    return int(recovery.get("generation", 0))


def _run(detail: dict[str, Any], *, rotates: bool) -> Run:
    text = detail.get("output") or detail.get("cause") or "{}"
    try:
        result = json.loads(text)
    except ValueError:
        result = {}
    return Run(
        arn=detail["executionArn"],
        started=detail["startDate"] / 1000,
        ended=(detail.get("stopDate") or 0) / 1000 or detail["seen"],
        status=detail["status"],
        error=detail.get("error"),
        result=result if isinstance(result, dict) else {},
        rotates=rotates,
    )
