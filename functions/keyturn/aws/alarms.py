"""CloudWatch alarms that a user's secret names."""

from __future__ import annotations

from collections.abc import Sequence

from keyturn.aws import calls


def states(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the names in ALARM, and the names whose state is neither OK nor ALARM.

    An alarm that does not exist is of the second kind: unknown never counts as safe.
    """
    found = _found(names)
    alarming = [name for name in names if found.get(name) == "ALARM"]
    unclear = [name for name in names if found.get(name) not in ("OK", "ALARM")]
    return alarming, unclear


def missing(names: Sequence[str]) -> list[str]:
    """Return the names of which no alarm exists."""
    found = _found(names)
    return [name for name in names if name not in found]


def _found(names: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    if not names:
        return found
    with calls.translated("cloudwatch:DescribeAlarms"):
        pages = (
            calls.cloudwatch()
            .get_paginator("describe_alarms")
            .paginate(AlarmNames=list(names), AlarmTypes=["MetricAlarm", "CompositeAlarm"])
        )
        for page in pages:
            for alarm in [*page.get("MetricAlarms", []), *page.get("CompositeAlarms", [])]:
                found[alarm["AlarmName"]] = alarm["StateValue"]
    return found
