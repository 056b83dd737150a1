"""Step Functions: what became of an execution that holds a claim, stopping one, starting one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from keyturn.aws import calls, fence
from keyturn.model.errors import AwsRefused
from keyturn.model.outcomes import TAKEN_OVER_ERROR

_ENDED = frozenset({"SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"})


@dataclass(frozen=True)
class ExecutionState:
    """An execution: `running` is None when its state cannot be known."""

    running: bool | None
    ended_at: datetime | None = None
    error: str | None = None


def look_up(execution_arn: str) -> ExecutionState:
    """Return the state of an execution.

    Throttling is raised (the caller tries again); "does not exist" and a denial are unknown,
    because both can be had for an execution that runs.
    """
    try:
        with calls.translated("states:DescribeExecution"):
            found = calls.stepfunctions().describe_execution(executionArn=execution_arn)
    except AwsRefused:
        return ExecutionState(running=None)
    if found["status"] in _ENDED and found.get("stopDate"):
        return ExecutionState(False, found["stopDate"].astimezone(UTC), found.get("error"))
    return ExecutionState(running=True)  # RUNNING, and PENDING_REDRIVE, which may run any moment


def stop(execution_arn: str, *, cause: str) -> None:
    """Stop an execution; one that has ended already counts as stopped."""
    fence.may_change()
    try:
        with calls.translated("states:StopExecution"):
            calls.stepfunctions().stop_execution(
                executionArn=execution_arn, error=TAKEN_OVER_ERROR, cause=cause
            )
    except AwsRefused:
        if look_up(execution_arn).running is not False:
            raise


def start(machine_arn: str, name: str, data: dict[str, Any]) -> bool:
    """Start an execution; False when one of this name was started before.

    AWS answers True as well for the same name and input while that execution still runs: it starts
    nothing, and cannot be told from a first start.
    """
    with calls.translated("states:StartExecution"):
        try:
            calls.stepfunctions().start_execution(
                stateMachineArn=machine_arn, name=name, input=json.dumps(data)
            )
        except ClientError as error:
            if calls.error_code(error) != "ExecutionAlreadyExists":
                raise
            return False
    return True


@dataclass(frozen=True)
class Result:
    """How an execution of RotateKey stands: `outcome` is None while it runs."""

    outcome: str | None
    reason: str = ""


def result_of(execution_arn: str) -> Result | None:
    """Return how an execution stands, or None when that cannot be known.

    An execution that was stopped or timed out has no result of the contract; its status stands
    for the outcome. Throttling is raised.
    """
    try:
        with calls.translated("states:DescribeExecution"):
            found = calls.stepfunctions().describe_execution(executionArn=execution_arn)
    except AwsRefused:
        return None
    status: str = found["status"]
    if status not in _ENDED:
        return Result(None)
    try:
        result = json.loads(found.get("output") or found.get("cause") or "")
        return Result(str(result["outcome"]), str(result["reason"]))
    except (ValueError, KeyError, TypeError):
        why = found.get("error") or "it ended without a result"
        return Result(status, f"{why}; a back-out is started for an execution that dies")


def count_running(machine_arn: str) -> int:
    """Count the running executions of a state machine; the list may lag by seconds.

    One call for every 1,000 of them. A redriven one counts once it runs again.
    """
    with calls.translated("states:ListExecutions"):
        pages = calls.stepfunctions().get_paginator("list_executions")
        found = pages.paginate(
            stateMachineArn=machine_arn,
            statusFilter="RUNNING",
            PaginationConfig={"PageSize": 1000},
        )
        return sum(len(page["executions"]) for page in found)
