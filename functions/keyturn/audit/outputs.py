"""The files of an audit: JSON, CSV and the page, all from the same findings.

Findings and keys go to disk as they come, so that memory does not depend on how many there are.
"""

from __future__ import annotations

import heapq
import json
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from keyturn.audit.columns import NO_DATES
from keyturn.audit.dates import Calendar
from keyturn.audit.emitting import (
    SEVERITY_RANK,
    Plan,
    Row,
    age_of,
    finding,
    form,
    key_form,
    key_record,
)
from keyturn.audit.model import Finding, KeyRecord, Severity, Status
from keyturn.audit.report import Report
from keyturn.audit.texts import (
    AGE,
    FINDING_COLUMNS,
    KEY_COLUMNS,
    Form,
    Texts,
    finding_texts,
    key_texts,
    plain,
)

MOST_ON_THE_PAGE = 5_000
_BUFFER = 1 << 16
_TOGETHER = 2_000
"""How many parts of texts are joined before they are written: about a hundred records."""


class Files:
    """A sink that writes an audit's files into a directory."""

    def __init__(self, directory: Path) -> None:
        """The directory is made; files of an earlier audit in it are overwritten."""
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._whole = directory / "report.json"
        # The findings, most of it all, are written where they stay.
        self._findings = _Spool(
            directory / "findings.csv", FINDING_COLUMNS, self._whole, '{\n  "findings": ['
        )
        self._keys = _Spool(directory / "keys.csv", KEY_COLUMNS, directory / "keys.json.part", "")
        self._worst_findings = _Worst(MOST_ON_THE_PAGE)
        self._worst_keys = _Worst(MOST_ON_THE_PAGE)

    def __enter__(self) -> Files:
        return self

    def __exit__(self, *_: object) -> None:
        """Close what is open, also after an audit that failed."""
        self._findings.close()
        self._keys.close()

    def finding(self, finding: Finding) -> None:
        """Take a finding."""
        self._findings.add(finding_texts(finding))
        score = _finding_score(finding.status, finding.severity, finding.age_days)
        if score > self._worst_findings.least:
            self._worst_findings.add(score, finding)

    def key(self, key: KeyRecord) -> None:
        """Take an access key."""
        self._keys.add(key_texts(key))
        score = _key_score(key.active, key.age_days)
        if score > self._worst_keys.least:
            self._worst_keys.add(score, key)

    def row(self, plan: Plan, row: Row, calendar: Calendar) -> None:
        """Take a row's keys and findings: the same as one by one, in a fraction of the time.

        Only what may be on the page is made into a record.
        """
        cells = row.cells
        if not plain(cells):
            for key in plan.keys:
                self.key(key_record(key, row, calendar))
            for hit in plan.hits:
                self.finding(finding(hit, row, calendar))
            return
        values, ages, at = [*cells, ""], {}, calendar.at
        for key in plan.keys:
            if not key.clear:
                self.key(key_record(key, row, calendar))
                continue
            place = key.created
            days = (at - datetime.fromisoformat(cells[place])).days
            ages[place] = age = days if days > 0 else 0
            values[AGE] = str(age)
            without = (
                cells[key.used] in NO_DATES,
                cells[key.service] in NO_DATES,
                cells[key.region] in NO_DATES,
            )
            self._keys.fill(
                key.forms.get(without) or key_form(key, row.account_id, without), values
            )
            score = _STEP + age if key.active else age
            if score > self._worst_keys.least:
                self._worst_keys.add(score, key_record(key, row, calendar))
        for hit in plan.hits:
            if hit.about_cells:
                self.finding(finding(hit, row, calendar))
                continue
            dated = hit.dated
            known = ages.get(dated[0]) if len(dated) == 1 else None
            days_old = known if known is not None else age_of(hit, cells, at)
            values[AGE] = str(days_old)
            self._findings.fill(hit.forms[0] if hit.forms else form(hit, row.account_id), values)
            score = hit.severity * _STEP + (days_old or 0)
            if score > self._worst_findings.least:
                self._worst_findings.add(score, finding(hit, row, calendar))

    def write(self, report: Report, page: bool = True) -> dict[str, Path]:
        """Finish the files and return them by name; `page` adds the page for people to look at.

        The page has at most the worst 5,000 findings and keys, and says when there are more.
        """
        self.close()
        summary = report.summary()
        paths = {
            "report.json": self._join(summary),
            "findings.csv": self._findings.csv_path,
            "keys.csv": self._keys.csv_path,
        }
        if page:
            paths["report.html"] = self._page(report, summary)
        return paths

    def close(self) -> None:
        """Close the files as they are: for an audit that failed, nothing else is needed."""
        self._findings.close()
        self._keys.close()

    def _join(self, summary: dict[str, Any]) -> Path:
        """Make one JSON object: after the findings the keys, a line each, and the summary."""
        with self._whole.open("ab", buffering=_BUFFER) as whole:
            whole.write(b'\n  ],\n  "keys": [')
            with self._keys.json_path.open("rb") as lines:
                shutil.copyfileobj(lines, whole, _BUFFER)
            self._keys.json_path.unlink()
            whole.write(b"\n  ],")
            whole.write(json.dumps(summary, indent=2).removeprefix("{").encode())
            whole.write(b"\n")
        return self._whole

    def _page(self, report: Report, summary: dict[str, Any]) -> Path:
        from keyturn.audit.page import render  # noqa: PLC0415 - only who wants the page pays for it

        path = self.directory / "report.html"
        with path.open("w", encoding="utf-8", newline="") as page:
            page.writelines(
                render(
                    summary,
                    self._worst_findings.sorted(),
                    self._worst_keys.sorted(),
                    findings_total=self._findings.count,
                    keys_total=self._keys.count,
                    generated_at=max(
                        (account.at for account in report.accounts), default=datetime.now(UTC)
                    ),
                )
            )
        return path


