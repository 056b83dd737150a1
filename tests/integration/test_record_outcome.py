"""Record Outcome: which lines it prints for which status change, and what can go wrong."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from keyturn.handlers.events.record_outcome import handler
from keyturn.model.errors import SettingMissing
from tests.integration.account import CONTEXT, Account
from tests.integration.aws_like import refuses

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def setting(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROTATE_KEY_STATE_MACHINE_ARN", account.machine_arn)


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    """The metrics printed since the last look."""

    def read() -> list[dict[str, Any]]:
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return [line for line in found if "_aws" in line]

    return read


def event(account: Account, status: str, **detail: Any) -> dict[str, Any]:
    arn = account.machine_arn.replace(":stateMachine:", ":execution:") + ":one"
    given = '{"userName": "ci"}'
    return {"detail": {"executionArn": arn, "status": status, "input": given, **detail}}


def metrics(line: dict[str, Any]) -> tuple[dict[str, str], dict[str, float]]:
    """The dimensions and the values of a line."""
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "Keyturn"
    (names,) = directive["Dimensions"]
    values = {metric["Name"]: line[metric["Name"]][0] for metric in directive["Metrics"]}
    return {name: line[name] for name in names}, values


def test_an_end_is_counted_under_its_outcome_and_a_back_out_on_its_own(
    account: Account, lines: Lines
) -> None:
    cause = {
        "publishedAt": "2026-11-21T05:00:00.000Z",
        "deactivatedAt": "2026-11-21T05:01:00.000Z",
    }
    given = event(account, "FAILED", error="BackoutIncomplete", cause=json.dumps(cause))
    assert handler(given, CONTEXT) == {"outcome": "NEEDS_ATTENTION"}
    assert [metrics(line) for line in lines()] == [
        ({"service": "keyturn", "Outcome": "NEEDS_ATTENTION"}, {"Executions": 1}),
        (
            {"service": "keyturn"},
            {
                "BackOuts": 1,
                "BackOutsIncomplete": 1,
                "TimeToPickupSeconds": 60,
                "RotationsInFlight": 0,
            },
        ),
    ]


def test_a_start_only_counts_what_runs(account: Account, lines: Lines) -> None:
    for _ in range(2):
        account.execution()
    account.wire.forget()
    assert handler(event(account, "RUNNING"), CONTEXT) == {"outcome": None}
    assert [metrics(line) for line in lines()] == [
        ({"service": "keyturn"}, {"RotationsInFlight": 2})
    ]
    assert account.wire.operations == ["ListExecutions"]


def test_running_executions_are_counted_over_all_pages(account: Account, lines: Lines) -> None:
    account.wire.next("ListExecutions", lambda _: {"executions": [{}] * 1000, "nextToken": "x"})
    account.wire.next("ListExecutions", lambda _: {"executions": [{}] * 7})
    handler(event(account, "RUNNING"), CONTEXT)
    assert [metrics(line)[1] for line in lines()] == [{"RotationsInFlight": 1007}]


@pytest.mark.parametrize("code", ["ThrottlingException", "AccessDeniedException"])
def test_an_end_is_counted_once_though_nobody_says_what_runs(
    account: Account, lines: Lines, code: str
) -> None:
    """An error would bring the event back, and the end would be counted again."""
    account.wire.next("ListExecutions", refuses(code))
    handler(event(account, "TIMED_OUT"), CONTEXT)
    assert [metrics(line)[1] for line in lines()] == [{"Executions": 1}]


def test_an_event_that_comes_twice_is_counted_twice_and_changes_nothing(
    account: Account, lines: Lines
) -> None:
    for _ in range(2):
        handler(event(account, "SUCCEEDED", output='{"outcome": "ROTATED"}'), CONTEXT)
    found = [metrics(line)[1] for line in lines()]
    assert [one for one in found if "Executions" in one] == [{"Executions": 1}] * 2
    assert set(account.wire.operations) == {"ListExecutions"}


@pytest.mark.parametrize(
    ("error", "outcome"), [("TakenOver", "TAKEN_OVER"), ("by hand", "DIED"), (None, "DIED")]
)
def test_whether_keyturn_stopped_it_is_looked_up_where_the_event_does_not_say(
    account: Account, error: str | None, outcome: str
) -> None:
    account.wire.next(
        "DescribeExecution",
        lambda _: {"status": "ABORTED", "stopDate": datetime.now(UTC), "error": error},
    )
    assert handler(event(account, "ABORTED"), CONTEXT) == {"outcome": outcome}


@pytest.mark.parametrize("code", ["ThrottlingException", "ExecutionDoesNotExist"])
def test_a_stop_that_cannot_be_looked_up_counts_as_a_death(account: Account, code: str) -> None:
    account.wire.next("DescribeExecution", refuses(code))
    assert handler(event(account, "ABORTED"), CONTEXT) == {"outcome": "DIED"}


@pytest.mark.parametrize(
    "malformed",
    [
        {},
        {"detail": None},
        {"detail": []},
        {"detail": {"status": "FAILED"}},
        {"detail": {"status": "FAILED", "executionArn": 7}},
        {
            "detail": {
                "status": "FAILED",
                "executionArn": f"arn:aws:states:x:y:execution:z:{SECRET}",
            }
        },
    ],
)
def test_what_is_no_event_of_ours_counts_nothing(
    account: Account, lines: Lines, logged: io.StringIO, malformed: dict[str, Any]
) -> None:
    assert handler(malformed, CONTEXT) == {"outcome": None}
    assert lines() == []
    assert account.wire.operations == []
    assert SECRET not in logged.getvalue()


def test_nothing_of_input_output_error_and_cause_is_repeated(
    account: Account, lines: Lines, logged: io.StringIO
) -> None:
    told = json.dumps({"userName": SECRET, "outcome": SECRET, "reason": SECRET})
    for status in ("SUCCEEDED", "FAILED", "ABORTED"):
        given = event(account, status, input=told, output=told, cause=told, error=SECRET)
        handler(given, CONTEXT)
    assert "counted" in logged.getvalue()
    assert SECRET not in logged.getvalue() + json.dumps(lines())


def test_a_missing_setting_is_named(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROTATE_KEY_STATE_MACHINE_ARN")
    with pytest.raises(SettingMissing, match="ROTATE_KEY_STATE_MACHINE_ARN"):
        handler(event(account, "RUNNING"), CONTEXT)
