"""Reads the tables of a Markdown text, so that rows of tests are written for people."""

from __future__ import annotations

import re
from pathlib import Path


def rows_of(source: Path | str) -> list[dict[str, str]]:
    """Return every row of every table, by the names of its columns."""
    text = source.read_text(encoding="utf-8") if isinstance(source, Path) else source
    rows: list[dict[str, str]] = []
    head: list[str] | None = None
    for line in text.splitlines():
        if not line.lstrip().startswith("|"):
            head = None
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if head is None:
            head = cells
        elif not re.fullmatch(r"[-: |]+", line.strip()):
            rows.append(dict(zip(head, cells, strict=True)))
    return rows
