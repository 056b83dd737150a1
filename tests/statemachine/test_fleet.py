"""Fleet runs on the embedded AWS: audit, choose, rotate, tell.

They look at every user of the account, so these tests have a stack of their own, and each begins
with an account in which nobody is managed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import localaws
from keyturn.model.moments import iso
from localaws.model import FaultRule
from proofs.stack.scenarios import STAYS_OPEN, consuming
from proofs.stack.support import PARAMETERS, PREFIX, Ended, MachineUser, Stack, eventually

pytestmark = [pytest.mark.emulator, pytest.mark.slow, pytest.mark.xdist_group("fleet")]

ROOT = Path(__file__).parents[2]
FILES = {"report.json", "findings.csv", "keys.csv", "report.html", "credential-report.csv"}


@pytest.fixture(scope="module")
def deployed() -> Iterator[Stack]:
    """A stack in which every key older than a minute is due."""
    with localaws.start() as aws:
        outputs = localaws.deploy(
            aws,
            stack_name="keyturn",
            template=ROOT / "template.yaml",
            parameters=PARAMETERS | {"MaxKeyAgeDays": "0"},
        )
        stack = Stack(aws, outputs)
        yield stack
        stack.assert_nothing_leaked()
        stack.assert_nothing_denied()


@pytest.fixture
def fleet(deployed: Stack) -> Stack:
    """The stack, with nobody managed and no attempts remembered."""
    deployed.aws.control.clear_faults()
    for page in deployed.secrets.get_paginator("list_secrets").paginate():
        for secret in page["SecretList"]:
            deployed.secrets.delete_secret(SecretId=secret["ARN"], ForceDeleteWithoutRecovery=True)
    deployed.reports.s3.delete_object(Bucket=deployed.reports.bucket, Key="fleet/attempts.json")
    return deployed


def unmanaged(stack: Stack) -> MachineUser:
    """A user with a secret and without the tag: only RotateKey sees that, and rejects it."""
    user = stack.user(managed=False)
    stack.off_limits.add(user.name)
    return user


def rotations(stack: Stack) -> list[str]:
    """The names of all executions of RotateKey."""
    pages = stack.machines.get_paginator("list_executions").paginate(
        stateMachineArn=stack.rotate_arn
    )
    return [execution["name"] for page in pages for execution in page["executions"]]


def whole(stack: Stack, ended: Ended) -> dict[str, Any]:
    """The run's result in the bucket."""
    found: dict[str, Any] = stack.reports.json(f"fleet/{ended.result['runId']}/result.json")
    return found


def outcomes(stack: Stack, ended: Ended) -> dict[str, str]:
    return {item["userName"]: item["outcome"] for item in whole(stack, ended)["rotations"]}


def left(stack: Stack, ended: Ended) -> dict[str, str]:
    return {item["userName"]: item["why"] for item in whole(stack, ended)["plan"]["left"]}


def test_a_dry_run_tells_whom_it_would_rotate_and_starts_nothing(fleet: Stack) -> None:
    due, young = fleet.user(), fleet.user(days_old=0)
    before = rotations(fleet)
    ended = fleet.fleet(dryRun=True)
    assert (ended.status, ended.result["outcome"]) == ("SUCCEEDED", "DRY_RUN"), ended.result[
        "reason"
    ]
    assert (ended.result["managed"], ended.result["chosen"]) == (2, 1)
    assert left(fleet, ended) == {young.name: "NOT_DUE"}
    assert rotations(fleet) == before
    assert "fleet/attempts.json" not in fleet.reports.keys("fleet/")
    (message,) = fleet.inbox.told(ended.arn)
    assert "Would be started, and" in message["Message"]
    assert f"- {due.name}: fleet run of" in message["Message"]


