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
from json.encoder import encode_basestring_ascii as _json_text
from pathlib import Path
from typing import IO, Any

from keyturn.audit.model import Finding, KeyRecord, Rule, Severity, Status
from keyturn.audit.report import Report

MOST_ON_THE_PAGE = 5_000
FINDING_COLUMNS = (
    "severity",
    "status",
    "rule",
    "credential",
    "tier",
    "compliance",
    "account_id",
    "user",
    "managed",
    "age_days",
    "dates",
    "detail",
    "next",
)
KEY_COLUMNS = (
    "slot",
    "active",
    "tier",
    "managed",
    "console_password",
    "need",
    "advice",
    "account_id",
    "user",
    "user_arn",
    "user_created",
    "created",
    "last_used",
    "last_used_service",
    "last_used_region",
    "age_days",
)
_FORMULA = "=+-@\t\r"
_BUFFER = 1 << 20
_TOGETHER = 512
"""How many records are put together before they are written."""


class Files:
    """A sink that writes an audit's files into a directory."""

    def __init__(self, directory: Path) -> None:
        """The directory is made; files of an earlier audit in it are overwritten."""
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._findings = _Spool(directory / "findings", FINDING_COLUMNS)
        self._keys = _Spool(directory / "keys", KEY_COLUMNS)
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
        self._findings.add(*_finding_texts(finding))
        score = _SEVERITY_SCORE[finding.severity] + (finding.age_days or 0)
        if finding.status is Status.UNKNOWN:
            score -= _STEP // 2
        if score > self._worst_findings.least:
            self._worst_findings.add(score, finding)

    def key(self, key: KeyRecord) -> None:
        """Take an access key."""
        self._keys.add(*_key_texts(key))
        score = (key.age_days or 0) + (_STEP if key.active else 0)
        if score > self._worst_keys.least:
            self._worst_keys.add(score, key)

    def write(self, report: Report, page: bool = True) -> dict[str, Path]:
        """Finish the files and return them by name; `page` adds the page for people to look at.

        The page has at most the worst 5,000 findings and keys, and says when there are more.
        """
        self._findings.close()
        self._keys.close()
        summary = report.summary()
        paths = {
            "report.json": self._join(summary),
            "findings.csv": self._findings.csv_path,
            "keys.csv": self._keys.csv_path,
        }
        if page:
            paths["report.html"] = self._page(report, summary)
        return paths

    def _join(self, summary: dict[str, Any]) -> Path:
        """Write one JSON object: the summary, then findings and keys, a line each."""
        path = self.directory / "report.json"
        with path.open("wb", buffering=_BUFFER) as whole:
            whole.write(json.dumps(summary, indent=2).removesuffix("\n}").encode())
            for name, spool in (("findings", self._findings), ("keys", self._keys)):
                whole.write(f',\n  "{name}": ['.encode())
                with spool.json_path.open("rb") as lines:
                    shutil.copyfileobj(lines, whole, _BUFFER)
                whole.write(b"\n  ]")
                spool.json_path.unlink()
            whole.write(b"\n}\n")
        return path

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
    """Records on disk: a CSV file, and the lines of a JSON array that is joined later."""

    def __init__(self, base: Path, columns: Iterable[str]) -> None:
        self.csv_path = base.with_suffix(".csv")
        self.json_path = base.with_suffix(".json.part")
        self.count = 0
        self._csv = _text_file(self.csv_path)
        self._json = _text_file(self.json_path)
        self._csv.write(",".join(columns) + "\r\n")
        self._csv_waiting: list[str] = []
        self._json_waiting: list[str] = []

    def add(self, as_json: str, as_csv: str) -> None:
        self._json_waiting.append(as_json)
        self._csv_waiting.append(as_csv)
        if len(self._csv_waiting) >= _TOGETHER:
            self._flush()

    def _flush(self) -> None:
        if self._csv_waiting:
            self._json.write("\n" if not self.count else ",\n")
            self._json.write(",\n".join(self._json_waiting))
            self._csv.write("".join(self._csv_waiting))
            self.count += len(self._csv_waiting)
            self._json_waiting.clear()
            self._csv_waiting.clear()

    def close(self) -> None:
        """Write the rest and close both files; again does nothing."""
        if self._csv.closed:
            return
        self._flush()
        self._csv.close()
        self._json.close()


def _text_file(path: Path) -> IO[str]:
    # A damaged report can hold half characters, which UTF-8 cannot: they are written as escapes.
    return path.open(
        "w", encoding="utf-8", errors="backslashreplace", newline="", buffering=_BUFFER
    )


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
_SEVERITY_SCORE = {severity: rank * _STEP for rank, severity in enumerate(reversed(Severity))}


# JSON and CSV by hand: json.dumps and csv.writer take about three times as long, and this is most
# of an audit's work. Tests compare both with what those two make of the same records.

