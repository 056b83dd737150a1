"""What people look at: executions become metrics, metrics raise alarms, alarms reach the topic."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyturn.aws.metrics import Measure
from proofs.stack.scenarios import STAYS_OPEN, Scenarios, consuming
from proofs.stack.support import Stack, eventually

pytestmark = [pytest.mark.emulator, pytest.mark.slow, pytest.mark.xdist_group("measures")]

STACK = "keyturn"
scenario = Scenarios()


@pytest.fixture(scope="module")
def running(stack: Stack, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[None]]]:
    """All scenarios of this module, started at once."""
    with scenario.running(stack, request) as futures:
        yield futures


def value(stack: Stack, namespace: str, name: str, stat: str, **dimensions: str) -> float:
    """A metric of the last two hours, under exactly these dimensions; 0 without data."""
    now = datetime.now(UTC)
    found = stack.aws.client("cloudwatch").get_metric_data(
        StartTime=now - timedelta(hours=2),
        EndTime=now + timedelta(minutes=1),
        MetricDataQueries=[
            {
                "Id": "m",
                "MetricStat": {
                    "Metric": {
                        "Namespace": namespace,
                        "MetricName": name,
                        "Dimensions": [{"Name": k, "Value": v} for k, v in dimensions.items()],
                    },
                    "Period": 10800,
                    "Stat": stat,
                },
            }
        ],
    )
    values = found["MetricDataResults"][0]["Values"]
    return sum(values) if stat == "Sum" else max(values, default=0.0)


def counted(stack: Stack, outcome: str) -> float:
    """How many executions ended with an outcome."""
    return value(stack, "Keyturn", "Executions", "Sum", service=STACK, Outcome=outcome)


def grows(stack: Stack, outcome: str, before: float) -> None:
    """Wait until one more execution is counted."""
    eventually(lambda: counted(stack, outcome) > before, what=f"{outcome} is counted")


def goes_off(stack: Stack, name: str) -> None:
    """Wait until an alarm is in ALARM and people were told, with what to do."""
    full = next(
        alarm
        for alarm in stack.aws.client("cloudwatch").describe_alarms()["MetricAlarms"]
        if f"-{name}-" in f"{alarm['AlarmName']}-"
    )["AlarmName"]

    def told() -> list[dict[str, Any]]:
        messages = [item["Message"] for item in stack.inbox.notifications()]
        parsed = [json.loads(text) for text in messages if text.startswith('{"AlarmName"')]
        return [one for one in parsed if one["AlarmName"] == full]

    eventually(lambda: bool(told()), what=f"{full} reaches the topic")
    message = told()[0]
    assert message["NewStateValue"] == "ALARM"
    assert message["AlarmDescription"].strip()


@scenario
def a_rotation_is_counted_with_its_time_to_pickup(stack: Stack) -> None:
    before = counted(stack, "ROTATED")
    user = stack.user()
    with consuming(stack, user):
        ended = stack.rotate(user.name)
    assert ended.result["outcome"] == "ROTATED"
    grows(stack, "ROTATED", before)
    published, deactivated = (
        datetime.fromisoformat(ended.result[name]) for name in ("publishedAt", "deactivatedAt")
    )
    took = (deactivated - published).total_seconds()
    eventually(
        lambda: (
            value(stack, "Keyturn", "TimeToPickupSeconds", "Maximum", service=STACK) >= took > 0
        ),
        what="its time to pickup is measured",
    )
    assert value(stack, "Keyturn", "RotationsInFlight", "Maximum", service=STACK) >= 1


@scenario
def a_back_out_by_evidence_is_counted_and_calls_a_person(stack: Stack) -> None:
    before = counted(stack, "BACKED_OUT")
    user = stack.user()
    ended = stack.rotate(user.name, force=True, timing={"pickupTimeoutSeconds": 5})
    assert ended.result["outcome"] == "BACKED_OUT"
    grows(stack, "BACKED_OUT", before)
    eventually(
        lambda: value(stack, "Keyturn", "BackOuts", "Sum", service=STACK) >= 1,
        what="the back-out is counted",
    )
    goes_off(stack, "BackOutAlarm")


@scenario
def what_keyturn_stopped_itself_is_no_death(stack: Stack) -> None:
    before = counted(stack, "TAKEN_OVER")
    user = stack.user()
    with consuming(stack, user):
        first = stack.start(user.name, timing=STAYS_OPEN)
        stack.reaches(first, "Wait For Consumers")
        stack.rotate(user.name, action="BACK_OUT", reason="a colleague asked")
    assert stack.ended(first).status == "ABORTED"
    grows(stack, "TAKEN_OVER", before)


@scenario
def an_execution_that_is_stopped_is_a_death_and_calls_a_person(stack: Stack) -> None:
    before = counted(stack, "DIED")
    user = stack.user()
    with consuming(stack, user):
        arn = stack.start(user.name, timing=STAYS_OPEN)
        stack.reaches(arn, "Wait For Consumers")
        stack.machines.stop_execution(executionArn=arn)
        grows(stack, "DIED", before)
        goes_off(stack, "ExecutionDiedAlarm")


@scenario
def a_rejected_request_is_counted_and_calls_nobody(stack: Stack) -> None:
    before = counted(stack, "REJECTED")
    user = stack.user(managed=False)
    assert stack.rotate(user.name).error == "RequestRejected"
    grows(stack, "REJECTED", before)
    # That the alarms' metrics get nothing of it is tests/unit/test_outcomes.py's: here the alarms
    # are shared with every other test on this stack.
    assert [m for m in stack.inbox.notifications() if user.name in json.dumps(m)] == []


@scenario
def a_key_that_is_too_old_calls_a_person(stack: Stack) -> None:
    """What the audit writes is tested with the audit; here, that somebody hears of it."""
    too_old = {
        "MetricName": Measure.MANAGED_KEYS_OVER_AGE.value,
        "Dimensions": [{"Name": "service", "Value": STACK}],
        "Value": 1.0,
    }
    stack.aws.client("cloudwatch").put_metric_data(Namespace="Keyturn", MetricData=[too_old])
    goes_off(stack, "ManagedKeyTooOldAlarm")


@pytest.mark.parametrize("scenario", scenario.names)
def test_measures(running: dict[str, Future[None]], scenario: str) -> None:
    running[scenario].result()


def test_the_deployed_dashboard_is_what_the_template_promises(stack: Stack) -> None:
    watch = stack.aws.client("cloudwatch")
    body = watch.get_dashboard(DashboardName=f"{STACK}-{stack.aws.region}")["DashboardBody"]
    widgets = json.loads(body)["widgets"]
    arns = {alarm["AlarmArn"] for alarm in watch.describe_alarms()["MetricAlarms"]}
    shown = next(widget for widget in widgets if widget["type"] == "alarm")["properties"]["alarms"]
    assert set(shown) <= arns
    for widget in widgets:
        for metric in widget["properties"].get("metrics", []):
            assert "${" not in json.dumps(metric)
