"""Starts by events: what other services raise starts a rotation or tells people, once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from keyturn.model.identifiers import emergency_name, rotation_name
from localaws.model import FaultRule
from proofs.stack.alerts import sample, send
from proofs.stack.scenarios import (
    STAYS_OPEN,
    Scenarios,
    consuming,
    never_again,
    now,
    recovery_of,
    stop,
)
from proofs.stack.support import MachineUser, Stack, eventually
from proofs.stack.sweep import KEY_ID

pytestmark = [pytest.mark.emulator, pytest.mark.slow, pytest.mark.xdist_group("starts_by_events")]

scenario = Scenarios()


@pytest.fixture(scope="module")
def running(stack: Stack, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[None]]]:
    """All scenarios of this module, started at once."""
    with scenario.running(stack, request) as futures:
        yield futures


def deliver(stack: Stack, event: dict[str, Any], *, about: str) -> None:
    """Send an event and wait until the function has looked at what it is about."""
    since = now()
    send(stack, event)
    eventually(
        lambda: bool(
            stack.aws.control.calls(since=since, principal="StartRotationRole", about=about)
        ),
        within_seconds=60,
        what=f"Start Rotation looks at {about}",
    )


def execution(stack: Stack, name: str) -> str:
    """The ARN of an execution that an event started, once it is there."""
    arn = f"{stack.rotate_arn.replace(':stateMachine:', ':execution:')}:{name}"
    eventually(lambda: arn in arns(stack), within_seconds=60, what=f"{arn} starts")
    return arn


def arns(stack: Stack) -> set[str]:
    """The ARNs of all executions of RotateKey."""
    pages = stack.machines.get_paginator("list_executions").paginate(
        stateMachineArn=stack.rotate_arn
    )
    return {found["executionArn"] for page in pages for found in page["executions"]}


def inputs_about(stack: Stack, user: MachineUser) -> list[dict[str, Any]]:
    """The inputs of all executions for a user, however it is named in them."""
    described = [stack.machines.describe_execution(executionArn=arn) for arn in arns(stack)]
    texts = [found["input"] for found in described]
    return [json.loads(text) for text in texts if user.name in text or user.access_key_id in text]


def rotation_of(stack: Stack, user: MachineUser) -> str:
    """The name of the rotation that an event starts for a user today."""
    found = stack.iam.get_user(UserName=user.name)["User"]
    return rotation_name(found["Arn"], found["CreateDate"], datetime.now(UTC).date())


def emergency_of(key_id: str) -> str:
    """The name of the EMERGENCY that an event starts for a key today."""
    return emergency_name(key_id, datetime.now(UTC).date())


def told(stack: Stack, *words: str, times: int = 1) -> str:
    """Assert that people were told so often in these words; returns the last message."""

    def found() -> list[dict[str, Any]]:
        return [
            item
            for item in stack.inbox.notifications()
            if all(word in item["Subject"] + item["Message"] for word in words)
        ]

    eventually(lambda: len(found()) >= times, within_seconds=60, what=f"people hear of {words}")
    assert len(found()) == times
    message = str(found()[-1]["Message"])
    assert "What happened: " in message
    assert "Next: " in message
    assert not KEY_ID.search(found()[-1]["Subject"] + message)
    return message


@scenario
def a_finding_of_security_hub_rotates_once(stack: Stack) -> None:
    user = stack.user()
    event = sample(stack, "security_hub_iam3", user)
    with consuming(stack, user):
        deliver(stack, event, about=user.name)
        deliver(stack, event, about=user.name)
        ended = stack.ended(execution(stack, rotation_of(stack, user)))
        assert (ended.status, ended.result["outcome"]) == ("SUCCEEDED", "ROTATED"), ended.result[
            "reason"
        ]
        assert "Security Hub" in ended.result["evidence"]["requestReason"]
        deliver(stack, event, about=user.name)
    assert len(inputs_about(stack, user)) == 1


@scenario
def a_compliance_change_of_config_names_the_user_by_its_id(stack: Stack) -> None:
    user = stack.user(path="/machine/")
    with consuming(stack, user):
        send(stack, sample(stack, "config_access_keys_rotated", user))
        ended = stack.ended(execution(stack, rotation_of(stack, user)))
        assert (ended.status, ended.result["outcome"]) == ("SUCCEEDED", "ROTATED"), ended.result[
            "reason"
        ]
    assert len(inputs_about(stack, user)) == 1


@scenario
def an_exposed_key_goes_at_once_and_stays_away(stack: Stack) -> None:
    """Nothing brings it back: no second delivery, no back-out of either kind, no later rotation."""
    user = stack.user()
    event = sample(stack, "health_exposed_key", user)
    with consuming(stack, user), never_again(stack, user.name, user.access_key_id):
        send(stack, event)
        send(stack, event)
        arn = execution(stack, emergency_of(user.access_key_id))
        told(stack, "Exposed Key", user.name, "execution emergency-")
        stack.reaches(arn, "Watch Consumers")
        assert stack.keys(user.name)[user.access_key_id] == "Inactive"
        passes = [state for state in stack.states(arn) if state == "Check Request"]
        assert len(passes) == 1
        stop(stack, arn)
        recovered = stack.ended(recovery_of(stack, arn))
        assert recovered.result["outcome"] == "ROTATED"
        new = recovered.result["newAccessKeyId"]
        deliver(stack, event, about=user.access_key_id)
        assert stack.rotate(user.name, action="BACK_OUT").error == "RequestRejected"
        again = stack.rotate(user.name, force=True)
        assert again.result["outcome"] == "ROTATED"
        assert again.result["oldAccessKeyId"] == new
        assert user.access_key_id not in stack.keys(user.name)
    assert len([given for given in inputs_about(stack, user) if given.get("mode")]) == 1


@scenario
def an_exposed_key_of_a_user_that_is_not_managed_is_told(stack: Stack) -> None:
    user = stack.user(managed=False)
    send(stack, sample(stack, "health_exposed_key", user))
    message = told(stack, "Exposed Key", user.access_key_id[-4:], "nothing was started")
    assert "aws iam update-access-key" in message
    assert inputs_about(stack, user) == []
    assert stack.keys(user.name) == {user.access_key_id: "Active"}


@scenario
def a_suspicion_of_guard_duty_is_told_and_changes_nothing(stack: Stack) -> None:
    user = stack.user()
    send(stack, sample(stack, "guardduty_iam_user", user))
    message = told(stack, "Suspicious Key", user.name, "nothing was started")
    assert '"mode": "EMERGENCY"' in message
    assert inputs_about(stack, user) == []
    assert stack.keys(user.name) == {user.access_key_id: "Active"}


@scenario
def an_old_key_of_a_user_that_is_not_managed_is_told(stack: Stack) -> None:
    user = stack.user(managed=False)
    send(stack, sample(stack, "security_hub_iam3", user))
    assert "aws iam create-access-key" in told(stack, "Key Too Old", user.name, "is not managed")
    assert inputs_about(stack, user) == []


@scenario
def a_managed_user_without_a_secret_is_rotated_and_people_hear_of_it(stack: Stack) -> None:
    user = stack.user(secret=False)
    send(stack, sample(stack, "security_hub_iam3", user))
    told(stack, "Key Too Old", user.name, "no consumer reads yet")
    assert len(inputs_about(stack, user)) == 1


@scenario
def an_emergency_that_is_rejected_is_told(stack: Stack) -> None:
    """Nobody waits for an execution that an event started, and its key is still active."""
    user = stack.user()
    stack.secrets.delete_secret(SecretId=user.secret_name)
    send(stack, sample(stack, "health_exposed_key", user))
    ended = stack.ended(execution(stack, emergency_of(user.access_key_id)))
    assert ended.error == "RequestRejected"
    (notification,) = stack.inbox.told(ended.arn)
    assert notification["Subject"] == f"Rotation Needs Attention: {user.name}"
    assert "scheduled for deletion" in notification["Message"]
    assert "deactivate the key by hand" in notification["Message"]


@scenario
def an_emergency_that_loses_the_race_for_the_claim_looks_again(stack: Stack) -> None:
    user = stack.user()
    stack.aws.control.inject(
        FaultRule(
            action="lambda:InvokeFunction",
            kind="delay",
            user=user.name,
            function="IssueNewKey",
            delay_seconds=8,
        )
    )
    with consuming(stack, user), never_again(stack, user.name, user.access_key_id):
        send(stack, sample(stack, "health_exposed_key", user))
        arn = execution(stack, emergency_of(user.access_key_id))
        stack.reaches(arn, "Issue New Key")
        faster = stack.start(user.name, timing=STAYS_OPEN)
        ended = stack.ended(arn)
        assert (ended.status, ended.result["outcome"]) == ("SUCCEEDED", "ROTATED"), ended.result[
            "reason"
        ]
        lost = ended.states.index("New Key Issued?")
        assert ended.states[lost + 1 : lost + 3] == ["Wait Out The Claimant", "Check Request"]
        assert "Stop Claimant" in ended.states
        assert stack.ended(faster).status == "ABORTED"
        assert stack.keys(user.name)[user.access_key_id] == "Inactive"


@scenario
def one_bad_entity_of_health_hides_no_other(stack: Stack) -> None:
    user = stack.user()
    event = sample(stack, "health_exposed_key", user)
    event["id"] = "malformed"
    event["detail"]["affectedEntities"][:0] = [{"entityValue": {"x": "y" * 5000}}, "\u0000", None]
    with consuming(stack, user), never_again(stack, user.name, user.access_key_id):
        send(stack, event)
        arn = execution(stack, emergency_of(user.access_key_id))
        told(stack, "an event that was not understood", "AWS_RISK_CREDENTIALS_EXPOSED")
        assert stack.ended(arn).result["outcome"] == "ROTATED"


@scenario
def a_rotation_that_the_fleet_started_today_is_not_started_again(stack: Stack) -> None:
    user = stack.user()
    name = rotation_of(stack, user)
    with consuming(stack, user):
        arn = stack.machines.start_execution(
            stateMachineArn=stack.rotate_arn,
            name=name,
            input=json.dumps({"userName": user.name}),
        )["executionArn"]
        deliver(stack, sample(stack, "config_access_keys_rotated", user), about=user.name)
        assert stack.ended(arn).result["outcome"] == "ROTATED"
    assert len(inputs_about(stack, user)) == 1


# --- when it fails ------------------------------------------------------------------------------


def hand_over(stack: Stack, event: dict[str, Any]) -> None:
    """Invoke the function as EventBridge does: who fails is tried again, and kept in the end.

    (The embedded EventBridge itself invokes it once, and forgets.)
    """
    stack.aws.client("lambda").invoke(
        FunctionName="keyturn-StartRotation",
        InvocationType="Event",
        Payload=json.dumps(event).encode(),
    )


@scenario
def what_fails_is_tried_again(stack: Stack) -> None:
    user = stack.user()
    event = sample(stack, "security_hub_iam3", user)
    event["time"] = datetime.now(UTC).isoformat()
    rule = stack.aws.control.inject(
        FaultRule(
            action="iam:GetUser", kind="throttle", user=user.name, function="StartRotation", count=3
        )
    )
    with consuming(stack, user):
        hand_over(stack, event)
        assert (
            stack.ended(execution(stack, rotation_of(stack, user))).result["outcome"] == "ROTATED"
        )
    assert len(stack.aws.control.faults_fired(rule=rule)) == 3


@scenario
def what_fails_for_good_is_kept_for_a_person(stack: Stack) -> None:
    user = stack.user()
    rule = stack.aws.control.inject(
        FaultRule(
            action="iam:GetAccessKeyLastUsed",
            kind="throttle",
            user=user.name,
            function="StartRotation",
            count=99,
        )
    )
    hand_over(stack, sample(stack, "health_exposed_key", user))
    sqs = stack.aws.client("sqs")
    (url,) = sqs.list_queues(QueueNamePrefix="keyturn-LostEventQueue")["QueueUrls"]
    kept: list[str] = []

    def is_kept() -> bool:
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=1)
        kept[:] = [message["Body"] for message in found.get("Messages", [])]
        return any(user.access_key_id in body for body in kept)

    eventually(is_kept, within_seconds=60, what="the event is in the queue")
    stack.aws.control.clear_faults(rule=rule)
    assert inputs_about(stack, user) == []


@pytest.mark.parametrize("scenario", scenario.names)
def test_start_by_event(running: dict[str, Future[None]], scenario: str) -> None:
    running[scenario].result()


@pytest.mark.parametrize(("action", "mode"), [("ROTATE", None), ("EMERGENCY", "EMERGENCY")])
def test_guard_duty_starts_what_the_parameter_says(
    stack: Stack, running: dict[str, Future[None]], action: str, mode: str | None
) -> None:
    """After all scenarios: the setting is the whole stack's."""
    for future in running.values():
        future.exception()
    user = stack.user()
    event = sample(stack, "guardduty_iam_user", user)
    with guard_duty_action(stack, action), consuming(stack, user):
        send(stack, event)
        name = emergency_of(user.access_key_id) if mode else rotation_of(stack, user)
        ended = stack.ended(execution(stack, name))
        assert ended.result["outcome"] == "ROTATED"
        told(stack, user.name, "GuardDuty finding", name)
    (given,) = inputs_about(stack, user)
    assert given.get("mode") == mode


@contextmanager
def guard_duty_action(stack: Stack, action: str) -> Iterator[None]:
    """The stack as if it were deployed with another GuardDutyAction."""
    functions = stack.aws.client("lambda")
    name = "keyturn-StartRotation"
    before = functions.get_function_configuration(FunctionName=name)["Environment"]
    changed = {"Variables": {**before["Variables"], "GUARD_DUTY_ACTION": action}}
    functions.update_function_configuration(FunctionName=name, Environment=changed)
    try:
        yield
    finally:
        functions.update_function_configuration(FunctionName=name, Environment=before)
