"""The life of an execution as AWS has it: started, stopped, timed out, redriven.

Gaps in MiniStack 1.5.33 that this closes:
- a stopped execution sleeps on, retries, and ends as FAILED (here: it ends where it is);
- a state machine's own TimeoutSeconds is ignored (here: TIMED_OUT, with its event);
- StartExecution with the name and input of a running execution is refused (here: idempotent),
  and names and inputs are not checked;
- the context object has no Execution.RedriveCount;
- a failed execution is described with an output;
- RedriveExecution is unknown, and status events never say that an execution can be redriven.

A redrive goes on in the state that did not succeed, with that state's input and the variables as
they were at its entry, by the definition that the execution was started with. Retriers count from
nothing again, and so do the time limits of the state and of the machine. A Fail state fails again.
The waiting time of a Wait state with `Seconds` begins again. Whether AWS gives the state a new
EnteredTime and a new StateEntered event is not documented; here it gets both, which is harder on
whoever relies on that time alone. Unlike AWS, a Parallel or Map state is run again as a whole.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import logging
import re
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ministack.core.responses import error_response_json, json_response
from ministack.services import eventbridge
from ministack.services import stepfunctions as sfn

from localaws.clock import Event, Thread, clock

Execution = dict[str, Any]
Context = dict[str, Any]
Response = tuple[int, dict[str, str], bytes]

NAME = re.compile(r"[^\s<>{}\[\]?*\"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]{1,80}")
EXECUTION_ARN = re.compile(r"arn:[\w-]+:states:[\w-]+:\d{12}:execution:[^:]+:[^:]+")
ENDED_BADLY = ("FAILED", "TIMED_OUT", "ABORTED")
# MiniStack answers a start before the first state is entered, and so do we.
START_DELAY_SECONDS = 0.15
REDRIVABLE_FOR = timedelta(days=14)
MOST_EVENTS_TO_REDRIVE = 24_998
LONGEST_EXECUTION = timedelta(days=365)
TOKENS_KEPT, TOKEN_AGE_SECONDS = 10, 900
# Status events leave out an input or output longer than this.
EVENT_PAYLOAD_BYTES = 248 * 1024

logger = logging.getLogger("states")


class StoppedError(sfn._ExecutionError):  # type: ignore[misc]
    """The execution has ended from outside: unwind without a trace."""

    def __init__(self) -> None:
        super().__init__("Stopped", "The execution is no longer running")


@dataclass(frozen=True)
class Run:
    """One go at an execution, from its start or a redrive to its end.

    A task of an earlier run may still be busy when a later one has begun: everything that an
    earlier run would still do is cut off by its own `over`.
    """

    execution: Execution
    number: int
    over: Event = field(default_factory=Event)


_current: contextvars.ContextVar[Run | None] = contextvars.ContextVar("localaws_run", default=None)
_runs: dict[str, Run] = {}
_starting = threading.Lock()
_ending = threading.RLock()
# Who waits outside for an execution, by its ARN: the state that it is to enter ("" for its end).
_awaited: dict[str, list[tuple[str, Callable[[], None]]]] = {}


def install() -> None:
    """Replace the functions concerned."""
    sfn._start_execution = _idempotent(sfn._start_execution)
    sfn._run_execution = _run
    sfn._stop_execution = _waking(sfn._stop_execution)
    sfn._describe_execution = _described(sfn._describe_execution)
    sfn._emit_execution_status_event = _emit
    sfn._add_event = _while_not_over(sfn._add_event)
    sfn._scaled_sleep = pause
    sfn._sleep_until = pause_until
    sfn.handle_request = _with_redrive(sfn.handle_request)


def current_execution() -> Execution | None:
    """The execution that this thread works for, or None."""
    run = _current.get()
    return run.execution if run else None


def still_running(execution: Execution | None = None) -> None:
    """Raise StoppedError when this thread's run, or the child execution given, has ended."""
    run = _current.get()
    if run is not None and (run.over.is_set() or run.execution["status"] != "RUNNING"):
        raise StoppedError
    if execution is not None and execution["status"] != "RUNNING":
        raise StoppedError


def pause(seconds: float) -> None:
    """Sleep as a Wait state or a retrier does, until the execution ends."""
    run = _current.get()
    if run is None:
        clock.sleep(max(0.0, seconds))
        return
    clock.wait(run.over, max(0.0, min(seconds, threading.TIMEOUT_MAX)))
    still_running()


@contextlib.contextmanager
def awaiting(arn: str, state: str, then: Callable[[], None]) -> Iterator[bool]:
    """Within this block, call `then` as soon as an execution enters a state, or ends.

    Yields whether it has not done so already. The execution need not have been started yet.
    """
    awaited = (state, then)
    with _ending:
        still = not (has_entered(arn, state) or has_entered(arn, ""))
        _awaited.setdefault(arn, []).append(awaited)
    try:
        yield still
    finally:
        with _ending:
            _awaited[arn].remove(awaited)
            if not _awaited[arn]:
                del _awaited[arn]


