"""The files of an audit: JSON, CSV and the page, all from the same findings.

Findings and keys go to disk as they come, so that memory does not depend on how many there are.
"""

from __future__ import annotations

import heapq
import json
import shutil
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Generic, TypeVar

from keyturn.audit.counts import Report
from keyturn.audit.model import Finding, KeyRecord, Severity, Status
from keyturn.audit.records import FINDING_COLUMNS, KEY_COLUMNS, Texts, finding_texts, key_texts

MOST_ON_THE_PAGE = 5_000
_TOGETHER = 100
"""How many records are joined before they are written."""
T = TypeVar("T")


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
        self._worst_findings: Worst[Finding] = Worst(MOST_ON_THE_PAGE)
        self._worst_keys: Worst[KeyRecord] = Worst(MOST_ON_THE_PAGE)

    def __enter__(self) -> Files:
        return self

    def __exit__(self, *_: object) -> None:
        """Close what is open, also after an audit that failed."""
        self.close()

    def finding(self, finding: Finding) -> None:
        """Take a finding."""
        self._findings.add(finding_texts(finding))
        self._worst_findings.add(_badness(finding), finding)

    def key(self, key: KeyRecord) -> None:
        """Take an access key."""
        self._keys.add(key_texts(key))
        self._worst_keys.add((key.active, key.age_days or 0), key)

    def write(self, report: Report, page: bool = True) -> dict[str, Path]:
        """Finish the files and return them by name; `page` adds the page for people to look at.

        The page has at most the worst 5,000 findings and keys, and says when there are more.
        """
        self.close()
        paths = {
            "report.json": self._join(report),
            "findings.csv": self._findings.csv_path,
            "keys.csv": self._keys.csv_path,
        }
        if page:
            paths["report.html"] = self._page(report)
        return paths

    def close(self) -> None:
        """Close the files as they are: for an audit that failed, nothing else is needed."""
        self._findings.close()
        self._keys.close()

    def _join(self, report: Report) -> Path:
        """Make one JSON object: after the findings the keys, a line each, and the summary."""
        with self._whole.open("ab") as whole:
            whole.write(b'\n  ],\n  "keys": [')
            with self._keys.json_path.open("rb") as lines:
                shutil.copyfileobj(lines, whole)
            self._keys.json_path.unlink()
            whole.write(b"\n  ],")
            whole.write(json.dumps(report.summary(), indent=2).removeprefix("{").encode())
            whole.write(b"\n")
        return self._whole

    def _page(self, report: Report) -> Path:
        from keyturn.audit.page import render  # noqa: PLC0415 - only who wants the page pays for it

        path = self.directory / "report.html"
        with path.open("w", encoding="utf-8", newline="") as page:
            page.writelines(
                render(report, self._worst_findings.sorted(), self._worst_keys.sorted())
            )
        return path


class _Spool:
    """Records on disk: a CSV file, and the lines of a JSON array that is not closed yet."""

    def __init__(self, csv: Path, columns: Iterable[str], json: Path, begins: str) -> None:
        self.csv_path, self.json_path = csv, json
        # Unbuffered: what is written has been put together already.
        self._csv = self.csv_path.open("wb", buffering=0)
        self._json = self.json_path.open("wb", buffering=0)
        self._csv.write(_encoded(",".join(columns) + "\r\n"))
        self._json.write(_encoded(begins))
        self._waiting: list[Texts] = []
        self._begun = False

    def add(self, texts: Texts) -> None:
        self._waiting.append(texts)
        if len(self._waiting) >= _TOGETHER:
            self._flush()

    def _flush(self) -> None:
        as_json = "".join([text for text, _ in self._waiting])
        # The first record has no comma before it.
        self._json.write(_encoded(as_json if self._begun else as_json[1:]))
        self._csv.write(_encoded("".join([text for _, text in self._waiting])))
        self._begun = True
        self._waiting.clear()

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


class Worst(Generic[T]):
    """The few records with the greatest badness; of equal ones those that came first."""

    def __init__(self, most: int) -> None:
        """`most` is how many are kept."""
        self._most = most
        self._heap: list[tuple[tuple[int, ...], int, T]] = []
        self._arrival = count(0, -1)

    def add(self, badness: tuple[int, ...], record: T) -> None:
        """Take a record."""
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, (badness, next(self._arrival), record))
        elif badness > self._heap[0][0]:
            heapq.heapreplace(self._heap, (badness, next(self._arrival), record))

    def sorted(self) -> list[T]:
        """Return what was kept, the worst first."""
        return [record for _, _, record in sorted(self._heap, reverse=True)]


_RANK = {severity: rank for rank, severity in enumerate(reversed(Severity))}


def _badness(finding: Finding) -> tuple[int, ...]:
    """What is UNKNOWN may be bad, so only HIGH and CRITICAL go before."""
    severity = _RANK[finding.severity]
    if finding.status is Status.UNKNOWN:
        return (_RANK[Severity.MEDIUM], _NO_AGE, severity)
    return (severity, finding.age_days or 0)


_NO_AGE = 10**6
"""More days than any date is old."""
