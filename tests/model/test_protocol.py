"""The protocol keeps its promises in every reachable state, and needs each of its rules."""

from __future__ import annotations

import pytest

from proofs.model import docs, events, rules, starts
from proofs.model.calls import Broken
from proofs.model.rules import ALL
from proofs.model.state import State
from proofs.model.walk import Violation, walk

EVERY = (*starts.FEW, *starts.MORE)


@pytest.mark.parametrize("start", EVERY, ids=[name for name, _ in EVERY])
def test_no_reachable_state_breaks_an_invariant(start: tuple[str, State]) -> None:
    report = walk([start], ALL, stop_at_first=False)
    assert [(each.what, each.trace) for each in report.violations] == []
    assert report.states > 50  # fewer would mean that the model has lost something
    assert report.resting > 5


@pytest.mark.parametrize("name", rules.NAMES)
def test_without_a_rule_an_invariant_breaks_as_the_page_shows(name: str) -> None:
    (violation,) = walk(starts.without(name), ALL.without(name)).violations[:1]
    assert replay(violation, name) == violation.what
    page = docs.PAGE.read_text(encoding="utf-8")
    shown = docs.section(page, "traces")
    assert docs.trace_section(name, violation) in shown, "run python -m proofs.model --write-docs"


@pytest.mark.parametrize("name", ["keys_before", "retries_wait", "names_the_dead", "own_claim"])
def test_the_trace_is_the_shortest(name: str) -> None:
    without = ALL.without(name)
    (violation,) = walk(starts.without(name), without).violations[:1]
    shorter = walk(starts.without(name), without, deepest=violation.events - 1)
    assert shorter.violations == ()


def replay(violation: Violation, name: str) -> str:
    """Follow a trace event by event, and return the invariant that breaks at its end."""
    first, *texts = violation.trace
    state: State | Broken = dict(starts.without(name))[first]
    for text in texts:
        assert isinstance(state, State)
        state = dict(events.successors(state, ALL.without(name)))[text]
    if isinstance(state, Broken):
        return str(state)
    at_the_end = walk([("the end", state)], ALL.without(name), deepest=0)
    return at_the_end.violations[0].what