def has_entered(arn: str, state: str) -> bool:
    """Whether an execution has entered a state; "": whether it has ended."""
    execution = sfn._executions.get(arn)
    if execution is None:
        return False
    if not state:
        return bool(execution["status"] != "RUNNING")
    return any(
        event.get("stateEnteredEventDetails", {}).get("name") == state
        for event in execution["events"]
    )


def _tell(arn: str, state: str = "") -> None:
    """Let those go on who wait for an execution that has entered this state, or (""): has ended."""
    with _ending:
        for awaited, then in _awaited.get(arn, ()):
            if not state or state == awaited:
                then()


def pause_until(timestamp: str) -> None:
    """Sleep as a Wait state with a Timestamp does."""
    target = datetime.fromisoformat(timestamp)
    pause((target - datetime.now(UTC)).total_seconds())


def _refuse(code: str, message: str) -> Response:
    answer: Response = error_response_json(code, message, 400)
    return answer


def _json(document: dict[str, Any]) -> Response:
    answer: Response = json_response(document)
    return answer


# Starting


def _idempotent(original: Callable[[Any], Response]) -> Callable[[Any], Response]:
    def start(data: Any) -> Response:
        name, text = data.get("name"), data.get("input", "{}")
        if name is not None and not NAME.fullmatch(name):
            return _refuse("InvalidName", f"Invalid Name: '{name}'")
        try:
            json.loads(text)
        except ValueError as error:
            return _refuse(
                "InvalidExecutionInput", f"Invalid State Machine Execution Input: {error}"
            )
        with _starting:
            running = _execution_named(data, name) if name is not None else None
            if running and running["status"] == "RUNNING" and running["input"] == text:
                return _json(
                    {"executionArn": running["executionArn"], "startDate": running["startDate"]}
                )
            return original(data)

    return start


def _execution_named(data: Any, name: str) -> Execution | None:
    machine = sfn._resolve_state_machine_arn(data.get("stateMachineArn", ""))
    if machine is None:
        return None
    arn = machine.replace(":stateMachine:", ":execution:", 1) + f":{name}"
    found: Execution | None = sfn._executions.get(arn)
    return found


# Running


def _run(arn: str, number: int = 0) -> None:
    """Walk the definition, from its start or (redriven) from the state that did not succeed."""
    execution = sfn._executions.get(arn)
    if execution is None:
        return
    if number == 0:
        clock.sleep(START_DELAY_SECONDS)
    run = Run(execution, number)
    with _ending:
        if execution["status"] != "RUNNING" or execution.get("redriveCount", 0) != number:
            return
        _runs[arn] = run
    token = _current.set(run)
    try:
        definition = _definition(execution)
        if "TimeoutSeconds" in definition:
            scope = contextvars.copy_context()
            limit = min(float(definition["TimeoutSeconds"]), threading.TIMEOUT_MAX)
            Thread(target=scope.run, args=(_time_out, run, limit), daemon=True).start()
        _walk(run, definition)
    except StoppedError:
        return
    except sfn._ExecutionError as error:
        _fail(run, error.error, error.cause)
    except Exception as error:
        logger.exception("Unexpected error in execution %s", arn)
        _fail(run, "States.Runtime", str(error))
    finally:
        _current.reset(token)
        with _ending:
            if _runs.get(arn) is run:
                del _runs[arn]
        run.over.set()  # ends the wait for the time limit, too


def _definition(execution: Execution) -> dict[str, Any]:
    """The definition that the execution was started with: a redrive does not see a newer one."""
    if "definition" not in execution:
        machine = sfn._state_machines.get(execution["stateMachineArn"])
        if machine is None:
            raise sfn._ExecutionError("StateMachineDeleted", "State machine no longer exists")
        execution["definition"] = machine["definition"]
        execution["machineName"] = machine["name"]
    definition: dict[str, Any] = json.loads(execution["definition"])
    return definition


def _walk(run: Run, definition: dict[str, Any]) -> None:
    execution = run.execution
    execution_input = json.loads(execution["input"])
    at = execution.get("at") or {
        "state": definition["StartAt"],
        "input": execution_input,
        "variables": {},
    }
    context: Context = {
        "QueryLanguage": definition.get("QueryLanguage", "JSONPath"),
        "Execution": {
            "Id": execution["executionArn"],
            "Input": execution_input,
            "Name": execution["name"],
            "StartTime": execution["startDate"],
            "RedriveCount": run.number,
        },
        "StateMachine": {"Id": execution["stateMachineArn"], "Name": execution["machineName"]},
        "variables": dict(at["variables"]),
    }
    if run.number:
        context["Execution"]["RedriveTime"] = execution["redriveDate"]
    name, data = at["state"], at["input"]
    while name is not None:
        execution["at"] = {"state": name, "input": data, "variables": dict(context["variables"])}
        still_running()
        name, data = _step(run, definition["States"], name, data, context)
    _succeed(run, json.dumps(data))


