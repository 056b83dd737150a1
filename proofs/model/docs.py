"""Writes what the walks find into docs/protocol.md, between markers."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from proofs.model import rules
from proofs.model.walk import Report, Violation

PAGE = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"


def trace_section(name: str, violation: Violation) -> str:
    """Return what the page says about one rule that is switched off."""
    start, *events = violation.trace
    lines = [f"{number}. {event}" for number, event in enumerate(events, 1)]
    return "\n".join(
        (
            f"### ({rules.number_of(name)}) `{name}`",
            "",
            rules.text_of(name),
            "",
            f"Without it: **{violation.what}**, {violation.events} events from the start "
            f"({start}):",
            "",
            *lines,
        )
    )


def deep_section(report: Report) -> str:
    """Return what the page says about a deep walk, and where it ran."""
    cores, python = os.cpu_count(), platform.python_version_tuple()
    return "\n".join(
        (
            "| states | of them at rest | steps | seconds | violations | machine |",
            "|---|---|---|---|---|---|",
            f"| {report.states:,} | {report.resting:,} | {report.steps:,} | {report.seconds:.0f} "
            f"| {len(report.violations)} | {cores} cores, Python {python[0]}.{python[1]} |",
        )
    )


def section(page: str, marker: str) -> str:
    """Return what stands between `<!-- marker -->` and the next `<!-- end -->`."""
    found = re.search(rf"<!-- {marker} -->\n(.*?)\n<!-- end -->", page, re.DOTALL)
    assert found is not None, f"docs/protocol.md has no marker {marker}"
    return found[1]


def replaced(page: str, marker: str, text: str) -> str:
    """Return the page with the text between two markers replaced."""
    begin, end = f"<!-- {marker} -->\n", "\n<!-- end -->"
    return page.replace(begin + section(page, marker) + end, begin + text + end)
