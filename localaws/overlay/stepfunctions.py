"""The states language and the integrations of Step Functions, as AWS has them.

Gaps in MiniStack 1.5.33 that this closes (those of an execution's life are in stepfunctions_runs):
- MaxDelaySeconds and JitterStrategy of retriers are ignored, and delays are cut to 60 seconds;
- `States.ALL` matches States.Runtime and States.DataLimitExceeded;
- all variables of one Assign see each other's new values (here: the values at state entry);
- a JSONata Choice that falls to its Default ignores its Output;
- TimeoutSeconds of a Task cannot be an expression;
- the context object has no Execution.RoleArn;
- integrations are not checked against the role of the state machine;
- errors of IAM from SDK integrations have no specific name, and unmodelled errors of any service
  carry their wire code (here: Iam.NoSuchEntityException, Iam.IamException);
- an object as Detail of events:putEvents is not turned into text, and failed entries go unseen;
- errors of states:startExecution have no prefix;
- a Parallel state ignores Arguments, Output and Assign, and its branches share one scope;
- a Distributed Map does not evaluate JSONata in Items, ItemReader and ItemSelector, and needs no
  permission to start its children.

It is also where faults strike the tasks of state machines, and where these are recorded.
"""

from __future__ import annotations

import contextlib
import functools
import json
import random
import re
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import botocore.session
from ministack import app
from ministack.core import iam_actions, iam_evaluator
from ministack.core.responses import get_account_id, get_region
from ministack.services import eventbridge, sts
from ministack.services import stepfunctions as sfn

from localaws import requests, state
from localaws.model import ApiCall, FaultRule
from localaws.overlay import stepfunctions_runs
from localaws.overlay.stepfunctions_runs import (
    StoppedError,
    current_execution,
    pause,
    still_running,
)
from localaws.state import Request

Execution = dict[str, Any]
State = dict[str, Any]
Context = dict[str, Any]
Response = tuple[int, dict[str, str], bytes]

NOT_CAUGHT_BY_ALL = ("States.Runtime", "States.DataLimitExceeded")
# SDK integration service -> botocore's name for it, where they differ.
BOTOCORE_NAMES = {
    "sfn": "stepfunctions",
    "eventbridge": "events",
    "cloudwatchlogs": "logs",
}

# How the items of a Map state get past MiniStack, which knows readers and JSONPath only.
GIVEN_ITEMS = "localaws:items"


def install() -> None:
    """Replace the functions concerned."""
    stepfunctions_runs.install()
    _install_language()
    _install_integrations()


def _install_language() -> None:
    sfn._error_matches = _error_matches
    sfn._apply_state_assign = _assign_at_once
    sfn._execute_choice = _choice_with_default_output(sfn._execute_choice)
    sfn._execute_task = _settled_task(sfn._execute_task)
    sfn._with_retry_and_catch = _with_retry_and_catch
    for name in ("_execute_pass", "_execute_wait", "_execute_choice"):
        setattr(sfn, name, _while_running(getattr(sfn, name)))
    sfn._run_parallel_branches = _jsonata_parallel(sfn._run_parallel_branches)
    sfn._run_sub_machine = _in_own_scope(sfn._run_sub_machine)
    sfn._run_distributed_map = _jsonata_distributed_map(sfn._run_distributed_map)
    sfn._read_map_items = _jsonata_reader(sfn._read_map_items)
    sfn._resolve_params_obj = _jsonata_params(sfn._resolve_params_obj)
    sfn._evaluate_jsonata = _with_full_context(sfn._evaluate_jsonata)


def _install_integrations() -> None:
    sfn._SERVICE_DISPATCH["arn:aws:states:::events:putEvents"] = _put_events
    sfn._invoke_nested_start_execution = _prefixed(sfn._invoke_nested_start_execution)
    sfn._invoke_nested_start_execution_sync = _prefixed(sfn._invoke_nested_start_execution_sync)
    sfn._invoke_aws_sdk_integration = _named_errors(sfn._invoke_aws_sdk_integration)
    sfn._invoke_resource = _observed_task(sfn._invoke_resource)
    sfn._invoke_with_callback = _observed_task(sfn._invoke_with_callback)
    app.call_service_handler_sync = _observed_sdk_call(app.call_service_handler_sync)


# The language


