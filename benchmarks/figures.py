"""A figure, the bound that it must keep, and the table that shows both."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

# What the figures depend on besides Keyturn itself.
_PACKAGES = ("boto3", "botocore", "aws-lambda-powertools", "pydantic", "ministack")


@dataclass(frozen=True)
class Figure:
    """One measured number. `bound` is the most it may be; None is for information only.

    `value` is None when it could not be measured, and `note` then says why.
    """

    name: str
    value: float | None
    unit: str
    bound: float | None = None
    note: str = ""

    @property
    def missed(self) -> bool:
        """Whether a bound is not shown to be kept."""
        return self.bound is not None and (self.value is None or self.value > self.bound)

    def dump(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self) | {"missed": self.missed}


@dataclass(frozen=True)
class Results:
    """What a part measured: its figures, and the rest of what the page shows (JSON)."""

    figures: list[Figure]
    data: Any = None


def number(value: float | None) -> str:
    """Return a number as people read it.

    >>> [number(value) for value in (None, 20.0, 3.14159, 0.5)]
    ['-', '20', '3.14', '0.50']
    """
    if value is None:
        return "-"
    return f"{value:.0f}" if value == int(value) else f"{value:.2f}"


def table(figures: Iterable[Figure]) -> str:
    """Return the figures with their bounds, one a line."""
    rows = [("figure", "measured", "bound", "", "")]
    for figure in figures:
        verdict = "" if figure.bound is None else "MISSED" if figure.missed else "ok"
        bound = "" if figure.bound is None else f"<= {number(figure.bound)} {figure.unit}"
        measured = f"{number(figure.value)} {figure.unit}".strip()
        rows.append((figure.name, measured, bound.strip(), verdict, figure.note))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = []
    for name, measured, bound, verdict, note in rows:
        cells = (
            name.ljust(widths[0]),
            measured.rjust(widths[1]),
            bound.rjust(widths[2]),
            verdict.ljust(widths[3]),
            note,
        )
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def machine() -> dict[str, str]:
    """Return what the figures were measured on."""
    usable = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    found = {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": str(usable),
        "load": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
    }
    return found | {name: version(name) for name in _PACKAGES} | {"executable": sys.executable}
