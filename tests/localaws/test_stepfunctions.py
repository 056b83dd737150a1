"""State machines in the embedded AWS: life cycle, language, integrations."""

from __future__ import annotations

import itertools
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.localaws.support import Toy, eventually, refused

pytestmark = pytest.mark.emulator


def passing(output: Any) -> dict[str, Any]:
    """A machine of one Pass state."""
    return {"StartAt": "P", "States": {"P": {"Type": "Pass", "Output": output, "End": True}}}


def output_of(ended: dict[str, Any]) -> Any:
    assert ended["status"] == "SUCCEEDED", ended
    return json.loads(ended["output"])


# Life cycle


def test_the_same_name_and_input_is_the_same_execution_while_it_runs(toy: Toy, name: str) -> None:
    definition = {
        "StartAt": "W",
        "States": {"W": {"Type": "Wait", "Seconds": 600, "End": True}},
    }
    machine = toy.machine(name, definition)
    first = toy.start({"a": 1}, machine, name="one")
    assert toy.start({"a": 1}, machine, name="one") == first
    stepfunctions = toy.aws.client("stepfunctions")
    again = {"stateMachineArn": machine, "name": "one"}
    assert refused(stepfunctions.start_execution, **again, input="{}") == "ExecutionAlreadyExists"
    stepfunctions.stop_execution(executionArn=first)
    code = refused(stepfunctions.start_execution, **again, input='{"a": 1}')
    assert code == "ExecutionAlreadyExists"


@pytest.mark.parametrize("wrong", ["with space", "a:b", "x" * 81, "hash#"])
def test_names_of_executions_are_checked(toy: Toy, wrong: str) -> None:
    stepfunctions = toy.aws.client("stepfunctions")
    machine = toy.outputs["MachineArn"]
    code = refused(stepfunctions.start_execution, stateMachineArn=machine, name=wrong)
    assert code == "InvalidName"


def test_an_input_must_be_json(toy: Toy) -> None:
    stepfunctions = toy.aws.client("stepfunctions")
    machine = toy.outputs["MachineArn"]
    code = refused(stepfunctions.start_execution, stateMachineArn=machine, input="{")
    assert code == "InvalidExecutionInput"


def test_who_waits_for_an_execution_is_woken(toy: Toy, name: str) -> None:
    """By the state that it waits for, by the end, and by neither when the time is over."""
    execution = toy.start({"do": "sleep", "seconds": 3}, name=name)
    until = toy.aws.control.until
    assert not until(execution, "No Such State", seconds=0.2)
    (first, *_) = toy.states(execution)
    assert until(execution, first, seconds=30)
    assert toy.described(execution)["status"] == "RUNNING"
    toy.aws.client("stepfunctions").stop_execution(executionArn=execution)
    assert not until(execution, "No Such State", seconds=30)
    assert until(execution, seconds=30)
    with ThreadPoolExecutor() as pool:
        machine = toy.outputs["MachineArn"]
        later = f"{machine.replace(':stateMachine:', ':execution:')}:{name}-later"
        waits = pool.submit(until, later, seconds=60)
        toy.start({}, name=f"{name}-later")
        assert waits.result()
    assert toy.described(later)["status"] != "RUNNING"


def test_a_stopped_execution_begins_nothing_more(toy: Toy, name: str) -> None:
    retry = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 99}]
    definition = {"StartAt": "T", "States": {"T": toy.task(Retry=retry)}}
    execution = toy.start({"do": "raise", "userName": name}, toy.machine(name, definition))

    def tries() -> int:
        return len(toy.aws.control.calls(about=name, action="lambda:InvokeFunction"))

    eventually(lambda: tries() >= 2)
    toy.aws.client("stepfunctions").stop_execution(
        executionArn=execution, error="Stopped", cause="by a test"
    )
    made = tries()
    ended = toy.described(execution)
    assert (ended["status"], ended["error"], ended["cause"]) == ("ABORTED", "Stopped", "by a test")
    stopped_at = ended["stopDate"]
    begun = time.monotonic()
    eventually(lambda: time.monotonic() - begun > 2.5)
    assert tries() == made
    assert toy.described(execution)["status"] == "ABORTED"
    assert toy.described(execution)["stopDate"] == stopped_at


