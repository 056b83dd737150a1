"""How long a loop waits."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from keyturn.model.rotation import Phase, Polling, Rotation
from keyturn.model.settings import MAX_POLLS
from keyturn.rotate.waiting import next_wait, wait
from tests.unit.worlds import NOW, POLICY


def waits(polls: int, remaining: float, roll: float = 0.0) -> int:
    polling = Polling(began_at=NOW, polls=polls)
    until = NOW + timedelta(seconds=remaining)
    return next_wait(polling, POLICY, now=NOW, until=until, roll=roll)


def test_the_interval_grows_from_the_lower_to_the_upper_bound() -> None:
    assert [waits(n, 600_000) for n in range(9)] == [
        600, 601, 675, 1013, 1519, 2279, 3418, 3600, 3600,
    ]  # fmt: skip


def test_jitter_only_shortens_and_never_below_the_lower_bound() -> None:
    assert waits(8, 100_000, roll=0.999) < waits(8, 100_000) == 3600
    assert waits(0, 100_000, roll=0.999) == 300


def test_the_last_wait_ends_where_the_decision_is_due() -> None:
    assert waits(8, 100) == 101  # one second for AWS's clock, which is rounded down


def test_a_loop_past_its_end_looks_again_after_the_lower_bound() -> None:
    assert waits(0, -50) == 300


def test_the_return_is_looked_at_as_soon_as_the_new_key_may_go() -> None:
    settled = POLICY.backout_grace_seconds + POLICY.really_quiet_seconds
    returning = Rotation(
        user_name="u",
        policy=POLICY,
        secret_name="machine-user/u",
        started_at=NOW,
        loops={Phase.RETURN: Polling(began_at=NOW, polls=30)},
    )
    assert wait(returning, Phase.RETURN, NOW + timedelta(seconds=settled - 100)) == 101


@given(
    low=st.integers(1, 300),
    high=st.integers(1, 3_600),
    total=st.integers(1, 31_536_000),
    roll=st.floats(0, 0.999),
)
def test_no_loop_takes_more_than_the_allowed_looks(
    low: int, high: int, total: int, roll: float
) -> None:
    policy = POLICY.model_copy(
        update={"poll_min_seconds": min(low, high), "poll_max_seconds": max(low, high)}
    )
    polling, now, until = Polling(began_at=NOW), NOW, NOW + timedelta(seconds=total)
    while now < until:
        now += timedelta(seconds=next_wait(polling, policy, now=now, until=until, roll=roll))
        polling.polls += 1
        assert now <= until + timedelta(seconds=2)
    assert polling.polls <= MAX_POLLS
