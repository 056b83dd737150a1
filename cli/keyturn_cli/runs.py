"""One execution as its history tells it: the path through the states, what it waits for, its end.

`Run.told` is pure: it takes events in the form of GetExecutionHistory, with execution data, in
their order, and can be called again with newer ones. `fetch` gets them, only those that are new.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from keyturn.aws import calls
from keyturn.model.identifiers import masked_in
from keyturn_cli import aws
from keyturn_cli.words import WAITS

# Wait states whose length is the fence; the others wait for the seconds of the last answer.
_FENCE_WAITS = frozenset(
    {
        "Wait Before Discarding",
        "Wait Out Own Calls",
        "Wait To Deactivate Again",
        "Wait To Take Over Again",
    }
)
_PAGE = 1000


@dataclass(frozen=True)
class Visit:
    """A state that was entered: when first and when last, how often, and when it was left."""

    state: str
    kind: str
    entered_at: datetime
    last_at: datetime
    times: int = 1
    left_at: datetime | None = None
    last_event: int = 0
    """The event of the last entry: several states can be entered at the same moment."""


@dataclass(frozen=True)
class Run:
    """An execution so far. `status` is Step Functions'; `rotation` what it carries (see Rotation).

    `why` is the reason of the latest decision, in words, masked; `next_look_at` when the present
    Wait state ends.
    """

    arn: str
    status: str = "RUNNING"
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: str | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    path: tuple[Visit, ...] = ()
    rotation: Mapping[str, Any] = field(default_factory=dict)
    next: str | None = None
    """What the function that answered last says is next."""
    why: str = ""
    answered_by: str = ""
    """The state whose function decided last."""
    wait_seconds: int = 0
    next_look_at: datetime | None = None
    trouble: str = ""
    """The latest failed try of a task, if nothing has succeeded since."""
    user_name: str | None = None
    action: str = "ROTATE"
    last_event: int = 0

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.status not in ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")

    @property
    def outcome(self) -> str:
        """The outcome of the contract, or Step Functions' status when it died without one."""
        return str(self.result.get("outcome") or self.status)

    @property
    def reason(self) -> str:
        """Why it ended as it did, in words and masked."""
        return masked_in(str(self.result.get("reason") or self.why or "no reason was given"))

    @property
    def waits_for(self) -> str:
        """What it waits for, in words; empty when it waits for nothing.

        A look tells what is missing; before the first one there is only the purpose of the wait.
        In a back-out `why` stays what led to it.
        """
        here = self.here
        if not self.running or here is None:
            return ""
        if self.next == "WAIT" and self.answered_by == "Check Return":
            return f"{WAITS['Wait For Return']} ({self.why})"
        looked = self.next == "WAIT" and self.answered_by.startswith("Check ")
        if looked or self.next == "POSTPONED":
            return self.why
        if here.kind != "Wait" and not here.state.startswith("Check "):
            return ""
        waits = [visit for visit in self.path if visit.kind == "Wait"]
        last = max(waits, key=lambda visit: visit.last_event, default=None)
        return WAITS.get(last.state, "") if last else ""

    @property
    def here(self) -> Visit | None:
        """The state that it is in, or was in last; Choices take no time."""
        places = [visit for visit in self.path if visit.kind != "Choice"]
        return max(places, key=lambda visit: visit.last_event, default=None)

    def told(self, events: Iterable[Mapping[str, Any]]) -> Run:
        """Return the run with these newer events taken in."""
        run = self
        for event in events:
            if event["id"] > run.last_event:
                run = replace(_with(run, event), last_event=event["id"])
        return run

    def described(self, found: Mapping[str, Any]) -> Run:
        """Return the run with what DescribeExecution says."""
        stopped = found.get("stopDate")
        given = _object(found.get("input"))
        rotation = self.rotation
        return replace(
            self,
            status=found["status"],
            started_at=found["startDate"].astimezone(UTC),
            ended_at=stopped.astimezone(UTC) if stopped else None,
            error=found.get("error"),
            result=_result(found),
            user_name=rotation.get("userName") or given.get("userName"),
            action=str(rotation.get("action") or given.get("action") or "ROTATE"),
            next_look_at=None if stopped else self.next_look_at,
        )


