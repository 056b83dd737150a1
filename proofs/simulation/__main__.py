"""Simulate rotations by Keyturn's rule and by those of others, and print who is cut off."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from pathlib import Path

from benchmarks.figures import machine
from proofs.simulation import page, report, variants
from proofs.simulation.runner import run
from proofs.simulation.tally import Tally, percentile
from proofs.simulation.variants import KEYTURN

ROOT = Path(__file__).resolve().parent.parent.parent
COMMAND = "PYTHONPATH=functions .venv/bin/python -m proofs.simulation"
SLOWEST_MEDIAN_SECONDS = 4 * 86_400


def main(arguments: list[str]) -> int:
    """Run the simulation; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m proofs.simulation", description=__doc__)
    parser.add_argument("--rotations", type=int, default=100_000, help="users that are rotated")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument(
        "--sweep",
        action="store_true",
        help="also vary durations, a twentieth of the rotations each",
    )
    parser.add_argument(
        "--write-docs", action="store_true", help="sweep, then fill in docs/verification.md"
    )
    parser.add_argument(
        "--check", action="store_true", help="end with status 1 when a promise is not kept"
    )
    given = parser.parse_args(arguments)
    if given.rotations < 1 or given.processes < 1:
        parser.error("--rotations and --processes must be at least 1")
    results = _measure(given, sweeping=given.sweep or given.write_docs)
    if given.json:
        print(json.dumps(report.document(results), indent=2))
    else:
        print(_text(results))
    if given.write_docs:
        page.write(ROOT, results)
    broken = _broken(results) if given.check else []
    for sentence in broken:
        print(f"not kept: {sentence}", file=sys.stderr)
    return 1 if broken else 0


def _measure(given: argparse.Namespace, *, sweeping: bool) -> report.Results:
    how = {"seed": given.seed, "processes": given.processes, "tell": True}
    tallies = run(variants.main_run(), rotations=given.rotations, **how)
    each = max(1, given.rotations // 20)
    swept = {}
    if sweeping:
        for variant in variants.sweep():
            print(f"  varying: {variant.name}", file=sys.stderr, flush=True)
            swept[variant.name] = run(variant, rotations=each, **how)
    on = machine()
    return report.Results(
        tallies=tallies,
        swept=swept,
        rotations=given.rotations,
        swept_rotations=each,
        seed=given.seed,
        measured_on=f"{on['system']}, Python {platform.python_version()}",
        command=f"{COMMAND} --rotations {given.rotations} --seed {given.seed}",
    )


def _text(results: report.Results) -> str:
    parts = [
        f"{results.rotations} simulated rotations by each rule, seed {results.seed}",
        report.text(report.rules_table(results)),
        report.text(report.worst_table(results)),
        "Rotations with a cut-off that no watch reversed, by kind of user",
        report.text(report.kinds_table(results)),
        "How Keyturn's rotations ended",
        report.text(report.endings_table(results)),
    ]
    if results.swept:
        parts += [
            f"Keyturn alone, {results.swept_rotations} rotations each",
            report.text(report.sweep_table(results)),
        ]
    parts.append(f"Measured on {results.measured_on}. Again: {results.command}")
    return "\n\n".join(parts)


def _broken(results: report.Results) -> list[str]:
    keyturn = results.of_rule(KEYTURN)
    found = []
    if keyturn.within:
        found.append(
            f"{keyturn.within} rotations cut off, for good, a consumer of a user whose consumers "
            "all call within the quiet period"
        )
    median = percentile(keyturn.gone_after, 0.5)
    if median is None or median > SLOWEST_MEDIAN_SECONDS:
        found.append(f"the median time to the deactivation is {report.span(median)}")
    for rule in results.rules[1:]:
        tally: Tally = results.of_rule(rule)
        if tally.unreversed <= keyturn.unreversed:
            found.append(f"the rule '{rule}' cuts off no more consumers than Keyturn")
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