def test_a_machines_own_timeout_ends_it_even_in_a_wait(toy: Toy, name: str) -> None:
    definition = {
        "TimeoutSeconds": 1,
        "StartAt": "W",
        "States": {"W": {"Type": "Wait", "Seconds": 600, "End": True}},
    }
    execution = toy.start({}, toy.machine(name, definition))
    assert toy.finished(execution)["status"] == "TIMED_OUT"
    history = toy.aws.client("stepfunctions").get_execution_history(executionArn=execution)
    assert history["events"][-1]["type"] == "ExecutionTimedOut"


def test_a_failed_execution_has_an_error_and_no_output(toy: Toy) -> None:
    ended = toy.finished(toy.start({"do": "raise"}))
    assert (ended["status"], ended["error"]) == ("FAILED", "ToyError")
    assert json.loads(ended["cause"])["errorMessage"] == "as asked"
    assert "output" not in ended


def test_the_history_names_the_states(toy: Toy) -> None:
    execution = toy.start({})
    toy.finished(execution)
    assert toy.states(execution) == ["Act", "Pause", "Done"]


# Language


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("$states.input.a", 1),
        ("$exists($states.input.none)", False),
        ("$string({'a': [1]})", '{"a":[1]}'),
        ("$partition([1, 2, 3], 2)", [[1, 2], [3]]),
        ("$toMillis('1970-01-01T00:00:01Z')", 1000),
        ("$fromMillis(1000)", "1970-01-01T00:00:01.000Z"),
        ("$hash('a', 'SHA-256')[0] != ''", True),
        ("$substring($hash('a', 'SHA-256'), 0, 8)", "ca978112"),
        ("$random() < 1", True),
        ("$millis() > 1700000000000", True),
        ("$min([3, 5])", 3),
        ("$merge([{'a': 1}, {'b': 2}])", {"a": 1, "b": 2}),
        ("$states.input.none = null ? 1 : 2", 2),
        ("$length($uuid())", 36),
        ("$parse('{\"x\": 1}').x", 1),
        ("$states.context.Execution.Name != ''", True),
        ("$states.context.Execution.RedriveCount", 0),
        ("$exists($states.context.Execution.StartTime)", True),
        ("$contains($states.context.Execution.Id, ':execution:')", True),
        ("$contains($states.context.Execution.RoleArn, ':role/')", True),
        ("$contains($states.context.StateMachine.Id, ':stateMachine:')", True),
        ("$states.context.State.Name", "P"),
        ("$toMillis($states.context.State.EnteredTime) > 0", True),
        ("$toMillis($states.context.Execution.StartTime) > 0", True),
        ("$states.context.Execution.Input.a", 1),
        ("$map([1, 2], function($x) { $x * 2 })", [2, 4]),
        ("[$filter([1, 2], function($x) { $x > 1 })]", [2]),
        ("$count($states.input.list)", 2),
        ("$now() > '2020'", True),
        ("$formatNumber(3, '00')", "03"),
        ("$states.input.list ~> $join(',')", "x,y"),
    ],
)
def test_expressions(toy: Toy, name: str, expression: str, value: Any) -> None:
    ended = toy.run(name, passing(f"{{% {expression} %}}"), {"a": 1, "list": ["x", "y"]})
    assert output_of(ended) == value


def test_an_undefined_value_is_an_error(toy: Toy, name: str) -> None:
    ended = toy.run(name, passing("{% $states.input.none %}"))
    assert (ended["status"], ended["error"]) == ("FAILED", "States.QueryEvaluationError")