def test_a_run_rotates_who_is_due_and_leaves_everybody_else(fleet: Stack) -> None:
    due = [fleet.user(days_old=days) for days in (100, 200)]
    young, no_secret = fleet.user(days_old=0), fleet.user(secret=False)
    busy, cooling, rejected = fleet.user(), fleet.user(), unmanaged(fleet)
    said = {
        "Key": "keyturn:last-result",
        "Value": f"BACKED_OUT {iso(datetime.now(UTC))} {'0' * 32}",
    }
    fleet.secrets.tag_resource(SecretId=cooling.secret_name, Tags=[said])
    with consuming(fleet, due[0]), consuming(fleet, due[1]), consuming(fleet, busy):
        at_work = fleet.start(busy.name, timing=STAYS_OPEN)
        fleet.reaches(at_work, "Wait For Consumers")
        ended = fleet.fleet()
        assert (ended.status, ended.result["outcome"]) == ("SUCCEEDED", "COMPLETED"), ended.result[
            "reason"
        ]
        assert outcomes(fleet, ended) == {
            due[0].name: "ROTATED",
            due[1].name: "ROTATED",
            rejected.name: "REJECTED",
        }
        assert left(fleet, ended) == {
            young.name: "NOT_DUE",
            busy.name: "IN_FLIGHT",
            cooling.name: "COOLING_DOWN",
        }
        for user in due:
            assert fleet.keys(user.name)[user.access_key_id] == "Inactive"
            assert fleet.current_key(user.name) != user.access_key_id
        for user in (young, no_secret, cooling, rejected):
            assert fleet.keys(user.name) == {user.access_key_id: "Active"}
        chosen = [item["userName"] for item in whole(fleet, ended)["plan"]["chosen"]]
        assert chosen[0] == due[1].name  # the oldest comes first
        _told(fleet, ended, rejected)
        _twice_in_a_day(fleet, due[0], rejected)
    fleet.machines.stop_execution(executionArn=at_work)


def _told(fleet: Stack, ended: Ended, rejected: MachineUser) -> None:
    (event,) = fleet.inbox.announced(ended.arn)
    assert event["detail-type"] == "Fleet Run Ended"
    assert event["detail"] == ended.result | {"executionArn": ended.arn}
    (message,) = fleet.inbox.told(ended.arn)
    assert message["Subject"] == "Fleet Run Ended: of 3 chosen users 2 rotated, 1 rejected"
    assert f"- {rejected.name}: REJECTED: " in message["Message"]
    assert "1 at work already" in message["Message"]


def _twice_in_a_day(fleet: Stack, rotated: MachineUser, rejected: MachineUser) -> None:
    before = sorted(rotations(fleet))
    again = fleet.fleet()
    assert again.result["outcome"] == "NOTHING_DUE"
    assert left(fleet, again)[rejected.name] == "COOLING_DOWN"
    named = fleet.fleet(userNames=[rotated.name])
    assert outcomes(fleet, named) == {rotated.name: "ROTATED"}  # by the execution of before
    assert sorted(rotations(fleet)) == before


def test_users_that_are_named_are_tried_and_refused_in_their_own_words(fleet: Stack) -> None:
    first, second = unmanaged(fleet), fleet.user(managed=False, secret=False)
    fleet.off_limits.add(second.name)
    ended = fleet.fleet(userNames=[first.name, second.name, "nobody"], maxRotations=1)
    assert ended.result["outcomes"] == {"REJECTED": 1}
    assert ended.result["left"] == {"UNKNOWN_USER": 1, "OVER_LIMIT": 1}
    (rotation,) = whole(fleet, ended)["rotations"]
    assert "is not managed by this stack" in rotation["reason"]
    (message,) = fleet.inbox.told(ended.arn)
    assert "- nobody: the credential report names no such user" in message["Message"]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"userName": "ci"}, "unknown field 'userName' in the input"),
        ({"dryRun": "yes"}, "the field dryRun must be true or false"),
        ({"maxRotations": 0}, "the field maxRotations must be a whole number from 1 to 5000"),
        ({"userNames": []}, "the field userNames must be a list of 1 to 5000 IAM user names"),
        ({"userNames": ["a b"]}, "the field userNames.0 must be an IAM user name (1 to 64 letters"),
    ],
)
def test_a_wrong_input_is_refused_before_anything_is_looked_at(
    fleet: Stack, given: dict[str, Any], reason: str
) -> None:
    since = datetime.now(UTC).timestamp()
    ended = fleet.fleet(**given)
    assert (ended.status, ended.error) == ("FAILED", "FleetRequestRejected")
    assert ended.result["outcome"] == "REJECTED"
    assert reason in ended.result["reason"]
    assert len(fleet.inbox.announced(ended.arn)) == len(fleet.inbox.told(ended.arn)) == 1
    assert iam_calls(fleet, since) == []


