"""The rules table of docs/audit.md is the code's."""

from __future__ import annotations

import re
from pathlib import Path

from keyturn.audit.model import Rule
from keyturn.audit.standards import EXCEPTIONS, SEVERITIES, SOURCES

_PAGE = Path(__file__).parents[2] / "docs" / "audit.md"


def rows() -> list[str]:
    """Return the table's rows as they should be."""
    made = []
    for rule in Rule:
        severity = SEVERITIES[rule].value
        if rule in EXCEPTIONS:
            other, when = EXCEPTIONS[rule]
            severity += f"; {other.value} {when}"
        source = SOURCES[rule]
        made.append(
            f"| `{rule.value}` | {source.title} | {severity} | {', '.join(source.compliance)} |"
        )
    return made


def test_the_rules_table_in_the_docs_is_the_codes() -> None:
    page = _PAGE.read_text(encoding="utf-8")
    table = page.split("<!-- rules:")[1].split("<!-- end of rules -->")[0]
    assert re.findall(r"^\| `.*$", table, re.MULTILINE) == rows()


def test_every_rule_has_a_source_and_a_severity() -> None:
    assert set(SOURCES) == set(SEVERITIES) == set(Rule)
    assert all(source.compliance for source in SOURCES.values())
