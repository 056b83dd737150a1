"""keyturn onboard and offboard, against the deployed stack."""

from __future__ import annotations

import json

import pytest

from proofs.stack.support import MachineUser, Stack
from tests.cli.support import run

pytestmark = [pytest.mark.emulator, pytest.mark.xdist_group("cli")]


def stranger(stack: Stack) -> MachineUser:
    """A user with a key that nobody has onboarded."""
    user = stack.user(managed=False, secret=False)
    stack.iam.detach_user_policy(UserName=user.name, PolicyArn=stack.outputs["ConsumerPolicyArn"])
    return user


def tags(stack: Stack, user: MachineUser) -> dict[str, str]:
    listed = stack.iam.list_user_tags(UserName=user.name)["Tags"]
    return {tag["Key"]: tag["Value"] for tag in listed}


def policies(stack: Stack, user: MachineUser) -> list[str]:
    listed = stack.iam.list_attached_user_policies(UserName=user.name)["AttachedPolicies"]
    return [policy["PolicyArn"] for policy in listed]


def test_a_user_is_onboarded_with_its_present_key_and_offboarded_again(stack: Stack) -> None:
    user = stranger(stack)
    secret = user.secret_access_key.get_secret_value()
    done = run(stack, "onboard", user.name, "--existing-secret-stdin", "--yes", given=secret + "\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert secret not in done.stdout
    assert f"keyturn plan {user.name}" in done.stdout
    assert tags(stack, user) == {"keyturn:managed": "test"}
    assert policies(stack, user) == [stack.outputs["ConsumerPolicyArn"]]
    value = stack.secrets.get_secret_value(SecretId=user.secret_name)["SecretString"]
    assert json.loads(value) == {"AccessKeyId": user.access_key_id, "SecretAccessKey": secret}

    again = run(
        stack, "onboard", user.name, "--existing-secret-stdin", "--yes", given=secret + "\n"
    )
    assert again.returncode == 0
    assert "onboarded already; nothing was changed" in again.stdout

    gone = run(stack, "offboard", user.name, "--yes")
    assert (gone.returncode, gone.stderr) == (0, "")
    assert (tags(stack, user), policies(stack, user)) == ({}, [])
    assert stack.keys(user.name) == {user.access_key_id: "Active"}
    assert stack.current_key(user.name) == user.access_key_id
    twice = run(stack, "offboard", user.name, "--yes")
    assert "nothing was changed" in twice.stdout
    assert user.name not in run(stack, "status").stdout

    stack.iam.tag_user(
        UserName=user.name, Tags=[{"Key": "keyturn:managed", "Value": "test"}]
    )  # as a template of somebody's would
    said = run(stack, "status").stdout
    assert f"keyturn onboard {user.name} takes it in again" in said

    back = run(stack, "onboard", user.name, "--yes")
    assert (back.returncode, back.stderr) == (0, "")
    assert tags(stack, user) == {"keyturn:managed": "test"}
    said = run(stack, "status").stdout
    assert user.name in said
    assert f"keyturn onboard {user.name}" not in said


def test_somebody_elses_key_is_refused_and_nothing_is_changed(stack: Stack) -> None:
    user, other = stranger(stack), stack.user()
    given = {
        "AccessKeyId": other.access_key_id,
        "SecretAccessKey": other.secret_access_key.get_secret_value(),
    }
    done = run(
        stack, "onboard", user.name, "--existing-secret-stdin", "--yes", given=json.dumps(given)
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "that key belongs to" in done.stderr
    assert given["SecretAccessKey"] not in done.stderr
    assert tags(stack, user) == {}


def test_a_wrong_secret_is_refused_without_repeating_it(stack: Stack) -> None:
    user = stranger(stack)
    wrong = "x" * 40
    done = run(stack, "onboard", user.name, "--existing-secret-stdin", "--yes", given=wrong)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"not the secret access key of ...{user.access_key_id[-4:]}" in done.stderr
    assert wrong not in done.stderr
    assert tags(stack, user) == {}


def test_without_a_terminal_and_without_yes_nothing_is_changed(stack: Stack) -> None:
    user = stranger(stack)
    done = run(stack, "onboard", user.name)
    assert done.returncode == 2
    assert "note: the secret does not hold the present key" in done.stdout
    assert "say --yes" in done.stderr
    assert tags(stack, user) == {}


def test_offboarding_is_refused_while_a_rotation_is_in_flight(stack: Stack) -> None:
    user = stack.user()
    arn = stack.start(user.name, force=True, timing={"pickupTimeoutSeconds": 600})
    stack.reaches(arn, "Wait For Consumers")
    seen = json.loads(run(stack, "status", user.name, "--json").stdout)["users"][0]
    assert (seen["inFlight"], seen["executionArn"]) == (True, arn)
    assert seen["waitsFor"] in (
        "the consumers have to use the new key and to leave the old one",
        "no consumer has used the new key yet",
        "no consumer has used the new key yet and the old key has been used too recently",
    )
    refused = run(stack, "offboard", user.name, "--yes", "--delete-secret")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"keyturn back-out {user.name}" in refused.stderr

    undone = run(stack, "back-out", user.name, "--watch")
    assert (undone.returncode, undone.stderr) == (0, "")
    assert "BACKED_OUT: " in undone.stdout.splitlines()[-1]
    watched = run(stack, "watch", arn)
    assert watched.returncode == 1
    assert "ABORTED" in watched.stdout.splitlines()[-1]

    gone = run(stack, "offboard", user.name, "--yes", "--delete-secret", "--recovery-days", "7")
    assert (gone.returncode, gone.stderr) == (0, "")
    assert "DeletedDate" in stack.secrets.describe_secret(SecretId=user.secret_name)
