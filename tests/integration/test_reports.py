"""The adapters of the audit: credential report, password policy, secrets, the bucket."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from keyturn.aws import calls, executions, reports, s3, secrets
from keyturn.model.errors import AuditFailed, AwsRefused, AwsThrottled
from keyturn.model.passwords import PasswordPolicy
from tests.integration.account import PREFIX, Account
from tests.integration.aws_like import REGION, refuses

MADE = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
REPORT = {"Content": b"user\n", "ReportFormat": "text/csv", "GeneratedTime": MADE}


class Clock:
    """A clock that moves only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def iam(wire: object, fresh_clients: None) -> Iterator[Stubber]:
    """IAM answers exactly what a test lists, in this order."""
    with Stubber(calls.iam()) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def generates(iam: Stubber, state: str) -> None:
    iam.add_response("generate_credential_report", {"State": state})


def refuses_get(iam: Stubber, code: str, status: int) -> None:
    iam.add_client_error("get_credential_report", code, http_status_code=status)


def fetched(clock: Clock | None = None) -> reports.CredentialReport:
    clock = clock or Clock()
    return reports.credential_report(clock=lambda: clock.now, sleep=clock.sleep)


def test_a_report_that_is_there_takes_two_calls_and_no_wait(iam: Stubber) -> None:
    generates(iam, "COMPLETE")
    iam.add_response("get_credential_report", REPORT)
    clock = Clock()
    assert fetched(clock) == reports.CredentialReport(b"user\n", MADE)
    assert clock.slept == []


@pytest.mark.parametrize("state", ["STARTED", "INPROGRESS"])
def test_a_report_that_is_being_made_is_waited_for(iam: Stubber, state: str) -> None:
    generates(iam, state)
    refuses_get(iam, "ReportInProgress", 404)
    refuses_get(iam, "ReportInProgress", 404)
    iam.add_response("get_credential_report", REPORT)
    clock = Clock()
    fetched(clock)
    assert clock.slept == [2.0, 3.0, 4.5]


@pytest.mark.parametrize("code", ["ReportExpired", "ReportNotPresent"])
def test_a_report_that_is_gone_is_generated_again(iam: Stubber, code: str) -> None:
    generates(iam, "COMPLETE")
    refuses_get(iam, code, 410)
    generates(iam, "STARTED")
    iam.add_response("get_credential_report", REPORT)
    clock = Clock()
    fetched(clock)
    assert clock.slept == [3.0]


def test_a_report_that_somebody_else_has_generated_serves_as_well(iam: Stubber) -> None:
    iam.add_client_error("generate_credential_report", "LimitExceeded", http_status_code=409)
    iam.add_response("get_credential_report", REPORT)
    fetched()


def test_a_report_that_never_comes_is_given_up_within_the_time_of_the_function(
    iam: Stubber,
) -> None:
    generates(iam, "STARTED")
    for _ in range(40):
        refuses_get(iam, "ReportInProgress", 404)
    clock = Clock()
    with pytest.raises(AuditFailed, match="after 240 seconds; nothing was started"):
        fetched(clock)
    assert 200 < clock.now <= 240
    assert all(one <= other for one, other in pairwise(clock.slept))
    assert max(clock.slept) == 20.0
    iam._queue.clear()  # type: ignore[attr-defined]


def test_a_denied_report_is_an_error_that_names_the_call(iam: Stubber) -> None:
    iam.add_client_error("generate_credential_report", "AccessDenied", "no", http_status_code=403)
    with pytest.raises(AwsRefused, match="iam:GenerateCredentialReport: AccessDenied: no"):
        fetched()


def test_the_password_policy_is_read_and_a_missing_setting_is_none(account: Account) -> None:
    assert reports.password_policy() is None
    account.iam.update_account_password_policy(MinimumPasswordLength=14, MaxPasswordAge=90)
    policy = reports.password_policy()
    assert policy is not None
    assert (policy.max_age_days, policy.minimum_length) == (90, 14)


def test_a_policy_without_an_expiry_has_none(iam: Stubber) -> None:
    policy = {"MinimumPasswordLength": 8, "ExpirePasswords": False}
    iam.add_response("get_account_password_policy", {"PasswordPolicy": policy})
    assert reports.password_policy() == PasswordPolicy(None, 8, None)


# The list of secrets

VERSION, INTENT = "1" * 32, f"intent-{'0' * 32}"


def entry(number: int) -> dict[str, Any]:
    return {
        "ARN": f"arn:aws:secretsmanager:{REGION}:1:secret:{PREFIX}u{number}-AbCdEf",
        "Name": f"{PREFIX}u{number}",
        "Tags": [{"Key": "keyturn:last-result", "Value": "ROTATED x y"}],
        "SecretVersionsToStages": {VERSION: ["AWSCURRENT"], INTENT: ["CLAIM", "INTENT"]},
    }


