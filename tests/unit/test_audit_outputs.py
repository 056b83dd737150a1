"""JSON and CSV say the same, whatever a report holds, and no spreadsheet runs any of it."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from keyturn.audit import outputs
from keyturn.audit.counts import Report
from keyturn.audit.model import AccountSource, Finding, KeyRecord, Status, Thresholds
from keyturn.audit.outputs import Files
from keyturn.audit.records import FINDING_COLUMNS, KEY_COLUMNS
from keyturn.audit.run import audit
from tests.unit.credential_reports import NOW, Kept, ago, key, lines, password, root, user

LEGAL = "ABCxyz019_+=,.@-"
NASTY = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\tx",
    "a\nb",
    "\n=1+1",
    "\rx",
    'a"b',
    "\ud800",
    "\u202e",
    "</script>",
    "é",
    LEGAL,
]


class Both:
    """Two sinks."""

    def __init__(self, *sinks: Any) -> None:
        self.sinks = sinks

    def finding(self, finding: Finding) -> None:
        for sink in self.sinks:
            sink.finding(finding)

    def key(self, key: KeyRecord) -> None:
        for sink in self.sinks:
            sink.key(key)


@pytest.fixture
def written(tmp_path: Path) -> tuple[dict[str, Path], Kept, Report]:
    """An audit of users with every kind of name, written."""
    rows = [
        {
            **user(name, **key(1, ago(91 + number), ago(91)), **password("=x", ago(200), "false")),
            "access_key_1_last_used_region": name,
        }
        for number, name in enumerate(NASTY)
    ]
    kept = Kept()
    source = AccountSource(lines=lines(root(), *rows), at=NOW, password_policy=None)
    with Files(tmp_path) as files:
        report = audit([source], Thresholds(), sink=Both(kept, files))
        return files.write(report, page=False), kept, report


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _plain(record: Finding | KeyRecord) -> dict[str, Any]:
    """A record as json.dumps would have it."""
    fields = {_camel(name): value for name, value in record._asdict().items()}
    if isinstance(record, Finding):
        fields["dates"] = dict(record.dates)
        del fields["dated"]
    return json.loads(json.dumps(fields))  # type: ignore[no-any-return]


def test_the_json_is_one_object_with_every_finding_and_key(
    written: tuple[dict[str, Path], Kept, Report],
) -> None:
    paths, kept, report = written
    whole = json.loads(paths["report.json"].read_text())
    assert whole["findings"] == [_plain(one) for one in kept.findings]
    assert whole["keys"] == [_plain(one) for one in kept.keys]
    summary = json.loads(json.dumps(report.summary()))
    assert {name: whole[name] for name in summary} == summary
    assert summary["totals"]["findings"]["total"] == len(kept.findings)
    assert sorted(path.name for path in paths["report.json"].parent.iterdir()) == sorted(paths)


def test_the_csv_has_the_same_findings_and_keys(
    written: tuple[dict[str, Path], Kept, Report],
) -> None:
    paths, kept, _ = written

    def text(value: Any) -> str:
        if value is None:
            return ""
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, tuple):
            return "; ".join(one if isinstance(one, str) else "=".join(one) for one in value)
        told = str(value)
        return "'" + told if told.startswith(tuple("=+-@\t\r\n")) else told

    for name, columns, records in (
        ("findings.csv", FINDING_COLUMNS, kept.findings),
        ("keys.csv", KEY_COLUMNS, kept.keys),
    ):
        with paths[name].open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == len(records)
        for row, record in zip(rows, records, strict=True):
            expected = {column: text(getattr(record, column)) for column in columns}
            half = {k: v.replace("\ud800", "\\ud800") for k, v in expected.items()}
            assert row == half


def test_no_cell_begins_like_a_formula(written: tuple[dict[str, Path], Kept, Report]) -> None:
    paths, _, _ = written
    for name in ("findings.csv", "keys.csv"):
        with paths[name].open(encoding="utf-8", newline="") as file:
            for row in csv.reader(file):
                assert not [text for text in row if text.startswith(tuple("=+-@\t\r\n"))]


def test_an_audit_without_findings_is_still_an_object(tmp_path: Path) -> None:
    files = Files(tmp_path / "new" / "folder")
    empty = audit([], Thresholds(), sink=files)
    whole = json.loads(files.write(empty, page=False)["report.json"].read_text())
    assert whole["findings"] == whole["keys"] == whole["accounts"] == []


def test_the_page_gets_the_worst_findings_and_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "MOST_ON_THE_PAGE", 3)
    given: dict[str, Any] = {}

    def render(report: Report, findings: Any, keys: Any) -> list[str]:
        given.update(findings=list(findings), keys=list(keys), report=report)
        return ["<p>", "page</p>"]

    page = type(outputs)("keyturn.audit.page")
    page.render = render  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyturn.audit.page", page)
    files = Files(tmp_path)
    rows = [user(f"u{days}", **key(1, ago(days), ago(1))) for days in (91, 500, 92, 400, 93)]
    report = audit([AccountSource(lines=lines(root(), *rows), at=NOW)], Thresholds(), sink=files)
    paths = files.write(report)
    assert paths["report.html"].read_text() == "<p>page</p>"
    # What is UNKNOWN comes right after HIGH: it may be as bad.
    assert [one.user for one in given["findings"]] == ["u500", "u400", "<root_account>"]
    assert given["findings"][2].status is Status.UNKNOWN
    assert [one.user for one in given["keys"]] == ["u500", "u400", "u93"]
    assert given["report"] is report
