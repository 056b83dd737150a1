"""Schedules answer by arithmetic what counting every call would answer."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.simulation.clock import DAY, HOUR, MINUTE, NEVER, WEEK, chance
from proofs.simulation.schedule import Beat, Calls

SALT = 77
SCHEDULES = {
    "single calls": Calls(Beat(7 * MINUTE, 100, 5 * MINUTE, SALT)),
    "runs": Calls(Beat(DAY, 3 * HOUR, HOUR, SALT), duration=2 * HOUR, gap=400),
    "weekday runs": Calls(
        Beat(DAY, 22 * HOUR, HOUR, SALT), duration=HOUR, gap=600, days="weekdays"
    ),
    # The run of Friday can fall on Saturday, and is left out then.
    "weekday runs near midnight": Calls(
        Beat(DAY, 23.5 * HOUR, HOUR, SALT), duration=HOUR, gap=600, days="weekdays"
    ),
    "skipped runs": Calls(Beat(DAY, 5 * HOUR, 0, SALT), duration=HOUR, gap=900, skipped=0.4),
    "office hours": Calls(Beat(10 * MINUTE, 0, 9 * MINUTE, SALT), days="office"),
    "with outages": Calls(
        Beat(20 * MINUTE, 0, 10 * MINUTE, SALT),
        outages=((DAY, 2.5 * DAY), (3 * DAY, 3 * DAY + 600)),
    ),
}


def calls_of(schedule: Calls, until: float) -> list[float]:
    """Count every call: each beat, each call of its run, without those that are switched off."""
    found = []
    k = schedule.beat.first(-DAY)
    while schedule.beat.at(k) <= until:
        start = schedule.beat.at(k)
        steps = int(schedule.duration // schedule.gap) if schedule.duration else 0
        for step in range(steps + 1):
            call = start + step * schedule.gap
            off = any(begin <= call < end for begin, end in schedule.outages)
            if schedule.days == "office":
                hour, day = call % DAY / HOUR, call % WEEK // DAY
                off = off or day >= 5 or not 7 <= hour < 19
            if schedule.held(k) and not off:
                found.append(call)
        k += 1
    return found


@pytest.mark.parametrize("name", SCHEDULES)
@settings(max_examples=60, deadline=None)
@given(moment=st.floats(0, 10 * DAY))
def test_the_next_and_the_last_call_are_those_that_counting_finds(name: str, moment: float) -> None:
    schedule = SCHEDULES[name]
    counted = calls_of(schedule, 21 * DAY)
    after = next(call for call in counted if call >= moment)
    assert schedule.first(moment) == pytest.approx(after, abs=1e-3)
    before = [call for call in counted if call < moment]
    if before:
        assert schedule.last(moment) == pytest.approx(before[-1], abs=1e-3)


@pytest.mark.parametrize("name", SCHEDULES)
def test_no_gap_is_longer_than_the_schedule_says(name: str) -> None:
    schedule = SCHEDULES[name]
    counted = calls_of(schedule, 60 * DAY)
    longest = max(later - earlier for earlier, later in pairwise(counted))
    assert longest <= schedule.longest_gap


@pytest.mark.parametrize("name", ["runs", "weekday runs", "skipped runs"])
def test_a_run_begins_with_a_call(name: str) -> None:
    schedule = SCHEDULES[name]
    start = 0.0
    for _ in range(20):
        start = schedule.first_run(start)
        assert schedule.first(start) == start
        start += 1


def test_a_schedule_that_skips_everything_ends() -> None:
    never = Calls(Beat(HOUR, 0, 0, SALT), skipped=1.1)
    assert never.first(0) == NEVER
    assert never.last(0) == -NEVER


@given(salt=st.integers(0, 2**60), index=st.integers(-(10**6), 10**9))
def test_chance_is_a_share_and_repeats(salt: int, index: int) -> None:
    assert 0 <= chance(salt, index) < 1
    assert chance(salt, index) == chance(salt, index)


def test_chance_is_even() -> None:
    drawn = [chance(5, index) for index in range(20_000)]
    assert sum(drawn) / len(drawn) == pytest.approx(0.5, abs=0.01)
    assert sum(value < 0.1 for value in drawn) / len(drawn) == pytest.approx(0.1, abs=0.01)
