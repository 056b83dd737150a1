"""The paths that the costs are computed from are paths of the state machines."""

from __future__ import annotations

from itertools import pairwise

import pytest

from benchmarks.walks import WALKS, Walk, definition, looks_in
from tools.asl.definition import arrows

LOOKS = {"pickup": 3, "watch": 2, "return": 1, "batch": 2}


@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS)
def test_each_path_follows_the_arrows_from_the_first_state_to_an_end(walk: Walk) -> None:
    states = walk.states(LOOKS)
    (scope,) = [scope for scope in definition(walk.machine).scopes() if states[0] == scope.start_at]
    for state, following in pairwise(states):
        targets = {arrow.target for arrow in arrows(scope.states[state])}
        assert following in targets, f"no arrow from {state} to {following}"
    assert not [*arrows(scope.states[states[-1]])]


def test_one_more_look_at_the_pickup_is_three_transitions_and_one_invocation() -> None:
    walk = WALKS["rotated"]
    once, twice = {"pickup": 1, "watch": 1}, {"pickup": 2, "watch": 1}
    assert walk.transitions(twice) - walk.transitions(once) == 3
    assert walk.invocations(twice) - walk.invocations(once) == 1


@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS)
def test_looks_are_found_again_in_the_states(walk: Walk) -> None:
    names = {loop.name for loop in walk.loops()}
    assert looks_in(walk.states(LOOKS)) == {name: LOOKS[name] for name in names}
