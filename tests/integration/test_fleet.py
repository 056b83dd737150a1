"""The functions of a fleet run, each called as its state calls it: retries, half-done work."""

from __future__ import annotations

import importlib
import io
import json
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from keyturn.aws import reports, s3, secrets
from keyturn.fleet.choosing import SECONDS_BETWEEN_STARTS
from keyturn.fleet.run import ATTEMPTS_KEY, FleetRun
from keyturn.model.errors import (
    AwsRefused,
    AwsThrottled,
    HandoverMissing,
)
from keyturn.model.moments import iso
from tests.integration.account import CONTEXT, Account, assert_answers_what_is_read
from tests.integration.aws_like import ACCOUNT, REGION, refuses

BUCKET = "reports"
FLEET = f"arn:aws:states:{REGION}:{ACCOUNT}:execution:fleet"
HEADER = (
    "user,arn,user_creation_time,password_enabled,password_last_used,password_last_changed,"
    "password_next_rotation,mfa_active,access_key_1_active,access_key_1_last_rotated,"
    "access_key_1_last_used_date,access_key_1_last_used_region,access_key_1_last_used_service,"
    "access_key_2_active,access_key_2_last_rotated,access_key_2_last_used_date,"
    "access_key_2_last_used_region,access_key_2_last_used_service"
)
NOW = datetime.now(UTC).replace(microsecond=0)
OLD = iso(NOW - timedelta(days=200))


def row(name: str, created: str = OLD) -> str:
    key = f"true,{created},N/A,N/A,N/A,false,N/A,N/A,N/A,N/A"
    return f"{name},arn:aws:iam::{ACCOUNT}:user/{name},{OLD},false,N/A,N/A,N/A,false,{key}"


class Fleet:
    """A fleet run whose states a test enters one by one."""

    def __init__(self, account: Account, name: str = "one", **given: Any) -> None:
        self.account = account
        self.given = given
        execution = {"Id": f"{FLEET}:{name}", "StartTime": iso(NOW), "Input": given}
        self.context = {"Execution": execution, "State": {"EnteredTime": iso(NOW)}}
        self.run = FleetRun.of(self.context)

    def call(self, handler: str, **fields: Any) -> Any:
        payload = {"context": self.context, "input": self.given, "run": self.run.dump()} | fields
        module = importlib.import_module(f"keyturn.handlers.rotate_fleet.{handler}")
        answer = json.loads(json.dumps(module.handler(json.loads(json.dumps(payload)), CONTEXT)))
        assert_answers_what_is_read(handler, answer)
        return answer

    def read(self, key: str) -> Any:
        return s3.read_json(BUCKET, key)

    def started(self) -> list[str]:
        pages = self.account.machines.list_executions(stateMachineArn=self.account.machine_arn)
        return sorted(execution["name"] for execution in pages["executions"])


@pytest.fixture
def fleet(account: Account, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """A run in an account whose report has three managed users, all of them due."""
    for name, value in {
        "REPORT_BUCKET": BUCKET,
        "MAX_KEY_AGE_DAYS": "90",
        "MAX_ROTATIONS_PER_RUN": "50",
        "ROTATE_KEY_STATE_MACHINE_ARN": account.machine_arn,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(time, "sleep", account.slept.append)
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    names = ["a", "b", "c"]
    for name in names:
        account.secret(name, "{}")
    text = "\n".join([HEADER, *map(row, names)])
    report = reports.CredentialReport(text.encode(), NOW)
    monkeypatch.setattr(reports, "credential_report", lambda: report)
    return Fleet(account)


def audited(fleet: Fleet) -> Fleet:
    fleet.call("audit_account")
    return fleet


def chosen(fleet: Fleet) -> Fleet:
    audited(fleet).call("choose_users")
    return fleet


def started(fleet: Fleet) -> Fleet:
    chosen(fleet).call("start_rotations", number=0)
    return fleet


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"user,arn\nci,x\n", "line 1: .* no column user_creation_time"),
        (f"{HEADER}\n{row('a')}\n".encode() + b"\xff", "line 3: the report is not UTF-8, in"),
    ],
    ids=["no column", "not UTF-8"],  # the content tells the time: no name for a test
)
def test_a_broken_report_names_account_and_line_and_chooses_nobody(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, content: bytes, place: str
) -> None:
    report = reports.CredentialReport(content, NOW)
    monkeypatch.setattr(reports, "credential_report", lambda: report)
    answer = fleet.call("audit_account")
    assert (answer["next"], answer["ending"]) == ("END", "FleetRunFailed")
    assert re.search(f"AuditFailed: .*{ACCOUNT}.*{place}", answer["result"]["reason"])
    assert "could not audit the account, nothing was started" in answer["announcement"]["message"]
    assert fleet.read(fleet.run.facts_key) is None


