"""Lambda in the embedded AWS: errors, warm workers, environment, logs."""

from __future__ import annotations

import time

import pytest

import localaws
from localaws.overlay.lambda_workers import WORKERS_PER_FUNCTION
from tests.localaws.support import TOY, Toy, eventually

pytestmark = pytest.mark.emulator


def test_an_exception_is_reported_by_its_class_and_leaves_the_worker_warm(toy: Toy) -> None:
    pids = {toy.invoke({"do": "sleep", "seconds": 0})["pid"]}
    error = toy.invoke({"do": "raise", "message": "broken"})
    assert (error["errorType"], error["errorMessage"]) == ("ToyError", "broken")
    assert "toy.py" in "".join(error["stackTrace"])
    after = toy.invoke({"do": "sleep", "seconds": 0})
    assert after["pid"] in pids
    assert after["invocations"] > 2


def test_invocations_are_recorded_as_cold_or_warm(toy: Toy) -> None:
    toy.aws.control.end_idle_workers()
    since = time.time()
    toy.invoke({"do": "sleep", "seconds": 0.2})
    toy.invoke({"do": "raise", "message": "broken"})
    cold, warm = toy.aws.control.invocations(since=since)
    assert cold.function == warm.function == toy.outputs["ActorName"]
    assert cold.init_seconds is not None
    assert cold.seconds >= 0.2
    assert (warm.init_seconds, warm.error) == (None, "ToyError")


def test_without_preloading_a_worker_imports_everything_by_itself() -> None:
    imported = {}
    for preload in (True, False):
        with localaws.start(preload=preload) as aws:
            outputs = localaws.deploy(aws, stack_name="loads", template=TOY, parameters={})
            answer = Toy(aws, outputs).invoke({"do": "imported", "module": "pydantic"})
            imported[preload] = answer["imported"]
    assert imported == {True: True, False: False}


def test_a_worker_that_exits_is_replaced(toy: Toy) -> None:
    assert toy.invoke({"do": "exit"})["errorType"] == "Runtime.ExitError"
    assert toy.invoke({})["invocations"] >= 1


def test_a_function_that_takes_too_long_is_ended(toy: Toy) -> None:
    error = toy.invoke({"do": "sleep", "seconds": 60}, "SleeperName")
    assert error["errorType"] == "Sandbox.Timedout"
    assert "timed out after 1.00 seconds" in error["errorMessage"]
    assert toy.invoke({}, "SleeperName")["invocations"] == 1


def test_the_context_tells_function_and_time_left(toy: Toy) -> None:
    told = toy.invoke({})
    assert told["function"] == toy.outputs["ActorName"]
    assert 9_000 < told["remaining"] <= 10_000
    assert told["requestId"]
    assert told["stack"] == "toy"


def test_the_callers_environment_does_not_reach_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACK", "leaked")
    with localaws.start() as aws:
        outputs = localaws.deploy(aws, stack_name="clean", template=TOY, parameters={})
        assert Toy(aws, outputs).invoke({}, "SleeperName")["stack"] == ""


def test_what_a_handler_prints_is_in_its_log_group(toy: Toy, name: str) -> None:
    toy.invoke({"do": "print", "text": f"{name} {'x' * 100_000}"})
    logs = toy.aws.client("logs")
    group = f"/aws/lambda/{toy.outputs['ActorName']}"
    events = eventually(
        lambda: logs.filter_log_events(logGroupName=group, filterPattern=f'"{name}"')["events"]
    )
    assert len(events[0]["message"]) > 100_000


def test_an_error_is_logged_with_its_trace(toy: Toy, name: str) -> None:
    toy.invoke({"do": "raise", "message": name})
    logs = toy.aws.client("logs")
    group = f"/aws/lambda/{toy.outputs['ActorName']}"
    found = eventually(
        lambda: logs.filter_log_events(logGroupName=group, filterPattern=f'"{name}"')["events"]
    )
    assert found[0]["message"] == f"[ERROR] ToyError: {name}"


def test_calls_of_a_handler_are_signed_with_its_role(toy: Toy, name: str) -> None:
    toy.user(name)
    toy.invoke(
        {
            "do": "call",
            "service": "iam",
            "operation": "list_access_keys",
            "arguments": {"UserName": name},
        }
    )
    calls = toy.aws.control.calls(about=name, action="iam:ListAccessKeys")
    assert any(
        "assumed-role/toy-ActorRole" in call.principal
        and call.principal.endswith(f"/{toy.outputs['ActorName']}")
        for call in calls
    )


def test_many_executions_at_once_share_a_bounded_number_of_workers(toy: Toy, name: str) -> None:
    states = {
        "One": toy.task(End=False, Next="Pause"),
        "Pause": {"Type": "Wait", "Seconds": 1, "Next": "Two"},
        "Two": toy.task(),
    }
    del states["One"]["End"]
    machine = toy.machine(name, {"StartAt": "One", "States": states})
    event = {"do": "sleep", "seconds": 0.05}
    executions = [toy.start(event, machine) for _ in range(40)]
    assert {toy.finished(execution)["status"] for execution in executions} == {"SUCCEEDED"}
    assert len(toy.aws.control.workers()) <= 2 * WORKERS_PER_FUNCTION