def _step(
    run: Run, states: dict[str, Any], name: str, data: Any, context: Context
) -> tuple[str | None, Any]:
    """Run one state; returns the name of the next one (None at the end) and its input."""
    execution = run.execution
    state = states.get(name)
    if state is None:
        raise sfn._ExecutionError("States.Runtime", f"State '{name}' not found in definition")
    kind = state.get("Type")
    context["State"] = {"Name": name, "EnteredTime": sfn.now_iso(), "RetryCount": 0}
    entered = {"name": name, "input": json.dumps(data)}
    sfn._add_event(execution, f"{kind}StateEntered", {"stateEnteredEventDetails": entered})
    _tell(execution["executionArn"], name)
    following: str | None = None
    match kind:
        case "Fail":
            raise sfn._ExecutionError(*sfn._fail_state_error(state, data, context))
        case "Succeed":
            data = sfn._apply_input_path(state, data, context)
            data = sfn._apply_output_path(state, data, context)
        case "Task" | "Parallel" | "Map":
            work = getattr(sfn, f"_execute_{kind.lower()}")
            data, following = work(state, data, execution, context)
        case "Pass" | "Choice" | "Wait":
            work = getattr(sfn, f"_execute_{kind.lower()}")
            data, following = work(state, data, context)
        case _:
            raise sfn._ExecutionError("States.Runtime", f"Unknown state type: {kind}")
    left = {"name": name, "output": json.dumps(data)}
    sfn._add_event(execution, f"{kind}StateExited", {"stateExitedEventDetails": left})
    return following, data


def _while_not_over(original: Callable[..., Any]) -> Callable[..., Any]:
    """A run that has ended adds nothing more to the history, whatever its task still does."""

    def add(execution: Execution, *details: Any) -> Any:
        run = _current.get()
        if run is not None and run.execution is execution and run.over.is_set():
            raise StoppedError
        return original(execution, *details)

    return add


# Ending


def _end(run: Run, status: str, event: str, details: dict[str, Any], **fields: Any) -> None:
    """End a run once, whoever comes first: the execution itself, its time limit, a stop."""
    execution = run.execution
    with _ending:
        if run.over.is_set() or execution["status"] != "RUNNING":
            return
        execution.update(status=status, stopDate=sfn.now_iso(), **fields)
        sfn._add_event(execution, event, {f"{event[0].lower()}{event[1:]}EventDetails": details})
        run.over.set()
    sfn._emit_execution_status_event(execution)
    _tell(execution["executionArn"])


def _succeed(run: Run, output: str) -> None:
    _end(run, "SUCCEEDED", "ExecutionSucceeded", {"output": output}, output=output)


def _fail(run: Run, error: str, cause: str) -> None:
    # MiniStack keeps a failed execution's error as its output, too, for nested executions.
    output = json.dumps({"Error": error, "Cause": cause})
    details = {"error": error, "cause": cause}
    _end(run, "FAILED", "ExecutionFailed", details, error=error, cause=cause, output=output)


def _time_out(run: Run, limit: float) -> None:
    if not clock.wait(run.over, limit):
        _end(run, "TIMED_OUT", "ExecutionTimedOut", {})


def _waking(original: Callable[[Any], Response]) -> Callable[[Any], Response]:
    def stop(data: Any) -> Response:
        with _ending:
            answer = original(data)
            run = _runs.get(data.get("executionArn"))
            if run is not None and run.execution["status"] != "RUNNING":
                run.over.set()
        _tell(data.get("executionArn"))
        return answer

    return stop