def test_secrets_are_listed_page_by_page_with_labels_and_tags(
    wire: object, fresh_clients: None
) -> None:
    asked = {"Filters": [{"Key": "name", "Values": [PREFIX]}], "MaxResults": 100}
    pages = [[entry(n) for n in range(100)], [entry(n) for n in range(100, 200)], [entry(200)]]
    with Stubber(calls.secretsmanager()) as stubber:
        for number, page in enumerate(pages):
            token = {"NextToken": str(number)} if number else {}
            more = {"NextToken": str(number + 1)} if number < 2 else {}
            stubber.add_response("list_secrets", {"SecretList": page, **more}, asked | token)
        found = secrets.listed(PREFIX)
        stubber.assert_no_pending_responses()
    assert [secret.name for secret in found] == [f"{PREFIX}u{n}" for n in range(201)]
    assert found[0].labels == {"AWSCURRENT": VERSION, "CLAIM": INTENT, "INTENT": INTENT}
    assert found[0].tags == {"keyturn:last-result": "ROTATED x y"}


def test_only_names_with_the_very_prefix_are_listed(wire: object, fresh_clients: None) -> None:
    others = [{**entry(1), "Name": name} for name in ("MACHINE-USER/u1", "x/machine-user/u1")]
    with Stubber(calls.secretsmanager()) as stubber:
        stubber.add_response("list_secrets", {"SecretList": [*others, entry(2)]}, ANY_ARGUMENTS)
        assert [secret.name for secret in secrets.listed(PREFIX)] == [f"{PREFIX}u2"]


ANY_ARGUMENTS = {"Filters": ANY, "MaxResults": ANY}


# The bucket


@pytest.fixture
def bucket(account: Account) -> str:
    boto3.client("s3").create_bucket(Bucket="reports")
    return "reports"


def test_a_document_is_read_as_it_was_written_and_a_missing_one_is_none(bucket: str) -> None:
    assert s3.read_json(bucket, "fleet/plan.json") is None
    s3.write_json(bucket, "fleet/plan.json", {"chosen": []})
    assert s3.read_json(bucket, "fleet/plan.json") == {"chosen": []}


def test_a_denied_document_is_not_taken_for_a_missing_one(account: Account, bucket: str) -> None:
    account.wire.next("GetObject", refuses("AccessDenied", status=403))
    with pytest.raises(AwsRefused, match="s3:GetObject: AccessDenied"):
        s3.read_json(bucket, "fleet/plan.json")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("report.html", "text/html; charset=utf-8"),
        ("keys.csv", "text/csv; charset=utf-8"),
        ("report.json", "application/json"),
    ],
)
def test_a_file_is_uploaded_with_its_type(
    bucket: str, tmp_path: Path, name: str, kind: str
) -> None:
    (tmp_path / name).write_text("é")
    s3.upload(bucket, f"audits/{name}", tmp_path / name)
    found = boto3.client("s3").get_object(Bucket=bucket, Key=f"audits/{name}")
    assert (found["ContentType"], found["Body"].read().decode()) == (kind, "é")


# How an execution stands


@pytest.fixture
def machines(wire: object, fresh_clients: None) -> Iterator[Stubber]:
    with Stubber(calls.stepfunctions()) as stubber:
        yield stubber


ARN = "arn:aws:states:us-east-1:123456789012:execution:rotate:one"


def described(status: str, **fields: str) -> dict[str, Any]:
    machine = ARN.replace(":execution:", ":stateMachine:").rsplit(":", 1)[0]
    common = {"executionArn": ARN, "stateMachineArn": machine, "startDate": MADE}
    return {**common, "status": status, **fields}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (described("RUNNING"), executions.Result(None)),
        (described("PENDING_REDRIVE"), executions.Result(None)),
        (
            described("SUCCEEDED", output='{"outcome": "ROTATED", "reason": "done"}'),
            executions.Result("ROTATED", "done"),
        ),
        (
            described("FAILED", error="E", cause='{"outcome": "REJECTED", "reason": "no tag"}'),
            executions.Result("REJECTED", "no tag"),
        ),
    ],
)
def test_an_execution_tells_its_result(
    machines: Stubber, answer: dict[str, Any], expected: executions.Result
) -> None:
    machines.add_response("describe_execution", answer)
    assert executions.result_of(ARN) == expected


@pytest.mark.parametrize("fields", [{}, {"cause": "somebody stopped it"}, {"cause": "[]"}])
def test_an_execution_that_was_stopped_is_told_by_its_status(
    machines: Stubber, fields: dict[str, str]
) -> None:
    machines.add_response("describe_execution", described("ABORTED", **fields))
    found = executions.result_of(ARN)
    assert found is not None
    assert found.outcome == "ABORTED"


def test_an_execution_that_cannot_be_seen_is_unknown_and_throttling_is_raised(
    machines: Stubber,
) -> None:
    machines.add_client_error("describe_execution", "ExecutionDoesNotExist", http_status_code=400)
    assert executions.result_of(ARN) is None
    for _ in range(3):
        machines.add_client_error("describe_execution", "ThrottlingException")
    with pytest.raises(AwsThrottled):
        executions.result_of(ARN)
