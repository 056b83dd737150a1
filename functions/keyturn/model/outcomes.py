"""How executions of RotateKey ended, as the status events of Step Functions tell it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keyturn.model.moments import moment
from keyturn.model.request import LONGEST_ARN
from keyturn.model.rotation import Outcome

# Ends that the execution itself decided, so that nothing is left hanging: the Fail states' errors,
# each with the outcome in the result that is its Cause.
DECIDED: Mapping[str, Outcome] = {
    "RequestRejected": Outcome.REJECTED,
    "RotationFailed": Outcome.FAILED,
    "RotationBackedOut": Outcome.BACKED_OUT,
    "AttentionNeeded": Outcome.NEEDS_ATTENTION,
    "BackoutIncomplete": Outcome.NEEDS_ATTENTION,
}

# The error of a StopExecution by a person's BACK_OUT or an EMERGENCY that takes over the claim.
TAKEN_OVER_ERROR = "TakenOver"

# Ends without a result. DIED is what StartBackOut backs out, apart from TAKEN_OVER, which Keyturn
# stopped itself and goes on with. UNKNOWN succeeded, and its event does not say with what.
DIED = "DIED"
TAKEN_OVER = "TAKEN_OVER"
UNKNOWN = "UNKNOWN"

OUTCOMES: tuple[str, ...] = (*(outcome.value for outcome in Outcome), DIED, TAKEN_OVER, UNKNOWN)
"""Every outcome that an execution can be counted under."""

STARTED = "RUNNING"
ENDED_BADLY = frozenset({"FAILED", "TIMED_OUT", "ABORTED"})


@dataclass(frozen=True)
class Ending:
    """What is counted of one execution that has ended; `pickup_seconds` is None where unknown."""

    outcome: str
    error: str | None = None
    backed_out: bool = False
    back_out_incomplete: bool = False
    pickup_seconds: float | None = None


def is_execution_of(machine_arn: str, arn: object) -> bool:
    """Tell whether this is the ARN of an execution of that state machine."""
    prefix = machine_arn.replace(":stateMachine:", ":execution:", 1) + ":"
    return isinstance(arn, str) and len(arn) <= LONGEST_ARN and arn.startswith(prefix)


def redrives(detail: Mapping[str, Any]) -> int:
    """Return how often the execution was redriven; what is no count is none."""
    count = detail.get("redriveCount")
    return count if isinstance(count, int) and count > 0 else 0


def has_decided(detail: Mapping[str, Any]) -> bool:
    """Tell whether a failed execution decided its end.

    A redriven one decides nothing: it ends at once, whatever its error says.
    """
    return _text(detail, "error") in DECIDED and not redrives(detail)


def ending(detail: Mapping[str, Any]) -> Ending | None:
    """Return what to count for an event's `detail`, or None when it tells of no end.

    The back-outs are those that ended as such and those that could not finish. An event that is
    delivered twice is counted twice: EventBridge delivers at least once, and one too many in a
    graph harms nobody.
    """
    status, error = _text(detail, "status"), _text(detail, "error")
    if status == "SUCCEEDED":
        result = _object(detail.get("output"))
        said = _text(result, "outcome")
        outcome = said if said in {known.value for known in Outcome} else UNKNOWN
        return Ending(
            outcome,
            backed_out=outcome == Outcome.BACKED_OUT,
            pickup_seconds=_pickup_seconds(detail, result),
        )
    if status not in ENDED_BADLY:
        return None
    if status == "FAILED" and has_decided(detail):
        incomplete = error == "BackoutIncomplete"
        return Ending(
            DECIDED[error].value,
            error,
            backed_out=incomplete or error == "RotationBackedOut",
            back_out_incomplete=incomplete,
            pickup_seconds=_pickup_seconds(detail, _object(detail.get("cause"))),
        )
    if status == "ABORTED" and error == TAKEN_OVER_ERROR:
        return Ending(TAKEN_OVER, TAKEN_OVER_ERROR)
    return Ending(DIED, error or None)


def _pickup_seconds(detail: Mapping[str, Any], result: Mapping[str, Any]) -> float | None:
    """Seconds from publishing to the deactivation; only a standard rotation waits for a pickup.

    A back-out names times of the rotation before it, and an emergency waits for nobody.
    """
    given = _object(detail.get("input"))
    if not given or given.get("action", "ROTATE") != "ROTATE":
        return None
    if given.get("mode", "STANDARD") != "STANDARD":
        return None
    published = moment(result.get("publishedAt"))
    deactivated = moment(result.get("deactivatedAt"))
    if published is None or deactivated is None or deactivated < published:
        return None
    return (deactivated - published).total_seconds()


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    return value if isinstance(value, str) else ""


def _object(text: object) -> dict[str, Any]:
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
