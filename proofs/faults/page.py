"""Fills the generated part of docs/reliability.md from a run of the fault matrix."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- faults -->", "<!-- end of faults -->"


def write(
    rows: Sequence[Sequence[str]],
    columns: Sequence[str],
    *,
    how: str,
    drawn: str,
    seconds: float,
    violated: int,
    at_once: int,
) -> None:
    """Put the table between the markers of the page."""
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(f"{before}{BEGIN}\n{_table(rows, columns)}\n")
    with PAGE.open("a") as page:
        page.write(
            f"\nMade by `{how}` in {seconds:.0f} seconds: {drawn}"
            f"{at_once} cases at once, on {os.cpu_count()} cores with Python "
            f"{platform.python_version()}. Violations: {violated}.\n{END}{after}"
        )


def _table(rows: Sequence[Sequence[str]], columns: Sequence[str]) -> str:
    rule = ["---", *["---:"] * (len(columns) - 1)]
    lines = [_line(columns), _line(rule), *map(_line, rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
