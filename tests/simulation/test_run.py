"""What the simulation is for: who is cut off under which rule, the same every time."""

from __future__ import annotations

import pytest

from proofs.simulation import runner
from proofs.simulation.clock import DAY, HOUR
from proofs.simulation.population import Kind
from proofs.simulation.runner import Tallies, run
from proofs.simulation.tally import Tally, merged, percentile
from proofs.simulation.variants import KEYTURN, OTHERS, Variant, main_run

SEED = 1
# Consumers of these users move by themselves and are not away for longer than the quiet period.
MOVING = (
    Kind.CONTINUOUS,
    Kind.HOURLY_CACHE,
    Kind.HOURLY_BATCH,
    Kind.NIGHTLY,
    Kind.SEVERAL,
)


@pytest.fixture(scope="module")
def small() -> Tallies:
    """800 rotations by each rule; `make simulate` has 100,000."""
    return run(main_run(), rotations=800, seed=SEED)


def of_rule(tallies: Tallies, rule: str) -> Tally:
    return merged(tally for (name, _), tally in tallies.items() if name == rule)


def few(variant: Variant, kind: Kind) -> Tally:
    """60 rotations of one kind by Keyturn's rule."""
    return run(variant, rotations=60, seed=SEED, only=kind)[KEYTURN, kind]


@pytest.mark.slow
def test_keyturn_cuts_off_for_good_nobody_who_calls_within_the_quiet_period(
    small: Tallies,
) -> None:
    keyturn = of_rule(small, KEYTURN)
    assert keyturn.rotations == 800
    assert keyturn.within == 0
    for kind in MOVING:
        assert small[KEYTURN, kind].unreversed == 0


@pytest.mark.slow
@pytest.mark.parametrize("rule", OTHERS)
def test_the_other_rules_do(small: Tallies, rule: str) -> None:
    other = of_rule(small, rule)
    assert other.within > 0
    assert other.unreversed > of_rule(small, KEYTURN).unreversed


@pytest.mark.slow
def test_keyturn_takes_well_under_a_week(small: Tallies) -> None:
    median = percentile(of_rule(small, KEYTURN).gone_after, 0.5)
    assert median is not None
    assert median < 4 * DAY


@pytest.mark.slow
def test_what_is_rarer_than_the_quiet_period_stays_out_of_sight(small: Tallies) -> None:
    # Not a promise, but a limit that the documentation names: last-used data cannot show it.
    assert small[KEYTURN, Kind.RARE].unreversed > 0


def test_a_longer_quiet_period_sees_what_is_rarer() -> None:
    longer = Variant(
        changed={
            "quiet_period_seconds": round(8 * DAY),
            "pickup_timeout_seconds": round(14 * DAY),
        }
    )
    default = few(Variant(), Kind.RARE)
    patient = few(longer, Kind.RARE)
    assert patient.unreversed < default.unreversed / 4


def test_a_rule_that_leaves_out_coarseness_and_lag_cuts_consumers_off() -> None:
    # So that the tests above can fail: the same simulation finds the mistake.
    # A quiet period near the stragglers' own interval shows it in few rotations.
    quiet = {"quiet_period_seconds": round(26 * HOUR)}
    mistaken = Variant(changed={"coarseness_seconds": 0, "lag_seconds": 0, **quiet})
    assert few(mistaken, Kind.STRAGGLER).within > 0
    assert few(Variant(changed=quiet), Kind.STRAGGLER).within == 0
    assert few(Variant(), Kind.STRAGGLER).within == 0


def test_a_rejected_key_cuts_off_nobody_who_calls_within_the_quiet_period() -> None:
    assert few(Variant(), Kind.RESTART_ONLY).within == 0


def test_the_result_does_not_depend_on_the_number_of_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "_CHUNK", 20)
    one = run(main_run(), rotations=50, seed=7, processes=1)
    two = run(main_run(), rotations=50, seed=7, processes=2)
    assert {key: _sorted(tally) for key, tally in one.items()} == {
        key: _sorted(tally) for key, tally in two.items()
    }


def test_another_seed_gives_another_result() -> None:
    first, second = (run(Variant(), rotations=20, seed=seed) for seed in (1, 2))
    assert {key: _sorted(tally) for key, tally in first.items()} != {
        key: _sorted(tally) for key, tally in second.items()
    }


def _sorted(tally: Tally) -> Tally:
    tally.lasted.sort()
    tally.gone_after.sort()
    return tally
