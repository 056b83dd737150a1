"""JSON and CSV say the same, whatever a report holds, and no spreadsheet runs any of it."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from keyturn.audit import outputs
from keyturn.audit.model import AccountSource, Finding, KeyRecord, SecretFacts, Status, Thresholds
from keyturn.audit.outputs import Files
from keyturn.audit.report import Report
from keyturn.audit.run import audit
from keyturn.audit.texts import FINDING_COLUMNS, KEY_COLUMNS
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
    kept, files = Kept(), Files(tmp_path)
    source = AccountSource(lines=lines(root(), *rows), at=NOW, password_policy=None)
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


def test_rows_are_written_as_one_by_one(tmp_path: Path) -> None:
    """Files fills in forms for whole rows; another sink's findings go through the writers."""
    users = [
        {**user(name, **key(1, created, used)), **password(used, created, "false"), **more}
        for name in (*NASTY, "ci", "a%sb%", "zq01qz", "a|b", "", "o'b", "x y")
        for created in (ago(91), ago(500, suffix="+00:00"), "N/A", "2026-01-01,03:04:05Z", "=1")
        for used in (ago(3), ago(400), "N/A", "broken", "2026-01-01T00:00:00")
        for more in ({}, {"access_key_1_last_used_region": "%d"}, key(2, ago(-0.5), "N/A", "false"))
    ]
    rows = [
        {**row, "user": f"{row['user']}{number}", "arn": f"{row['arn']}{number}"}
        for number, row in enumerate(users)
    ]
    managed = {"ci7": SecretFacts("ci7", "arn", True), **{
        name: SecretFacts(name, "arn", False) for row in rows[::3] if (name := row["user"])
    }}  # fmt: skip
    written = []
    for folder in ("rows", "one by one"):
        files = Files(tmp_path / folder)
        source = AccountSource(lines=lines(root(), *rows), at=NOW, managed=managed)
        report = audit([source], Thresholds(), sink=files if folder == "rows" else Both(files))
        written.append({name: path.read_bytes() for name, path in files.write(report).items()})
    assert written[0] == written[1]


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

    def render(summary: Any, findings: Any, keys: Any, **more: Any) -> list[str]:
        given.update(more, findings=list(findings), keys=list(keys), summary=summary)
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
    assert given["findings_total"] == report.findings_total > 3
    assert given["keys_total"] == 5
    assert given["generated_at"] == NOW
    assert given["summary"] == report.summary()
