"""Measure, print each figure beside its bound, and end with status 1 when one is missed."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import audit, audits, fleet, looks, package, page, paths, rotations, starts, startup
from benchmarks.figures import Figure, Results, machine, table

_ROOT = Path(__file__).resolve().parent.parent
_PARTS: dict[str, Callable[[], list[Figure] | Results]] = {
    "package": package.measure,
    "startup": startup.measure,
    "looks": looks.measure,
    "audit": audit.measure,
    "rotations": rotations.measure,
    "paths": paths.measure,
    "starts": starts.measure,
    "audits": audits.measure,
    "fleet-calls": fleet.measure_calls,
    "fleet": fleet.measure_rotations,
}


@dataclass
class _Run:
    """What the parts measured, by part; seconds that each took."""

    figures: dict[str, list[Figure]] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def measure(self, name: str) -> None:
        """Measure one part."""
        began = time.monotonic()
        found = _PARTS[name]()
        self.seconds[name] = round(time.monotonic() - began, 1)
        results = found if isinstance(found, Results) else Results(found)
        self.figures[name] = results.figures
        if results.data is not None:
            self.data[name] = results.data

    @property
    def all_figures(self) -> list[Figure]:
        """The figures of all parts."""
        return [figure for figures in self.figures.values() for figure in figures]

    def document(self, measured_on: dict[str, str]) -> dict[str, Any]:
        """Return what is written to docs/benchmarks.json."""
        return {
            "at": datetime.now(UTC).date().isoformat(),
            # Not where the interpreter lies: that says something of this computer alone.
            "measuredOn": {
                name: value for name, value in measured_on.items() if name != "executable"
            },
            "seconds": self.seconds,
            "leftOut": [name for name in _PARTS if name not in self.figures],
            "figures": {
                name: [figure.dump() for figure in figures]
                for name, figures in self.figures.items()
            },
            "data": self.data,
        }


def main(arguments: Sequence[str]) -> int:
    """Run the benchmarks; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = list(_PARTS)
    parser.add_argument(
        "--only", action="append", choices=names, help="measure this part (repeatable)"
    )
    parser.add_argument(
        "--without",
        action="append",
        choices=names,
        default=[],
        help="leave this part out (repeatable)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--write-docs", action="store_true", help=f"also write {page.FIGURES} and {page.PAGE}"
    )
    given = parser.parse_args(arguments)

    measured_on = machine()  # the load before we add to it
    run = _Run()
    for name in given.only or names:
        if name not in given.without:
            print(f"Measuring: {name} ...", file=sys.stderr, flush=True)
            run.measure(name)
    figures = run.all_figures
    if given.json:
        document = {"machine": measured_on, "figures": [figure.dump() for figure in figures]}
        print(json.dumps(document, indent=2))
    else:
        print(table(figures))
        print()
        print("Measured on " + ", ".join(f"{name} {value}" for name, value in measured_on.items()))
    if given.write_docs:
        page.write(_ROOT, run.document(measured_on))
    missed = [figure.name for figure in figures if figure.missed]
    for name in missed:
        print(f"missed: {name}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
