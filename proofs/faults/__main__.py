"""`make faults`: every case, side by side on one embedded AWS, and the table of how they end."""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

import localaws
from localaws.model import LastUsedModel
from proofs.default_durations.embedded import embedded
from proofs.default_durations.hands import Hands
from proofs.default_durations.scenarios import fleet_run
from proofs.faults.cases import matrix, others
from proofs.faults.journeys import JOURNEYS
from proofs.faults.page import write
from proofs.faults.runner import PARAMETERS, Case, Result, Runner
from proofs.stack.support import Stack

ROOT = Path(__file__).parents[2]
# An outcome, and what the table calls it.
ENDS = {
    "ROTATED": "rotated",
    "ISSUED": "issued",
    "FAILED": "cleaned up",
    "BACKED_OUT": "backed out",
    "NEEDS_ATTENTION": "needs attention",
    "REJECTED": "rejected",
    "nothing": "not begun",
}
COLUMNS = ("kind", "cases", "struck", *ENDS.values(), "failed calls", "violations")
TABLE_WIDTH = 132
# More would not be quicker: then nobody sleeps often enough for the clock to be moved.
AT_ONCE = 8
# Users of the fleet run with default durations that follows the whole matrix.
FLEET = 20


@contextmanager
def running(stack: Stack) -> Iterator[Runner]:
    """A runner on a stack whose last-used data is as coarse and as late as its parameters say."""
    stack.aws.control.set_last_used(
        LastUsedModel(
            coalesce_seconds=float(PARAMETERS["LastUsedCoarsenessSeconds"]),
            lag_seconds=(0, float(PARAMETERS["LastUsedLagSeconds"])),
        )
    )
    runner = Runner(stack)
    try:
        yield runner
    finally:
        runner.close()


@contextmanager
def deployed() -> Iterator[Stack]:
    """The real template on an embedded AWS of its own, whose clock is moved."""
    with localaws.start(clock="moved") as aws:
        outputs = localaws.deploy(
            aws, stack_name="keyturn", template=ROOT / "template.yaml", parameters=PARAMETERS
        )
        yield Stack(aws, outputs)


def every_case(runner: Runner, *, sample: int | None, seed: int) -> list[Case]:
    """All cases, or a random sample of the matrix beside all that are not in it."""
    cases = list(matrix(runner.record(JOURNEYS.values())))
    if sample is not None and sample < len(cases):
        runner.drawn_from = len(cases)
        cases = random.Random(seed).sample(cases, sample)  # noqa: S311
    return [*others(runner.stack), *cases]


def tell(console: Console, done: int, total: int, began: float, result: Result) -> None:
    """A line for each violation, and one now and then for the progress."""
    for violation in result.violations:
        console.print(f"VIOLATION {result.case.name} ({result.user}): {violation}", style="red")
    if done % 25 == 0 or done == total:
        spent = time.monotonic() - began
        console.print(f"{done} of {total} cases, {spent:.0f} s", highlight=False)


def table(results: Sequence[Result], seconds: float) -> Table:
    """Cases by kind and by end, violations, consumers' failed calls."""
    shown = Table(title=f"{len(results)} cases in {seconds:.0f} seconds")
    for name in COLUMNS:
        shown.add_column(name, justify="left" if name == COLUMNS[0] else "right")
    for row in rows(results):
        shown.add_row(*row)
    return shown


def rows(results: Sequence[Result]) -> list[list[str]]:
    """The rows of the table, the sum last."""
    kinds = list(dict.fromkeys(result.case.kind for result in results))
    found = []
    for kind in [*sorted(kinds), "all"]:
        of_kind = [result for result in results if kind in (result.case.kind, "all")]
        ends = Counter(result.end for result in of_kind)
        faults = [result for result in of_kind if result.struck]
        found.append(
            [
                kind,
                str(len(of_kind)),
                str(len(faults)),
                *(str(ends[end]) for end in ENDS),
                str(sum(result.consumer.errors for result in of_kind)),
                str(sum(len(result.violations) for result in of_kind)),
            ]
        )
    return found


def main(arguments: list[str]) -> int:
    """Run; status 1 when anything was violated."""
    parser = argparse.ArgumentParser(prog="python -m proofs.faults", description=__doc__)
    parser.add_argument("--sample", type=int, help="so many cases of the matrix, drawn at random")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="cases side by side")
    parser.add_argument("--only", help="cases with this text in their names")
    parser.add_argument("--json", type=Path, help="append a line for each case to this file")
    parser.add_argument("--write-docs", action="store_true", help="fill docs/reliability.md")
    given = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else TABLE_WIDTH, soft_wrap=True)
    began = time.monotonic()
    results: list[Result] = []
    with deployed() as stack, running(stack) as runner:
        console.print("recording the calls of a clean run of every journey")
        cases = every_case(runner, sample=given.sample, seed=given.seed)
        if given.only:
            cases = [case for case in cases if given.only in case.name]
        console.print(f"{len(cases)} cases, {given.at_once} at once")
        for result in runner.run(cases, at_once=given.at_once):
            results.append(result)
            if given.json:
                with given.json.open("a") as lines:
                    lines.write(json.dumps(_plain(result)) + "\n")
            tell(console, len(results), len(cases), began, result)
        leaks = sorted(set(stack.sweep().finds))
        drawn_from = runner.drawn_from
    seconds = time.monotonic() - began
    console.print(table(results, seconds))
    for leak in leaks:
        console.print(f"VIOLATION a secret access key leaked into {leak}", style="red")
    unstruck = [
        result.case.name for result in results if not result.struck and in_matrix(result.case)
    ]
    if unstruck:
        console.print(f"the fault never struck in {len(unstruck)}: {'; '.join(unstruck[:20])}")
    if given.sample is None and not given.only:
        a_large_fleet(console)
    violated = sum(len(result.violations) for result in results) + len(leaks)
    console.print(f"faults: cases={len(results)} violations={violated}", highlight=False)
    if given.write_docs:
        how = "make faults ARGS=--write-docs"
        if drawn_from:
            how = f'make faults ARGS="--sample {given.sample} --seed {given.seed} --write-docs"'
        write(
            rows(results),
            COLUMNS,
            how=how,
            drawn=f"{given.sample} of the {drawn_from} of the matrix, " if drawn_from else "",
            seconds=seconds,
            violated=violated,
            at_once=given.at_once,
        )
    return 1 if violated else 0


def a_large_fleet(console: Console) -> None:
    """A fleet run of many users with the template's default durations, on a clock that is moved."""
    began = time.monotonic()
    with embedded() as target, Hands(target) as hands:
        fleet_run(hands, users=FLEET)
        days = (hands.target.now() - datetime.now(UTC)).total_seconds() / 86_400
    seconds = time.monotonic() - began
    console.print(f"fleet run: {FLEET} users rotated in {days:.1f} days, {seconds:.0f} seconds")


def in_matrix(case: Case) -> bool:
    """Whether a case is a fault of a call (else somebody stops, races or interferes)."""
    return case.kind not in ("stopped", "raced", "interfered")


def _plain(result: Result) -> dict[str, object]:
    return {
        "case": result.case.name,
        "kind": result.case.kind,
        "user": result.user,
        "end": result.end,
        "struck": result.struck,
        "violations": result.violations,
        "seconds": round(result.seconds, 1),
        **asdict(result.consumer),
        "runs": [
            [
                run.arn.rsplit(":", 1)[-1],
                run.status,
                run.error,
                run.outcome,
                run.result.get("reason"),
            ]
            for run in result.runs
        ],
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