class _Spool:
    """Records on disk: a CSV file, and the lines of a JSON array that is not closed yet."""

    def __init__(self, csv: Path, columns: Iterable[str], json: Path, begins: str) -> None:
        self.csv_path, self.json_path = csv, json
        self.count = 0
        # Unbuffered: what is written has been put together already.
        self._csv = self.csv_path.open("wb", buffering=0)
        self._json = self.json_path.open("wb", buffering=0)
        self._csv.write(_encoded(",".join(columns) + "\r\n"))
        self._json.write(_encoded(begins))
        self._csv_parts: list[str] = []
        self._json_parts: list[str] = []
        self._begun = False

    def add(self, texts: Texts) -> None:
        self._json_parts.append(texts.json)
        self._csv_parts.append(texts.csv)
        self.count += 1
        if len(self._json_parts) >= _TOGETHER:
            self._flush()

    def fill(self, form: Form, values: list[str]) -> None:
        form.fill(values, self._json_parts, self._csv_parts)
        self.count += 1
        if len(self._json_parts) >= _TOGETHER:
            self._flush()

    def _flush(self) -> None:
        as_json = "".join(self._json_parts)
        # The first record has no comma before it.
        self._json.write(_encoded(as_json if self._begun else as_json[1:]))
        self._csv.write(_encoded("".join(self._csv_parts)))
        self._begun = True
        self._json_parts.clear()
        self._csv_parts.clear()

    def close(self) -> None:
        """Write the rest and close both files; again does nothing."""
        if self._csv.closed:
            return
        self._flush()
        self._csv.close()
        self._json.close()


def _encoded(text: str) -> bytes:
    # A damaged report can hold half characters, which UTF-8 cannot: they are written as escapes.
    return text.encode(errors="backslashreplace")


class _Worst:
    """The few records with the greatest scores; of equal ones those that came first."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.least: float = float("-inf")
        self._heap: list[tuple[int, int, Any]] = []
        self._arrival = count(0, -1)

    def add(self, score: int, record: Finding | KeyRecord) -> None:
        """Take a record; the caller has compared its score with `least`."""
        item = (score, next(self._arrival), record)
        if len(self._heap) < self.most:
            heapq.heappush(self._heap, item)
        else:
            heapq.heapreplace(self._heap, item)
        if len(self._heap) == self.most:
            self.least = self._heap[0][0]

    def sorted(self) -> list[Any]:
        return [record for _, _, record in sorted(self._heap, reverse=True)]


_STEP = 10_000_000
_UNKNOWN_SCORE = SEVERITY_RANK[Severity.HIGH] * _STEP - _STEP // 2


def _finding_score(status: Status, severity: Severity, age_days: int | None) -> int:
    """The worse, the greater; what is UNKNOWN may be bad, so only HIGH and CRITICAL go before."""
    if status is Status.UNKNOWN:
        return _UNKNOWN_SCORE + SEVERITY_RANK[severity]
    return SEVERITY_RANK[severity] * _STEP + (age_days or 0)


def _key_score(active: bool, age_days: int | None) -> int:
    return (_STEP if active else 0) + (age_days or 0)
