"""The last-used model is the embedded AWS's, on the same uses and the same chance."""

from __future__ import annotations

import random
from bisect import bisect_left

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localaws.model import LastUsedModel
from localaws.state import LastUsed as EmulatedLastUsed
from proofs.simulation.clock import NEVER
from proofs.simulation.lastused import UNIFORM, Lag, LastUsed

KEY, USER, REGION = "AKIA1111111111111111", "u", "eu-west-1"
SPAN = 15 * 60


def simulated(times: list[float], services: list[str], lag: Lag, seed: int) -> LastUsed:
    def next_use(since: float) -> tuple[float, str]:
        place = bisect_left(times, since)
        return (times[place], services[place]) if place < len(times) else (NEVER, "")

    return LastUsed(next_use, lag, random.Random(seed), since=0)  # noqa: S311


@settings(max_examples=150, deadline=None)
@given(
    gaps=st.lists(st.sampled_from([1, 30, 899, 900, 901, 4_000, 90_000]), min_size=1, max_size=60),
    looks=st.lists(st.integers(1, 40_000), min_size=1, max_size=40),
    seed=st.integers(0, 2**32),
)
def test_it_tells_what_the_embedded_aws_tells(gaps: list[int], looks: list[int], seed: int) -> None:
    times = [float(sum(gaps[: place + 1])) for place in range(len(gaps))]
    services = [("s3", "sts", "secretsmanager")[place % 3] for place in range(len(times))]
    emulated = EmulatedLastUsed()
    model = LastUsedModel(
        coalesce_seconds=SPAN, truncate_to_minute=True, lag_seconds=(0, 14_400), seed=seed
    )
    emulated.set_model(model, None, None)
    ours = simulated(times, services, UNIFORM, seed)
    now, used = 0.0, 0
    for wait in looks:
        now += wait
        while used < len(times) and times[used] <= now:
            emulated.used(KEY, USER, services[used], REGION, times[used])
            used += 1
        told = emulated.shown(KEY, USER, now)
        expected = None if told is None else (told[0], told[1])
        assert ours.shown(now) == expected


def test_only_the_first_use_of_a_span_is_recorded_and_its_seconds_are_cut() -> None:
    at_once = Lag("none", [(1, 0, 0)])
    ours = simulated([130.0, 700.0, 1_029.0, 1_030.0], ["a", "b", "c", "d"], at_once, 1)
    assert ours.shown(129) is None
    assert ours.shown(130) == (120, "a")
    assert ours.shown(1_029) == (120, "a")
    assert ours.shown(1_030) == (1_020, "d")


def test_a_use_is_not_shown_before_its_lag_is_over() -> None:
    late = Lag("4 h", [(1, 14_400, 14_400)])
    ours = simulated([60.0], ["s3"], late, 1)
    assert ours.shown(14_459) is None
    assert ours.shown(14_460) == (60, "s3")


def test_a_change_of_plans_changes_what_comes_and_not_what_was() -> None:
    times = [60.0, 2_000.0]
    ours = simulated(times, ["s3", "s3"], Lag("none", [(1, 0, 0)]), 1)
    assert ours.shown(100) == (60, "s3")
    times[1] = 5_000.0
    ours.changed()
    assert ours.shown(3_000) == (60, "s3")
    assert ours.shown(5_000) == (4_980, "s3")


@pytest.mark.parametrize("spans", [[(1, 5, 10)], [(9, 0, 1), (1, 50, 60)]])
def test_a_lag_stays_within_its_spans(spans: list[tuple[float, float, float]]) -> None:
    lag, rng = Lag("x", spans), random.Random(3)  # noqa: S311
    drawn = [lag.draw(rng) for _ in range(500)]
    assert all(any(low <= value <= high for _, low, high in spans) for value in drawn)
    assert lag.longest == max(high for _, _, high in spans)
    assert max(drawn) > 0.9 * lag.longest
