"""The generated parts of the documentation are up to date, and the generator works."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import template
from tools.docs import OPENING, pages, render, stale


def test_no_generated_part_is_stale() -> None:
    names = [str(page.relative_to(template.ROOT)) for page in stale(template.ROOT)]
    assert names == [], "run 'make docs'"


def test_the_docs_show_the_state_machine_and_the_parameters() -> None:
    found = {
        opening[0]
        for page in pages(template.ROOT)
        for opening in OPENING.finditer(page.read_text(encoding="utf-8"))
    }
    assert any(part.startswith("<!-- diagram:rotate_key") for part in found)
    assert {"<!-- parameters -->", "<!-- alarms -->"} <= found


def test_a_table_of_parameters_is_filled_in(tmp_path: Path) -> None:
    (tmp_path / "template.yaml").write_text(
        "Parameters:\n"
        "  WatchSeconds: {Type: Number, Default: 60, Description: 'How long, a | b'}\n"
        "  Email: {Type: String, Default: ''}\n",
        encoding="utf-8",
    )
    page = "Before\n<!-- parameters -->\nold\n<!-- /parameters -->\nAfter\n"
    once = render(page, tmp_path)
    assert "| `WatchSeconds` | `60` | How long, a \\| b |\n" in once
    assert "| `Email` | (empty) |  |\n" in once
    assert "old" not in once
    assert once.startswith("Before\n")
    assert once.endswith("<!-- /parameters -->\nAfter\n")
    assert render(once, tmp_path) == once


def test_a_table_of_events_is_filled_in(tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "a.json").write_text('{\n  "userName": "ci"\n}', encoding="utf-8")
    text = render("<!-- events -->\n<!-- /events -->", tmp_path)
    assert '| `events/a.json` | `{"userName": "ci"}` |\n' in text


def test_a_table_of_alarms_is_filled_in(tmp_path: Path) -> None:
    (tmp_path / "template.yaml").write_text(
        "Resources:\n"
        "  Late: {Type: 'AWS::CloudWatch::Alarm', Properties: {AlarmDescription: 'a | b. Do c.'}}\n"
        "  Topic: {Type: 'AWS::SNS::Topic'}\n",
        encoding="utf-8",
    )
    text = render("<!-- alarms -->\n<!-- /alarms -->", tmp_path)
    assert text.count("\n| `") == 1
    assert "| `Late` | a \\| b. Do c. |\n" in text


def test_a_diagram_is_filled_in_whole_or_as_an_overview() -> None:
    whole = render("<!-- diagram:rotate_key -->\n<!-- /diagram -->", template.ROOT)
    assert "```mermaid\nflowchart TD\n" in whole
    assert '"Check Request"' in whole
    overview = "<!-- diagram:rotate_key only: Check Request, Rotated -->\n<!-- /diagram -->"
    assert '"Issue New Key"' not in render(overview, template.ROOT)


def test_a_part_that_does_not_end_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="<!-- events --> has no <!-- /events -->"):
        render("<!-- events -->\n", tmp_path)
