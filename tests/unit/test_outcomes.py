"""What is counted of an execution's end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keyturn.model import outcomes
from keyturn.model.outcomes import DECIDED, Ending, ending
from keyturn.model.rotation import Outcome
from tools.asl.definition import Definition
from tools.template import ROOT

TIMES = {
    "publishedAt": "2026-11-21T05:00:00.000Z",
    "deactivatedAt": "2026-11-21T06:30:00.500Z",
}
PICKUP = 5400.5


def detail(status: str, **more: Any) -> dict[str, Any]:
    return {"status": status, "input": '{"userName": "ci"}', "redriveCount": 0, **more}


def succeeded(outcome: object, **more: Any) -> dict[str, Any]:
    return detail("SUCCEEDED", output=json.dumps({"outcome": outcome}), **more)


def failed(error: str | None, **more: Any) -> dict[str, Any]:
    return detail("FAILED", error=error, **more)


@pytest.mark.parametrize("outcome", ["ROTATED", "ISSUED", "SKIPPED"])
def test_a_green_end_counts_under_its_outcome(outcome: str) -> None:
    assert ending(succeeded(outcome)) == Ending(outcome)


def test_a_back_out_counts_as_one_however_it_was_asked_for() -> None:
    asked = ending(succeeded("BACKED_OUT"))
    by_evidence = ending(failed("RotationBackedOut", cause="{}"))
    assert asked == Ending("BACKED_OUT", backed_out=True)
    assert by_evidence == Ending("BACKED_OUT", "RotationBackedOut", backed_out=True)


def test_an_incomplete_back_out_is_a_back_out_too() -> None:
    assert ending(failed("BackoutIncomplete")) == Ending(
        "NEEDS_ATTENTION", "BackoutIncomplete", backed_out=True, back_out_incomplete=True
    )


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        ("RequestRejected", "REJECTED"),
        ("RotationFailed", "FAILED"),
        ("AttentionNeeded", "NEEDS_ATTENTION"),
    ],
)
def test_a_red_end_counts_under_the_outcome_of_its_error(error: str, outcome: str) -> None:
    assert ending(failed(error, cause="cut off, no JSON")) == Ending(outcome, error)


def test_the_errors_are_those_of_the_fail_states() -> None:
    machine = Definition.load(ROOT / "statemachine" / "rotate_key.asl.json")
    fails = {state["Error"] for state in machine.root.states.values() if state["Type"] == "Fail"}
    assert set(DECIDED) == fails


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (detail("TIMED_OUT"), None),
        (detail("ABORTED"), None),
        (detail("ABORTED", error="by hand"), "by hand"),
        (failed("States.Runtime"), "States.Runtime"),
        (failed(None), None),
        (failed("TakenOver"), "TakenOver"),  # the error of a stop, and this was none
        (detail("ABORTED", error={"no": "text"}), None),
        # A redriven execution decides nothing, so its error says nothing.
        (failed("RotationBackedOut", redriveCount=1), "RotationBackedOut"),
    ],
)
def test_an_end_without_a_decision_is_a_death(given: dict[str, Any], error: str | None) -> None:
    assert ending(given) == Ending("DIED", error)


def test_an_execution_that_keyturn_stopped_to_take_over_did_not_die() -> None:
    assert ending(detail("ABORTED", error="TakenOver")) == Ending("TAKEN_OVER", "TakenOver")


@pytest.mark.parametrize("output", [None, "", "no JSON", "[]", "{}", '{"outcome": ["x"]}', 7])
def test_a_success_that_does_not_say_with_what_is_counted_as_unknown(output: object) -> None:
    assert ending(detail("SUCCEEDED", output=output)) == Ending("UNKNOWN")


@pytest.mark.parametrize("status", ["RUNNING", "PENDING_REDRIVE", "SOMETHING_NEW", None, [], {}])
def test_what_is_no_end_counts_nothing(status: object) -> None:
    assert ending({"status": status, "error": "RotationBackedOut"}) is None


def test_every_outcome_of_the_contract_can_be_counted() -> None:
    assert set(outcomes.OUTCOMES) == {*Outcome, "DIED", "TAKEN_OVER", "UNKNOWN"}


class TestTimeToPickup:
    def of(self, times: object = TIMES, **more: Any) -> float | None:
        output = json.dumps({"outcome": "ROTATED"} | (times if isinstance(times, dict) else {}))
        found = ending(detail("SUCCEEDED", output=output, **more))
        assert found is not None
        assert found.outcome == "ROTATED"
        return found.pickup_seconds

    def test_it_runs_from_the_publishing_to_the_deactivation(self) -> None:
        assert self.of() == PICKUP

    def test_a_rotation_that_was_undone_later_had_been_picked_up(self) -> None:
        found = ending(failed("RotationBackedOut", cause=json.dumps(TIMES)))
        assert found is not None
        assert found.pickup_seconds == PICKUP

    @pytest.mark.parametrize(
        "given",
        [
            '{"userName": "ci", "mode": "EMERGENCY"}',  # waits for nobody
            '{"userName": "ci", "action": "BACK_OUT"}',  # times of the rotation before it
            None,  # left out by EventBridge: it may have been either
            "no JSON",
        ],
    )
    def test_only_a_standard_rotation_waits_for_a_pickup(self, given: str | None) -> None:
        assert self.of(input=given) is None

    @pytest.mark.parametrize(
        "times",
        [
            {},
            {"publishedAt": TIMES["publishedAt"]},
            {"deactivatedAt": TIMES["deactivatedAt"]},
            {"publishedAt": TIMES["deactivatedAt"], "deactivatedAt": TIMES["publishedAt"]},
            TIMES | {"publishedAt": "yesterday"},
            TIMES | {"publishedAt": 1795166400},
        ],
    )
    def test_what_is_not_known_is_not_measured(self, times: dict[str, Any]) -> None:
        assert self.of(times) is None
