"""The simulation drives Keyturn's own functions as the handlers and the state machine do."""

from __future__ import annotations

import pytest

from keyturn.model.rotation import Observations, Phase, Polling, Rotation
from keyturn.rotate import evidence as verification
from keyturn.rotate.evidence import Look
from proofs.simulation import defaults
from proofs.simulation.clock import DAY, HOUR, MINUTE, WEEK, moment, seconds_of
from proofs.simulation.consumers import Consumer, KeyName
from proofs.simulation.ending import Ended, Ending
from proofs.simulation.keyturn_rule import (
    Evidence,
    KeyturnRule,
    LightObservations,
    _Run,
)
from proofs.simulation.lastused import ALWAYS_LATE, UNIFORM
from proofs.simulation.population import Kind, User, draw
from proofs.simulation.scene import Scene
from proofs.simulation.schedule import Beat, Calls
from tools import template

P = 60 * WEEK
BUSY = Calls(Beat(MINUTE, 0, 0, 1))
NIGHTLY = Calls(Beat(DAY, 3 * HOUR, HOUR, 1), duration=HOUR, gap=600)


def consumer(calls: Calls = BUSY, **fields: object) -> Consumer:
    return Consumer(name="c", calls=calls, **fields)  # type: ignore[arg-type]


def scene(*consumers: Consumer, seed: int = 5) -> Scene:
    return Scene(User(Kind.CONTINUOUS, seed, P, consumers), UNIFORM)


def rotated(found: Scene, evidence: Evidence = Evidence.NONE, **changed: int) -> Ending:
    return KeyturnRule(defaults.policy(**changed), evidence).run(found)


def run_of(found: Scene) -> _Run:
    return _Run(found, defaults.policy(), Evidence.NONE)


def test_the_policy_is_the_templates() -> None:
    parameters = template.load()["Parameters"]
    policy = defaults.policy()
    assert policy.quiet_period_seconds == parameters["QuietPeriodSeconds"]["Default"]
    assert policy.lag_seconds == parameters["LastUsedLagSeconds"]["Default"]
    assert policy.watch_seconds == parameters["WatchSeconds"]["Default"]
    assert policy.pickup_timeout_seconds == parameters["PickupTimeoutSeconds"]["Default"]


def test_the_clock_goes_there_and_back() -> None:
    assert seconds_of(moment(1_234_567.9)) == 1_234_567


# --- what only handlers do is mirrored -----------------------------------------------------------


def test_the_jitter_repeats_with_the_rotation() -> None:
    first, second = (rotated(scene(MOVING)) for _ in range(2))
    assert first == second
    assert rotated(scene(MOVING, seed=6)) != first


def test_light_observations_see_what_the_real_ones_see(monkeypatch: pytest.MonkeyPatch) -> None:
    real_observe, real, looks = verification.observe, Observations(), 0

    def both(rotation: Rotation, look: Look) -> Observations:
        nonlocal real, looks
        light = rotation.seen
        assert isinstance(light, LightObservations)
        rotation.seen = real
        real = real_observe(rotation, look)
        rotation.seen = light
        seen = real_observe(rotation, look)
        assert seen.dump() == real.dump()
        looks += 1
        return seen

    monkeypatch.setattr(verification, "observe", both)
    for index in range(12):
        real = Observations()
        rotated(Scene(draw(2, index), UNIFORM))
    assert looks > 300


def test_the_last_look_before_the_deactivation_can_postpone_it() -> None:
    found = scene(consumer())
    run = run_of(found)
    found.publish(KeyName.NEW, P)
    run.time = P + DAY
    run.rotation.loops[Phase.PICKUP] = Polling(began_at=moment(P))
    assert run.look_once_more() is verification.Verdict.WAIT


# --- how rotations end ------------------------------------------------------------------------


def test_a_consumer_that_reads_hourly_is_rotated_after_the_quiet_period() -> None:
    policy = defaults.policy()
    ending = rotated(scene(consumer(reads=Beat(HOUR, 0, 0, 2))))
    assert ending.how is Ended.DONE
    assert ending.old_gone_at is not None
    waited = ending.old_gone_at - P
    assert policy.really_quiet_seconds <= waited <= policy.really_quiet_seconds + 3 * HOUR
    assert ending.at - ending.old_gone_at >= policy.watch_seconds


def test_a_static_consumer_beside_a_moving_one_keeps_both_keys() -> None:
    found = scene(consumer(reads=Beat(HOUR, 0, 0, 2)), consumer(NIGHTLY))
    assert rotated(found).how is Ended.STILL_IN_USE
    assert not found.cut_offs()


def test_a_consumer_that_never_moves_takes_the_rotation_back() -> None:
    found = scene(consumer())
    ending = rotated(found)
    assert (ending.how, ending.old_gone_at) == (Ended.BACKED_OUT, None)
    assert not found.active(KeyName.NEW, ending.at)
    assert not found.cut_offs()


def test_a_consumer_that_falls_silent_after_moving_ends_in_a_silent_watch() -> None:
    off = ((P + 20 * HOUR, P + 10 * DAY),)
    calls = Calls(Beat(MINUTE, 0, 0, 1), outages=off)
    found = scene(consumer(calls, reads=Beat(HOUR, 0, 0, 2)))
    ending = rotated(found)
    assert (ending.how, ending.kept) == (Ended.SILENT, False)
    assert found.active(KeyName.OLD, ending.at)


def test_a_key_that_nobody_has_used_for_long_is_not_rotated() -> None:
    rare = Calls(Beat(400 * DAY, P % (400 * DAY) - 100 * DAY, 0, 1))
    assert rotated(scene(consumer(rare))).how is Ended.SKIPPED


WEEKLY_STATIC = consumer(Calls(Beat(WEEK, P % WEEK - DAY, 0, 1), duration=HOUR, gap=60))
MOVING = consumer(reads=Beat(HOUR, 0, 0, 2))


def test_what_is_rarer_than_the_quiet_period_is_cut_off_without_evidence() -> None:
    found = scene(MOVING, WEEKLY_STATIC)
    assert rotated(found).how is Ended.DONE
    (cut,) = found.cut_offs()
    assert cut.by == "nobody"


@pytest.mark.parametrize("evidence", [Evidence.ALARM, Evidence.HEALTH])
def test_evidence_within_the_watch_reverses_it(evidence: Evidence) -> None:
    found = scene(MOVING, WEEKLY_STATIC)
    ending = rotated(found, evidence, watch_seconds=round(8 * DAY))
    assert ending.how is Ended.UNDONE
    (cut,) = found.cut_offs()
    assert cut.by == "watch"
    assert cut.seconds < 3 * HOUR
    assert found.active(KeyName.OLD, ending.at)


def test_the_worst_data_for_a_pause_of_exactly_the_quiet_period_cuts_nobody_off() -> None:
    # The last use is merged into one 15 minutes earlier, that one's date loses 59 seconds, and the
    # use that ends the pause is published as late as can be. The lost seconds are not in the
    # template's coarseness, hence 60 seconds more.
    policy = defaults.policy(coarseness_seconds=960)
    pause = policy.quiet_period_seconds
    for turn in range(60):
        published = P + turn * 60
        beat = Beat(pause + 899.0, (published + 59) % (pause + 899), 0, 3)
        straggler = consumer(Calls(beat, duration=899, gap=899))
        user = User(Kind.RARE, turn, published, (MOVING, straggler))
        found = Scene(user, ALWAYS_LATE)
        KeyturnRule(policy).run(found)
        assert not found.cut_offs()
