"""The operator's command against the deployed stack."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest

from proofs.stack.scenarios import consuming
from proofs.stack.support import Stack
from tests.cli.support import KEYTURN, run

pytestmark = [pytest.mark.emulator, pytest.mark.xdist_group("cli")]


def test_a_first_key_is_issued_and_watched_with_one_command(stack: Stack) -> None:
    user = stack.user(key=False)
    done = run(stack, "rotate", user.name, "--watch")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Issue New Key: takes the claim" in done.stdout
    assert "ISSUED: issuing a first key" in done.stdout
    assert list(stack.keys(user.name).values()) == ["Active"]


def test_a_back_out_with_nothing_to_undo_says_so(stack: Stack) -> None:
    done = run(stack, "back-out", stack.user().name)
    assert (done.returncode, done.stderr) == (0, "")
    assert "SKIPPED: nothing to undo" in done.stdout


def test_a_rejection_is_a_failure_with_its_reason(stack: Stack) -> None:
    done = run(stack, "rotate", "nobody-of-that-name")
    assert done.returncode == 1
    assert "REJECTED: the IAM user nobody-of-that-name does not exist" in done.stdout


def test_a_wrong_stack_is_one_line_without_a_traceback(stack: Stack) -> None:
    done = run(stack, "rotate", "u", "--stack-name", "no-such-stack")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "keyturn: there is no stack no-such-stack in us-east-1; name it with --stack-name (or "
        "KEYTURN_STACK_NAME) and its Region with --region\n"
    )


def test_a_rotation_is_planned_watched_and_seen_in_the_status(stack: Stack) -> None:
    user = stack.user()
    with consuming(stack, user):
        planned = run(stack, "plan", user.name, "--json")
        assert planned.returncode == 0, planned.stderr
        plan = json.loads(planned.stdout)
        assert (plan["step"], plan["oldAccessKeyId"]) == ("ISSUE", user.access_key_id)
        assert stack.keys(user.name) == {user.access_key_id: "Active"}
        begun = run(stack, "rotate", user.name, "--json")
        assert begun.returncode == 0, begun.stderr
        watched = run(stack, "watch", user.name)
    assert (watched.returncode, watched.stderr) == (0, "")
    assert "Wait For Consumers: to use the new key" in watched.stdout
    assert f"old key ...{user.access_key_id[-4:]} is Inactive" in watched.stdout
    assert "ROTATED: " in watched.stdout.splitlines()[-1]
    assert user.access_key_id not in watched.stdout

    seen = json.loads(run(stack, "status", user.name, "--json").stdout)["users"][0]
    assert (seen["lastResult"], seen["inFlight"]) == ("ROTATED", False)
    assert {key["accessKeyId"]: key["active"] for key in seen["keys"]} == {
        key: status == "Active" for key, status in stack.keys(user.name).items()
    }
    everybody = json.loads(run(stack, "status", "--json").stdout)["users"]
    assert user.name in [row["userName"] for row in everybody]


def test_an_exposed_key_is_replaced_at_once_and_only_on_a_yes(stack: Stack) -> None:
    user = stack.user()
    asked = run(stack, "rotate", user.name, "--emergency")
    assert (asked.returncode, asked.stdout) == (2, "")
    assert "say --yes" in asked.stderr
    assert stack.keys(user.name) == {user.access_key_id: "Active"}

    with consuming(stack, user):
        done = run(stack, "rotate", user.name, "--emergency", "--yes", "--watch")
    assert (done.returncode, done.stderr) == (0, "")
    assert stack.keys(user.name)[user.access_key_id] == "Inactive"
    back = run(stack, "plan", user.name, "--back-out", "--json")
    assert back.returncode == 1
    assert json.loads(back.stdout)["step"] == "REJECT"


def test_leaving_a_watch_stops_nothing(stack: Stack) -> None:
    user = stack.user()
    arn = stack.start(user.name, force=True, timing={"pickupTimeoutSeconds": 600})
    stack.reaches(arn, "Wait For Consumers")
    watching = subprocess.Popen(
        [*KEYTURN, "watch", user.name],
        env={"PATH": os.environ["PATH"], **stack.aws.environment()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    assert "Check Request" in watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    _, said = watching.communicate(timeout=30)
    assert watching.returncode == 130
    assert f"the execution goes on. See it again: keyturn watch {arn}" in said
    assert stack.machines.describe_execution(executionArn=arn)["status"] == "RUNNING"

    begun = run(stack, "back-out", user.name)
    assert begun.returncode == 0
    assert "keyturn: Wait Out The Claimant: no call of the execution" in begun.stderr
    assert f"Follow it: keyturn watch {user.name}" in begun.stdout
    assert run(stack, "watch", user.name).returncode == 0


def test_a_user_whom_nothing_has_worked_on_yet_cannot_be_watched(stack: Stack) -> None:
    user = stack.user()
    done = run(stack, "watch", user.name)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"start one: keyturn rotate {user.name}" in done.stderr
    nobody = run(stack, "watch", "nobody-of-that-name")
    assert (nobody.returncode, nobody.stdout) == (2, "")
    assert "check the name" in nobody.stderr


def test_a_user_without_a_secret_has_a_status_that_says_so(stack: Stack) -> None:
    user = stack.user(secret=False)
    done = run(stack, "status", user.name)
    assert (done.returncode, done.stderr) == (0, "")
    assert "there is no secret yet: keyturn onboard makes it" in done.stdout