def test_a_denied_source_is_told_in_every_file_and_stops_nothing(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(action: str) -> Any:
        def deny(*_: Any) -> None:
            raise AwsRefused(f"{action}: AccessDenied")

        return deny

    # Each for itself, then both.
    for policy, listed in ((True, False), (False, True), (True, True)):
        with monkeypatch.context() as patch:
            if policy:
                patch.setattr(reports, "password_policy", denied("iam:GetAccountPasswordPolicy"))
            if listed:
                patch.setattr(secrets, "listed", denied("secretsmanager:ListSecrets"))
            answer = fleet.call("audit_account")
        expected = {"iam:GetAccountPasswordPolicy": policy, "secretsmanager:ListSecrets": listed}
        sources = " ".join(answer["audit"]["unavailable"])
        rules = [rule for rule in answer["audit"]["findings"] if rule.endswith("(not judged)")]
        assert ("password-policy (not judged)" in rules) == policy
        assert ("two-active-keys (not judged)" in rules) == listed
        for action, is_denied in expected.items():
            assert (action in sources) == is_denied
            for name in ("report.json", "findings.csv", "report.html"):
                body = boto3.client("s3").get_object(
                    Bucket=BUCKET, Key=fleet.run.latest_prefix + name
                )["Body"]
                assert (f"{action}: AccessDenied" in body.read().decode()) == is_denied, name
        # Nobody is chosen by what is not known.
        facts = fleet.read(fleet.run.facts_key)
        assert (facts["unavailable"] is not None) == listed
        assert bool(facts["users"]) == (not listed)


def test_the_audit_leaves_the_facts_of_the_managed_users_and_of_those_asked_for(
    fleet: Fleet, account: Account
) -> None:
    asking = Fleet(account, "two", userNames=["nobody", "a"])
    account.secrets.delete_secret(SecretId="machine-user/a", ForceDeleteWithoutRecovery=True)
    answer = asking.call("audit_account")
    facts = asking.read(asking.run.facts_key)
    assert {user["userName"]: user["managed"] for user in facts["users"]} == {
        "a": False,
        "b": True,
        "c": True,
    }
    assert (answer["audit"]["users"], answer["audit"]["managed"]) == (3, 2)


def test_a_wrong_input_is_rejected_before_any_call(account: Account) -> None:
    answer = Fleet(account, force=True).call("audit_account")
    assert (answer["next"], answer["ending"]) == ("END", "FleetRequestRejected")
    assert answer["result"]["outcome"] == "REJECTED"
    assert "was rejected, nothing was started: " in answer["announcement"]["message"]
    assert account.wire.operations == []


def test_choosing_again_chooses_the_same(fleet: Fleet) -> None:
    """A second try of the function meets the attempts that its first try has noted."""
    first = audited(fleet).call("choose_users")
    plan = fleet.read(fleet.run.plan_key)
    assert fleet.call("choose_users") == first
    assert fleet.read(fleet.run.plan_key) == plan
    assert [user["userName"] for user in plan["chosen"]] == ["a", "b", "c"]
    assert set(fleet.read(ATTEMPTS_KEY)) == {"a", "b", "c"}


def test_the_next_run_of_the_day_leaves_who_was_tried(fleet: Fleet, account: Account) -> None:
    started(fleet)
    later = audited(Fleet(account, "two"))
    assert later.call("choose_users") == {
        "next": "SUM_UP",
        "ending": None,
        "result": None,
        "announcement": None,
        "batches": [],
    }


def test_whom_a_stopped_run_did_not_get_to_is_chosen_by_the_next_one(
    fleet: Fleet, account: Account
) -> None:
    chosen(fleet)
    before_the_batches = audited(Fleet(account, "two"))
    before_the_batches.call("choose_users")
    assert len(before_the_batches.read(before_the_batches.run.plan_key)["chosen"]) == 3
    account.wire.next("StartExecution", lambda act: act(), refuses("ThrottlingException"))
    with pytest.raises(AwsThrottled):
        before_the_batches.call("start_rotations", number=0)
    account.wire.forget()
    in_the_middle = audited(Fleet(account, "three"))
    in_the_middle.call("choose_users")
    plan = in_the_middle.read(in_the_middle.run.plan_key)
    assert [user["userName"] for user in plan["chosen"]] == ["b", "c"]
    assert [(user["userName"], user["why"]) for user in plan["left"]] == [("a", "COOLING_DOWN")]


def test_attempts_that_are_long_ago_or_unreadable_hold_nobody_back(fleet: Fleet) -> None:
    long_ago = {"at": iso(NOW - timedelta(days=30)), "run": "r", "batch": "fleet/r/outcomes/0.json"}
    s3.write_json(BUCKET, ATTEMPTS_KEY, {"a": long_ago, "b": {"at": "soon", "run": "r"}})
    assert audited(fleet).call("choose_users")["batches"] == [0]
    plan = fleet.read(fleet.run.plan_key)
    assert {user["userName"] for user in plan["chosen"]} == {"a", "b", "c"}


def test_who_is_managed_must_be_known_unless_users_are_named(
    fleet: Fleet, account: Account
) -> None:
    account.wire.next("ListSecrets", refuses("AccessDeniedException", status=400))
    audited(fleet)
    answer = fleet.call("choose_users")
    assert (answer["next"], answer["ending"]) == ("END", "FleetRunFailed")
    assert "not known" in answer["result"]["reason"]


def test_the_limit_of_the_stack_cannot_be_exceeded_by_the_input(
    fleet: Fleet, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_ROTATIONS_PER_RUN", "2")
    more = audited(Fleet(account, "two", maxRotations=3, dryRun=True))
    more.call("choose_users")
    assert len(more.read(more.run.plan_key)["chosen"]) == 2
    fewer = audited(Fleet(account, "three", maxRotations=1, dryRun=True))
    fewer.call("choose_users")
    assert len(fewer.read(fewer.run.plan_key)["chosen"]) == 1


def test_starting_goes_on_where_it_was_throttled(fleet: Fleet, account: Account) -> None:
    chosen(fleet)
    account.wire.next("StartExecution", lambda act: act(), refuses("ThrottlingException"))
    with pytest.raises(AwsThrottled):
        fleet.call("start_rotations", number=0)
    stands = [item["stand"] for item in fleet.read(fleet.run.outcomes_key(0))["rotations"]]
    assert stands == ["RUNNING", "PENDING", "PENDING"]
    account.wire.forget()
    answer = fleet.call("start_rotations", number=0)
    assert (answer["next"], answer["running"]) == ("WAIT", 3)
    assert account.wire.operations.count("StartExecution") == 2
    assert len(fleet.started()) == 3


def test_starts_are_spaced_so_that_iam_does_not_throttle_the_account(fleet: Fleet) -> None:
    started(fleet)
    assert fleet.account.slept == [SECONDS_BETWEEN_STARTS] * 3


def test_a_batch_gives_rotate_key_a_user_and_a_reason_and_nothing_else(
    fleet: Fleet, account: Account
) -> None:
    """Whoever may write into the bucket must not get more than ordinary rotations out of it."""
    chosen(fleet)
    key = fleet.run.batch_key(0)
    more = {"mode": "EMERGENCY", "force": True, "action": "BACK_OUT", "accessKeyId": "A" * 20}
    s3.write_json(BUCKET, key, [item | more for item in fleet.read(key)])
    fleet.call("start_rotations", number=0)
    assert len(fleet.started()) == 3
    for name in fleet.started():
        arn = f"{account.machine_arn.replace(':stateMachine:', ':execution:')}:{name}"
        given = json.loads(account.machines.describe_execution(executionArn=arn)["input"])
        assert given.keys() == {"userName", "reason"}


def test_one_start_that_is_refused_stops_nobody(fleet: Fleet, account: Account) -> None:
    chosen(fleet)
    account.wire.next("StartExecution", refuses("InvalidName"))
    assert fleet.call("start_rotations", number=0)["running"] == 2
    told = fleet.call("sum_up_fleet", audit={}, failure=None)
    assert told["result"]["outcomes"] == {"NOT_STARTED": 1, "NOT_KNOWN": 2}
    later = audited(Fleet(account, "two"))
    later.call("choose_users")
    assert [item["userName"] for item in later.read(later.run.plan_key)["chosen"]] == ["a"]


def test_a_run_that_could_start_nobody_never_shows_green(fleet: Fleet, account: Account) -> None:
    chosen(fleet)
    account.wire.next("StartExecution", *[refuses("AccessDeniedException")] * 3)
    assert fleet.call("start_rotations", number=0)["next"] == "DONE"
    told = fleet.call("sum_up_fleet", audit={}, failure=None)
    assert (told["ending"], told["result"]["outcome"]) == ("FleetRunFailed", "FAILED")
    assert "none of the rotations could be started" in told["result"]["reason"]
    assert "AccessDeniedException" in told["announcement"]["message"]
    assert told["result"]["outcomes"] == {"NOT_STARTED": 3}


def test_a_rotation_that_was_started_before_is_watched_and_not_started_again(
    fleet: Fleet, account: Account
) -> None:
    started(fleet)
    asking = audited(Fleet(account, "two", userNames=["b"]))
    asking.call("choose_users")
    asking.call("start_rotations", number=0)
    (rotation,) = asking.read(asking.run.outcomes_key(0))["rotations"]
    assert (rotation["stand"], rotation["earlierToday"]) == ("RUNNING", True)
    assert len(fleet.started()) == 3


def ends(fleet: Fleet, user: str, **how: str) -> None:
    """Let a user's rotation have ended."""
    rotations = fleet.read(fleet.run.outcomes_key(0))["rotations"]
    arn = next(item["executionArn"] for item in rotations if item["userName"] == user)
    found = fleet.account._moto_execution(arn)
    found.status = how.pop("status", "SUCCEEDED")
    found.stop_date = iso(NOW)
    for name, value in how.items():
        setattr(found, name, value)


def test_a_look_notes_who_has_ended_and_the_last_one_ends_the_watch(fleet: Fleet) -> None:
    started(fleet)
    for user in ("a", "b", "c"):
        arn = fleet.read(fleet.run.outcomes_key(0))["rotations"]
        found = fleet.account._moto_execution(
            next(item["executionArn"] for item in arn if item["userName"] == user)
        )
        found.status = "RUNNING"
    ends(fleet, "b", output=json.dumps({"outcome": "ROTATED", "reason": "done"}))
    answer = fleet.call("look_at_rotations", number=0, polls=1)
    assert (answer["next"], answer["running"], answer["polls"]) == ("WAIT", 2, 2)
    for user in ("a", "c"):
        cause = json.dumps({"outcome": "REJECTED", "reason": "no tag"})
        ends(fleet, user, status="FAILED", output="", cause=cause, error="RequestRejected")
    assert fleet.call("look_at_rotations", number=0, polls=2)["next"] == "DONE"
    told = fleet.call("sum_up_fleet", audit={}, failure=None)
    assert told["result"]["outcomes"] == {"REJECTED": 2, "ROTATED": 1}


def test_a_look_that_is_throttled_counts_nobody_as_ended(fleet: Fleet, account: Account) -> None:
    started(fleet)
    account.wire.next("DescribeExecution", *[refuses("ThrottlingException")] * 9)
    answer = fleet.call("look_at_rotations", number=0, polls=1)
    assert (answer["next"], answer["running"]) == ("WAIT", 3)
    assert account.wire.operations.count("DescribeExecution") == 1  # the next look goes on


@pytest.mark.parametrize(
    ("handler", "fields"),
    [
        ("start_rotations", {"number": 0}),
        ("look_at_rotations", {"number": 0, "polls": 1}),
        ("sum_up_fleet", {"audit": {}, "failure": None}),
    ],
)
def test_what_is_missing_from_the_bucket_is_named(
    fleet: Fleet, handler: str, fields: dict[str, Any]
) -> None:
    answer = fleet.call("choose_users")
    assert (answer["next"], answer["ending"]) == ("END", "FleetRunFailed")
    assert f"s3://{BUCKET}/fleet/{fleet.run.id}/" in answer["result"]["reason"]
    with pytest.raises(HandoverMissing, match=f"s3://{BUCKET}/fleet/{fleet.run.id}/"):
        fleet.call(handler, **fields)


def test_logs_name_no_access_key(fleet: Fleet, logged: io.StringIO) -> None:
    started(fleet)
    assert "AKIA" not in logged.getvalue()
