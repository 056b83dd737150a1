"""Each check of the state machine linter, with a small definition that breaks it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tools.asl.definition import Definition
from tools.asl.diagram import diagram
from tools.asl.lint import error_names, lint, named_errors

ERRORS = {"ClaimLost"}
SUBSTITUTIONS = {"CheckFunctionArn"}

GOOD: dict[str, Any] = {
    "QueryLanguage": "JSONata",
    "StartAt": "Check Request",
    "States": {
        "Check Request": {
            "Type": "Task",
            "Comment": "Nothing starts unchecked.",
            "Resource": "arn:${AwsPartition}:states:::lambda:invoke",
            "Arguments": {
                "FunctionName": "${CheckFunctionArn}",
                "Payload": "{% {'in': $states.input, 'at': $states.context.State.EnteredTime} %}",
            },
            "TimeoutSeconds": "{% 10 + 20 %}",
            "Assign": {"check": "{% $states.result.Payload %}", "polls": 0},
            "Retry": [
                {"ErrorEquals": ["ClaimLost"], "MaxAttempts": 0},
                {"ErrorEquals": ["States.ALL"], "MaxAttempts": 2, "JitterStrategy": "FULL"},
            ],
            "Catch": [
                {
                    "ErrorEquals": ["States.ALL"],
                    "Assign": {"error": "{% $states.errorOutput %}"},
                    "Next": "Failed",
                }
            ],
            "Next": "Anything To Do?",
        },
        "Anything To Do?": {
            "Type": "Choice",
            "Comment": "Most users need nothing today.",
            "Choices": [
                {
                    "Condition": "{% $check.todo = 'WAIT' and $polls < 3 %}",
                    "Comment": "too early",
                    "Assign": {"polls": "{% $polls + 1 %}"},
                    "Next": "Wait A Little",
                }
            ],
            "Default": "Done",
        },
        "Wait A Little": {
            "Type": "Wait",
            "Comment": "Polling faster shows nothing new.",
            "Seconds": "{% $check.seconds %}",
            "Next": "Anything To Do?",
        },
        "Done": {"Type": "Succeed", "Output": "{% {'outcome': 'DONE'} %}"},
        "Failed": {
            "Type": "Fail",
            "Error": "RotationFailed",
            "Cause": "{% $string($exists($error) ? $error : {}) %}",
        },
    },
}

REMOVED = object()


def changed(path: str, value: Any) -> dict[str, Any]:
    """The good definition with one field, named by its path, set to a value or removed."""
    content = copy.deepcopy(GOOD)
    *parents, last = path.split("/")
    target: Any = content
    for part in parents:
        target = target[int(part) if isinstance(target, list) else part]
    if value is REMOVED:
        del target[last]
    else:
        target[int(last) if isinstance(target, list) else last] = value
    return content


def messages(content: dict[str, Any]) -> list[str]:
    """What the linter says about a definition."""
    text = json.dumps(content, indent=2)
    definition = Definition(Path("toy.asl.json"), text, content)
    found = lint(definition, errors=ERRORS, substitutions=SUBSTITUTIONS | {"AwsPartition"})
    return [str(finding) for finding in found]


def test_a_good_definition_has_no_findings() -> None:
    assert messages(GOOD) == []


TASK = "States/Check Request"
CASES = [
    ("QueryLanguage", "JSONPath", 'QueryLanguage must be "JSONata" at the top'),
    ("QueryLanguage", REMOVED, 'QueryLanguage must be "JSONata" at the top'),
    ("States/Done/Type", "Success", "'Success' is not one of"),
    (f"{TASK}/ResultPath", "$.x", "'$.x' is in a field of JSONPath"),
    (f"{TASK}/Next", REMOVED, "exactly one of Next, End is required"),
    (f"{TASK}/TimeoutSeconds", "30", "'30' is not of type 'number'"),
    ("StartAt", "Nowhere", "StartAt names 'Nowhere', which does not exist"),
    (f"{TASK}/Next", "Nowhere", "next target 'Nowhere' does not exist"),
    ("States/Anything To Do?/Default", "Nowhere", "default target 'Nowhere' does not exist"),
    ("States/Anything To Do?/Choices/0/Next", "Nowhere", "choice target 'Nowhere' does not exist"),
    (f"{TASK}/Catch/0/Next", "Nowhere", "catch target 'Nowhere' does not exist"),
    ("States/Forgotten", {"Type": "Succeed"}, "Forgotten: cannot be reached"),
    (f"{TASK}/TimeoutSeconds", REMOVED, "a Task needs TimeoutSeconds"),
    (f"{TASK}/Retry", REMOVED, "a Task needs Retry"),
    (f"{TASK}/Retry/1/ErrorEquals", ["States.Timeout"], "the last retrier must be States.ALL"),
    (
        f"{TASK}/Retry/1/ErrorEquals",
        ["ClaimLost", "States.ALL"],
        "Retry: States.ALL must stand alone",
    ),
    (f"{TASK}/Retry/0/ErrorEquals", ["States.ALL"], "Retry: States.ALL must be last"),
    (f"{TASK}/Retry/0/MaxAttempt", 1, "Retry: unknown field MaxAttempt"),
    (f"{TASK}/Catch/0/ErrorEquals", ["ClaimLost", "States.ALL"], "Catch: States.ALL must stand"),
    (f"{TASK}/Catch/0/ErrorEquals", ["ClaimLots"], "ErrorEquals names ClaimLots"),
    (f"{TASK}/Catch/0/ErrorEquals", ["States.TimeOut"], "ErrorEquals names States.TimeOut"),
    (f"{TASK}/Comment", REMOVED, "a Task needs a Comment"),
    ("States/Anything To Do?/Comment", " ", "a Choice needs a Comment"),
    ("States/Wait A Little/Comment", REMOVED, "a Wait needs a Comment"),
    (f"{TASK}/Arguments/FunctionName", "${OtherArn}", "${OtherArn} is not in the Definition"),
    (f"{TASK}/Arguments/FunctionName", "name", "has CheckFunctionArn, which is not used here"),
    ("States/Wait A Little/Seconds", "{% $check. %}", "Seconds: not JSONata"),
    ("States/Done/Output", " {% 1 %}", "Output: an expression must fill the string"),
    ("States/Done/Output", "{% $now2() %}", "has no JSONata function $now2"),
    ("States/Done/Output", "{% $eval('1') %}", "has no JSONata function $eval"),
    ("States/Done/Output", "{% $states.result %}", "$states.result exists only"),
    (f"{TASK}/Arguments/Payload", "{% $states.errorOutput %}", "$states.errorOutput exists only"),
    (f"{TASK}/Assign/spare", 1, "$spare is assigned and never read"),
    ("States/Done/Output", "{% $chek %}", "Output: $chek is not assigned on every way here"),
    # Assigned, but not on the way through the Catch.
    ("States/Failed/Cause", "{% $check.reason %}", "Cause: $check is not assigned on every way"),
    # Read in the very state that assigns it: all expressions see the values at its entry.
    (f"{TASK}/Output", "{% $check %}", "Output: $check is not assigned on every way here"),
    (f"{TASK}/Assign/secretString", 1, "Assign/secretString: secretString must not pass"),
    (
        f"{TASK}/Arguments/Payload",
        "{% $states.input.SecretAccessKey %}",
        "SecretAccessKey must not pass through the state machine",
    ),
    (
        f"{TASK}/Resource",
        "arn:aws:states:::aws-sdk:iam:createAccessKey",
        "would write a secret into the execution's history",
    ),
    (
        f"{TASK}/Resource",
        "arn:${AwsPartition}:states:::aws-sdk:secretsmanager:getSecretValue",
        "would write a secret into the execution's history",
    ),
]


@pytest.mark.parametrize(("path", "value", "message"), CASES, ids=[case[2] for case in CASES])
def test_the_linter_finds(path: str, value: Any, message: str) -> None:
    found = messages(changed(path, value))
    assert any(message in line for line in found), found


def test_names_that_an_expression_binds_itself_are_not_variables() -> None:
    expression = "{% ($n := 1; $map([$n], function($v, $i) { $v + $i })) & 'costs $money' %}"
    assert messages(changed("States/Done/Output", expression)) == []


def test_states_inside_a_map_are_checked_and_see_its_variables() -> None:
    inner = {
        "StartAt": "Look",
        "States": {"Look": {"Type": "Pass", "Output": "{% $check & $oops %}", "End": True}},
    }
    each = {"Type": "Map", "Items": "{% $check.all %}", "ItemProcessor": inner, "Next": "Done"}
    content = changed("States/Anything To Do?/Default", "Each")
    content["States"]["Each"] = each
    (found,) = messages(content)
    assert "Look: Output: $oops is not assigned on every way here" in found
    distributed: dict[str, Any] = copy.deepcopy(content)
    config = {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    distributed["States"]["Each"]["ItemProcessor"]["ProcessorConfig"] = config
    assert any("$check is not assigned" in line for line in messages(distributed))


@pytest.mark.parametrize("mode", ["INLINE", "DISTRIBUTED"])
def test_an_inner_state_may_not_assign_what_an_outer_scope_assigns(mode: str) -> None:
    """Forbidden by the guide (variables between states); the embedded AWS lets it pass."""
    state = {"Type": "Pass", "Assign": {"check": 1}, "Output": "{% $check %}", "End": True}
    inner = {"ProcessorConfig": {"Mode": mode}, "StartAt": "Look", "States": {"Look": state}}
    each = {"Type": "Map", "Items": "{% $check.all %}", "ItemProcessor": inner, "Next": "Done"}
    content = changed("States/Anything To Do?/Default", "Each")
    content["States"]["Each"] = each
    found = messages(content)
    assert any("Look: $check is assigned in an outer scope, too" in line for line in found), found


def test_findings_name_the_line_of_the_state() -> None:
    content = changed("States/Wait A Little/Comment", REMOVED)
    (found,) = messages(content)
    line = int(found.split(":")[1])
    assert json.dumps(content, indent=2).splitlines()[line - 1].strip() == '"Wait A Little": {'


def test_a_definition_that_no_state_machine_uses_is_found() -> None:
    definition = Definition(Path("toy.asl.json"), json.dumps(GOOD), GOOD)
    (found,) = lint(definition, errors=ERRORS, substitutions=None)
    assert "no state machine in template.yaml" in found.message


def test_error_names_are_the_classes_of_the_module(tmp_path: Path) -> None:
    module = tmp_path / "errors.py"
    module.write_text("class A(Exception): ...\ndef b(): ...\n", encoding="utf-8")
    assert error_names(module) == {"A"}
    assert named_errors(Definition(Path("toy"), "", GOOD)) == {"ClaimLost", "States.ALL"}


def test_a_diagram_shows_every_state_and_a_question_as_a_diamond() -> None:
    text = diagram(Definition(Path("toy"), "", GOOD))
    assert text.startswith("flowchart TD\n")
    assert 's2{"Anything To Do?"}:::choice' in text
    assert 's2 -->|"wait"| s3' in text
    assert 's2 -->|"otherwise"| s4' in text
    assert 's1 -.->|"any error"| s5' in text
    assert 's5(["Failed"]):::fail' in text


def test_an_overview_joins_the_ways_through_states_that_it_leaves_out() -> None:
    definition = Definition(Path("toy"), "", GOOD)
    text = diagram(definition, only=["Check Request", "Anything To Do?", "Done"])
    arrows = [line.strip() for line in text.splitlines() if ">" in line]
    # Through the wait, which is left out, and back to the question.
    assert arrows == ["s1 --> s2", 's2 -->|"wait"| s2', 's2 -->|"otherwise"| s3']
    # The question itself is left out: no arrow says where it leads.
    assert ">" not in diagram(definition, only=["Check Request", "Done"])
    with pytest.raises(ValueError, match="no such states: Gone"):
        diagram(definition, only=["Gone"])
