"""Start Back-Out: what becomes of an execution that could not end by itself."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest

from keyturn.alerts.recovering import MAX_GENERATIONS
from keyturn.handlers.events.start_back_out import handler
from keyturn.model.errors import AwsThrottled, SettingMissing, UnexpectedFailure
from keyturn.model.identifiers import recovery_name
from keyturn.model.outcomes import DECIDED
from keyturn.model.request import parse_rotate_request
from tests.integration.account import CONTEXT, Account
from tests.integration.aws_like import refuses

DEAD = "arn:aws:states:us-east-1:123456789012:execution:rotate:dead"


@pytest.fixture(autouse=True)
def targets(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    topic = boto3.client("sns").create_topic(Name="people")["TopicArn"]
    monkeypatch.setenv("NOTIFICATION_TOPIC_ARN", topic)
    monkeypatch.setenv("ROTATE_KEY_STATE_MACHINE_ARN", account.machine_arn)
    account.wire.forget()


def event(given: Any = None, **detail: Any) -> dict[str, Any]:
    text = given if isinstance(given, str) or given is None else json.dumps(given)
    return {"detail": {"executionArn": DEAD, "status": "ABORTED", "input": text, **detail}}


def started(account: Account) -> list[dict[str, Any]]:
    return [params for name, params in account.wire.calls if name == "StartExecution"]


def told(account: Account) -> list[dict[str, Any]]:
    return [params for name, params in account.wire.calls if name == "Publish"]


def test_a_back_out_is_started_that_names_the_dead(account: Account) -> None:
    answer = handler(event({"userName": "ci", "reason": "x", "force": True}), CONTEXT)
    (start,) = started(account)
    assert answer["started"]
    assert start["name"] == recovery_name(DEAD)
    assert json.loads(start["input"]) == {
        "userName": "ci",
        "action": "BACK_OUT",
        "reason": f"{DEAD} ended as ABORTED without deciding",
        "recovery": {"executionArn": DEAD, "generation": 1},
    }


@pytest.mark.parametrize(
    ("given", "subject"),
    [
        ({"accessKeyId": "AKIAIOSFODNN7EXAMPLE"}, {"accessKeyId": "AKIAIOSFODNN7EXAMPLE"}),
        ({"userName": "ci", "accessKeyId": "AKIAIOSFODNN7EXAMPLE"}, {"userName": "ci"}),
    ],
)
def test_what_it_starts_is_a_valid_request(
    account: Account, given: dict[str, str], subject: dict[str, str]
) -> None:
    handler(event(given), CONTEXT)
    data = json.loads(started(account)[0]["input"])
    assert subject.items() <= data.items()
    assert parse_rotate_request(data).recovery is not None


def test_the_same_event_twice_starts_once(account: Account) -> None:
    assert handler(event({"userName": "ci"}), CONTEXT)["started"]
    account.wire.next("StartExecution", refuses("ExecutionAlreadyExists"))
    assert not handler(event({"userName": "ci"}, status="TIMED_OUT"), CONTEXT)["started"]
    names = {start["name"] for start in started(account)}
    assert len(names) == 1


@pytest.mark.parametrize("error", sorted(DECIDED))
def test_an_execution_that_decided_is_left_alone(account: Account, error: str) -> None:
    assert not handler(event({"userName": "ci"}, status="FAILED", error=error), CONTEXT)["started"]
    assert account.wire.operations == []


@pytest.mark.parametrize("error", sorted(DECIDED))
def test_a_redriven_execution_decides_nothing_whatever_its_error_says(
    account: Account, error: str
) -> None:
    detail = event({"userName": "ci"}, status="FAILED", error=error, redriveCount=1)
    assert handler(detail, CONTEXT)["started"]
    data = json.loads(started(account)[0]["input"])
    assert data["recovery"]["executionArn"] == DEAD


def test_every_death_of_a_redriven_execution_has_a_back_out_of_its_own(account: Account) -> None:
    """The name of the one before is used up, and that one may have found it running."""
    for redrives in (0, 1, 2):
        assert handler(event({"userName": "ci"}, redriveCount=redrives), CONTEXT)["started"]
    assert handler(event({"userName": "ci"}, redriveCount=2), CONTEXT)
    names = [start["name"] for start in started(account)]
    assert len(set(names)) == 3
    assert names[2] == names[3]
    assert names[0] == recovery_name(DEAD)


@pytest.mark.parametrize(
    "arn",
    [
        DEAD.replace(":rotate:", ":another:"),
        DEAD.replace("123456789012", "999999999999"),
        DEAD.replace("us-east-1", "eu-west-1"),
        DEAD.replace("arn:aws:", "arn:aws-cn:"),
        "arn:aws:states:us-east-1:123456789012:stateMachine:rotate",
        "arn:aws:iam::123456789012:user/ci",
        DEAD + "x" * 2048,
        "x",
        "",
    ],
    ids=["machine", "account", "Region", "partition", "no run", "IAM", "long", "text", "empty"],
)
def test_what_is_no_execution_of_this_machine_starts_nothing(account: Account, arn: str) -> None:
    answer = handler(event({"userName": "ci"}, executionArn=arn), CONTEXT)
    assert not answer["started"]
    assert "not an execution" in answer["why"]
    assert account.wire.operations == []


@pytest.mark.parametrize("error", [None, "States.Runtime", "TakenOver", "UnexpectedFailure"])
def test_every_other_end_is_recovered_from(account: Account, error: str | None) -> None:
    assert handler(event({"userName": "ci"}, error=error), CONTEXT)["started"]


@pytest.mark.parametrize(("generation", "starts"), [(1, True), (2, True), (3, False), (9, False)])
def test_the_chain_ends_at_the_third_generation(
    account: Account, generation: int, starts: bool
) -> None:
    given = {"userName": "ci", "recovery": {"executionArn": "x", "generation": generation}}
    assert handler(event(given), CONTEXT)["started"] is starts
    assert len(told(account)) == (not starts)
    if starts:
        data = json.loads(started(account)[0]["input"])
        assert data["recovery"]["generation"] == generation + 1 <= MAX_GENERATIONS


@pytest.mark.parametrize("recovery", ["x", [], {}, {"generation": "2"}, {"generation": -5}, 0])
def test_a_generation_that_cannot_be_counted_is_the_last(account: Account, recovery: Any) -> None:
    assert not handler(event({"userName": "ci", "recovery": recovery}), CONTEXT)["started"]
    assert len(told(account)) == 1


@pytest.mark.parametrize(
    "given", [None, "", "no JSON", "[]", '"ci"', "{}", {"userName": ""}, {"userName": {"a": 1}}]
)
def test_a_person_is_told_when_no_user_is_named(account: Account, given: Any) -> None:
    """EventBridge leaves out an input above 248 KB; an aborted one may have been anything."""
    assert not handler(event(given), CONTEXT)["started"]
    (message,) = told(account)
    assert DEAD in message["Message"]
    assert message["Subject"].isascii()
    assert len(message["Subject"]) <= 100
    assert started(account) == []


@pytest.mark.parametrize("malformed", [{}, {"detail": {}}, {"detail": None}, {"detail": []}])
def test_an_event_that_is_none_fails_and_so_reaches_the_dead_letter_queue(malformed: Any) -> None:
    with pytest.raises(UnexpectedFailure):
        handler(malformed, CONTEXT)


def test_throttling_is_raised_so_that_the_event_is_delivered_again(account: Account) -> None:
    account.wire.next("StartExecution", refuses("ThrottlingException"))
    with pytest.raises(AwsThrottled):
        handler(event({"userName": "ci"}), CONTEXT)


@pytest.mark.parametrize("name", ["ROTATE_KEY_STATE_MACHINE_ARN", "NOTIFICATION_TOPIC_ARN"])
def test_a_missing_setting_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(name)
    with pytest.raises(SettingMissing, match=name):
        handler(event({"userName": "ci"} if "MACHINE" in name else None), CONTEXT)
