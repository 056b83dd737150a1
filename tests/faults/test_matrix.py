"""A part of the fault matrix; `make faults` runs all of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from proofs.faults.__main__ import deployed, every_case, in_matrix, running
from proofs.faults.runner import Result

pytestmark = [pytest.mark.xdist_group("faults"), pytest.mark.timeout(900)]

AT_ONCE = 6
DRAWN = 24
# Of the cases that no call's fault can show: one or two of each kind.
OTHERS = (
    "stopped in Issue New Key",
    "stopped in Publish New Key",
    "stopped in Deactivate Old Key",
    "stopped in Restore Old Version",
    "the automatic back-out is stopped in Reactivate Old Key",
    "10 rotations at once",
    "5 back-outs by hand at once",
    "somebody deletes the new key while waiting for the consumers",
    "somebody moves AWSCURRENT back while watching",
    "somebody puts a foreign AWSPENDING before the publishing",
)


@dataclass(frozen=True)
class Ran:
    """What became of the cases, and where a secret leaked to."""

    results: list[Result]
    leaks: list[str]


@pytest.fixture(scope="module")
def ran() -> Iterator[Ran]:
    """A stack of its own, whose clock is moved."""
    with deployed() as stack, running(stack) as runner:
        cases = [
            case
            for case in every_case(runner, sample=DRAWN, seed=20261121)
            if in_matrix(case) or case.name in OTHERS
        ]
        results = list(runner.run(cases, at_once=AT_ONCE))
        yield Ran(results, sorted(set(stack.sweep().finds)))


def test_no_case_violates_an_invariant(ran: Ran) -> None:
    found = {result.case.name: result.violations for result in ran.results if result.violations}
    assert not found


def test_the_faults_struck(ran: Ran) -> None:
    missed = [result.case.name for result in ran.results if not _met(result)]
    assert len(missed) <= 1, missed  # a poll that was not needed this time


def _met(result: Result) -> bool:
    return result.struck or not in_matrix(result.case)


def test_every_case_ran(ran: Ran) -> None:
    names = {result.case.name for result in ran.results}
    assert names >= set(OTHERS)
    assert len(ran.results) == DRAWN + len(OTHERS)


def test_a_consumer_worked_in_every_case(ran: Ran) -> None:
    assert not [result.case.name for result in ran.results if result.consumer.calls < 5]


def test_the_ends_are_of_several_kinds(ran: Ran) -> None:
    ends = Counter(result.end for result in ran.results)
    assert {"ROTATED", "BACKED_OUT"} <= ends.keys(), ends


def test_no_secret_leaks(ran: Ran) -> None:
    assert not ran.leaks