def _result(found: Mapping[str, Any]) -> Mapping[str, Any]:
    text = found.get("output") or found.get("cause") or ""
    result = _object(text)
    return result if result or not text else {"reason": text}


def _object(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _with(run: Run, event: Mapping[str, Any]) -> Run:
    at = event["timestamp"].astimezone(UTC)
    if "stateEnteredEventDetails" in event:
        name = event["stateEnteredEventDetails"]["name"]
        return _entered(run, name, event["type"], at, event["id"])
    if "stateExitedEventDetails" in event:
        name = event["stateExitedEventDetails"]["name"]
        path = tuple(
            replace(visit, left_at=at) if visit.state == name else visit for visit in run.path
        )
        return replace(run, path=path, next_look_at=None)
    if "taskSucceededEventDetails" in event:
        return _answered(run, _object(event["taskSucceededEventDetails"].get("output")))
    if "taskFailedEventDetails" in event:
        details = event["taskFailedEventDetails"]
        said = _object(details.get("cause")).get("errorMessage") or details.get("cause") or ""
        return replace(run, trouble=masked_in(f"{details.get('error', 'an error')}: {said}")[:300])
    return run


def _entered(run: Run, name: str, kind: str, at: datetime, number: int) -> Run:
    seen = next((visit for visit in run.path if visit.state == name), None)
    if seen is None:
        made = Visit(name, kind.removesuffix("StateEntered"), at, at, last_event=number)
        path = (*run.path, made)
    else:
        again = replace(seen, last_at=at, times=seen.times + 1, left_at=None, last_event=number)
        path = tuple(again if visit is seen else visit for visit in run.path)
    seconds = None
    if kind == "WaitStateEntered":
        fence = run.rotation.get("policy", {}).get("fenceSeconds")
        seconds = fence if name in _FENCE_WAITS else run.wait_seconds
    until = at + timedelta(seconds=seconds) if seconds else None
    return replace(run, path=path, next_look_at=until)


def _answered(run: Run, output: dict[str, Any]) -> Run:
    payload = output.get("Payload")
    if not isinstance(payload, dict):
        return run
    rotation = payload.get("rotation") or run.rotation
    result = payload.get("result") or {}
    why = rotation.get("why") or result.get("reason") or run.why
    return replace(
        run,
        rotation=rotation,
        next=payload.get("next"),
        answered_by=run.here.state if run.here else "",
        why=masked_in(str(why)),
        wait_seconds=int(payload.get("waitSeconds") or 0),
        trouble="",
        user_name=rotation.get("userName") or run.user_name,
    )


def fetch(run: Run) -> Run:
    """Return the run as it stands now: one DescribeExecution, and the events that are new.

    It is described first: an execution that has ended then has its whole path.

    Raises:
        AwsThrottled: AWS is out of reach; looking again later may help.
        AwsRefused: it will not.
    """
    found = _described(run.arn)
    with calls.translated("states:GetExecutionHistory"):
        return run.told(_new_events(run)).described(found)


def _described(arn: str) -> Mapping[str, Any]:
    with calls.translated("states:DescribeExecution"):
        return aws.stepfunctions().describe_execution(executionArn=arn)


def _new_events(run: Run) -> Sequence[Mapping[str, Any]]:
    pages = (
        aws.stepfunctions()
        .get_paginator("get_execution_history")
        .paginate(
            executionArn=run.arn,
            reverseOrder=True,
            includeExecutionData=True,
            PaginationConfig={"PageSize": _PAGE if not run.last_event else 50},
        )
    )
    new: list[Mapping[str, Any]] = []
    for page in pages:
        fresh = [event for event in page["events"] if event["id"] > run.last_event]
        new += fresh
        if len(fresh) < len(page["events"]):
            break
    return new[::-1]


def glance(arn: str) -> Run:
    """Return a run by its latest events alone: enough to tell what it waits for."""
    found = _described(arn)
    with calls.translated("states:GetExecutionHistory"):
        events: Any = aws.stepfunctions().get_execution_history(
            executionArn=arn, reverseOrder=True, includeExecutionData=True, maxResults=30
        )["events"]
    return Run(arn).told(events[::-1]).described(found)
