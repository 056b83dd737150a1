"""Metrics and alarms as CloudWatch has them.

Gaps in MiniStack 1.5.33 that this closes:
- a log event in the embedded metric format (EMF) stays a line of text (here: CloudWatch Logs makes
  metrics of it, for each set of dimensions that it names);
- Step Functions publishes no metrics (here: `AWS/States` Executions..., one for each status);
- an alarm looks at a metric under any dimensions (here: only under its own), and only when
  somebody calls PutMetricData (here: whenever the metric gets a value).
As there, an alarm is not evaluated as time goes by: without a new value it keeps its state.
"""

from __future__ import annotations

import json
import operator
import time
from collections.abc import Callable, Iterable
from typing import Any

from ministack.services import cloudwatch, cloudwatch_logs
from ministack.services import stepfunctions as sfn

Dimensions = dict[str, str]

_BREACHES: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
_EXECUTIONS = {
    "RUNNING": "ExecutionsStarted",
    "SUCCEEDED": "ExecutionsSucceeded",
    "FAILED": "ExecutionsFailed",
    "TIMED_OUT": "ExecutionsTimedOut",
    "ABORTED": "ExecutionsAborted",
}


def install() -> None:
    """Replace the functions concerned; after stepfunctions, whose status changes it counts."""
    cloudwatch_logs._append_log_events = _extracting(cloudwatch_logs._append_log_events)
    cloudwatch.record_metric = _evaluating(cloudwatch.record_metric)
    cloudwatch._evaluate_alarm = evaluate
    sfn._emit_execution_status_event = _counting(sfn._emit_execution_status_event)


def _extracting(original: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    def append(stream: Any, events: list[dict[str, Any]]) -> None:
        original(stream, events)
        for event in events:
            if '"CloudWatchMetrics"' in event["message"]:
                _extract(event["message"])

    return append


def _extract(message: str) -> None:
    """Make metrics of a log event in EMF; whatever does not fit is left out, as on AWS."""
    try:
        document = json.loads(message)
        directives = document["_aws"]["CloudWatchMetrics"]
        for directive in directives:
            for metric in directive["Metrics"]:
                found = document[metric["Name"]]
                values = found if isinstance(found, list) else [found]
                for names in directive["Dimensions"]:
                    dimensions = {name: str(document[name]) for name in names}
                    unit = metric.get("Unit", "None")
                    for value in values:
                        cloudwatch.record_metric(
                            directive["Namespace"], metric["Name"], float(value), unit, dimensions
                        )
    except (ValueError, KeyError, TypeError):
        return


def _evaluating(original: Callable[..., None]) -> Callable[..., None]:
    def record(
        namespace: str,
        metric_name: str,
        value: float,
        unit: str = "None",
        dimensions: Dimensions | None = None,
    ) -> None:
        original(namespace, metric_name, value, unit, dimensions)
        watched = (namespace, metric_name, cloudwatch._dims_key(dimensions or {}))
        for alarm in list(cloudwatch._alarms.values()):
            if _watched_by(alarm) == watched:
                evaluate(alarm)

    return record


def _watched_by(alarm: dict[str, Any]) -> tuple[str, str, str]:
    dimensions = cloudwatch._dims_from_list(alarm.get("Dimensions") or [])
    return alarm.get("Namespace", ""), alarm.get("MetricName", ""), cloudwatch._dims_key(dimensions)


def _recent(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    """The values of the alarm's own metric within its evaluation periods."""
    points: Iterable[dict[str, Any]] = cloudwatch._metrics.get(_watched_by(alarm)) or []
    since = time.time() - alarm.get("Period", 60) * alarm.get("EvaluationPeriods", 1)
    return [point for point in points if point["Timestamp"] >= since]


def evaluate(alarm: dict[str, Any]) -> None:
    """Judge an alarm by the values within its evaluation periods, as one period of them all."""
    breaches = _BREACHES.get(alarm.get("ComparisonOperator", ""))
    points = _recent(alarm)
    if not points or breaches is None:
        return
    statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic", "Average")
    value = cloudwatch._stat_value(cloudwatch._calc_stats(points), statistic, points)
    if value is None:
        return
    old, threshold = alarm["StateValue"], float(alarm["Threshold"])
    new = "ALARM" if breaches(float(value), threshold) else "OK"
    if new == old:
        return
    reason = f"Threshold Crossed: {statistic} {value} {alarm['ComparisonOperator']} {threshold}"
    alarm.update(StateValue=new, StateReason=reason, StateUpdatedTimestamp=int(time.time()))
    cloudwatch._record_history(alarm["AlarmName"], old, new, reason)
    cloudwatch._dispatch_alarm_actions(alarm, old, new, reason)
    cloudwatch._evaluate_parent_alarms(alarm)


def _counting(original: Callable[[Any], None]) -> Callable[[Any], None]:
    def emit(execution: dict[str, Any]) -> None:
        original(execution)
        name = _EXECUTIONS.get(execution["status"])
        if name is not None and not execution.get("sync"):
            machine = {"StateMachineArn": execution["stateMachineArn"]}
            cloudwatch.record_metric("AWS/States", name, 1, "Count", machine)

    return emit