def _error_matches(error_equals: list[str], error: str) -> bool:
    if error in error_equals:
        return True
    if error in NOT_CAUGHT_BY_ALL:
        return False
    return "States.ALL" in error_equals or (
        "States.TaskFailed" in error_equals and error != "States.Timeout"
    )


def _assign_at_once(
    state_def: State, raw_input: Any, context: Context, result: Any = None, error_output: Any = None
) -> None:
    assign = state_def.get("Assign")
    if not isinstance(assign, dict) or sfn._state_query_language(state_def, context) != "JSONata":
        return
    new = {
        name: sfn._apply_jsonata_template(
            template, raw_input, context, result=result, error_output=error_output
        )
        for name, template in assign.items()
    }
    context.setdefault("variables", {}).update(new)


def _choice_with_default_output(original: Callable[..., Any]) -> Callable[..., Any]:
    def choose(state_def: State, raw_input: Any, context: Context | None = None) -> Any:
        output, chosen = original(state_def, raw_input, context)
        rules = state_def.get("Choices", [])
        if (
            "Output" in state_def
            and chosen == state_def.get("Default")
            and sfn._state_query_language(state_def, context) == "JSONata"
            and not any(
                sfn._evaluate_jsonata_choice_rule(rule, raw_input, context) for rule in rules
            )
        ):
            output = sfn._apply_jsonata_output(state_def, raw_input, context, default=raw_input)
        return output, chosen

    return choose


def _while_running(original: Callable[..., Any]) -> Callable[..., Any]:
    """Do not begin a state of an execution that has ended."""

    def execute(*args: Any) -> Any:
        still_running()
        return original(*args)

    return execute


class _PinnedState(dict[str, Any]):
    """`$states.context.State` of one attempt, whose RetryCount is ours to count."""

    def __setitem__(self, key: str, value: Any) -> None:
        if key != "RetryCount":
            super().__setitem__(key, value)


def _settled_task(original: Callable[..., Any]) -> Callable[..., Any]:
    def execute(state_def: State, raw_input: Any, execution: Execution, context: Context) -> Any:
        bare = {name: value for name, value in state_def.items() if name not in ("Retry", "Catch")}

        def attempt() -> Any:
            once = bare
            if isinstance(bare.get("TimeoutSeconds"), str):
                limit = sfn._jsonata_state_field(
                    bare, "TimeoutSeconds", "number", raw_input, context
                )
                once = {**bare, "TimeoutSeconds": limit}
            settled = original(once, raw_input, execution, context)
            still_running(execution)
            return settled

        return _with_retry_and_catch(state_def, raw_input, context, attempt)

    return execute


def _with_retry_and_catch(
    state_def: State, raw_input: Any, context: Context, attempt: Callable[[], Any]
) -> Any:
    entered = dict(context["State"])
    tries: Counter[int] = Counter()
    while True:
        still_running()
        context["State"] = _PinnedState(entered, RetryCount=sum(tries.values()))
        try:
            return attempt()
        except StoppedError:
            raise
        except sfn._ExecutionError as error:
            still_running()
            retrier, number = sfn._find_matching_retrier(
                state_def.get("Retry", []), error.error, tries
            )
            if retrier is not None:
                delay = _delay(retrier, tries[number])
                tries[number] += 1
                pause(delay)
                continue
            catcher = sfn._find_matching_catcher(state_def.get("Catch", []), error.error)
            if catcher is None:
                raise
            context["State"] = entered
            output = sfn._apply_catcher(
                catcher,
                raw_input,
                context,
                sfn._state_query_language(state_def, context),
                {"Error": error.error, "Cause": error.cause},
            )
            return output, catcher["Next"]


def _delay(retrier: dict[str, Any], earlier: int) -> float:
    """How long a retrier waits (seconds) after so many earlier tries."""
    delay = float(retrier.get("IntervalSeconds", 1)) * retrier.get("BackoffRate", 2.0) ** earlier
    delay = min(delay, retrier.get("MaxDelaySeconds", delay))
    jitter = retrier.get("JitterStrategy") == "FULL"
    return random.uniform(0, delay) if jitter else delay  # noqa: S311


def _with_full_context(original: Callable[..., Any]) -> Callable[..., Any]:
    def evaluate(
        expression: str, raw_input: Any, context: Context | None = None, *args: Any
    ) -> Any:
        if context and "Execution" in context:
            context["Execution"].setdefault("RedriveCount", 0)
            if "RoleArn" not in context["Execution"]:
                machine = sfn._state_machines.get(context["StateMachine"]["Id"]) or {}
                context["Execution"]["RoleArn"] = machine.get("roleArn", "")
        return original(expression, raw_input, context, *args)

    return evaluate


