"""A part of what `python -m proofs.consumers` does at length."""

from __future__ import annotations

from collections import Counter

import pytest

from proofs.consumers.programs import BOTO3_REREAD, MOVING, STATIC, Report
from proofs.consumers.report import page, summary, table
from proofs.consumers.rounds import (
    BACK_OUTS,
    back_out_after_rotated,
    back_out_at_the_pickup_timeout,
    rotation,
)
from proofs.consumers.run import Figures, Plan, Result, Run
from proofs.stack.support import Stack


@pytest.mark.emulator
@pytest.mark.slow
@pytest.mark.xdist_group("consumers")
def test_no_call_fails_in_rotations_and_back_outs(stack: Stack) -> None:
    told: list[str] = []
    result = Run(stack, Plan(rotations=4, back_outs=2, users=3), told.append)()
    assert result.shortcomings == [], told
    assert result.ways == Counter({"back_out_by_health": 1, "back_out_while_watching": 1})
    for kind in MOVING:
        # Every rotation moves each program once, every back-out there and back again.
        assert result.kinds[kind].key_changes == 4 + 2 * 2
        assert result.kinds[kind].calls > 100
    # The back-out was needed: this one was hurt.
    assert result.kinds[STATIC].failed_calls > 0


@pytest.mark.parametrize(
    "plan",
    [Plan(200, 50, 12), Plan(4, 2, 3), Plan(0, 7, 2), Plan(1, 1, 1)],
    ids=lambda plan: f"{plan.rotations}-{plan.back_outs}-{plan.users}",
)
def test_a_plan_does_what_was_asked_for(plan: Plan) -> None:
    ordinary, late = plan.rounds()
    assert len(late) + len([done for done in ordinary if done is not rotation]) == plan.back_outs
    after = ordinary.count(back_out_after_rotated)
    assert ordinary.count(rotation) + after == max(plan.rotations, after)
    assert set(late) <= {back_out_at_the_pickup_timeout}
    if plan.back_outs >= 2 * len(BACK_OUTS):
        assert set(ordinary) == {rotation, *BACK_OUTS}


def a_result(**fields: object) -> Result:
    """A result without shortcomings."""
    result = Result(Plan(1, 1, 1), rotations=1, back_outs=1)
    for kind in MOVING:
        result.kinds[kind].add(Report(kind=kind, calls=10))
    for name, value in fields.items():
        setattr(result, name, value)
    return result


def test_a_failed_call_is_a_shortcoming_and_one_of_the_static_program_is_not() -> None:
    result = a_result()
    result.kinds[STATIC].add(Report(kind=STATIC, failed_calls=3, last_error="X"))
    assert result.shortcomings == []
    result.kinds[BOTO3_REREAD].add(
        Report(kind=BOTO3_REREAD, failed_calls=1, last_error="InvalidClientTokenId")
    )
    assert result.shortcomings == [
        "1 failed calls of boto3_reread, the last with InvalidClientTokenId"
    ]


def test_missing_rotations_silence_and_problems_are_shortcomings() -> None:
    assert a_result(rotations=0).shortcomings == ["0 of 1 rotations"]
    assert a_result(back_outs=0).shortcomings == ["0 of 1 back-outs"]
    assert a_result(problems=["died"]).shortcomings == ["died"]
    silent = a_result()
    silent.kinds[BOTO3_REREAD] = Figures(programs=1)
    assert silent.shortcomings == ["boto3_reread made no calls"]


def test_the_page_keeps_everything_but_its_measured_part() -> None:
    result = a_result(ways=Counter({"back_out_by_alarm": 1}))
    text = "Before\n<!-- measured -->\nold\n<!-- /measured -->\nAfter\n"
    made = page(text, result)
    assert made.startswith("Before\n<!-- measured -->\n")
    assert made.endswith("<!-- /measured -->\nAfter\n")
    assert "old\n" not in made
    assert summary(result) in made
    assert table(result) in made
    assert "| boto3_reread | 1 | 10 | 0 | 0 | 0 |" in made
    assert page(made, result) == made
    with pytest.raises(ValueError, match="measured"):
        page("no such part", result)