# The audit


def iam_calls(stack: Stack, since: float) -> list[str]:
    """What the audit's role asked of IAM and Secrets Manager, as seen on the wire."""
    calls = stack.aws.control.calls(since=since, principal="AuditAccountRole")
    return [call.action for call in calls if call.service in ("iam", "secretsmanager")]


def test_the_reports_are_in_the_bucket_of_this_run_and_as_the_latest(fleet: Stack) -> None:
    user = fleet.user()
    ended = fleet.fleet(dryRun=True)
    prefix = ended.result["reportPrefix"]
    assert prefix.startswith(f"audits/{fleet.aws.account_id}/{datetime.now(UTC):%Y-%m-%d}/")
    latest = f"audits/{fleet.aws.account_id}/latest/"
    for place in (prefix, latest):
        assert {key.removeprefix(place) for key in fleet.reports.keys(place)} == FILES
        rows = fleet.reports.text(f"{place}credential-report.csv").splitlines()
        assert any(row.startswith(f"{user.name},") for row in rows)
        assert user.name in fleet.reports.text(f"{place}findings.csv")
    assert ended.result["audit"]["findings"]["key-not-rotated"] >= 1
    described = fleet.reports.s3.get_object(Bucket=fleet.reports.bucket, Key=f"{latest}report.html")
    assert described["ContentType"] == "text/html; charset=utf-8"


def test_the_metrics_of_the_managed_keys_are_written(fleet: Stack) -> None:
    fleet.user(days_old=321)
    fleet.fleet(dryRun=True)
    logs = fleet.aws.client("logs")
    group = "/aws/lambda/keyturn-AuditAccount"

    def written() -> list[dict[str, Any]]:
        events = logs.filter_log_events(logGroupName=group)["events"]
        lines = [json.loads(event["message"]) for event in events if '"_aws"' in event["message"]]
        return [line for line in lines if "ManagedUsers" in line]

    eventually(lambda: bool(written()), what="the metrics are logged")
    last = written()[-1]
    assert last["service"] == "keyturn"
    assert last["OldestManagedKeyAgeDays"] == [321.0]
    assert (last["ManagedUsers"], last["ManagedKeysOverAge"]) == ([1.0], [1.0])
    (directive,) = last["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"]) == ("Keyturn", [["service"]])


def test_iam_is_asked_as_often_for_many_users_as_for_few(fleet: Stack) -> None:
    asked = []
    for count in (10, 50):
        for _ in range(count):
            fleet.user()
        since = datetime.now(UTC).timestamp()
        assert fleet.fleet(dryRun=True).result["managed"] == (10 if count == 10 else 60)
        asked.append(sorted(iam_calls(fleet, since)))
    assert (
        asked[0]
        == asked[1]
        == [
            "GenerateCredentialReport",
            "GetAccountPasswordPolicy",
            "GetCredentialReport",
            "ListSecrets",
        ]
    )


def denied(action: str) -> FaultRule:
    return FaultRule(
        action=action,
        kind="error_before",
        function="AuditAccount",
        status=403 if action.startswith("iam:") else 400,
        code="AccessDenied" if action.startswith("iam:") else "AccessDeniedException",
        count=100,
    )