def test_assign_sees_the_values_at_entry(toy: Toy, name: str) -> None:
    definition = {
        "StartAt": "One",
        "States": {
            "One": {"Type": "Pass", "Assign": {"x": 1, "y": 2}, "Next": "Two"},
            "Two": {
                "Type": "Pass",
                "Assign": {"x": "{% $y %}", "y": "{% $x %}"},
                "Output": "{% [$x, $y] %}",
                "Next": "Three",
            },
            "Three": {
                "Type": "Pass",
                "Output": {"before": "{% $states.input %}", "after": "{% [$x, $y] %}"},
                "End": True,
            },
        },
    }
    assert output_of(toy.run(name, definition)) == {"before": [1, 2], "after": [2, 1]}


def test_choices_assign_and_output(toy: Toy, name: str) -> None:
    definition = {
        "StartAt": "C",
        "States": {
            "C": {
                "Type": "Choice",
                "Choices": [
                    {
                        "Condition": "{% $states.input.n = 1 %}",
                        "Assign": {"way": "rule"},
                        "Output": "chosen",
                        "Next": "End",
                    }
                ],
                "Assign": {"way": "default"},
                "Output": "defaulted",
                "Default": "End",
            },
            "End": {
                "Type": "Pass",
                "Output": "{% [$way, $states.input] %}",
                "End": True,
            },
        },
    }
    machine = toy.machine(name, definition)
    assert output_of(toy.finished(toy.start({"n": 1}, machine))) == ["rule", "chosen"]
    assert output_of(toy.finished(toy.start({"n": 2}, machine))) == ["default", "defaulted"]


def test_a_catcher_sees_the_error_and_assigns(toy: Toy, name: str) -> None:
    catch = [
        {
            "ErrorEquals": ["ToyError"],
            "Assign": {"why": "{% $parse($states.errorOutput.Cause).errorMessage %}"},
            "Output": "{% $states.errorOutput.Error %}",
            "Next": "Caught",
        }
    ]
    task = toy.task(Catch=catch, Assign={"why": "not assigned"})
    definition = {
        "StartAt": "T",
        "States": {
            "T": task,
            "Caught": {"Type": "Pass", "Output": "{% [$states.input, $why] %}", "End": True},
        },
    }
    ended = toy.run(name, definition, {"do": "raise", "message": "m"})
    assert output_of(ended) == ["ToyError", "m"]


def test_states_all_does_not_catch_runtime_errors(toy: Toy, name: str) -> None:
    task = toy.task(Catch=[{"ErrorEquals": ["States.ALL"], "Next": "Caught"}])
    task["Resource"] = "arn:aws:states:::nothing:atAll"
    states = {"T": task, "Caught": {"Type": "Succeed"}}
    ended = toy.run(name, {"StartAt": "T", "States": states})
    assert (ended["status"], ended["error"]) == ("FAILED", "States.Runtime")


def test_the_delay_of_a_retrier_is_capped(toy: Toy, name: str) -> None:
    retry = [
        {
            "ErrorEquals": ["ToyError"],
            "IntervalSeconds": 1,
            "BackoffRate": 1000,
            "MaxDelaySeconds": 2,
            "MaxAttempts": 2,
            "JitterStrategy": "NONE",
        }
    ]
    definition = {"StartAt": "T", "States": {"T": toy.task(Retry=retry)}}
    toy.run(name, definition, {"do": "raise", "userName": name})
    calls = toy.aws.control.calls(about=name, action="lambda:InvokeFunction")
    gaps = [later.time - earlier.time for earlier, later in itertools.pairwise(calls)]
    assert [round(gap) for gap in gaps] == [1, 2]