def _jsonata_parallel(original: Callable[..., Any]) -> Callable[..., Any]:
    def run(state_def: State, raw_input: Any, execution: Execution, context: Context) -> Any:
        if sfn._state_query_language(state_def, context) != "JSONata":
            return original(state_def, raw_input, execution, context)
        arguments = sfn._apply_jsonata_arguments(state_def, raw_input, context)
        results, following = original(state_def, arguments, execution, context)
        return _finished(state_def, raw_input, context, results), following

    return run


def _finished(state_def: State, raw_input: Any, context: Context, results: Any) -> Any:
    """Output and Assign of a state that ran branches or items."""
    output = sfn._apply_jsonata_output(
        state_def, raw_input, context, result=results, default=results
    )
    sfn._apply_state_assign(state_def, raw_input, context, result=results)
    return output


def _in_own_scope(original: Callable[..., Any]) -> Callable[..., Any]:
    def run(states: Any, start_at: Any, data: Any, execution: Execution, context: Context) -> Any:
        own = {**context, "variables": dict(context.get("variables", {}))}
        return original(states, start_at, data, execution, own)

    return run


def _jsonata_distributed_map(original: Callable[..., Any]) -> Callable[..., Any]:
    def run(  # noqa: PLR0917 - the signature is MiniStack's
        state_def: State,
        raw_input: Any,
        effective: Any,
        iterator: Any,
        execution: Any,
        context: Any,
    ) -> Any:
        if sfn._state_query_language(state_def, context) != "JSONata":
            return original(state_def, raw_input, effective, iterator, execution, context)
        # The children are executions of the machine, which its own role has to start.
        denial = _denial(execution, "states:StartExecution", execution["stateMachineArn"])
        if denial:
            raise sfn._ExecutionError("States.Permissions", denial)
        reader = state_def.get("ItemReader")
        if "Items" in state_def:
            items = sfn._jsonata_state_field(state_def, "Items", "array", raw_input, context)
            reader = {GIVEN_ITEMS: items}
        numbers = {
            name: sfn._apply_jsonata_template(state_def[name], raw_input, context)
            for name in ("MaxConcurrency", "ToleratedFailurePercentage", "ToleratedFailureCount")
            if name in state_def
        }
        results, following = original(
            {**state_def, **numbers, "ItemReader": reader},
            raw_input,
            raw_input,
            iterator,
            execution,
            context,
        )
        return _finished(state_def, raw_input, context, results), following

    return run


def _jsonata_reader(original: Callable[..., Any]) -> Callable[..., Any]:
    def read(reader: dict[str, Any], effective: Any, context: Context) -> Any:
        if GIVEN_ITEMS in reader:
            return reader[GIVEN_ITEMS]
        if context.get("QueryLanguage") == "JSONata":
            reader = sfn._apply_jsonata_template(reader, effective, context)
        return original(reader, effective, context)

    return read


def _jsonata_params(original: Callable[..., Any]) -> Callable[..., Any]:
    def resolve(template: Any, data: Any, context: Context | None = None) -> Any:
        if context and context.get("QueryLanguage") == "JSONata":
            return sfn._apply_jsonata_template(template, data, context)
        return original(template, data, context)

    return resolve


# The integrations


def _put_events(_: str, data: dict[str, Any]) -> Any:
    entries = [
        {**entry, "Detail": detail if isinstance(detail, str) else json.dumps(detail)}
        for entry in data.get("Entries", [])
        for detail in [entry.get("Detail", {})]
    ]
    _, _, body = eventbridge._put_events({**data, "Entries": entries})
    result = json.loads(body)
    if "Entries" not in result:
        raise sfn._ExecutionError("EventBridge.EventBridgeException", result.get("message", ""))
    if result["FailedEntryCount"]:
        raise sfn._ExecutionError("EventBridge.FailedEntry", json.dumps(result))
    return result


