"""The metrics that Keyturn writes: their names, and the one way in which they are written.

Only what AWS does not count itself: calls and errors of functions are in AWS/Lambda, executions of
the other machines in AWS/States, and cost nothing there. Alarms and the dashboard find a metric
only under exactly the dimensions that it was written with. These have none but `service` (the
stack's name) and, where it says so, one more.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit


class Measure(StrEnum):
    """Metrics in the namespace Keyturn, with the dimension `service`."""

    # Written by RecordOutcome when an execution of RotateKey starts or ends.
    EXECUTIONS = "Executions"
    """Executions that have ended; with the dimension Outcome as well."""
    BACK_OUTS = "BackOuts"
    """Executions that backed a rotation out, or could not finish doing so."""
    BACK_OUTS_INCOMPLETE = "BackOutsIncomplete"
    TIME_TO_PICKUP = "TimeToPickupSeconds"
    """From the publishing of a new key to the deactivation of the old one."""
    ROTATIONS_IN_FLIGHT = "RotationsInFlight"
    """Running executions of RotateKey; the audit writes it, too."""

    # Written by the audit.
    MANAGED_USERS = "ManagedUsers"
    OLDEST_MANAGED_KEY = "OldestManagedKeyAgeDays"
    MANAGED_KEYS_OVER_AGE = "ManagedKeysOverAge"
    REPORTS_NOT_SENT = "ReportsNotSent"
    """Audits whose report did not reach the collecting account."""

    # Written by StartRotation.
    MALFORMED_EVENTS = "MalformedEvents"
    """Events that could not be understood, or not all of them."""

    # Written in the collecting account.
    ACCOUNTS_NOT_JUDGED = "AccountsNotJudged"
    """Accounts that the report of the organisation says nothing about."""


_UNITS = {Measure.TIME_TO_PICKUP: MetricUnit.Seconds, Measure.OLDEST_MANAGED_KEY: MetricUnit.NoUnit}


def write(values: Mapping[Measure, float], **dimensions: str) -> None:
    """Print one line in the embedded metric format; CloudWatch makes metrics of it.

    Args:
        values: the metrics; with none, nothing is printed.
        dimensions: those beside `service`. Each combination is a metric of its own, and is billed
            as one.
    """
    if not values:
        return
    metrics = EphemeralMetrics()
    for name, value in dimensions.items():
        metrics.add_dimension(name=name, value=value)
    for measure, number in values.items():
        unit = _UNITS.get(measure, MetricUnit.Count)
        metrics.add_metric(name=measure.value, unit=unit, value=number)
    metrics.flush_metrics()