_TRUE_FALSE = {True: "true", False: "false"}
_Kind = tuple[Rule, Status, Severity, str | None, str | None]
_kinds: dict[_Kind, tuple[str, str]] = {}
"""What findings of a kind have in common, as JSON and CSV. There are a few hundred kinds."""


_key_kinds: dict[tuple[object, ...], tuple[str, str]] = {}


def cell(text: str | None) -> str:
    """Return a text as a CSV field that no spreadsheet takes for a formula.

    >>> cell("=HYPERLINK(1)"), cell("a,b"), cell(None)
    ("'=HYPERLINK(1)", '"a,b"', '')
    """
    if not text:
        return ""
    if text[0] in _FORMULA:
        text = f"'{text}"
    return _quoted(text)


def _quoted(text: str) -> str:
    if '"' in text or "," in text or "\n" in text or "\r" in text:
        return '"' + text.replace('"', '""') + '"'
    return text


def _or_null(text: str | None) -> str:
    return "null" if text is None else _json_text(text)


def _kind(finding: Finding) -> tuple[str, str]:
    """Return the constant beginnings of a finding's JSON and CSV."""
    rule, status, severity = finding.rule.value, finding.status.value, finding.severity.value
    constant = {
        "rule": rule,
        "status": status,
        "severity": severity,
        "credential": finding.credential,
        "tier": finding.tier,
        "compliance": finding.compliance,
    }
    as_json = json.dumps(constant, separators=(",", ":"))[:-1]
    compliance = _quoted("; ".join(finding.compliance))
    as_csv = f"{severity},{status},{rule},{finding.credential or ''},{finding.tier or ''},"
    return as_json, f"{as_csv}{compliance},"


def _finding_texts(finding: Finding) -> tuple[str, str]:
    """Return a finding as JSON and as a CSV row."""
    (
        rule, status, severity, account_id, user, managed, credential, age_days, tier, dates,
        _, detail, then,
    ) = finding  # fmt: skip
    kind = (rule, status, severity, credential, tier)
    made = _kinds.get(kind)
    if made is None:
        made = _kinds[kind] = _kind(finding)
    as_json, as_csv = made
    columns = ",".join([f'"{name}":{_json_text(text)}' for name, text in dates])
    decided_on = "; ".join([f"{name}={text}" for name, text in dates])
    age = "null" if age_days is None else age_days
    return (
        f'{as_json},"accountId":{_json_text(account_id)},"user":{_or_null(user)},'
        f'"managed":{_TRUE_FALSE[managed]},"ageDays":{age},"dates":{{{columns}}},'
        f'"detail":{_json_text(detail)},"next":{_json_text(then)}}}',
        f"{as_csv}{cell(account_id)},{cell(user)},{_TRUE_FALSE[managed]},"
        f"{'' if age_days is None else age_days},{_quoted(decided_on)},{_quoted(detail)},"
        f"{_quoted(then)}\r\n",
    )


def _key_kind(key: KeyRecord) -> tuple[str, str]:
    """Return the constant beginnings of a key's JSON and CSV."""
    constant = {
        "slot": key.slot,
        "active": key.active,
        "tier": key.tier,
        "managed": key.managed,
        "consolePassword": key.console_password,
        "need": key.need.value,
        "advice": key.advice,
    }
    as_csv = [str(key.slot), _TRUE_FALSE[key.active], key.tier or "", _TRUE_FALSE[key.managed]]
    as_csv += [_TRUE_FALSE[key.console_password], key.need.value, _quoted(key.advice)]
    return json.dumps(constant, separators=(",", ":"))[:-1], ",".join(as_csv)


def _key_texts(key: KeyRecord) -> tuple[str, str]:
    """Return a key as JSON and as a CSV row."""
    (
        account_id, user, user_arn, user_created, slot, active, created, last_used, service,
        region, age_days, tier, managed, console, need, advice,
    ) = key  # fmt: skip
    kind = (slot, active, tier, managed, console, need, advice)
    made = _key_kinds.get(kind)
    if made is None:
        made = _key_kinds[kind] = _key_kind(key)
    as_json, as_csv = made
    age = "null" if age_days is None else age_days
    return (
        f'{as_json},"accountId":{_json_text(account_id)},"user":{_json_text(user)},'
        f'"userArn":{_json_text(user_arn)},"userCreated":{_json_text(user_created)},'
        f'"created":{_or_null(created)},"lastUsed":{_or_null(last_used)},'
        f'"lastUsedService":{_or_null(service)},"lastUsedRegion":{_or_null(region)},'
        f'"ageDays":{age}}}',
        f"{as_csv},{cell(account_id)},{cell(user)},{cell(user_arn)},{cell(user_created)},"
        f"{cell(created)},{cell(last_used)},{cell(service)},{cell(region)},"
        f"{'' if age_days is None else age_days}\r\n",
    )
