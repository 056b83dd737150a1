"""Which executions there are of each user, from the status events of the state machines.

Looking at each execution would cost more than the rotations themselves.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from typing import Any

from keyturn.model.identifiers import recovery_name
from localaws.control import Joined
from proofs.faults.observer import DECIDED, Run
from proofs.stack.support import Stack

# After an execution's end, whatever that sets off has begun: it takes no time on the moved clock.
SETTLED_SECONDS = 30
# The function that starts an automatic back-out is tried three times, minutes apart.
RECOVERED_WITHIN_SECONDS = 900
# Nothing in a case takes so long.
LONGEST_SECONDS = 6 * 3600


class Executions:
    """Follows the executions of all users."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._lock = threading.Lock()
        self._owners: dict[str, str] = {}
        self._details: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        self._seen = 0

    def owns(self, key_id: str, user: str) -> None:
        """Say whose an access key is: an execution may be started with that alone."""
        self._owners[key_id] = user

    def runs(self, user: str) -> list[Run]:
        """The executions of RotateKey and RetireKey for a user that had ended at its last rest."""
        return [
            _run(detail, rotates=detail["stateMachineArn"] == self._stack.rotate_arn)
            for detail in self._details[user].values()
            if detail["status"] != "RUNNING"
        ]

    def rest(self, user: str, time: Joined) -> bool:
        """Let time pass until nothing is under way for a user; whether it came to that."""
        waited = 0
        while waited < RECOVERED_WITHIN_SECONDS:
            details = self._news_of(user)
            for arn, detail in details.items():
                if detail["status"] == "RUNNING":
                    waited = 0
                    if not time.until(arn, seconds=LONGEST_SECONDS):
                        return False
            if waited and not self.unrecovered(user):
                return True
            time.sleep(SETTLED_SECONDS)
            waited += SETTLED_SECONDS
        return True

    def unrecovered(self, user: str) -> list[str]:
        """Those that had died by then undecided, and that nothing was started to back out."""
        details = self._details[user]
        return [
            arn
            for arn, detail in details.items()
            if detail["stateMachineArn"] == self._stack.rotate_arn
            and _died(detail)
            and f"{arn.rsplit(':', 1)[0]}:{recovery_name(arn)}" not in details
            and _generation(detail) < 3
        ]

    def _news_of(self, user: str) -> dict[str, dict[str, Any]]:
        """The newest detail of each of a user's executions, by ARN."""
        with self._lock:
            events = self._stack.inbox.events()
            for event in events[self._seen :]:
                if event["source"] == "aws.states":
                    self._note(event["detail"])
            self._seen = len(events)
            return dict(self._details[user])

    def _note(self, detail: dict[str, Any]) -> None:
        try:
            given = json.loads(detail["input"] or "{}")
        except ValueError:
            return
        if not isinstance(given, dict):
            return
        user = given.get("userName") or self._owners.get(str(given.get("accessKeyId")))
        if user is None:
            return
        known = self._details[user].get(detail["executionArn"])
        if known is None or known["status"] == "RUNNING":
            self._details[user][detail["executionArn"]] = detail


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
        ended=detail["stopDate"] / 1000,
        status=detail["status"],
        error=detail.get("error"),
        result=result if isinstance(result, dict) else {},
        rotates=rotates,
    )
