"""The runbook has a heading for all that can call, and every plan in all three ways."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tools import template

ROOT = Path(__file__).parent.parent.parent
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
HEADINGS = set(re.findall(r"^### (.+)$", RUNBOOK, re.MULTILINE))


def errors() -> Iterator[str]:
    """The Error of every Fail state."""

    def below(node: Any) -> Iterator[str]:
        if isinstance(node, list):
            for item in node:
                yield from below(item)
        if isinstance(node, dict):
            if node.get("Type") == "Fail":
                yield node["Error"]
            for item in node.values():
                yield from below(item)

    for path in sorted((ROOT / "statemachine").glob("*.asl.json")):
        yield from below(json.loads(path.read_text(encoding="utf-8")))


def alarms() -> Iterator[str]:
    """The logical id of every alarm of the templates."""
    for path in (ROOT / "template.yaml", *sorted((ROOT / "organization").glob("*.yaml"))):
        for name, resource in template.load(path)["Resources"].items():
            if resource["Type"] == "AWS::CloudWatch::Alarm":
                yield name


def section(title: str) -> str:
    """The text below a heading of the second level, with what is below that."""
    found = re.search(rf"^## {title}$(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)
    assert found, f"the runbook has no section {title}"
    return found[1]


def test_every_error_that_a_machine_can_end_with_has_a_heading() -> None:
    found = set(errors())
    assert len(found) >= 9
    assert found - HEADINGS == set()


def test_every_alarm_has_a_heading() -> None:
    found = set(alarms())
    assert len(found) >= 14
    assert found - HEADINGS == set()
    named = {heading for heading in HEADINGS if heading.endswith("Alarm")}
    assert named - found == set(), "the runbook tells of alarms that are not there"


@pytest.mark.parametrize(
    "title", ["Test plan", "Implementation plan", "Backout plan", "An exposed key"]
)
def test_a_plan_is_given_in_all_three_ways(title: str) -> None:
    text = section(title)
    assert "Console: " in text
    assert re.search(r"^ *(EXECUTION=\$\()?keyturn ", text, re.MULTILINE)
    assert re.search(r"^ *aws ", text, re.MULTILINE)


def test_nothing_is_left_to_be_written() -> None:
    assert "<!-- more" not in RUNBOOK
