"""Every error that leaves a function.

The class name is the error name that the state machines match on (Lambda reports a Python
exception to Step Functions by its class name), so renaming a class is a change of contract with
executions that are already running.
"""

from __future__ import annotations

import json
from typing import Any


class KeyturnError(Exception):
    """Base of all errors raised on purpose. Messages never hold secret material."""


class SettingMissing(KeyturnError):
    """An environment variable that the function needs is absent or malformed; it is named."""


class RequestRejected(KeyturnError):
    """The request cannot be carried out as the world stands; nothing was changed by it."""


class ClaimLost(KeyturnError):
    """Another execution (or a person) holds the claim: this execution must change nothing more."""


class FenceClosed(KeyturnError):
    """A state's budget is over: a call begun now could take effect after a take-over."""


class ExecutionRedriven(KeyturnError):
    """A redriven execution changes nothing: others may have taken over since it ended."""


class KeyNotProven(KeyturnError):
    """A stored key does not authenticate as the user it belongs to, and waiting will not help."""


class DeactivationPostponed(KeyturnError):
    """The last look before the deactivation found a reason to go on waiting for the consumers."""


class WorldContradictory(KeyturnError):
    """Keys and labels are not what this rotation made of them; a person interfered."""


class AwsThrottled(KeyturnError):
    """AWS asked for fewer calls, answered with a 5xx, or did not answer: worth another try."""


class AnswerLost(AwsThrottled):
    """CreateAccessKey was not answered: it may still create, so trying again has to wait."""


class AwsRefused(KeyturnError):
    """AWS refused a call for good (denied, invalid, missing); the code and message are kept."""


class AuditFailed(KeyturnError):
    """The credential report could not be had or read: nothing is known, so nothing is started."""


class HandoverMissing(KeyturnError):
    """The report bucket lacks what an earlier state of the fleet run left there for this one."""


class UnexpectedFailure(KeyturnError):
    """A defect. Only the type and place are reported, because the message could quote a value."""


def failure_in_words(failure: dict[str, Any] | None) -> str:
    """Return a caught error as its name and message; a Lambda's Cause is a JSON object."""
    if not failure:
        return ""
    cause = failure.get("Cause") or ""
    try:
        parsed = json.loads(cause)
    except ValueError:
        parsed = None
    message = parsed.get("errorMessage", "") if isinstance(parsed, dict) else cause
    return f"{failure.get('Error', 'unknown error')}: {message}"[:1000]
