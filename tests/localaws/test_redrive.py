"""RedriveExecution in the embedded AWS: who may, when, and where the execution goes on."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from ministack.services import stepfunctions as sfn

from localaws.overlay.stepfunctions_runs import why_not_redrivable
from tests.localaws.support import Toy, eventually, refused

pytestmark = pytest.mark.emulator

COUNT = "{% $states.context.Execution.RedriveCount %}"


def once(toy: Toy, do: str = "raise", **fields: Any) -> dict[str, Any]:
    """A Task whose function does something in the first go and nothing in a redriven one."""
    redriven = "$states.context.Execution.RedriveCount > 0"
    payload = {"do": f"{{% {redriven} ? 'nothing' : '{do}' %}}", "userName": "{% $name %}"}
    task = toy.task(**{"Output": {"redrives": COUNT}} | fields)
    task["Arguments"]["Payload"] = payload | {"seconds": 4}
    return task


def machine_with(toy: Toy, name: str, task: dict[str, Any], **states: Any) -> str:
    """A machine that sets variables in its first state and runs a Task in its second."""
    first = {
        "Type": "Pass",
        "Assign": {"name": name, "list": [1, {"a": "b"}]},
        "Output": {"given": "{% $states.input %}"},
        "Next": "Work",
    }
    return toy.machine(
        name, {"StartAt": "First", "States": {"First": first, "Work": task} | states}
    )


def redrive(toy: Toy, execution: str, **more: str) -> datetime:
    """RedriveExecution; returns its date."""
    client = toy.aws.client("stepfunctions")
    answer = client.redrive_execution(executionArn=execution, **more)
    date: datetime = answer["redriveDate"]
    return date


def stopped(toy: Toy, execution: str, state: str) -> None:
    """Stop an execution once it is in a state."""
    eventually(lambda: state in toy.states(execution))
    client = toy.aws.client("stepfunctions")
    client.stop_execution(executionArn=execution, error="Test", cause="stopped")


def history(toy: Toy, execution: str) -> list[dict[str, Any]]:
    client = toy.aws.client("stepfunctions")
    events = client.get_execution_history(executionArn=execution, maxResults=1000)["events"]
    return [dict(event) for event in events]


def types(toy: Toy, execution: str) -> list[str]:
    return [event["type"] for event in history(toy, execution)]


def test_a_failed_task_is_run_again_and_its_function_sees_the_count(toy: Toy, name: str) -> None:
    execution = toy.start({}, machine_with(toy, name, once(toy)))
    failed = toy.finished(execution)
    assert (failed["status"], failed["error"]) == ("FAILED", "ToyError")
    assert (failed["redriveCount"], failed["redriveStatus"]) == (0, "REDRIVABLE")
    before = history(toy, execution)
    date = redrive(toy, execution)
    ended = toy.finished(execution)
    assert (ended["executionArn"], ended["name"]) == (failed["executionArn"], failed["name"])
    assert (ended["status"], json.loads(ended["output"])) == ("SUCCEEDED", {"redrives": 1})
    assert ended["startDate"] == failed["startDate"] <= date <= ended["stopDate"]
    assert (ended["redriveCount"], ended["redriveDate"]) == (1, date)
    assert ended["redriveStatus"] == "NOT_REDRIVABLE"
    assert not {"error", "cause"} & ended.keys()
    after = history(toy, execution)
    assert after[: len(before)] == before
    assert [event["id"] for event in after] == list(range(1, len(after) + 1))
    assert after[len(before)]["type"] == "ExecutionRedriven"
    assert after[len(before)]["executionRedrivenEventDetails"] == {"redriveCount": 1}
    assert after[-1]["type"] == "ExecutionSucceeded"
    assert toy.states(execution) == ["First", "Work", "Work"]
    assert len(toy.aws.control.calls(about=name, action="lambda:InvokeFunction")) == 2


def test_input_and_variables_are_as_they_were_when_the_state_was_entered(
    toy: Toy, name: str
) -> None:
    """They are what a catcher of the state before made of them."""
    catch = {
        "ErrorEquals": ["ToyError"],
        "Assign": {"list": "{% $append($list, 2) %}", "why": "{% $states.errorOutput.Error %}"},
        "Output": {"was": "{% $states.input %}"},
        "Next": "Again",
    }
    work = toy.task(Catch=[catch])
    work["Arguments"]["Payload"] = {"do": "raise"}
    again = once(toy, Output="{% $states.input %}", Next="See")
    del again["End"]
    seen = {name: f"{{% ${name} %}}" for name in ("list", "why")} | {"input": "{% $states.input %}"}
    see = {"Type": "Pass", "Output": seen, "End": True}
    execution = toy.start({"n": 7}, machine_with(toy, name, work, Again=again, See=see))
    assert toy.finished(execution)["status"] == "FAILED"
    redrive(toy, execution)
    ended = toy.finished(execution)
    assert json.loads(ended["output"]) == {
        "input": {"was": {"given": {"n": 7}}},
        "list": [1, {"a": "b"}, 2],
        "why": "ToyError",
    }
    assert json.loads(ended["input"]) == {"n": 7}
    assert toy.states(execution) == ["First", "Work", "Again", "Again", "See"]


def test_an_execution_that_was_stopped_in_a_wait_waits_again(toy: Toy, name: str) -> None:
    wait = {
        "Type": "Wait",
        "Seconds": "{% $states.context.Execution.RedriveCount = 0 ? 600 : 1 %}",
        "Output": {"redrives": COUNT},
        "End": True,
    }
    execution = toy.start({}, machine_with(toy, name, wait))
    stopped(toy, execution, "Work")
    ended = toy.finished(execution)
    assert (ended["status"], ended["redriveStatus"]) == ("ABORTED", "REDRIVABLE")
    redrive(toy, execution)
    running = toy.described(execution)
    assert (running["status"], running["redriveStatus"]) == ("RUNNING", "NOT_REDRIVABLE")
    assert not {"stopDate", "error", "cause", "output"} & running.keys()
    assert json.loads(toy.finished(execution)["output"]) == {"redrives": 1}
    assert types(toy, execution).count("ExecutionAborted") == 1


def test_a_machines_time_limit_begins_again(toy: Toy, name: str) -> None:
    seconds = "{% $states.context.Execution.RedriveCount = 0 ? 600 : 1 %}"
    definition = {
        "TimeoutSeconds": 2,
        "StartAt": "W",
        "States": {"W": {"Type": "Wait", "Seconds": seconds, "End": True}},
    }
    execution = toy.start({}, toy.machine(name, definition))
    assert toy.finished(execution)["status"] == "TIMED_OUT"
    redrive(toy, execution)
    assert toy.finished(execution)["status"] == "SUCCEEDED"


def test_a_fail_state_fails_again_and_again(toy: Toy, name: str) -> None:
    fail = {"Type": "Fail", "Error": "Mine", "Cause": "{% $string($states.input.given.n) %}"}
    execution = toy.start({"n": 1}, machine_with(toy, name, fail))
    for redrives in (0, 1, 2):
        ended = toy.finished(execution)
        assert (ended["status"], ended["error"], ended["cause"]) == ("FAILED", "Mine", "1")
        assert ended["redriveCount"] == redrives
        redrive(toy, execution)
    assert toy.finished(execution)["redriveCount"] == 3
    assert types(toy, execution).count("ExecutionRedriven") == 3


def test_retriers_count_from_nothing_again(toy: Toy, name: str) -> None:
    retry = [{"ErrorEquals": ["ToyError"], "IntervalSeconds": 1, "MaxAttempts": 1}]
    task = toy.task(Retry=retry)
    execution = toy.start(
        {"do": "raise", "userName": name},
        toy.machine(name, {"StartAt": "T", "States": {"T": task}}),
    )

    def tries() -> int:
        return len(toy.aws.control.calls(about=name, action="lambda:InvokeFunction"))

    toy.finished(execution)
    assert tries() == 2
    redrive(toy, execution)
    toy.finished(execution)
    assert tries() == 4


def test_the_definition_is_the_one_that_the_execution_was_started_with(toy: Toy, name: str) -> None:
    machine = machine_with(toy, name, once(toy))
    execution = toy.start({}, machine)
    toy.finished(execution)
    client = toy.aws.client("stepfunctions")
    newer = {
        "QueryLanguage": "JSONata",
        "StartAt": "Work",
        "States": {"Work": {"Type": "Pass", "Output": "newer", "End": True}},
    }
    client.update_state_machine(stateMachineArn=machine, definition=json.dumps(newer))
    redrive(toy, execution)
    assert json.loads(toy.finished(execution)["output"]) == {"redrives": 1}
    assert json.loads(toy.finished(toy.start({}, machine))["output"]) == "newer"


def test_a_task_of_the_first_go_that_is_still_busy_has_no_say_any_more(toy: Toy, name: str) -> None:
    wait = {"Type": "Wait", "Seconds": 7, "End": True}
    task = once(toy, "sleep", Next="After")
    del task["End"]
    execution = toy.start({}, machine_with(toy, name, task, After=wait))
    stopped(toy, execution, "Work")
    redrive(toy, execution)
    ended = toy.finished(execution)
    assert ended["status"] == "SUCCEEDED"
    assert toy.states(execution) == ["First", "Work", "Work", "After"]
    calls = toy.aws.control.calls(about=name, action="lambda:InvokeFunction")
    assert len(calls) == 2
    assert types(toy, execution).count("TaskSucceeded") == 1
    assert types(toy, execution).count("ExecutionSucceeded") == 1


def test_a_stop_before_the_first_state_is_redriven_from_the_start(toy: Toy, name: str) -> None:
    first = {"Type": "Pass", "Output": {"redrives": COUNT}, "End": True}
    machine = toy.machine(name, {"StartAt": "P", "States": {"P": first}})
    execution = toy.start({}, machine)
    toy.aws.client("stepfunctions").stop_execution(executionArn=execution)
    redrive(toy, execution)
    assert json.loads(toy.finished(execution)["output"]) == {"redrives": 1}
    begun = time.monotonic()
    eventually(lambda: time.monotonic() - begun > 0.5)
    assert toy.states(execution) == ["P"]


def test_a_parallel_state_is_run_again(toy: Toy, name: str) -> None:
    branch = {"StartAt": "B", "States": {"B": once(toy)}}
    task = {"Type": "Parallel", "Branches": [branch], "End": True}
    execution = toy.start({}, machine_with(toy, name, task))
    assert toy.finished(execution)["status"] == "FAILED"
    redrive(toy, execution)
    assert json.loads(toy.finished(execution)["output"]) == [{"redrives": 1}]


# Who may not, and what cannot be redriven


def test_what_succeeded_or_runs_cannot_be_redriven(toy: Toy, name: str) -> None:
    client = toy.aws.client("stepfunctions")
    machine = toy.machine(
        name,
        {
            "StartAt": "W",
            "States": {
                "W": {"Type": "Wait", "Seconds": "{% $states.input.seconds %}", "End": True}
            },
        },
    )
    running = toy.start({"seconds": 600}, machine)
    done = toy.start({"seconds": 0}, machine)
    toy.finished(done)
    for execution, status in ((running, "RUNNING"), (done, "SUCCEEDED")):
        with pytest.raises(ClientError, match=f"Execution is {status} and cannot") as failure:
            client.redrive_execution(executionArn=execution)
        assert failure.value.response["Error"]["Code"] == "ExecutionNotRedrivable"
        assert toy.described(execution)["redriveCount"] == 0
    client.stop_execution(executionArn=running)
    redrive(toy, running)
    assert refused(client.redrive_execution, executionArn=running) == "ExecutionNotRedrivable"
    client.stop_execution(executionArn=running)


@pytest.mark.parametrize(
    ("arn", "code"),
    [
        ("arn:aws:states:us-east-1:123456789012:execution:none:none", "ExecutionDoesNotExist"),
        ("arn:aws:states:us-east-1:123456789012:stateMachine:none", "InvalidArn"),
        ("nonsense", "InvalidArn"),
    ],
)
def test_what_is_no_execution_is_refused(toy: Toy, arn: str, code: str) -> None:
    assert refused(toy.aws.client("stepfunctions").redrive_execution, executionArn=arn) == code


def test_the_same_token_is_the_same_redrive(toy: Toy, name: str) -> None:
    execution = toy.start({}, machine_with(toy, name, {"Type": "Fail"}))
    toy.finished(execution)
    first = redrive(toy, execution, clientToken="one")
    toy.finished(execution)
    assert redrive(toy, execution, clientToken="one") == first
    assert toy.described(execution)["redriveCount"] == 1
    redrive(toy, execution, clientToken="two")
    assert toy.finished(execution)["redriveCount"] == 2


def test_redriving_needs_a_permission_of_its_own(toy: Toy, name: str) -> None:
    execution = toy.start({}, machine_with(toy, name, once(toy)))
    toy.finished(execution)
    key = toy.user(name)
    client = toy.client("stepfunctions", key)
    others = ["states:StartExecution", "states:StopExecution", "states:DescribeExecution"]
    toy.allow(name, {"Effect": "Allow", "Action": others, "Resource": "*"})
    code = refused(client.redrive_execution, executionArn=execution)
    assert code == "AccessDeniedException"
    assert toy.described(execution)["status"] == "FAILED"
    elsewhere = execution.rsplit(":", 2)[0] + ":other:*"
    redriving = {"Effect": "Allow", "Action": "states:RedriveExecution"}
    toy.allow(name, redriving | {"Resource": elsewhere})
    code = refused(client.redrive_execution, executionArn=execution)
    assert code == "AccessDeniedException"
    toy.allow(name, redriving | {"Resource": execution})
    client.redrive_execution(executionArn=execution)
    assert toy.finished(execution)["status"] == "SUCCEEDED"


def test_every_change_of_status_is_an_event(toy: Toy, name: str) -> None:
    sqs, events = toy.aws.client("sqs"), toy.aws.client("events")
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    machine = machine_with(toy, name, once(toy))
    pattern = {"source": ["aws.states"], "detail": {"stateMachineArn": [machine]}}
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    arn = f"arn:aws:sqs:{toy.aws.region}:{toy.aws.account_id}:{name}"
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])
    execution = toy.start({}, machine)
    toy.finished(execution)
    redrive(toy, execution)
    toy.finished(execution)
    details: list[dict[str, Any]] = []

    def all_there() -> bool:
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get(
            "Messages", []
        ):
            details.append(json.loads(message["Body"])["detail"])
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return len(details) >= 4

    eventually(all_there)
    told = [(it["status"], it["redriveCount"], it["redriveStatus"]) for it in details]
    assert told == [
        ("RUNNING", 0, "NOT_REDRIVABLE"),
        ("FAILED", 0, "REDRIVABLE"),
        ("RUNNING", 1, "NOT_REDRIVABLE"),
        ("SUCCEEDED", 1, "NOT_REDRIVABLE"),
    ]
    assert {it["executionArn"] for it in details} == {execution}
    assert [it["redriveDate"] is not None for it in details] == [False, False, True, True]
    assert [it["error"] for it in details] == [None, "ToyError", None, None]


# The limits in time and length, which nobody waits for


NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, None),
        ({"stopDate": NOW - timedelta(days=14)}, None),
        ({"stopDate": NOW - timedelta(days=14, seconds=1)}, "redrivable period exceeded"),
        ({"startDate": NOW - timedelta(days=366)}, "max execution time"),
        ({"events": [{}] * 24_998}, None),
        ({"events": [{}] * 24_999}, "history event limit"),
        ({"status": "TIMED_OUT"}, None),
        ({"status": "ABORTED"}, None),
        ({"status": "SUCCEEDED"}, "is SUCCEEDED"),
        ({"status": "RUNNING"}, "is RUNNING"),
        ({"stateMachineArn": "gone"}, "DELETING"),
    ],
)
def test_the_limits(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], says: str | None
) -> None:
    monkeypatch.setattr(sfn, "_state_machines", {"machine": {}})
    execution: dict[str, Any] = {
        "status": "FAILED",
        "startDate": NOW - timedelta(days=20),
        "stopDate": NOW - timedelta(days=1),
        "events": [],
        "stateMachineArn": "machine",
    } | change
    for field in ("startDate", "stopDate"):
        execution[field] = execution[field].isoformat().replace("+00:00", "Z")
    problem = why_not_redrivable(execution, NOW)
    assert (problem is None) == (says is None)
    assert says is None or says in str(problem)