def test_the_first_matching_retrier_decides(toy: Toy, name: str) -> None:
    retry = [
        {"ErrorEquals": ["ToyError"], "MaxAttempts": 0},
        {"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 5},
    ]
    definition = {"StartAt": "T", "States": {"T": toy.task(Retry=retry)}}
    assert toy.run(name, definition, {"do": "raise", "userName": name})["error"] == "ToyError"
    assert len(toy.aws.control.calls(about=name, action="lambda:InvokeFunction")) == 1


def test_the_retry_count_reaches_the_task(toy: Toy, name: str) -> None:
    retry = [{"ErrorEquals": ["ToyError"], "IntervalSeconds": 1, "MaxAttempts": 1}]
    task = toy.task(Retry=retry)
    task["Arguments"]["Payload"] = {
        "do": "{% $states.context.State.RetryCount = 0 ? 'raise' : 'nothing' %}"
    }
    ended = toy.run(name, {"StartAt": "T", "States": {"T": task}})
    assert ended["status"] == "SUCCEEDED"


def test_a_task_has_a_time_limit_that_may_be_an_expression(toy: Toy, name: str) -> None:
    task = toy.task(TimeoutSeconds="{% $states.input.limit %}")
    states = {"T": task}
    ended = toy.run(
        name, {"StartAt": "T", "States": states}, {"do": "sleep", "seconds": 5, "limit": 1}
    )
    assert ended["error"] == "States.Timeout"


@pytest.mark.parametrize("error", ["Sandbox.Timedout", "Runtime.ExitError"])
def test_functions_that_die_fail_their_task(toy: Toy, name: str, error: str) -> None:
    function = "SleeperName" if error == "Sandbox.Timedout" else "ActorName"
    event = {"do": "sleep", "seconds": 9} if function == "SleeperName" else {"do": "exit"}
    ended = toy.run(name, {"StartAt": "T", "States": {"T": toy.task(function)}}, event)
    assert ended["error"] == error


def test_a_wait_and_a_failure_may_be_expressions(toy: Toy, name: str) -> None:
    definition = {
        "StartAt": "W",
        "States": {
            "W": {"Type": "Wait", "Seconds": "{% $states.input.n %}", "Next": "F"},
            "F": {
                "Type": "Fail",
                "Error": "{% $states.input.e %}",
                "Cause": "{% $string($states.input) %}",
            },
        },
    }
    ended = toy.run(name, definition, {"n": 1, "e": "RotationFailed"})
    assert ended["error"] == "RotationFailed"
    assert json.loads(ended["cause"]) == {"n": 1, "e": "RotationFailed"}


def test_parallel_branches_have_their_own_scope(toy: Toy, name: str) -> None:
    def branch(value: str) -> dict[str, Any]:
        state = {"Type": "Pass", "Output": value, "End": True}
        return {"StartAt": "B", "States": {"B": state}}

    definition = {
        "StartAt": "P",
        "States": {
            "P": {
                "Type": "Parallel",
                "Arguments": {"n": "{% $states.input.n + 1 %}"},
                "Branches": [
                    branch("{% $states.input.n %}"),
                    branch("{% $states.context.State.Name %}"),
                ],
                "Output": {"results": "{% $states.result %}"},
                "Assign": {"first": "{% $states.result[0] %}"},
                "Next": "End",
            },
            "End": {"Type": "Pass", "Output": "{% [$states.input.results, $first] %}", "End": True},
        },
    }
    assert output_of(toy.run(name, definition, {"n": 1})) == [2, "B", 2]


def map_over(mode: str, name: str) -> dict[str, Any]:
    inner = {
        "Type": "Pass",
        "Output": "{% $states.input.value * $states.input.factor %}",
        "End": True,
    }
    state: dict[str, Any] = {
        "Type": "Map",
        "Items": "{% $states.input.items %}",
        "ItemSelector": {
            "value": "{% $states.context.Map.Item.Value %}",
            "factor": "{% $states.input.factor %}",
        },
        "MaxConcurrency": 2,
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": mode},
            "StartAt": "I",
            "States": {"I": inner},
        },
        "Output": "{% $sum($states.result) %}",
        "End": True,
    }
    if mode == "DISTRIBUTED":
        state["ItemProcessor"]["ProcessorConfig"]["ExecutionType"] = "STANDARD"
        state["Label"] = "Items"
    return {"StartAt": name, "States": {name: state}}


