"""docs/protocol.md says what the model is."""

from __future__ import annotations

import re

from proofs.model import docs, events, moves, rules


def page() -> str:
    return docs.PAGE.read_text(encoding="utf-8")


def test_the_page_has_a_trace_for_every_rule_and_for_nothing_else() -> None:
    shown = re.findall(r"^### \(.+?\) `(\w+)`$", docs.section(page(), "traces"), re.MULTILINE)
    assert tuple(shown) == rules.NAMES


def test_the_page_has_the_figures_of_a_deep_walk_without_violations() -> None:
    figures = docs.section(page(), "deep").splitlines()[-1].split("|")[1:-1]
    states, resting, steps, _, violations, _ = (figure.strip() for figure in figures)
    assert int(states.replace(",", "")) > 1_000_000
    assert (
        int(resting.replace(",", "")) < int(states.replace(",", "")) < int(steps.replace(",", ""))
    )
    assert violations == "0"


def test_every_state_that_the_page_names_is_one_of_the_model() -> None:
    assert events.__doc__  # importing it fills STEPS
    modelled = {at.partition(":")[0] for at in moves.STEPS}
    named = set(re.findall(r"\*\*([A-Z][a-z]+(?: [A-Z][a-z]+)+)\*\*", page()))
    assert named <= modelled
