"""Whoever loses a race for the claim: who looks again, for how long, and who is told in the end."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn.handlers.rotate_key.check_request import PATIENCE_IN_FENCES, PATIENCE_SECONDS
from proofs.stack.support import Stack

pytestmark = [pytest.mark.emulator, pytest.mark.slow, pytest.mark.xdist_group("look-again")]

DEFINITION = Path(__file__).parents[2] / "statemachine" / "rotate_key.asl.json"
FENCE_SECONDS = 20
ROTATION = {
    "userName": "ci-deployer",
    "action": "ROTATE",
    "mode": "STANDARD",
    "recoveryOf": None,
    "exposedKeyId": None,
    "policy": {"fenceSeconds": FENCE_SECONDS},
}
PATIENCE = PATIENCE_SECONDS + PATIENCE_IN_FENCES * FENCE_SECONDS
EMERGENCY = {**ROTATION, "mode": "EMERGENCY"}
BY_HAND = {**ROTATION, "action": "BACK_OUT"}
AUTOMATIC = {**BY_HAND, "recoveryOf": "arn:aws:states:eu-west-1:123456789012:execution:k:dead"}


def run_state(
    stack: Stack, name: str, rotation: dict[str, Any], age_seconds: int = 0, **variables: Any
) -> Any:
    """Run one state of RotateKey, in an execution that began so long ago."""
    state = json.loads(DEFINITION.read_text())["States"][name]
    if state["Type"] == "Pass":
        state["Output"] = state.pop("Assign")  # so that the test sees it
    variables |= {
        "rotation": rotation,
        "result": {"userName": "ci-deployer"},
        "failure": {"Error": "RequestRejected", "Cause": '{"errorMessage": "was faster"}'},
    }
    begun = datetime.now(UTC) - timedelta(seconds=age_seconds)
    context = {
        "Execution": {"Id": "arn:the-execution", "StartTime": f"{begun:%Y-%m-%dT%H:%M:%S.000Z}"},
        "variables": variables,
    }
    return stack.machines.test_state(
        definition=json.dumps({"QueryLanguage": "JSONata", **state}),
        context=json.dumps(context),
        input="{}",
        roleArn="arn:aws:iam::123456789012:role/any",
    )


@pytest.mark.parametrize(
    ("rotation", "age_seconds", "following"),
    [
        (EMERGENCY, 0, "Wait Out The Claimant"),
        (EMERGENCY, PATIENCE - 10, "Wait Out The Claimant"),
        (EMERGENCY, PATIENCE + 10, "Reject Under Claim"),
        (BY_HAND, PATIENCE - 10, "Wait Out The Claimant"),
        (AUTOMATIC, PATIENCE - 10, "Wait Out The Claimant"),
        (AUTOMATIC, PATIENCE + 10, "Reject Under Claim"),
        (ROTATION, 0, "Reject Under Claim"),
    ],
)
def test_what_cannot_wait_looks_again_as_long_as_check_request_has_patience(
    stack: Stack, rotation: dict[str, Any], age_seconds: int, following: str
) -> None:
    answer = run_state(stack, "Look Again?", rotation, age_seconds)
    assert (answer["status"], answer["nextState"]) == ("SUCCEEDED", following)


@pytest.mark.parametrize(
    ("rotation", "verdict", "subject", "following"),
    [
        (EMERGENCY, "RECOVERY_REJECTED", "an exposed key", "start the EMERGENCY again"),
        (AUTOMATIC, "RECOVERY_REJECTED", "a dead execution", "start ROTATE or BACK_OUT"),
        (BY_HAND, "REJECT", None, None),
        (ROTATION, "REJECT", None, None),
    ],
)
def test_people_are_told_of_what_nobody_looks_at(
    stack: Stack, rotation: dict[str, Any], verdict: str, subject: str, following: str
) -> None:
    answer = run_state(stack, "Reject Under Claim", rotation)
    assert answer["nextState"] == "What To Do?"
    found = json.loads(answer["output"])
    assert found["verdict"] == verdict
    assert found["result"]["outcome"] == "REJECTED"
    assert found["result"]["reason"] == "was faster"
    if subject:  # nobody is told of the others: they go from What To Do? to their end
        assert found["announcement"]["subject"] == f"Rotation Needs Attention: {subject}"
        assert following in found["announcement"]["message"]
        assert "arn:the-execution" in found["announcement"]["message"]
        assert "has given up: was faster. It changed no key" in found["announcement"]["message"]


def test_the_next_look_is_told_which_key_is_exposed(stack: Stack) -> None:
    rotation = {**EMERGENCY, "exposedKeyId": "AKIAIOSFODNN7EXAMPLE"}
    answer = run_state(stack, "Wait Out The Claimant", rotation, waitSeconds=1)
    assert answer["nextState"] == "Check Request"
    assert json.loads(answer["output"]) == {"exposedKeyId": "AKIAIOSFODNN7EXAMPLE"}


@pytest.mark.parametrize(
    ("given", "passed_on"),
    [
        ('{"exposedKeyId": "AKIAIOSFODNN7EXAMPLE"}', "AKIAIOSFODNN7EXAMPLE"),
        ('{"exposedKeyId": null}', None),
        ('{"userName": "ci-deployer"}', None),
        ('"ci-deployer"', None),
        ("[]", None),
        ("null", None),
    ],
)
def test_check_request_takes_the_exposed_key_from_where_it_came(
    stack: Stack, given: str, passed_on: str | None
) -> None:
    """Whatever somebody starts an execution with must not break the first look."""
    payload = json.loads(DEFINITION.read_text())["States"]["Check Request"]["Arguments"]["Payload"]
    state = {"Type": "Pass", "Output": {"key": payload["exposedKeyId"]}, "End": True}
    answer = stack.machines.test_state(
        definition=json.dumps({"QueryLanguage": "JSONata", **state}),
        input=given,
        roleArn="arn:aws:iam::123456789012:role/any",
    )
    assert answer["status"] == "SUCCEEDED", answer
    assert json.loads(answer["output"]) == {"key": passed_on}
