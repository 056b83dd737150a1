"""The execution result of the contract, asserted; and executions interrupted at a chosen moment."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from localaws.model import FaultRule, KillMoment
from proofs.stack.scenarios import stop
from proofs.stack.support import Ended, Stack, eventually

FIELDS = {
    "outcome",
    "userName",
    "reason",
    "oldAccessKeyId",
    "newAccessKeyId",
    "secretArn",
    "evidence",
}
# In the order in which they can come. A resumed rotation may tell of a deactivation that another
# execution made before this one started.
TIMES = ("provenAt", "publishedAt", "deactivatedAt", "reactivatedAt", "endedAt")
ISO_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")

# Until its fence is over, a dead execution's claim makes a ROTATE answer with these words.
STILL_FENCED = "may still take effect"


def assert_outcome(
    ended: Ended,
    outcome: str,
    *,
    user: str | None,
    error: str | None = None,
    reason: str = "",
    times: str = "",
) -> None:
    """Assert status, error and the whole shape of a result.

    Args:
        ended: the execution.
        outcome: the outcome of the contract.
        user: the user that the result names.
        error: the Fail state's error, None when the execution succeeds.
        reason: words that the reason has to contain.
        times: the timestamps that apply beside `startedAt` and `endedAt`, such as
            "proven published"; no other may be there.
    """
    told = f"{ended.arn}: {ended.error} {ended.result} {ended.states}"
    result = ended.result
    assert result.get("outcome") == outcome, told
    assert (ended.status, ended.error) == ("FAILED" if error else "SUCCEEDED", error), told
    assert reason in result["reason"], told
    wanted = ["startedAt", *(f"{name}At" for name in times.split()), "endedAt"]
    assert result.keys() == FIELDS | set(wanted), told
    assert result["userName"] == user, told
    moments = [_moment(result[name]) for name in TIMES if name in result]
    assert all(one <= other for one, other in pairwise(moments)), told
    assert _moment(result["startedAt"]) <= moments[-1], told


def _moment(text: str) -> datetime:
    assert ISO_UTC.fullmatch(text), text
    return datetime.fromisoformat(text)


@dataclass(frozen=True)
class At:
    """The world of a user at rest, for comparing before and after."""

    keys: dict[str, str]
    labels: dict[str, str]

    @classmethod
    def now(cls, stack: Stack, user: str) -> At:
        """Look."""
        try:
            labels = stack.labels(user)
        except stack.secrets.exceptions.ResourceNotFoundException:
            labels = {}
        return cls(stack.keys(user), labels)


# An execution with this timing waits for its consumers, or watches them, until it is stopped.
LINGERING = {"quietPeriodSeconds": 300, "pickupTimeoutSeconds": 600}
WATCHING = {"watchSeconds": 300}
# The pickup timeout for scenarios that wait it out.
IMPATIENT = {"pickupTimeoutSeconds": 10}


@dataclass(frozen=True)
class Moment:
    """A moment of an execution: a state that it has entered, or a call that kills its function.

    `nth` counts the calls of that action which the function makes for the user. A killed function
    leaves its state waiting for a retry, so that the execution stays there until it is stopped;
    `timing` keeps it in a state of waiting.
    """

    name: str
    state: str
    action: str = ""
    function: str = ""
    moment: KillMoment = "after"
    nth: int = 1
    timing: dict[str, int] | None = None

    def __str__(self) -> str:
        return self.name

    def interrupt(self, stack: Stack, user: str, arn: str, rule: int | None) -> None:
        """Stop a running execution at this moment."""
        stack.reaches(arn, self.state)
        if rule is not None:
            eventually(
                lambda: bool(stack.aws.control.faults_fired(rule=rule)),
                within_seconds=120,
                what=f"{self.name} of {user}",
                every_seconds=0.25,
            )
        stop(stack, arn)

    def arm(self, stack: Stack, user: str) -> int | None:
        """Get ready to kill the function, if this moment is within one."""
        if not self.action:
            return None
        return stack.aws.control.inject(
            FaultRule(
                action=self.action,
                kind="kill_worker",
                user=user,
                function=self.function,
                moment=self.moment,
                nth=self.nth,
            )
        )


def interrupted(stack: Stack, user: str, moment: Moment) -> str:
    """Start a rotation and stop it at a moment; returns its ARN."""
    rule = moment.arm(stack, user)
    arn = stack.start(user, timing=moment.timing or {})
    moment.interrupt(stack, user, arn, rule)
    return arn


_SWAP = "secretsmanager:UpdateSecretVersionStage"

WHILE_WAITING = Moment("waiting_for_consumers", "Wait For Consumers", timing=LINGERING)
WHILE_WATCHING = Moment("watching", "Watch Consumers", timing=WATCHING)

# Where a rotation can die, in the order of its steps.
MOMENTS = [
    Moment("claimed", "Issue New Key", "iam:CreateAccessKey", "IssueNewKey", moment="before"),
    Moment("created_not_stored", "Issue New Key", "iam:CreateAccessKey", "IssueNewKey"),
    Moment("stored", "Issue New Key", "secretsmanager:PutSecretValue", "IssueNewKey", nth=2),
    Moment("proving", "Prove New Key"),
    Moment("way_back_labelled", "Publish New Key", _SWAP, "MoveCurrent"),
    Moment("published", "Publish New Key", _SWAP, "MoveCurrent", nth=2),
    WHILE_WAITING,
    Moment(
        "deactivation_recorded",
        "Deactivate Old Key",
        "secretsmanager:TagResource",
        "DeactivateKey",
    ),
    Moment("deactivated", "Deactivate Old Key", "iam:UpdateAccessKey", "DeactivateKey"),
    WHILE_WATCHING,
]


def rotate_when_free(stack: Stack, user: str, **fields: object) -> Ended:
    """ROTATE a user whose claimant has died: it is rejected until the fence is over."""
    while True:
        ended = stack.rotate(user, **fields)
        if ended.error != "RequestRejected" or STILL_FENCED not in ended.result["reason"]:
            return ended
        time.sleep(0.5)
