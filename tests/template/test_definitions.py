"""The real template and state machine definitions pass their linters."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from keyturn.handlers import frame
from keyturn.model.settings import MAX_POLLS
from keyturn.rotate.decision import Step
from tools import template
from tools.asl import source
from tools.asl.__main__ import ERRORS, FOLDER, lint_file
from tools.asl.definition import Definition, State, arrows
from tools.asl.lint import error_names, named_errors

SOURCES = source.sources(FOLDER)

# Errors that a definition need not name: outcomes that a function answers, and those for which
# States.ALL is the right answer, because another try may help or it is a defect.
ANSWERED = {error.__name__ for error in (*frame.REFUSED, *frame.BLOCKED)} | {"AuditFailed"}
LEFT_TO_STATES_ALL = {
    "FenceClosed",
    "HandoverMissing",
    "KeyturnError",
    "SettingMissing",
    "UnexpectedFailure",
}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_the_definition_has_no_findings(path: Path) -> None:
    assert [str(finding) for finding in lint_file(path)] == []


def test_every_exception_is_one_that_a_definition_expects() -> None:
    named = set()
    for path in SOURCES:
        named |= named_errors(Definition.load(path))
    assert error_names(ERRORS) == named & error_names(ERRORS) | ANSWERED | LEFT_TO_STATES_ALL


def test_the_template_has_no_findings() -> None:
    command = [str(Path(sys.executable).with_name("cfn-lint")), "template.yaml"]
    result = subprocess.run(command, cwd=template.ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")


# Errors after which the function's invocation may still be running, so that a call of it may take
# effect later on; States.ALL and States.TaskFailed include them.
MAY_STILL_RUN = frozenset(
    {
        "States.ALL",
        "States.TaskFailed",
        "States.Timeout",
        "Lambda.Unknown",
        "Lambda.SdkClientException",
        "Lambda.ClientExecutionTimeoutException",
        "Lambda.ServiceException",
        "Lambda.AWSLambdaException",
    }
)
# What comes after an error of these needs no wait: they change nothing.
LOOKS = frozenset(
    {
        "Check Request",
        "Prove New Key",
        "Check Pickup",
        "Check Health Before Deactivation",
        "Check Health",
        "Check Watch",
        "Check Return",
        "Prove Old Key",
        "Announce Outcome",
        "Tell People",
        "Start Retirement",
    }
)
# Nor do these: they are tried again, and what they do late is what the back-out wants anyway.
GOES_BACK = frozenset({"Reactivate Old Key", "Restore Old Version", "Deactivate New Key"})
# What must not happen while a call that says the opposite may still take effect.
DELETES_OR_REVERTS = frozenset(
    {"Discard New Key", "Issue New Key", "Reactivate Old Key", "Restore Old Version"}
)


@pytest.fixture(scope="module")
def states() -> dict[str, State]:
    return Definition.load(FOLDER / "rotate_key.asl.json").root.states


def reached(states: dict[str, State], start: str, *, stops_at: frozenset[str]) -> set[str]:
    """Return the states on every path from a state; a path ends where it meets `stops_at`."""
    found: set[str] = set()
    todo = [start]
    while todo:
        name = todo.pop()
        if name not in found and name not in stops_at:
            found.add(name)
            todo += [arrow.target for arrow in arrows(states[name])]
    return found


def fence_waits(states: dict[str, State]) -> frozenset[str]:
    return frozenset(
        name for name, state in states.items() if "fenceSeconds" in str(state.get("Seconds"))
    )


def caught_alive(state: State) -> list[str]:
    """Where the catchers lead that may catch an error of a function that is still running."""
    return [
        catcher["Next"]
        for catcher in state.get("Catch", [])
        if MAY_STILL_RUN & set(catcher["ErrorEquals"])
    ]


def test_nothing_is_undone_while_the_call_that_failed_may_still_take_effect(
    states: dict[str, State],
) -> None:
    """A late call could put a key in charge that was found unpublished, and deleted."""
    changing = {name for name, state in states.items() if state["Type"] == "Task"}
    changing -= LOOKS | GOES_BACK
    too_early = {
        f"{name} -> {state}"
        for name in changing
        for target in caught_alive(states[name])
        for state in reached(states, target, stops_at=fence_waits(states)) & DELETES_OR_REVERTS
    }
    assert too_early == set()
    assert set(states) >= LOOKS | GOES_BACK | DELETES_OR_REVERTS


def test_a_take_over_that_failed_leaves_the_claim_it_may_have_taken(
    states: dict[str, State],
) -> None:
    """Close Rotation would release it, and with it the only record of what was there before."""
    (target,) = caught_alive(states["Take Over"])
    found = reached(states, target, stops_at=frozenset({"Take Over"}))
    assert "Close Rotation" not in found
    assert {states[name]["Type"] for name in found} & {"Fail"}


def test_every_answer_of_take_over_has_a_way_on(states: dict[str, State]) -> None:
    choice = states["Where To Continue?"]
    ways = {rule["Condition"]: rule["Next"] for rule in choice["Choices"]}
    answers = set(Step) - {Step.REJECT, Step.WAIT, Step.STOP_CLAIMANT}
    missing = {step for step in answers if f"{{% $next = '{step}' %}}" not in ways}
    assert missing == {Step.DISCARD}
    assert choice["Default"] == "Discard New Key"
    assert ways["{% $next = 'ISSUE' %}"] == "Issue New Key"


# Fleet runs


def test_the_looks_of_one_batch_fit_into_its_history() -> None:
    """25,000 events at most: a Wait has 2, a Choice 2, a Task 5 and 3 for each try that fails."""
    (batch,) = Definition.load(FOLDER / "rotate_fleet.asl.json").root.inner("Rotate Users")
    look = batch.states["Look At Rotations"]
    tries = sum(retrier["MaxAttempts"] for retrier in look["Retry"])
    assert MAX_POLLS * (2 + 2 + 5 + 3 * tries) < 25_000
    condition = batch.states["All Ended?"]["Choices"][0]["Condition"]
    assert f"$polls < {MAX_POLLS}" in condition