def _prefixed(original: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    def invoke(resource: str, data: Any) -> Any:
        try:
            return original(resource, data)
        except sfn._ExecutionError as error:
            if "." in error.error:
                raise
            name = error.error.removesuffix("Exception")
            raise sfn._ExecutionError(f"StepFunctions.{name}Exception", error.cause) from error

    return invoke


def _named_errors(original: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    def invoke(resource: str, data: Any) -> Any:
        try:
            return original(resource, data)
        except StoppedError:
            raise
        except sfn._ExecutionError as error:
            prefix, dot, code = error.error.partition(".")
            if not dot or prefix == "States" or code == "SdkClientException":
                raise
            message = error.cause
            found = re.search(r"<Code>([^<]*)</Code>.*?<Message>([^<]*)</Message>", message, re.S)
            if found:
                code, message = found[1], found[2]
            service = resource.split(":")[6].lower()
            name = _modelled_errors(service).get(code, f"{prefix}Exception")
            raise sfn._ExecutionError(
                f"{prefix}.{name}", f"{message} (Service: {prefix}, Error Code: {code})"
            ) from error

    return invoke


@functools.cache
def _modelled_errors(service: str) -> dict[str, str]:
    """Error code -> the SDK's exception class, for the errors in a service's model."""
    model: Any = botocore.session.get_session().get_service_model(
        BOTOCORE_NAMES.get(service, service)
    )
    names = {}
    for shape in model.error_shapes:
        name = shape.name if shape.name.endswith("Exception") else f"{shape.name}Exception"
        names[shape.error_code] = names[shape.name] = name
    return names


def _observed_task(original: Callable[..., Any]) -> Callable[..., Any]:
    """Authorize, record, and let faults strike the optimized integrations."""

    def invoke(resource: str, data: Any, *more: Any) -> Any:
        execution = current_execution()
        needed = _needed(resource, data) if execution is not None else []
        if execution is None or not needed:
            return original(resource, data, *more)
        for service, action, arn, error in needed:
            denial = _denial(execution, f"{service}:{action}", arn)
            if denial:
                raise sfn._ExecutionError(error, denial)
        service, action, arn, _ = needed[0]
        function = arn.split(":")[6] if service == "lambda" else ""
        request = _described(execution, service, action, data, function)
        with _recorded(execution, request), _struck(request):
            return original(resource, data, *more)

    return invoke


def _needed(resource: str, data: Any) -> list[tuple[str, str, str, str]]:
    """What an optimized integration needs: service, action, resource ARN, error when denied."""
    region, account = get_region(), get_account_id()
    kind = resource.rsplit(":::", maxsplit=1)[-1].split(".", maxsplit=1)[0]
    arguments = data if isinstance(data, dict) else {}
    if kind == "lambda:invoke" or ":function:" in resource:
        function = str(arguments.get("FunctionName", "")) if kind == "lambda:invoke" else resource
        if not function.startswith("arn:"):
            function = f"arn:aws:lambda:{region}:{account}:function:{function}"
        return [("lambda", "InvokeFunction", function, "Lambda.AWSLambdaException")]
    if kind == "sns:publish":
        topic = str(arguments.get("TopicArn", "*"))
        return [("sns", "Publish", topic, "SNS.AuthorizationErrorException")]
    if kind == "sqs:sendMessage":
        queue = str(arguments.get("QueueUrl", "")).rsplit("/", 1)[-1]
        arn = f"arn:aws:sqs:{region}:{account}:{queue}"
        return [("sqs", "SendMessage", arn, "SQS.AmazonSQSException")]
    if kind == "events:putEvents":
        buses = {
            str(entry.get("EventBusName", "default")) for entry in arguments.get("Entries", [])
        }
        return [
            (
                "events",
                "PutEvents",
                bus if ":" in bus else f"arn:aws:events:{region}:{account}:event-bus/{bus}",
                "EventBridge.EventBridgeException",
            )
            for bus in sorted(buses)
        ]
    if kind == "states:startExecution":
        machine = str(arguments.get("StateMachineArn", "*"))
        return [("states", "StartExecution", machine, "StepFunctions.AccessDeniedException")]
    return []


def _observed_sdk_call(original: Callable[..., Response]) -> Callable[..., Response]:
    """The same for the SDK integrations, which all go through this one function."""

    def call(  # noqa: PLR0917 - the signature is MiniStack's
        handler: Any,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes | str,
        query: dict[str, list[str]],
        timeout: float | None = None,
    ) -> Response:
        execution = current_execution()
        raw = body.encode() if isinstance(body, str) else body or b""
        if execution is None:
            return original(handler, method, path, headers, body, query, timeout)
        key_service, service, action = requests.action_of(method, path, headers, raw, query)
        params = requests.all_parameters(headers, raw, query)
        arn = iam_actions.extract_resource_arn(
            key_service, method, path, headers, raw, params, get_region(), get_account_id()
        )
        tags = iam_actions.request_tag_context(key_service, f"{service}:{action}", raw, params)
        if _denial(execution, f"{service}:{action}", arn, tags):
            answer: Response = iam_actions.access_denied_response(
                key_service,
                f"{service}:{action}",
                _session(execution)[1],
                "",
                headers=headers,
                resource_arn=arn,
            )
            return answer
        data = requests.parameters_of(headers, raw, query)
        request = _described(execution, service, action, data, "")
        with _recorded(execution, request), _struck(request):
            iam_evaluator._request_caller_arn.set(_session(execution)[1])
            return original(handler, method, path, headers, body, query, timeout)

    return call


def _described(
    execution: Execution, service: str, action: str, data: Any, function: str
) -> Request:
    return requests.describe(
        service,
        action,
        principal=_session(execution)[1],
        parameters=data if isinstance(data, dict) else {},
        event=execution["input"],
        function=function,
    )


@contextlib.contextmanager
def _recorded(execution: Execution, request: Request) -> Iterator[None]:
    error = ""
    try:
        yield
    except sfn._ExecutionError as failed:
        error = failed.error
        raise
    finally:
        key, principal = _session(execution)
        state.calls.add(
            ApiCall(
                time=time.time(),
                access_key_id=key,
                principal=principal,
                service=request.service,
                action=request.action,
                region=get_region(),
                status=400 if error else 200,
                error=error,
                user_agent="states.amazonaws.com",
                source="states",
                about=tuple(sorted(request.about)),
            )
        )


@contextlib.contextmanager
def _struck(request: Request) -> Iterator[None]:
    """Let the armed faults strike a task, before or after it is done."""
    after: FaultRule | None = None
    prefix = request.service.capitalize()
    for rule in state.faults.striking(request):
        if rule.kind == "delay":
            # In real time, and to its end: what is on its way is not held back by a stop.
            time.sleep(rule.delay_seconds)
        elif rule.kind == "throttle":
            raise sfn._ExecutionError(f"{prefix}.TooManyRequestsException", "Rate Exceeded.")
        elif rule.kind == "error_before":
            code = rule.code if "." in rule.code else f"{prefix}.ServiceException"
            raise sfn._ExecutionError(code, rule.message)
        elif rule.kind == "kill_worker" and rule.moment == "before":
            raise sfn._ExecutionError(rule.surfaces_as, rule.message)
        else:
            after = rule
    yield
    if after is not None:
        lost = after.code if "." in after.code else f"{prefix}.SdkClientException"
        raise sfn._ExecutionError(
            after.surfaces_as if after.kind == "kill_worker" else lost, after.message
        )


_sessions: dict[str, tuple[str, str]] = {}


def _session(execution: Execution) -> tuple[str, str]:
    """Access key id and ARN of the session that Step Functions holds of a machine's role."""
    arn = execution["stateMachineArn"]
    machine = sfn._state_machines.get(arn) or sfn._state_machines.get(arn.rsplit("/", 1)[0]) or {}
    role_arn = machine.get("roleArn", "")
    if role_arn not in _sessions:
        account, role = get_account_id(), role_arn.rsplit("/", 1)[-1]
        key = f"ASIA{secrets.token_hex(8).upper()}"
        session = f"arn:aws:sts::{account}:assumed-role/{role}/StepFunctions"
        sts.register_session(
            key,
            {
                "Arn": session,
                "UserId": f"AROA:{role}",
                "SecretAccessKey": secrets.token_hex(20),
                "SessionToken": secrets.token_hex(32),
            },
        )
        _sessions[role_arn] = key, session
    return _sessions[role_arn]


def _denial(
    execution: Execution, action: str, arn: str, context: dict[str, Any] | None = None
) -> str | None:
    """Why the machine's role may not do this, or None. Only identity policies count here.

    Stricter than AWS where a resource's own policy would allow the role (a topic's default
    policy does): a template must not work by accident.
    """
    key, principal = _session(execution)
    denied = iam_evaluator.enforce(
        key, action, "", get_region(), resource_arn=arn, service_context=context
    )
    if denied is None:
        return None
    return (
        f"User: {principal} is not authorized to perform: {action} on resource: {arn} "
        f"because no identity-based policy allows the {action} action"
    )
