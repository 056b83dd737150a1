"""Metrics of functions' logs and of state machines, and the alarms on them."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.localaws.support import Toy, eventually

pytestmark = pytest.mark.emulator


def emf(name: str, value: Any, **dimensions: str) -> str:
    """A log line in the embedded metric format."""
    metric = {"Name": name, "Unit": "Count"}
    directive = {"Namespace": "Toy", "Dimensions": [list(dimensions)], "Metrics": [metric]}
    aws = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}
    return json.dumps({"_aws": aws, name: value, **dimensions})


def total(toy: Toy, name: str, *, namespace: str = "Toy", **dimensions: str) -> float | None:
    """The sum of a metric under exactly these dimensions; None without data."""
    now = datetime.now(UTC)
    found = toy.aws.client("cloudwatch").get_metric_statistics(
        Namespace=namespace,
        MetricName=name,
        Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(minutes=1),
        Period=7200,
        Statistics=["Sum"],
    )["Datapoints"]
    return sum(point["Sum"] for point in found) if found else None


def alarm(toy: Toy, name: str, metric: str, **dimensions: str) -> None:
    toy.aws.client("cloudwatch").put_metric_alarm(
        AlarmName=name,
        Namespace="Toy",
        MetricName=metric,
        Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )


def state(toy: Toy, name: str) -> str:
    (found,) = toy.aws.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return str(found["StateValue"])


def test_what_a_function_prints_in_emf_becomes_a_metric(toy: Toy, name: str) -> None:
    for value in ([1.0], [2.0, 4.0], 8):
        toy.invoke({"do": "print", "text": emf(name, value, service="a", Step="b")})
    assert total(toy, name, service="a", Step="b") == 15
    assert total(toy, name, service="a") is None


@pytest.mark.parametrize(
    "text",
    [
        "no JSON, CloudWatchMetrics",
        '{"_aws": {"CloudWatchMetrics": 7}}',
        '{"_aws": {"CloudWatchMetrics": [{"Namespace": "Toy"}]}}',
        '["CloudWatchMetrics"]',
    ],
)
def test_what_is_no_emf_stays_a_line_of_text(toy: Toy, text: str) -> None:
    assert "pid" in toy.invoke({"do": "print", "text": text})


def test_emf_that_names_a_metric_without_a_value_makes_none(toy: Toy, name: str) -> None:
    line = json.loads(emf(name, 1, service="a"))
    del line[name]
    toy.invoke({"do": "print", "text": json.dumps(line)})
    assert total(toy, name, service="a") is None


def test_a_log_event_from_elsewhere_becomes_a_metric_too(toy: Toy, name: str) -> None:
    logs = toy.aws.client("logs")
    logs.create_log_group(logGroupName=name)
    logs.create_log_stream(logGroupName=name, logStreamName="s")
    event = {"timestamp": int(time.time() * 1000), "message": emf(name, 3, service="a")}
    logs.put_log_events(logGroupName=name, logStreamName="s", logEvents=[event])
    assert total(toy, name, service="a") == 3


def test_an_alarm_sees_its_metric_under_its_own_dimensions_alone(toy: Toy, name: str) -> None:
    alarm(toy, name, name, service="mine")
    toy.invoke({"do": "print", "text": emf(name, 5, service="other")})
    toy.invoke({"do": "print", "text": emf(name, 5, service="mine", Step="x")})
    assert state(toy, name) == "INSUFFICIENT_DATA"
    toy.invoke({"do": "print", "text": emf(name, 1, service="mine")})
    assert state(toy, name) == "OK"
    toy.invoke({"do": "print", "text": emf(name, 1, service="mine")})
    assert state(toy, name) == "ALARM"


@pytest.mark.parametrize(
    ("kind", "metric"), [("Succeed", "ExecutionsSucceeded"), ("Fail", "ExecutionsFailed")]
)
def test_executions_are_counted_for_their_machine(
    toy: Toy, name: str, kind: str, metric: str
) -> None:
    machine = toy.machine(name, {"StartAt": "S", "States": {"S": {"Type": kind}}})
    for _ in range(2):
        toy.finished(toy.start({}, machine))

    def counted(which: str) -> float | None:
        return total(toy, which, namespace="AWS/States", StateMachineArn=machine)

    eventually(lambda: counted(metric) == 2)
    assert counted("ExecutionsStarted") == 2
    assert counted("ExecutionsAborted") is None
