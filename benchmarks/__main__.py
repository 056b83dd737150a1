"""Measure, print each figure beside its bound, and end with status 1 when one is missed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable

from benchmarks import audit, fleet, package, rotations, startup
from benchmarks.figures import Figure, machine, table

_PARTS: dict[str, Callable[[], list[Figure]]] = {
    "package": package.measure,
    "startup": startup.measure,
    "audit": audit.measure,
    "rotations": rotations.measure,
    "fleet": fleet.measure,
}


def main(arguments: list[str]) -> int:
    """Run the benchmarks; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=list(_PARTS), help="measure this part (repeatable)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args(arguments)

    measured_on = machine()  # the load before we add to it
    figures: list[Figure] = []
    for name in given.only or _PARTS:
        print(f"Measuring: {name} ...", file=sys.stderr, flush=True)
        figures += _PARTS[name]()
    missed = [figure.name for figure in figures if figure.missed]
    if given.json:
        document = {"machine": measured_on, "figures": [figure.dump() for figure in figures]}
        print(json.dumps(document, indent=2))
    else:
        print(table(figures))
        print()
        print("Measured on " + ", ".join(f"{name} {value}" for name, value in measured_on.items()))
    for name in missed:
        print(f"missed: {name}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
