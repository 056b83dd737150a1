"""CloudWatch alarms that a user's secret names."""

from __future__ import annotations

from collections.abc import Sequence

from keyturn.aws import calls


def states(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the names in ALARM, and the names whose state is neither OK nor ALARM.

    An alarm that does not exist is of the second kind: unknown never counts as safe.
    """
    if not names:
        return [], []
    found: dict[str, str] = {}
    with calls.translated("cloudwatch:DescribeAlarms"):
        pages = calls.cloudwatch().get_paginator("describe_alarms").paginate(
            AlarmNames=list(names), AlarmTypes=["MetricAlarm", "CompositeAlarm"]
        )
        for page in pages:
            for alarm in [*page.get("MetricAlarms", []), *page.get("CompositeAlarms", [])]:
                found[alarm["AlarmName"]] = alarm["StateValue"]
    alarming = [name for name in names if found.get(name) == "ALARM"]
    unclear = [name for name in names if found.get(name) not in ("OK", "ALARM")]
    return alarming, unclear
