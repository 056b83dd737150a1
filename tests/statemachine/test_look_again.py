"""Whoever loses a race for the claim looks again for the same exposed key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proofs.stack.support import Stack

pytestmark = [pytest.mark.emulator, pytest.mark.slow, pytest.mark.xdist_group("look-again")]

DEFINITION = Path(__file__).parents[2] / "statemachine" / "rotate_key.asl.json"


def test_the_next_look_is_told_which_key_is_exposed(stack: Stack) -> None:
    state = json.loads(DEFINITION.read_text())["States"]["Wait Out The Claimant"]
    variables = {"rotation": {"exposedKeyId": "AKIAIOSFODNN7EXAMPLE"}, "waitSeconds": 1}
    answer = stack.machines.test_state(
        definition=json.dumps({"QueryLanguage": "JSONata", **state}),
        context=json.dumps({"variables": variables}),
        input="{}",
        roleArn="arn:aws:iam::123456789012:role/any",
    )
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
