"""The loops of RotateKey that try again: each has the whole patience, and each ends."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from jsonata import Jsonata

from tools.asl.__main__ import FOLDER
from tools.asl.definition import Definition, State

PATIENCE = 30
POLICY = {"fenceSeconds": 5, "pollMinSeconds": 1, "pollMaxSeconds": 2, "retentionSeconds": 0}
ROTATION: dict[str, Any] = {
    "userName": "ci",
    "action": "ROTATE",
    "mode": "STANDARD",
    "recoveryOf": None,
    "policy": POLICY,
}


@pytest.fixture(scope="module")
def states() -> dict[str, State]:
    return Definition.load(FOLDER / "rotate_key.asl.json").root.states


def evaluated(value: Any, variables: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {name: evaluated(item, variables) for name, item in value.items()}
    if isinstance(value, str) and value.startswith("{%"):
        expression = Jsonata(value[2:-2])
        frame = expression.create_frame()
        for name, bound in variables.items():
            frame.bind(name, bound)
        return expression.evaluate(None, frame)
    return value


def visited(states: dict[str, State], start: str, answers: dict[str, str]) -> Counter[str]:
    """How often an execution comes by each state, when the Tasks without an answer all fail."""
    initial = states["Check Request"]["Assign"]
    variables = {
        name: value for name, value in initial.items() if not str(value).startswith("{%")
    } | {"rotation": ROTATION, "result": {}, "next": "", "waitSeconds": 1}
    found: Counter[str] = Counter()
    name = start
    while name != "Announce Outcome":
        found[name] += 1
        assert found.total() < 1_000, f"no end: {found}"
        name = followed(states[name], name, variables, answers)
    return found


def followed(state: State, name: str, variables: dict[str, Any], answers: dict[str, str]) -> str:
    way: dict[str, Any] = state
    error = {"Error": "Lambda.Unknown", "Cause": "dead"}
    variables["states"] = {
        "errorOutput": error,
        "result": {"Payload": {**variables, "next": answers.get(name)}},
        "context": {"Execution": {"Id": "arn"}, "State": {"EnteredTime": "now"}},
    }
    if state["Type"] == "Task" and name not in answers:
        way = state["Catch"][-1]
    elif state["Type"] == "Choice":
        rules = [rule for rule in state["Choices"] if evaluated(rule["Condition"], variables)]
        way = rules[0] if rules else {"Next": state["Default"]}
    variables.update(evaluated(way.get("Assign", {}), dict(variables)))
    return str(way["Next"])


LOOPS = [
    ("Take Over", {}, "Take Over"),
    ("Reactivate Old Key", {}, "Reactivate Old Key"),
    ("Reactivate Old Key", {"Reactivate Old Key": "DEACTIVATE"}, "Deactivate Old Key"),
    ("Deactivate Exposed Key", {}, "Deactivate Exposed Key"),
    ("Close Rotation", {}, "Close Rotation"),
    # One loop after another: a claim that is not released blocks the user.
    ("Reactivate Old Key", {}, "Close Rotation"),
    ("Reactivate Old Key", {"Reactivate Old Key": "DEACTIVATE"}, "Close Rotation"),
    ("Deactivate Exposed Key", {}, "Close Rotation"),
]


@pytest.mark.parametrize(("start", "answers", "tried"), LOOPS)
def test_each_loop_has_the_whole_patience_whatever_another_has_used_up(
    states: dict[str, State], start: str, answers: dict[str, str], tried: str
) -> None:
    assert visited(states, start, answers)[tried] == PATIENCE


def test_who_goes_back_again_after_a_borrowed_key_has_the_whole_patience_again(
    states: dict[str, State],
) -> None:
    variables: dict[str, Any] = {
        "rotation": {"rotateAfterRestore": True},
        "backOutTries": PATIENCE - 1,
        "deactivationTries": PATIENCE,
    }
    assert followed(states["Rotate After All?"], "", variables, {}) == "Issue New Key"
    assert (variables["backOutTries"], variables["deactivationTries"]) == (0, 0)
