"""The evidence rules, at their boundaries and for the worst data that AWS may give."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.model.rotation import Phase, Polling, Rotation
from keyturn.model.signals import Signal, SignalState
from keyturn.model.world import Key, LastUse, SecretState
from keyturn.rotate.evidence import (
    Look,
    Verdict,
    is_consumer_use,
    is_quiet,
    judge_pickup,
    judge_return,
    judge_watch,
    observe,
    watch_ends_at,
)
from tests.unit.worlds import K1, K2, NOW, POLICY, alarm, health, ours, secret

QUIET = POLICY.really_quiet_seconds


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def used(key_id: str, seconds_ago: float, service: str = "s3", *, active: bool = True) -> Key:
    return Key(key_id, active, ago(8_640_000), LastUse(ago(seconds_ago), service, "eu-west-1"))


def unused(key_id: str, age_seconds: float) -> Key:
    return Key(key_id, True, ago(age_seconds), None)


def rotation(**fields: object) -> Rotation:
    base: dict[str, object] = {
        "user_name": "u",
        "policy": POLICY.model_copy(),
        "secret_name": "machine-user/u",
        "old_access_key_id": K1,
        "new_access_key_id": K2,
        "started_at": ago(700_000),
        "probe_ended_at": ago(650_000),
        "loops": {Phase.PICKUP: Polling(began_at=ago(3_600))},
    }
    return Rotation.model_validate(base | fields)


def looked(found: Rotation, look: Look) -> Rotation:
    found.seen = observe(found, look)
    return found


# --- whose use is it --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "after_probe_seconds", "consumer"),
    [
        ("s3", -5_000, True),
        ("sts", 0, False),
        ("sts", 900, False),
        ("sts", 901, True),
        ("secretsmanager", 5_000, False),
    ],
)
def test_only_a_use_that_cannot_be_ours_counts(
    service: str, after_probe_seconds: int, consumer: bool
) -> None:
    found = rotation(probe_ended_at=ago(10_000))
    use = LastUse(ago(10_000 - after_probe_seconds), service, "eu-west-1")
    assert is_consumer_use(use, found) is consumer


def test_a_key_that_was_never_used_is_not_in_use() -> None:
    assert not is_consumer_use(None, rotation())


def test_an_sts_use_without_a_known_probe_is_not_a_consumers() -> None:
    use = LastUse(NOW, "sts", "eu-west-1")
    assert not is_consumer_use(use, rotation(probe_ended_at=None))


def test_a_consumers_use_is_remembered_when_a_refresher_hides_it() -> None:
    found = looked(rotation(), Look(NOW, None, used(K2, 60)))
    found = looked(found, Look(NOW, None, used(K2, 10, "secretsmanager")))
    assert found.seen.consumer_use is not None
    assert found.seen.consumer_use.service == "s3"


# --- quiet ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "quiet"), [(QUIET, True), (QUIET - 1, False)])
def test_quiet_means_unused_for_the_period_and_all_that_the_data_may_lag(
    seconds: int, quiet: bool
) -> None:
    assert is_quiet(used(K1, seconds), NOW, POLICY) is quiet
    assert is_quiet(unused(K1, seconds), NOW, POLICY) is quiet


def test_a_deleted_key_is_quiet() -> None:
    assert is_quiet(None, NOW, POLICY)


# --- pickup -----------------------------------------------------------------------------------


def test_picked_up_when_the_new_key_is_used_and_the_old_one_quiet() -> None:
    look = Look(NOW, used(K1, QUIET), used(K2, 60))
    assert judge_pickup(looked(rotation(), look), look).verdict is Verdict.GO_ON


@pytest.mark.parametrize(
    ("look", "says"),
    [
        (Look(NOW, used(K1, QUIET), unused(K2, 60)), "no consumer"),
        (Look(NOW, used(K1, QUIET - 1), used(K2, 60)), "too recently"),
        (
            Look(NOW, used(K1, QUIET), used(K2, 60), signals=[alarm(SignalState.BAD, "a")]),
            "the alarm a",
        ),
        (
            Look(NOW, used(K1, QUIET), used(K2, 60), signals=[alarm(SignalState.UNCLEAR, "a")]),
            "the alarm a",
        ),
        (Look(NOW, used(K1, QUIET), used(K2, 60, "secretsmanager")), "no consumer"),
    ],
)
def test_waits_while_evidence_is_missing_and_calls_a_person_or_goes_back_at_the_end(
    look: Look, says: str
) -> None:
    waiting = judge_pickup(looked(rotation(), look), look)
    assert waiting.verdict is Verdict.WAIT
    assert says in waiting.reason
    late = rotation(loops={Phase.PICKUP: Polling(began_at=ago(POLICY.pickup_timeout_seconds))})
    ended = judge_pickup(looked(late, look), look)
    unused_new = late.seen.consumer_use is None
    assert ended.verdict is (Verdict.BACK_OUT if unused_new else Verdict.ATTENTION)


def test_no_way_back_to_an_old_key_that_somebody_deactivated() -> None:
    late = rotation(loops={Phase.PICKUP: Polling(began_at=ago(POLICY.pickup_timeout_seconds))})
    for old in (used(K1, QUIET, active=False), None):
        look = Look(NOW, old, unused(K2, 60))
        assert judge_pickup(looked(late, look), look).verdict is Verdict.ATTENTION


@pytest.mark.parametrize("new", [None, used(K2, 60, active=False)])
def test_a_lost_new_key_leads_back_when_the_old_one_works(new: Key | None) -> None:
    back = Look(NOW, used(K1, 60), new)
    assert judge_pickup(looked(rotation(), back), back).verdict is Verdict.BACK_OUT
    stuck = Look(NOW, used(K1, 60, active=False), new)
    assert judge_pickup(looked(rotation(), stuck), stuck).verdict is Verdict.ATTENTION


@given(
    old_seconds=st.integers(0, 400_000),
    new_seconds=st.integers(0, 400_000),
    service=st.sampled_from(["s3", "sts", "secretsmanager"]),
    waited=st.integers(0, 700_000),
)
def test_no_data_whatever_gets_past_a_key_that_is_not_quiet(
    old_seconds: int, new_seconds: int, service: str, waited: int
) -> None:
    look = Look(NOW, used(K1, old_seconds), used(K2, new_seconds, service))
    found = looked(rotation(loops={Phase.PICKUP: Polling(began_at=ago(waited))}), look)
    if judge_pickup(found, look).verdict is Verdict.GO_ON:
        assert old_seconds >= QUIET
        assert service != "secretsmanager"


@given(seconds=st.integers(0, 400_000), lag=st.integers(0, 400_000))
def test_later_data_never_makes_a_key_quieter(seconds: int, lag: int) -> None:
    later = POLICY.model_copy(update={"lag_seconds": POLICY.lag_seconds + lag})
    if is_quiet(used(K1, seconds), NOW, later):
        assert is_quiet(used(K1, seconds), NOW, POLICY)


# --- the last look, and health ------------------------------------------------------------------


def with_health(waited: int, **fields: object) -> Rotation:
    found = rotation(loops={Phase.PICKUP: Polling(began_at=ago(waited))}, **fields)
    found.policy.health_url = "https://example.com/health"
    return found


@pytest.mark.parametrize(
    ("answers", "waited", "verdict"),
    [
        ([], 0, Verdict.CHECK_HEALTH),
        ([health(0)], 0, Verdict.GO_ON),
        ([health(1)], 0, Verdict.WAIT),
        ([health(0, SignalState.UNCLEAR)], 0, Verdict.WAIT),
        ([health(1)], POLICY.pickup_timeout_seconds, Verdict.ATTENTION),
        ([health(0), alarm(SignalState.BAD)], 0, Verdict.WAIT),
    ],
)
def test_the_old_key_of_ill_consumers_stays(
    answers: list[Signal], waited: int, verdict: Verdict
) -> None:
    look = Look(NOW, used(K1, QUIET), used(K2, 60), signals=answers)
    assert judge_pickup(looked(with_health(waited), look), look).verdict is verdict


def test_the_health_url_is_asked_when_nothing_else_is_missing() -> None:
    look = Look(NOW, used(K1, QUIET - 1), used(K2, 60))
    assert judge_pickup(looked(with_health(0), look), look).verdict is Verdict.WAIT


@pytest.mark.parametrize(
    ("held", "verdict", "says"),
    [
        (secret(ours(K2)), Verdict.GO_ON, "in use"),
        (secret(ours(K1)), Verdict.ATTENTION, "somebody else changed the secret"),
        (secret(ours(K2), replicas_out_of_sync=("r",)), Verdict.WAIT, "replicas"),
    ],
)
def test_the_secret_has_to_be_as_it_was_published(
    held: SecretState, verdict: Verdict, says: str
) -> None:
    look = Look(NOW, used(K1, QUIET), used(K2, 60), secret=held)
    finding = judge_pickup(looked(rotation(new_version_id=ours(K2)), look), look)
    assert finding.verdict is verdict
    assert says in finding.reason


def test_nobody_is_waited_for_when_the_old_key_is_exposed() -> None:
    """Such a rotation waits for no pickup; it may even have lost its old key."""
    look = Look(NOW, used(K1, 1), unused(K2, 60), signals=[alarm(SignalState.BAD)])
    exposed = rotation(old_exposed=True, loops={})
    assert judge_pickup(exposed, look).verdict is Verdict.GO_ON
    lost = Look(NOW, used(K1, 1), None)
    assert judge_pickup(exposed, lost).verdict is Verdict.BACK_OUT


# --- the watch --------------------------------------------------------------------------------


def watching(deactivated_seconds_ago: int, **fields: object) -> Rotation:
    loops = {Phase.WATCH: Polling(began_at=ago(deactivated_seconds_ago))}
    return rotation(loops=loops, **fields)


def test_the_watch_covers_one_and_a_half_of_the_longest_interval_seen() -> None:
    found = watching(0)
    assert watch_ends_at(found) == NOW + timedelta(seconds=POLICY.watch_seconds)
    first = looked(found, Look(ago(0), used(K1, 200_000), None))
    second = looked(first, Look(NOW, used(K1, 100_000), None))
    assert second.seen.longest_interval_seconds == 100_000
    assert watch_ends_at(second) == NOW + timedelta(seconds=150_000)


def test_a_long_wait_between_two_looks_at_a_busy_key_is_no_long_interval() -> None:
    first = looked(watching(0), Look(ago(50_000), None, used(K2, 50_001)))
    second = looked(first, Look(NOW, None, used(K2, 1)))
    assert second.seen.longest_interval_seconds == 1


@pytest.mark.parametrize(
    ("waited", "new", "verdict"),
    [
        (10, used(K2, 5), Verdict.WAIT),
        (POLICY.watch_seconds - 1, used(K2, 5), Verdict.WAIT),
        (POLICY.watch_seconds, used(K2, 5), Verdict.GO_ON),
        (POLICY.watch_seconds, used(K2, POLICY.watch_seconds), Verdict.SILENT),
        (POLICY.watch_seconds, unused(K2, 700_000), Verdict.SILENT),
        (10, None, Verdict.BACK_OUT),
        (10, used(K2, 5, active=False), Verdict.BACK_OUT),
    ],
)
def test_the_watch_ends_well_only_with_a_use_after_the_deactivation(
    waited: int, new: Key | None, verdict: Verdict
) -> None:
    look = Look(NOW, used(K1, 200_000, active=False), new)
    assert judge_watch(looked(watching(waited), look), look).verdict is verdict


@pytest.mark.parametrize(
    ("signal", "waited", "verdict"),
    [
        (alarm(SignalState.BAD), 10, Verdict.BACK_OUT),
        (alarm(SignalState.UNCLEAR), 10, Verdict.WAIT),
        (alarm(SignalState.UNCLEAR), POLICY.watch_seconds, Verdict.SILENT),
        (health(1), 10, Verdict.WAIT),
        (health(1), POLICY.watch_seconds, Verdict.WAIT),
        (health(2), 10, Verdict.BACK_OUT),
        (health(0), POLICY.watch_seconds, Verdict.GO_ON),
    ],
)
def test_a_bad_signal_goes_back_when_its_kind_says_so_and_an_unclear_one_is_no_success(
    signal: Signal, waited: int, verdict: Verdict
) -> None:
    look = Look(NOW, None, used(K2, 5), signals=[signal])
    finding = judge_watch(looked(watching(waited), look), look)
    assert finding.verdict is verdict
    if verdict is Verdict.BACK_OUT:
        assert str(signal) in finding.reason


def test_a_secret_that_others_changed_ends_the_watch_with_a_person() -> None:
    found = watching(POLICY.watch_seconds, new_version_id=ours(K2))
    look = Look(NOW, None, used(K2, 5), secret=secret(ours(K1)))
    assert judge_watch(looked(found, look), look).verdict is Verdict.SILENT


# --- the return -------------------------------------------------------------------------------

GRACE = POLICY.backout_grace_seconds
SETTLED = GRACE + QUIET


def returning(restored_seconds_ago: int, **fields: object) -> Rotation:
    loops = {Phase.RETURN: Polling(began_at=ago(restored_seconds_ago))}
    return rotation(loops=loops, **fields)


@pytest.mark.parametrize(
    ("since", "new", "verdict"),
    [
        (GRACE - 1, unused(K2, 60), Verdict.WAIT),
        (GRACE, unused(K2, 60), Verdict.WAIT),
        # Never used, but read: a nightly job that restarted with it has yet to make its first call.
        (SETTLED - 1, unused(K2, 650_000), Verdict.WAIT),
        (SETTLED - 1, used(K2, QUIET), Verdict.WAIT),
        (SETTLED, unused(K2, 650_000), Verdict.GO_ON),
        (SETTLED, used(K2, 650_000, "sts"), Verdict.GO_ON),
        (SETTLED, used(K2, QUIET), Verdict.GO_ON),
        (SETTLED, used(K2, QUIET - 1), Verdict.WAIT),
        (SETTLED + POLICY.poll_max_seconds, used(K2, 60), Verdict.ATTENTION),
        (0, None, Verdict.GO_ON),
        (0, used(K2, 60, active=False), Verdict.GO_ON),
    ],
)
def test_the_new_key_goes_only_when_nobody_needs_it(
    since: int, new: Key | None, verdict: Verdict
) -> None:
    look = Look(NOW, used(K1, 60), new)
    assert judge_return(looked(returning(since), look), look).verdict is verdict


def test_reading_the_secret_with_the_new_key_ends_the_watch() -> None:
    look = Look(NOW, None, used(K2, 5, "secretsmanager"))
    found = looked(watching(POLICY.watch_seconds + 10), look)
    assert judge_watch(found, look).verdict is Verdict.GO_ON


def test_a_probe_does_not_end_the_watch() -> None:
    look = Look(NOW, None, used(K2, 5, "sts"))
    found = looked(watching(POLICY.watch_seconds + 10), look)
    found.probe_ended_at = ago(5)
    assert judge_watch(found, look).verdict is Verdict.SILENT


def test_the_silence_of_a_consumer_that_moves_counts_as_an_interval() -> None:
    before = used(K1, 7 * 86_400)
    found = looked(rotation(), Look(ago(3_600), before, unused(K2, 90_000)))
    found = looked(found, Look(NOW, before, used(K2, 60)))
    # What came after the look before is not known to be silence.
    assert found.seen.longest_interval_seconds == 7 * 86_400 - 3_600


def test_a_key_that_was_read_and_not_used_stays_after_a_back_out() -> None:
    quiet = unused(K2, 650_000)
    begun = rotation(published_at=ago(2 * SETTLED))
    reading = Look(ago(1.4 * SETTLED), used(K1, 1.5 * SETTLED, "secretsmanager"), quiet)
    read = looked(begun, reading)
    read.loops[Phase.RETURN] = Polling(began_at=ago(SETTLED))
    # Our own probe of the old key, before the return, is the last use of it that shows.
    held = Look(NOW, used(K1, SETTLED + 10, "sts"), quiet)
    assert judge_return(looked(read, held), held).verdict is Verdict.ATTENTION
    back = Look(NOW, used(K1, 60, "secretsmanager"), quiet)
    assert judge_return(looked(read, back), back).verdict is Verdict.GO_ON


def test_a_job_that_only_reads_its_secret_is_told_why_it_was_not_seen() -> None:
    look = Look(NOW, used(K1, 60), used(K2, 60, "secretsmanager"))
    late = rotation(loops={Phase.PICKUP: Polling(began_at=ago(POLICY.pickup_timeout_seconds))})
    finding = judge_pickup(looked(late, look), look)
    assert finding.verdict is Verdict.BACK_OUT
    assert "docs/consumers.md" in finding.reason


def test_an_exposed_new_key_goes_whoever_uses_it() -> None:
    look = Look(NOW, used(K1, 60), used(K2, 60), secret=secret(ours(K1), exposed=ours(K2)))
    assert judge_return(looked(returning(0), look), look).verdict is Verdict.GO_ON