def test_a_source_that_is_denied_is_told_and_the_others_are_judged(fleet: Stack) -> None:
    fleet.user()
    fleet.aws.control.inject(denied("iam:GetAccountPasswordPolicy"))
    ended = fleet.fleet(dryRun=True)
    assert ended.result["outcome"] == "DRY_RUN"
    (why,) = ended.result["audit"]["unavailable"]
    assert "iam:GetAccountPasswordPolicy: AccessDenied" in why
    report = fleet.reports.text(f"{ended.result['reportPrefix']}report.json")
    assert "iam:GetAccountPasswordPolicy: AccessDenied" in report
    assert "key-not-rotated" in ended.result["audit"]["findings"]
    (message,) = fleet.inbox.told(ended.arn)
    assert "Not judged: " in message["Message"]


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ("iam:GenerateCredentialReport", "iam:GenerateCredentialReport: AccessDenied"),
        ("iam:GetCredentialReport", "iam:GetCredentialReport: AccessDenied"),
        ("secretsmanager:ListSecrets", "which users are managed is not known"),
    ],
)
def test_who_does_not_know_the_account_starts_nothing_in_it(
    fleet: Stack, action: str, words: str
) -> None:
    fleet.user()
    before = rotations(fleet)
    fleet.aws.control.inject(denied(action))
    ended = fleet.fleet()
    assert (ended.status, ended.error) == ("FAILED", "FleetRunFailed")
    assert words in ended.result["reason"]
    assert "nothing was started" in ended.result["reason"]
    assert rotations(fleet) == before


# What goes wrong on the way


def test_stopping_the_run_stops_no_rotation(fleet: Stack) -> None:
    user = fleet.user()
    before = set(rotations(fleet))
    with consuming(fleet, user):
        started = fleet.machines.start_execution(stateMachineArn=fleet.fleet_arn, input="{}")
        eventually(lambda: set(rotations(fleet)) > before, what="the rotation starts")
        fleet.machines.stop_execution(executionArn=started["executionArn"])
        (name,) = set(rotations(fleet)) - before
        machine = fleet.rotate_arn.replace(":stateMachine:", ":execution:")
        assert fleet.ended(f"{machine}:{name}").result["outcome"] == "ROTATED"


def test_a_batch_that_dies_is_told_as_not_known(fleet: Stack) -> None:
    user = fleet.user()
    fleet.aws.control.inject(
        FaultRule(
            action="lambda:InvokeFunction",
            kind="error_before",
            function="StartRotations",
            code="Injected.Error",
            count=100,
        )
    )
    ended = fleet.fleet()
    assert (ended.error, ended.result["outcomes"]) == ("FleetRunFailed", {"NOT_KNOWN": 1})
    (message,) = fleet.inbox.told(ended.arn)
    assert f"- {user.name}: NOT_KNOWN" in message["Message"]


def test_a_user_whose_rotation_cannot_be_started_is_tried_again_by_the_next_run(
    fleet: Stack,
) -> None:
    user = fleet.user()
    rule = fleet.aws.control.inject(
        FaultRule(
            action="states:StartExecution",
            kind="error_before",
            function="StartRotations",
            status=400,
            code="AccessDeniedException",
            count=100,
        )
    )
    ended = fleet.fleet()
    assert ended.error == "FleetRunFailed"
    assert outcomes(fleet, ended) == {user.name: "NOT_STARTED"}
    fleet.aws.control.clear_faults(rule=rule)
    assert fleet.fleet(dryRun=True).result["chosen"] == 1


def test_a_look_that_fails_for_a_while_loses_nobody(fleet: Stack) -> None:
    user = unmanaged(fleet)
    fleet.aws.control.inject(
        FaultRule(
            action="states:DescribeExecution",
            kind="throttle",
            function="LookAtRotations",
            count=4,
        )
    )
    fleet.aws.control.inject(
        FaultRule(
            action="lambda:InvokeFunction",
            kind="error_before",
            function="LookAtRotations",
            code="Injected.Error",
            count=3,
        )
    )
    assert outcomes(fleet, fleet.fleet()) == {user.name: "REJECTED"}


def test_the_names_of_iam_users_go_through_everything(fleet: Stack) -> None:
    """Every character that IAM allows and Secrets Manager, too; an execution's name does not."""
    user = fleet.user("a+b=c.d@e_F-9x")
    assert user.secret_name == f"{PREFIX}a+b=c.d@e_F-9x"
    with consuming(fleet, user):
        assert outcomes(fleet, fleet.fleet()) == {user.name: "ROTATED"}