def _emit(execution: Execution) -> None:
    """The status change, as EventBridge gets it; a sync execution has none."""
    if execution.get("sync"):
        return
    status = execution["status"]
    succeeded, failed = status == "SUCCEEDED", status == "FAILED"
    given, output = execution["input"], execution["output"] if succeeded else None
    small = len(given) <= EVENT_PAYLOAD_BYTES
    small_output = output is None or len(output) <= EVENT_PAYLOAD_BYTES
    detail = {
        "executionArn": execution["executionArn"],
        "stateMachineArn": execution["stateMachineArn"],
        "name": execution["name"],
        "status": status,
        "startDate": sfn._iso_to_epoch_ms(execution["startDate"]),
        "stopDate": sfn._iso_to_epoch_ms(execution["stopDate"]),
        "input": given if small else None,
        "inputDetails": {"included": small},
        "output": output if small_output else None,
        "outputDetails": {"included": small_output} if succeeded else None,
        "error": execution.get("error") if failed else None,
        "cause": execution.get("cause") if failed else None,
        "stateMachineVersionArn": None,
        "stateMachineAliasArn": None,
        "redriveStatusReason": None,
        **_redrives(execution),
        "redriveDate": sfn._iso_to_epoch_ms(execution.get("redriveDate")),
    }
    entry = {
        "Source": "aws.states",
        "DetailType": "Step Functions Execution Status Change",
        "Detail": json.dumps(detail),
        "Resources": [execution["executionArn"]],
    }
    try:
        eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)
    except Exception:  # best effort, as on AWS
        logger.exception("No status event for %s", execution["executionArn"])


# Describing and redriving


def _described(original: Callable[[Any], Response]) -> Callable[[Any], Response]:
    def describe(data: Any) -> Response:
        status, headers, body = original(data)
        if status != 200:
            return status, headers, body
        described = json.loads(body)
        if described["status"] != "SUCCEEDED":
            described.pop("output", None)
            described.pop("outputDetails", None)
        described |= _redrives(sfn._executions[data["executionArn"]])
        return _json(described)

    return describe


def _redrives(execution: Execution) -> dict[str, Any]:
    """What DescribeExecution and status events say about the redrives of an execution."""
    problem = why_not_redrivable(execution, datetime.now(UTC))
    known = {
        "redriveCount": execution.get("redriveCount", 0),
        "redriveStatus": "NOT_REDRIVABLE" if problem else "REDRIVABLE",
    }
    if problem:
        known["redriveStatusReason"] = problem
    if "redriveDate" in execution:
        known["redriveDate"] = execution["redriveDate"]
    return known


def why_not_redrivable(execution: Execution, now: datetime) -> str | None:
    """Why an execution cannot be redriven, in AWS's words, or None when it can."""
    status = execution["status"]
    if status not in ENDED_BADLY:
        return f"Execution is {status} and cannot be redriven"
    if execution["stateMachineArn"] not in sfn._state_machines:
        return "State machine is in DELETING status"
    if len(execution["events"]) > MOST_EVENTS_TO_REDRIVE:
        return "Execution history event limit exceeded"
    if now - datetime.fromisoformat(execution["startDate"]) > LONGEST_EXECUTION:
        return "Execution has exceeded the max execution time"
    if now - datetime.fromisoformat(execution["stopDate"]) > REDRIVABLE_FOR:
        return "Execution redrivable period exceeded"
    return None


Handler = Callable[[str, str, dict[str, str], bytes, dict[str, Any]], Awaitable[Response]]


def _with_redrive(original: Handler) -> Handler:
    async def handle(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> Response:
        if not headers.get("x-amz-target", "").endswith(".RedriveExecution"):
            return await original(method, path, headers, body, query)
        try:
            data = json.loads(body)
        except ValueError:
            return _refuse("SerializationException", "Invalid JSON")
        answer: Response = sfn._finalize_response(_redrive(data))
        return answer

    return handle


def _redrive(data: dict[str, Any]) -> Response:
    arn, token = data.get("executionArn", ""), data.get("clientToken")
    if not EXECUTION_ARN.fullmatch(arn):
        return _refuse("InvalidArn", f"Invalid Arn: '{arn}'")
    execution = sfn._executions.get(arn)
    if execution is None:
        return _refuse("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'")
    now = datetime.now(UTC)
    with _ending:
        for used, at, date in execution.get("redriveTokens", []):
            if used == token and now.timestamp() - at <= TOKEN_AGE_SECONDS:
                return _json({"redriveDate": date})
        problem = why_not_redrivable(execution, now)
        if problem is not None:
            return _refuse("ExecutionNotRedrivable", problem)
        number = execution.get("redriveCount", 0) + 1
        date = sfn.now_iso()
        execution.update(status="RUNNING", stopDate=None, output=None)
        execution.update(redriveCount=number, redriveDate=date)
        for name in ("error", "cause"):
            execution.pop(name, None)
        if token:
            kept = execution.get("redriveTokens", [])
            execution["redriveTokens"] = [*kept, (token, now.timestamp(), date)][-TOKENS_KEPT:]
        details = {"executionRedrivenEventDetails": {"redriveCount": number}}
        sfn._add_event(execution, "ExecutionRedriven", details)
    sfn._emit_execution_status_event(execution)
    scope = contextvars.copy_context()
    Thread(target=scope.run, args=(_run, arn, number), daemon=True).start()
    return _json({"redriveDate": date})
