"""The figures of a run as a table: for the terminal, and for docs/consumers.md."""

from __future__ import annotations

from pathlib import Path

from benchmarks.figures import machine
from proofs.consumers.programs import STATIC
from proofs.consumers.run import Result

PAGE = Path(__file__).parent.parent.parent / "docs" / "consumers.md"
OPENING, CLOSING = "<!-- measured -->", "<!-- /measured -->"
_COLUMNS = (
    "program",
    "processes",
    "calls",
    "retried after a new look",
    "failed calls",
    "changes of key",
)


def table(result: Result) -> str:
    """Return what the programs did as a Markdown table, readable as it is."""
    rows = [_COLUMNS, ("---",) * len(_COLUMNS)]
    for kind, figures in result.kinds.items():
        if not figures.programs:
            continue
        name = f"{kind} (not counted: it is what gets hurt)" if kind == STATIC else kind
        numbers = (
            figures.programs,
            figures.calls,
            figures.retried_after_reread,
            figures.failed_calls,
            figures.key_changes,
        )
        rows.append((name, *(f"{number:,}" for number in numbers)))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def summary(result: Result) -> str:
    """Return the other figures in words."""
    ways = "\n".join(
        f"- {count} {name.removeprefix('back_out_').replace('_', ' ')}"
        for name, count in sorted(result.ways.items())
    )
    return (
        f"{result.rotations} rotations and {result.back_outs} back-outs of {result.plan.users} "
        f"machine users side by side, in {result.seconds:.0f} seconds; the back-outs were\n\n"
        f"{ways}\n"
    )


def page(text: str, result: Result) -> str:
    """Return the page with its measured part made anew; ValueError if it has none."""
    before, opening, rest = text.partition(OPENING)
    _, closing, after = rest.partition(CLOSING)
    if not opening or not closing:
        raise ValueError(f"the page has no part between {OPENING} and {CLOSING}")
    where = ", ".join(
        f"{name} {value}" for name, value in machine().items() if name not in ("executable", "load")
    )
    measured = f"{summary(result)}\n{table(result)}\nMeasured on {where}.\n"
    return f"{before}{OPENING}\n{measured}{CLOSING}{after}"
