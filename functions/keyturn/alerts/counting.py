"""What is counted of an execution of RotateKey that has started or ended."""

from __future__ import annotations

from typing import Any

from keyturn.aws import executions
from keyturn.aws.log import logger
from keyturn.aws.metrics import Measure
from keyturn.model.errors import AwsRefused, AwsThrottled
from keyturn.model.outcomes import Ending


def with_error(detail: dict[str, Any]) -> dict[str, Any]:
    """Return the detail with its error, which the event may lack.

    It says whether Keyturn stopped the execution itself.
    """
    if detail.get("status") != "ABORTED" or detail.get("error"):
        return detail
    try:
        return detail | {"error": executions.look_up(detail["executionArn"]).error}
    except AwsThrottled:
        return detail  # counted as a death, then: one alarm too many rather than one too few


def values(ending: Ending | None) -> dict[Measure, float]:
    """Return the metrics of an end; none of a start."""
    if ending is None:
        return {}
    found: dict[Measure, float] = {}
    if ending.backed_out:
        found[Measure.BACK_OUTS] = 1
    if ending.back_out_incomplete:
        found[Measure.BACK_OUTS_INCOMPLETE] = 1
    if ending.pickup_seconds is not None:
        found[Measure.TIME_TO_PICKUP] = ending.pickup_seconds
    return found


def in_flight(machine: str) -> dict[Measure, float]:
    """Return how many executions run; nothing when AWS does not say.

    An error would bring the event again, and the end would be counted twice.
    """
    try:
        return {Measure.ROTATIONS_IN_FLIGHT: executions.count_running(machine)}
    except (AwsThrottled, AwsRefused) as error:
        logger.warning("cannot count the running executions", error=type(error).__name__)
        return {}