@pytest.mark.parametrize("mode", ["INLINE", "DISTRIBUTED"])
def test_maps(toy: Toy, name: str, mode: str) -> None:
    ended = toy.run(name, map_over(mode, "M"), {"items": [1, 2, 3], "factor": 10})
    assert output_of(ended) == 60


def test_a_distributed_map_needs_a_role_that_may_start_its_children(toy: Toy, name: str) -> None:
    machine = toy.machine(name, map_over("DISTRIBUTED", "M"), _role(toy, name))
    ended = toy.finished(toy.start({"items": [1], "factor": 1}, machine))
    assert (ended["status"], ended["error"]) == ("FAILED", "States.Permissions")
    assert f"states:StartExecution on resource: {machine}" in ended["cause"]


def test_a_distributed_map_reads_its_items_from_s3(toy: Toy, name: str) -> None:
    s3 = toy.aws.client("s3")
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="items.json", Body=json.dumps([1, 2]))
    definition = map_over("DISTRIBUTED", "M")
    state = definition["States"]["M"]
    del state["Items"]
    state["ItemReader"] = {
        "Resource": "arn:aws:states:::s3:getObject",
        "ReaderConfig": {"InputType": "JSON"},
        "Arguments": {"Bucket": "{% $states.input.bucket %}", "Key": "items.json"},
    }
    ended = toy.run(name, definition, {"bucket": name, "factor": 2})
    assert output_of(ended) == 6


# Integrations and the machine's role


def sdk(resource: str, **arguments: Any) -> dict[str, Any]:
    """A machine that makes one SDK call and catches its error."""
    return {
        "StartAt": "T",
        "States": {
            "T": {
                "Type": "Task",
                "Resource": f"arn:aws:states:::{resource}",
                "Arguments": arguments,
                "Output": "{% $states.result %}",
                "Catch": [
                    {
                        "ErrorEquals": ["States.ALL"],
                        "Output": "{% [$states.errorOutput.Error, $states.errorOutput.Cause] %}",
                        "Next": "Caught",
                    }
                ],
                "End": True,
            },
            "Caught": {"Type": "Succeed"},
        },
    }


def test_an_sdk_integration_works_within_the_role(toy: Toy, name: str) -> None:
    toy.user(name)
    result = output_of(toy.run(name, sdk("aws-sdk:iam:getUser", UserName=name)))
    assert result["User"]["UserName"] == name


def test_an_unknown_user_has_a_specific_error(toy: Toy, name: str) -> None:
    policy = toy.aws.client("iam")
    role = _role(toy, name, {"Effect": "Allow", "Action": "iam:*", "Resource": "*"})
    assert policy
    machine = toy.machine(name, sdk("aws-sdk:iam:getUser", UserName=name), role)
    error, cause = output_of(toy.finished(toy.start({}, machine)))
    assert error == "Iam.NoSuchEntityException"
    assert "cannot be found" in cause


def _role(toy: Toy, name: str, *statements: dict[str, Any]) -> str:
    iam = toy.aws.client("iam")
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": "states.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    arn = iam.create_role(
        RoleName=name,
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )["Role"]["Arn"]
    if statements:
        document = {"Version": "2012-10-17", "Statement": statements}
        iam.put_role_policy(RoleName=name, PolicyName="test", PolicyDocument=json.dumps(document))
    return str(arn)


