"""Measure, print each figure beside its bound, and end with status 1 when one is missed."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import audit, audits, costs, fleet, looks, package, page, paths, starts, startup
from benchmarks.figures import Figure, Results, machine

_ROOT = Path(__file__).resolve().parent.parent
_PARTS: dict[str, Callable[[], list[Figure] | Results]] = {
    "package": package.measure,
    "startup": startup.measure,
    "looks": looks.measure,
    "audit": audit.measure,
    "rotations": fleet.measure_at_once,
    "paths": paths.measure,
    "starts": starts.measure,
    "audits": audits.measure,
    "fleet-calls": fleet.measure_calls,
    "fleet": fleet.measure_rotations,
}


def main(arguments: Sequence[str]) -> int:
    """Run the benchmarks; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    for option, what in (("--only", "measure this part"), ("--without", "leave this part out")):
        parser.add_argument(
            option, action="append", choices=list(_PARTS), help=f"{what} (repeatable)"
        )
    parser.add_argument(
        "--write-docs", action="store_true", help=f"also write {page.FIGURES} and {page.PAGE}"
    )
    given = parser.parse_args(arguments)

    measured_on = machine()  # the load before we add to it
    figures: dict[str, list[Figure]] = {}
    data: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    for name in given.only or _PARTS:
        if name in (given.without or ()):
            continue
        print(f"Measuring: {name} ...", file=sys.stderr, flush=True)
        began = time.monotonic()
        found = _PARTS[name]()
        seconds[name] = round(time.monotonic() - began, 1)
        results = found if isinstance(found, Results) else Results(found)
        figures[name] = results.figures
        if results.data is not None:
            data[name] = results.data
    figures["cost"] = costs.figures(data)
    shown = [figure for each in figures.values() for figure in each]
    print(*(figure.line() for figure in shown), sep="\n")
    print("Measured on " + ", ".join(f"{name} {value}" for name, value in measured_on.items()))
    if given.write_docs:
        document = {
            "at": datetime.now(UTC).date().isoformat(),
            "measuredOn": measured_on,
            "seconds": seconds,
            "leftOut": [name for name in _PARTS if name not in figures],
            "figures": {part: [one.dump() for one in each] for part, each in figures.items()},
            "data": data,
        }
        page.write(_ROOT, document)
    return 1 if any(figure.missed for figure in shown) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
