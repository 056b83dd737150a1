"""Each kind of user behaves as it is named."""

from __future__ import annotations

from itertools import pairwise

import pytest

from proofs.simulation.clock import DAY, HOUR, MINUTE, NEVER, WEEK
from proofs.simulation.consumers import Consumer
from proofs.simulation.population import SHARES, Kind, User, draw

QUIET = 26 * HOUR


def users(kind: Kind, count: int = 60) -> list[User]:
    return [draw(11, index, kind) for index in range(count)]


def gaps(user: User, consumer: Consumer, count: int = 12) -> list[float]:
    """The times between a consumer's first runs or calls after the publishing."""
    times = [consumer.calls.first_run(user.published_at)]
    for _ in range(count):
        times.append(consumer.calls.first_run(times[-1] + 1))
    return [later - earlier for earlier, later in pairwise(times)]


def reads_after(user: User, consumer: Consumer) -> float:
    return consumer.first_read(user.published_at) - user.published_at


def switched_off(consumer: Consumer) -> float:
    return sum(end - start for start, end in consumer.calls.outages)


def test_the_same_seed_draws_the_same_users_and_another_does_not() -> None:
    assert [draw(3, index) for index in range(30)] == [draw(3, index) for index in range(30)]
    assert [draw(3, index) for index in range(30)] != [draw(4, index) for index in range(30)]


def test_every_kind_occurs_about_as_often_as_it_should() -> None:
    drawn = [draw(1, index).kind for index in range(4_000)]
    for kind, weight in SHARES.items():
        assert drawn.count(kind) / 4_000 == pytest.approx(weight / 100, abs=0.02)


@pytest.mark.parametrize(
    ("kind", "shortest", "longest"),
    [
        (Kind.HOURLY_BATCH, 55 * MINUTE, 65 * MINUTE),
        (Kind.WEEKLY, WEEK - 2 * HOUR, WEEK + 2 * HOUR),
        (Kind.DORMANT, 20 * DAY, 190 * DAY),
    ],
)
def test_batches_run_as_often_as_their_name_says(
    kind: Kind, shortest: float, longest: float
) -> None:
    for user in users(kind):
        (consumer,) = user.consumers
        if consumer.calls.skipped or consumer.calls.outages:
            continue
        assert all(shortest <= gap <= longest for gap in gaps(user, consumer, 5))


def test_nightly_batches_run_every_night_or_leave_nights_out() -> None:
    found = users(Kind.NIGHTLY)
    for user in found:
        (consumer,) = user.consumers
        regular = consumer.calls.days == "all" and not consumer.calls.skipped
        if regular and not consumer.calls.outages:
            assert all(gap <= QUIET for gap in gaps(user, consumer))
    assert any(user.consumers[0].calls.days == "weekdays" for user in found)
    assert any(user.consumers[0].calls.skipped for user in found)


def test_batches_read_at_each_run() -> None:
    for kind in (Kind.HOURLY_BATCH, Kind.NIGHTLY, Kind.WEEKLY):
        for user in users(kind, 20):
            (consumer,) = user.consumers
            run = consumer.calls.first_run(user.published_at)
            assert reads_after(user, consumer) <= run - user.published_at


def test_an_hourly_cache_reads_within_the_hour_and_calls_all_the_time() -> None:
    for user in users(Kind.HOURLY_CACHE):
        (consumer,) = user.consumers
        assert reads_after(user, consumer) <= HOUR + switched_off(consumer)
        assert max(gaps(user, consumer)) <= 20 * MINUTE + switched_off(consumer)


def test_a_continuous_user_reads_within_half_a_day() -> None:
    for user in users(Kind.CONTINUOUS):
        (consumer,) = user.consumers
        assert reads_after(user, consumer) <= 13.2 * HOUR + switched_off(consumer)


def test_a_restart_only_user_reads_at_restarts_alone() -> None:
    found = users(Kind.RESTART_ONLY)
    for user in found:
        (consumer,) = user.consumers
        assert consumer.restarts
        assert not consumer.reads_at_each_run
    waits = [reads_after(user, user.consumers[0]) for user in found]
    assert min(waits) < 2 * DAY
    assert max(waits) > 7 * DAY


def test_of_several_that_all_move_each_reads_within_two_days() -> None:
    for user in users(Kind.SEVERAL):
        assert len(user.consumers) >= 2
        for consumer in user.consumers:
            assert reads_after(user, consumer) <= 27 * HOUR + switched_off(consumer)


def test_a_daily_straggler_calls_daily_and_reads_late_or_never() -> None:
    found = users(Kind.STRAGGLER)
    for user in found:
        straggler = user.consumers[-1]
        assert straggler.calls.longest_gap - switched_off(straggler) <= QUIET
        assert straggler.restarts or reads_after(user, straggler) == NEVER
    assert any(reads_after(user, user.consumers[-1]) == NEVER for user in found)
    assert any(7 * DAY < reads_after(user, user.consumers[-1]) < NEVER for user in found)


def test_a_rare_straggler_is_silent_for_longer_than_the_quiet_period() -> None:
    for user in users(Kind.RARE):
        assert user.consumers[-1].calls.longest_gap > QUIET
        assert len(user.consumers) >= 2


def test_one_away_makes_no_call_for_days_and_reads_when_it_is_back() -> None:
    for user in users(Kind.AWAY):
        consumer = user.consumers[-1]
        ((start, end),) = consumer.calls.outages
        assert 2 * DAY <= end - start <= 6 * DAY
        assert consumer.calls.first(start) >= end
        assert consumer.first_read(start) <= consumer.calls.first(start)


def test_who_reads_at_each_run_by_another_identity_holds_no_stale_key() -> None:
    found = [user.consumers[0] for user in users(Kind.WEEKLY)]
    assert all((consumer.longest_gap == 0) is not consumer.own_key for consumer in found)