@pytest.mark.parametrize(
    ("resource", "arguments", "error"),
    [
        ("lambda:invoke", {"FunctionName": "FUNCTION"}, "Lambda.AWSLambdaException"),
        ("sns:publish", {"TopicArn": "TOPIC", "Message": "m"}, "SNS.AuthorizationErrorException"),
        (
            "events:putEvents",
            {"Entries": [{"Source": "s", "DetailType": "d", "Detail": {}}]},
            "EventBridge.EventBridgeException",
        ),
        (
            "states:startExecution",
            {"StateMachineArn": "MACHINE", "Input": {}},
            "StepFunctions.AccessDeniedException",
        ),
        ("aws-sdk:iam:getUser", {"UserName": "anyone"}, "Iam.IamException"),
        (
            "aws-sdk:secretsmanager:describeSecret",
            {"SecretId": "toy/any"},
            "SecretsManager.SecretsManagerException",
        ),
        (
            "aws-sdk:sfn:stopExecution",
            {"ExecutionArn": "arn:aws:states:us-east-1:123456789012:execution:m:e"},
            "Sfn.SfnException",
        ),
    ],
)
def test_what_the_role_does_not_allow_is_denied(
    toy: Toy, name: str, resource: str, arguments: dict[str, Any], error: str
) -> None:
    known = {
        "FUNCTION": toy.function_arn(),
        "TOPIC": toy.outputs["TopicArn"],
        "MACHINE": toy.outputs["MachineArn"],
    }
    arguments = {
        key: known.get(value, value) if isinstance(value, str) else value
        for key, value in arguments.items()
    }
    machine = toy.machine(name, sdk(resource, **arguments), _role(toy, name))
    name_of_error, cause = output_of(toy.finished(toy.start({}, machine)))
    assert name_of_error == error
    assert "not authorized" in cause


def test_events_have_their_detail_as_an_object(toy: Toy, name: str) -> None:
    entry = {"Source": "keyturn", "DetailType": "Test", "Detail": {"n": "{% 1 + 1 %}"}}
    result = output_of(toy.run(name, sdk("events:putEvents", Entries=[entry])))
    assert result["FailedEntryCount"] == 0


def test_a_rejected_event_fails_the_task(toy: Toy, name: str) -> None:
    entry = {"Source": "aws.forged", "DetailType": "Test", "Detail": {}}
    error, _ = output_of(toy.run(name, sdk("events:putEvents", Entries=[entry])))
    assert error == "EventBridge.FailedEntry"


def test_starting_an_execution_twice_has_a_named_error(toy: Toy, name: str) -> None:
    child = toy.machine(f"{name}-child", passing(1))
    statement = {"Effect": "Allow", "Action": "states:StartExecution", "Resource": child}
    role = _role(toy, name, statement)
    for style in ("states:startExecution", "aws-sdk:sfn:startExecution"):
        started = sdk(style, StateMachineArn=child, Name="one", Input="{}")
        machine = toy.machine(f"{name}-{style[:3]}", started, role)
        result = output_of(toy.finished(toy.start({}, machine)))
        if style == "states:startExecution":
            arn = result["ExecutionArn"]
            assert toy.finished(arn)["status"] == "SUCCEEDED"
        else:
            assert result[0] == "Sfn.ExecutionAlreadyExistsException"
    again = toy.finished(toy.start({}, toy.machine(f"{name}-again", _opt(child), role)))
    assert output_of(again)[0] == "StepFunctions.ExecutionAlreadyExistsException"


def _opt(child: str) -> dict[str, Any]:
    return sdk("states:startExecution", StateMachineArn=child, Name="one", Input={})


def test_last_used_data_reaches_a_machine(toy: Toy, name: str) -> None:
    key = toy.user(name)
    toy.client("sts", key).get_caller_identity()
    role = _role(toy, name, {"Effect": "Allow", "Action": "iam:*", "Resource": "*"})
    called = sdk("aws-sdk:iam:getAccessKeyLastUsed", AccessKeyId=key.id)
    result = output_of(toy.finished(toy.start({}, toy.machine(name, called, role))))
    assert result["UserName"] == name
    assert result["AccessKeyLastUsed"]["ServiceName"] == "sts"
    assert result["AccessKeyLastUsed"]["LastUsedDate"].endswith("Z")
