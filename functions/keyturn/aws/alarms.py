"""CloudWatch alarms that a user's secret names."""

from __future__ import annotations

from collections.abc import Sequence

from keyturn.aws import calls
from keyturn.model.signals import ALARM, Signal, SignalState

_STATES = {"OK": SignalState.OK, "ALARM": SignalState.BAD}


def ask(names: Sequence[str]) -> list[Signal]:
    """Return the alarms of these names, in their order.

    INSUFFICIENT_DATA is UNCLEAR, and so is an alarm that does not exist.
    """
    found = _found(names)
    return [
        Signal(
            kind=ALARM,
            name=name,
            state=_STATES.get(found.get(name, ""), SignalState.UNCLEAR),
            words=f"in {found[name]}" if name in found else "it does not exist",
            exists=name in found,
        )
        for name in names
    ]


def _found(names: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    if not names:  # without names, DescribeAlarms answers with every alarm of the account
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
