"""Who is cut off, from when to when, and what IAM tells meanwhile."""

from __future__ import annotations

import pytest

from proofs.simulation.clock import DAY, HOUR, MINUTE, NEVER, WEEK
from proofs.simulation.consumers import Consumer, KeyName
from proofs.simulation.lastused import Lag
from proofs.simulation.population import Kind, User
from proofs.simulation.scene import CutOff, Scene
from proofs.simulation.schedule import Beat, Calls

OLD, NEW = KeyName.OLD, KeyName.NEW
P = 60 * WEEK
AT_ONCE = Lag("none", [(1, 0, 0)])
EVERY_MINUTE = Calls(Beat(MINUTE, 0, 0, 1))
NIGHTLY = Calls(Beat(DAY, 3 * HOUR, 0, 1), duration=HOUR, gap=600)
HOURLY = Beat(HOUR, 30 * MINUTE, 0, 2)


def consumer(calls: Calls = EVERY_MINUTE, **fields: object) -> Consumer:
    return Consumer(name="c", calls=calls, **fields)  # type: ignore[arg-type]


def scene(*consumers: Consumer) -> Scene:
    made = Scene(User(Kind.CONTINUOUS, 1, P, consumers), AT_ONCE)
    made.publish(NEW, P)
    return made


def only(found: Scene) -> CutOff:
    (cut,) = found.cut_offs()
    return cut


def test_a_consumer_that_read_in_time_is_not_cut_off() -> None:
    found = scene(consumer(reads=HOURLY))
    found.deactivate(OLD, P + 2 * HOUR)
    assert not found.cut_offs()


def test_a_consumer_is_cut_off_from_its_next_call_until_it_reads() -> None:
    found = scene(consumer(reads=HOURLY))
    found.deactivate(OLD, P + 10)
    cut = only(found)
    assert (cut.began, cut.ended, cut.by) == (P + MINUTE, P + 30 * MINUTE, "itself")


def test_a_consumer_that_reads_on_failure_is_soon_well() -> None:
    found = scene(consumer(heals_after=5.0))
    found.deactivate(OLD, P + 10)
    assert (only(found).seconds, only(found).by) == (5, "itself")


def test_a_restart_is_named_as_such() -> None:
    found = scene(consumer(reads=Beat(5 * DAY, P % (5 * DAY) - 1, 0, 1), restarts=True))
    found.deactivate(OLD, P + 10)
    assert only(found).by == "restart"
    assert only(found).seconds == pytest.approx(5 * DAY, abs=2 * MINUTE)


@pytest.mark.parametrize("own_key", [False, True])
def test_static_credentials_wait_for_a_person(own_key: bool) -> None:
    found = scene(consumer(own_key=own_key))
    found.deactivate(OLD, P + DAY)
    assert (only(found).ended, only(found).by) == (NEVER, "nobody")


def test_whoever_reads_with_the_inactive_key_is_locked_out() -> None:
    found = scene(consumer(reads=HOURLY, own_key=True, heals_after=5.0))
    found.deactivate(OLD, P + 10)
    assert only(found).by == "nobody"
    found.reactivate(OLD, P + 2 * HOUR)
    assert (only(found).by, only(found).ended) == ("watch", P + 2 * HOUR)
    # From then on it reads again.
    assert found.holders[0].at(P + 2 * HOUR + 31 * MINUTE) is NEW


def test_a_batch_that_reads_at_each_run_is_never_cut_off() -> None:
    found = scene(consumer(NIGHTLY, reads_at_each_run=True))
    found.deactivate(OLD, P + 10)
    assert not found.cut_offs()


def test_a_batch_that_reads_with_its_old_key_is_locked_out() -> None:
    found = scene(consumer(NIGHTLY, reads_at_each_run=True, own_key=True))
    found.deactivate(OLD, P + 10)
    assert (only(found).began, only(found).by) == (P + 3 * HOUR, "nobody")


def test_a_key_that_is_back_before_the_next_call_hurt_nobody() -> None:
    found = scene(consumer(NIGHTLY))
    found.deactivate(OLD, P + DAY)
    found.reactivate(OLD, P + DAY + HOUR)
    assert not found.cut_offs()


def test_failing_shows_only_while_a_consumer_is_cut_off() -> None:
    found = scene(consumer(reads=HOURLY))
    found.deactivate(OLD, P + 10)
    assert not found.failing(P + 30)
    assert found.failing(P + MINUTE)
    assert not found.failing(P + MINUTE, for_at_least=5 * MINUTE)
    assert found.failing(P + 7 * MINUTE, for_at_least=5 * MINUTE)
    assert not found.failing(P + 31 * MINUTE)


def test_the_read_with_which_a_consumer_leaves_a_key_is_its_last_use() -> None:
    found = scene(consumer(reads=HOURLY, own_key=True))
    left = P + 30 * MINUTE
    assert found.shown(OLD, left + DAY) is not None
    quiet_minutes = Calls(Beat(DAY, 12 * HOUR, 0, 1))
    found = scene(consumer(quiet_minutes, reads=HOURLY, own_key=True))
    assert found.shown(OLD, left + 5 * HOUR) == (left, "secretsmanager")
    assert found.shown(NEW, left + HOUR) == (left + HOUR, "secretsmanager")


def test_calls_with_an_inactive_key_do_not_count_as_uses() -> None:
    found = scene(consumer())
    found.deactivate(OLD, P + HOUR)
    shown = found.shown(OLD, P + DAY)
    assert shown is not None
    assert shown[0] < P + HOUR
    found.reactivate(OLD, P + DAY)
    again = found.shown(OLD, P + DAY + HOUR)
    assert again is not None
    assert again[0] >= P + DAY


def test_a_probe_is_a_use_of_sts() -> None:
    found = scene(consumer(NIGHTLY))
    found.probe(NEW, P - 10)
    assert found.shown(NEW, P) == (P - MINUTE, "sts")


def test_going_back_takes_consumers_back_at_their_next_read() -> None:
    found = scene(consumer(reads=HOURLY))
    assert found.holders[0].at(P + HOUR) is NEW
    found.publish(OLD, P + HOUR)
    assert found.holders[0].at(P + HOUR + 29 * MINUTE) is NEW
    assert found.holders[0].at(P + HOUR + 30 * MINUTE) is OLD


def test_a_deactivated_new_key_cuts_off_who_holds_it() -> None:
    restarts = Beat(30 * DAY, (P + HOUR) % (30 * DAY), 0, 1)
    found = scene(consumer(NIGHTLY, reads=restarts, restarts=True))
    found.publish(OLD, P + 2 * HOUR)
    found.deactivate(NEW, P + 2.5 * HOUR)
    assert (only(found).key, only(found).by) == (NEW, "restart")
