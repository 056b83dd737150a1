"""A figure, the bound that it must keep, and the tables that show figures."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
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
    unit: str = ""
    bound: float | None = None
    note: str = ""

    @property
    def missed(self) -> bool:
        """Whether a bound is not shown to be kept."""
        return self.bound is not None and (self.value is None or self.value > self.bound)

    @property
    def shown(self) -> str:
        """The value as people read it."""
        return f"{number(self.value)} {self.unit}".strip()

    @property
    def at_most(self) -> str:
        """The bound as people read it; empty without one."""
        return "" if self.bound is None else f"{number(self.bound)} {self.unit}".strip()

    @property
    def verdict(self) -> str:
        """Whether the bound was kept; empty without one."""
        return "" if self.bound is None else "missed" if self.missed else "kept"

    def line(self) -> str:
        """Return the figure for a terminal."""
        bound = f" (at most {self.at_most})" if self.at_most else ""
        note = f"; {self.note}" if self.note else ""
        return f"{self.verdict.upper():6}  {self.name}: {self.shown}{bound}{note}"

    def dump(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


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


def table(
    head: Sequence[object], rows: Iterable[Sequence[object]], *, numbers: Iterable[int] = ()
) -> str:
    """Return a table in Markdown; the columns in `numbers` (from 0) are aligned to the right."""
    rule = ["--:" if at in set(numbers) else "---" for at in range(len(head))]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in [head, rule, *rows])


def machine() -> dict[str, str]:
    """Return what the figures were measured on."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": str(usable),
        "load": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
    }
