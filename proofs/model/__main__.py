"""Walk the protocol's model from the command line."""

from __future__ import annotations

import argparse
import sys

from proofs.model import docs, rules, starts
from proofs.model.walk import Report, walk


def main(arguments: list[str]) -> int:
    """Run the walks that are asked for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m proofs.model", description=__doc__)
    parser.add_argument("--deep", action="store_true", help="walk the larger bounds (minutes)")
    parser.add_argument(
        "--without", choices=rules.NAMES, metavar="RULE", help="switch a rule off, print the trace"
    )
    parser.add_argument(
        "--write-docs", action="store_true", help="write the results into docs/protocol.md"
    )
    given = parser.parse_args(arguments)

    if given.without:
        report = walk(starts.without(given.without), rules.ALL.without(given.without))
        _print(report)
        return 0 if report.violations else 1
    report = (
        _deep() if given.deep else walk((*starts.FEW, *starts.MORE), rules.ALL, stop_at_first=False)
    )
    _print(report)
    if given.write_docs and not report.violations:
        _write_docs(report if given.deep else None)
    return 1 if report.violations else 0


def _deep() -> Report:
    """Walk one start after the other, so that no more than one is in memory."""
    reports: list[Report] = []
    every = (*starts.FEW, *starts.MORE, *starts.DEEP)
    for number, start in enumerate(every, 1):
        _say(f"start {number} of {len(every)}: {start[0]}")
        reports.append(walk([start], rules.ALL, stop_at_first=False, progress=_progress))
    return Report(
        states=sum(report.states for report in reports),
        steps=sum(report.steps for report in reports),
        resting=sum(report.resting for report in reports),
        seconds=sum(report.seconds for report in reports),
        violations=tuple(each for report in reports for each in report.violations),
    )


def _write_docs(deep: Report | None) -> None:
    page = docs.PAGE.read_text(encoding="utf-8")
    sections = []
    for name in rules.NAMES:
        (violation,) = walk(starts.without(name), rules.ALL.without(name)).violations[:1]
        sections.append(docs.trace_section(name, violation))
        _say(f"{name}: {violation.what} ({violation.events} events)")
    page = docs.replaced(page, "traces", "\n\n".join(sections))
    if deep is not None:
        page = docs.replaced(page, "deep", docs.deep_section(deep))
    docs.PAGE.write_text(page, encoding="utf-8")


def _progress(states: int, left: int, seconds: float) -> None:
    _say(f"  {states:,} states, {left:,} to look at, {seconds:.0f} s")


def _print(report: Report) -> None:
    for violation in report.violations:
        _say(f"violation: {violation.what}")
        for number, event in enumerate(violation.trace):
            _say(f"  {number:3}  {event}")
    _say(
        f"{report.states:,} states ({report.resting:,} at rest), {report.steps:,} steps, "
        f"{report.seconds:.0f} seconds, {len(report.violations)} violations"
    )


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
