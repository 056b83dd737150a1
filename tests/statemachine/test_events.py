"""What other systems and people are told at each end: an event, and the same in words."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from localaws.model import FaultRule
from proofs.stack.scenarios import STAYS_OPEN, Scenarios, consuming
from proofs.stack.support import Ended, Stack
from proofs.stack.sweep import KEY_ID

pytestmark = [pytest.mark.emulator, pytest.mark.slow, pytest.mark.xdist_group("events")]

scenario = Scenarios()


@pytest.fixture(scope="module")
def running(stack: Stack, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[None]]]:
    """All scenarios of this module, started at once."""
    with scenario.running(stack, request) as futures:
        yield futures


def told(stack: Stack, ended: Ended, detail_type: str, *words: str) -> str:
    """Assert that an end was announced once to tools and once to people; returns the message.

    The event's detail is the execution's result and its ARN; the message has the words, names
    the user, the outcome and the execution, and no whole key id.
    """
    events = stack.inbox.announced(ended.arn)
    assert [event["detail-type"] for event in events] == [detail_type]
    assert events[0]["source"] == "keyturn"
    detail: dict[str, Any] = events[0]["detail"]
    assert detail == ended.result | {"executionArn": ended.arn}
    assert detail["startedAt"] <= detail["endedAt"]
    notifications = stack.inbox.told(ended.arn)
    assert len(notifications) == 1
    subject, message = notifications[0]["Subject"], str(notifications[0]["Message"])
    user = str(ended.result["userName"])
    assert subject == f"{detail_type}: {user}"
    for word in (user, ended.result["outcome"], *words):
        assert word in message
    assert not KEY_ID.search(subject + message)
    return message


def last_four(ended: Ended, which: str) -> str:
    """A key of the result as people see it."""
    return f"...{ended.result[which][-4:]}"


@scenario
def rotated_and_old_key_deleted(stack: Stack) -> None:
    user = stack.user()
    with consuming(stack, user):
        ended = stack.rotate(user.name, timing={"retentionSeconds": 1})
        assert ended.result["outcome"] == "ROTATED"
        message = told(stack, ended, "Key Rotated", "Why: the new key is in use", "is inactive")
        for which in ("oldAccessKeyId", "newAccessKeyId"):
            assert last_four(ended, which) in message
        mark = stack.labels(user.name)["AWSCURRENT"].split("-", 1)[1]
        machine = stack.retire_arn.replace(":stateMachine:", ":execution:")
        retired = stack.ended(f"{machine}:retire-{mark}")
        assert retired.result["outcome"] == "DELETED"
        words = ("deleted the old key", last_four(retired, "oldAccessKeyId"))
        told(stack, retired, "Old Key Deleted", *words)


@scenario
def a_superseded_retirement_needs_nobody(stack: Stack) -> None:
    user = stack.user()
    ended = stack.retire(user.name, user.access_key_id, "0" * 32)
    assert ended.result["outcome"] == "SUPERSEDED"
    told(stack, ended, "Rotation Skipped", "AWSCURRENT")


@scenario
def a_refused_retirement_needs_a_person(stack: Stack) -> None:
    user = stack.user(managed=False)
    ended = stack.retire(user.name, user.access_key_id, "0" * 32)
    assert ended.error == "RetirementRefused"
    told(stack, ended, "Rotation Needs Attention", "not managed")


@scenario
def issued(stack: Stack) -> None:
    user = stack.user(key=False)
    ended = stack.rotate(user.name)
    assert ended.result["outcome"] == "ISSUED"
    told(stack, ended, "Key Rotated", "Point the consumers", last_four(ended, "newAccessKeyId"))


@scenario
def skipped(stack: Stack) -> None:
    user = stack.user(days_old=0)
    ended = stack.rotate(user.name)
    assert ended.result["outcome"] == "SKIPPED"
    told(
        stack, ended, "Rotation Skipped", "Nothing was changed", last_four(ended, "oldAccessKeyId")
    )


@scenario
def backed_out_as_asked(stack: Stack) -> None:
    user = stack.user()
    with consuming(stack, user):
        first = stack.start(user.name, timing=STAYS_OPEN)
        stack.reaches(first, "Wait For Consumers")
        ended = stack.rotate(user.name, action="BACK_OUT", reason="a colleague asked")
        assert (ended.status, ended.result["outcome"]) == ("SUCCEEDED", "BACKED_OUT"), ended.result[
            "reason"
        ]
        assert ended.result["evidence"]["requestReason"] == "a colleague asked"
        told(stack, ended, "Rotation Backed Out", last_four(ended, "oldAccessKeyId"))


@scenario
def backed_out_by_evidence(stack: Stack) -> None:
    user = stack.user()
    ended = stack.rotate(user.name, force=True, timing={"pickupTimeoutSeconds": 5})
    assert (ended.error, ended.result["outcome"]) == ("RotationBackedOut", "BACKED_OUT"), (
        ended.result["reason"]
    )
    told(stack, ended, "Rotation Backed Out", "no consumer used the new key", "what went wrong")


@scenario
def needs_attention(stack: Stack) -> None:
    user = stack.user()
    ended = stack.rotate(user.name, mode="EMERGENCY")
    assert (ended.error, ended.result["outcome"]) == ("AttentionNeeded", "NEEDS_ATTENTION"), (
        ended.result["reason"]
    )
    told(stack, ended, "Rotation Needs Attention", "exposed and stays inactive", "is inactive")


@scenario
def failed(stack: Stack) -> None:
    user = stack.user()
    fault = {"kind": "error_before", "user": user.name, "status": 400, "code": "InvalidInput"}
    stack.aws.control.inject(FaultRule(action="iam:CreateAccessKey", **fault))  # type: ignore[arg-type]
    ended = stack.rotate(user.name, force=True)
    assert (ended.error, ended.result["outcome"]) == ("RotationFailed", "FAILED"), ended.result[
        "reason"
    ]
    told(stack, ended, "Rotation Failed", "InvalidInput", "Mend the cause")
    assert stack.keys(user.name) == {user.access_key_id: "Active"}


@scenario
def could_not_be_checked(stack: Stack) -> None:
    """Nothing is known of the user yet, and still somebody is told."""
    user = stack.user()
    fault = {"kind": "error_before", "user": user.name, "status": 400, "code": "InvalidInput"}
    fault |= {"count": 9}  # it is tried again
    stack.aws.control.inject(FaultRule(action="iam:GetUser", **fault))  # type: ignore[arg-type]
    ended = stack.rotate(user.name)
    assert (ended.error, ended.result["outcome"]) == ("RotationFailed", "FAILED"), ended.result[
        "reason"
    ]
    events = stack.inbox.announced(ended.arn)
    assert [event["detail-type"] for event in events] == ["Rotation Failed"]
    assert events[0]["detail"] == ended.result | {"executionArn": ended.arn}
    assert len(stack.inbox.told(ended.arn)) == 1


@scenario
def rejected(stack: Stack) -> None:
    """Who started it has the answer: nobody else is told, and no event claims that things moved."""
    user = stack.user(managed=False)
    ended = stack.rotate(user.name)
    assert ended.error == "RequestRejected"
    other = stack.rotate(stack.user(days_old=0).name)  # announced later than that one would be
    told(stack, other, "Rotation Skipped")
    assert not stack.inbox.announced(ended.arn, within_seconds=0)
    assert not stack.inbox.told(ended.arn, within_seconds=0)


@scenario
def a_rejected_recovery_is_told(stack: Stack) -> None:
    """Nobody waits for the answer of an execution that the rule started."""
    dead = f"{stack.rotate_arn.replace(':stateMachine:', ':execution:')}:dead"
    recovery = {"executionArn": dead, "generation": 1}
    ended = stack.ended(
        stack.start(accessKeyId="AKIANOSUCHKEY0000000", action="BACK_OUT", recovery=recovery)
    )
    assert ended.error == "RequestRejected"
    events = stack.inbox.announced(ended.arn)
    assert [event["detail-type"] for event in events] == ["Rotation Needs Attention"]
    assert dead in stack.inbox.told(ended.arn)[0]["Message"]


@scenario
def nothing_undoes_a_decision_that_cannot_be_announced(stack: Stack) -> None:
    """Bus and topic fail for good: the rotation is what it was."""
    user = stack.user(key=False)
    rules = [
        stack.aws.control.inject(
            FaultRule(action=action, kind="throttle", user=user.name, count=99)
        )
        for action in ("events:PutEvents", "sns:Publish")
    ]
    ended = stack.rotate(user.name)
    assert ended.result["outcome"] == "ISSUED"
    assert stack.current_key(user.name) == ended.result["newAccessKeyId"]
    assert all(stack.aws.control.faults_fired(rule=rule) for rule in rules)


@pytest.mark.parametrize("scenario", scenario.names)
def test_events(running: dict[str, Future[None]], scenario: str) -> None:
    running[scenario].result()
