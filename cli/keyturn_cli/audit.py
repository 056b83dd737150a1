"""`keyturn audit`: the credentials of an account, or of many accounts' downloaded reports.

The rules and the outputs are the library's (`keyturn.audit`); here are the sources, the progress,
and what a person sees. Reports are read row by row: neither their size nor their number matters.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from keyturn.audit.context import load_source
from keyturn.audit.counts import Report
from keyturn.audit.model import (
    AccountSource,
    Finding,
    KeyRecord,
    Severity,
    Status,
    Thresholds,
    Unavailable,
)
from keyturn.audit.outputs import Files, Worst
from keyturn.audit.run import Sink
from keyturn.audit.run import audit as judge
from keyturn.aws import reports, secrets
from keyturn.fleet.facts import secret_facts
from keyturn.model.errors import AwsRefused
from keyturn.model.settings import Settings
from keyturn_cli import output
from keyturn_cli.errors import CliError
from keyturn_cli.words import counted

MOST_SHOWN = 20
_RANK = {severity: rank for rank, severity in enumerate(Severity)}
_CONTEXT = "context.json"
_NOT_TOLD = Unavailable("a credential report does not tell")
_STYLES = {"CRITICAL": "bold red", "HIGH": "red", "MEDIUM": "yellow", "LOW": ""}
Advance = Callable[[int], None]


class Screen:
    """A sink that keeps the worst findings for the screen, and passes everything on."""

    def __init__(self, to: Sink | None) -> None:
        self.to = to
        self.worst: Worst[Finding] = Worst(MOST_SHOWN)

    def finding(self, finding: Finding) -> None:
        """Take a finding."""
        if self.to is not None:
            self.to.finding(finding)
        judged = finding.status is Status.FINDING
        self.worst.add((judged, -_RANK[finding.severity], finding.age_days or 0), finding)

    def key(self, key: KeyRecord) -> None:
        """Take an access key."""
        if self.to is not None:
            self.to.key(key)


@dataclass(frozen=True)
class Wanted:
    """The files that a person asked for."""

    html: Path | None = None
    csv: Path | None = None
    directory: Path | None = None
    json: bool = False

    @property
    def any(self) -> bool:
        """Whether more than counts is wanted."""
        return bool(self.html or self.csv or self.directory or self.json)


# --- sources ------------------------------------------------------------------------------------


def of_account(settings: Settings | Unavailable, *, say: Callable[[str], None]) -> AccountSource:
    """Return the source of the account that the credentials belong to.

    Args:
        settings: the stack's. No stack of this name here does not mean that nobody is managed: it
            can have another name, or be in another Region.
        say: tells a person what is being waited for.

    Raises:
        AuditFailed, AwsRefused: there is no report, or it may not be read.
    """
    say("Waiting for IAM's credential report")
    report = reports.credential_report()
    say("Reading the password policy and the list of secrets")
    return AccountSource(
        lines=report.lines(),
        at=report.at,
        managed=_or_unavailable(lambda: _managed(settings)),
        managed_path=settings.managed_user_path if isinstance(settings, Settings) else "/",
        password_policy=_or_unavailable(reports.password_policy),
    )


def _managed(settings: Settings | Unavailable) -> Any:
    if isinstance(settings, Unavailable):
        return settings
    prefix = settings.secret_name_prefix
    return secret_facts(secrets.listed(prefix), prefix)


def _or_unavailable(get: Callable[[], Any]) -> Any:
    """A source that is denied is not empty: its rules are UNKNOWN."""
    try:
        return get()
    except AwsRefused as refused:
        return Unavailable(str(refused))


def of_files(
    paths: Sequence[Path], at: datetime | None, *, advance: Advance
) -> Iterator[AccountSource]:
    """Yield a source for each downloaded report, opened when its turn comes.

    A context.json beside it (as central collection leaves it) says when it was made, and what was
    known in its account. Without one it is judged as of `at`, or of the file's date, and who is
    managed is not known.
    """
    for path in paths:
        context = path.with_name(_CONTEXT)
        lines = _lines(path, advance)
        if context.is_file():
            yield _with_context(path, lines, context)
        else:
            made = at or datetime.fromtimestamp(path.stat().st_mtime, UTC)
            yield AccountSource(lines=lines, at=made, name=str(path), managed=_NOT_TOLD)


def _with_context(path: Path, lines: Iterable[str], context: Path) -> AccountSource:
    # What is not UTF-8 is no JSON either, which is what the error says.
    text = context.read_text(encoding="utf-8", errors="replace")
    try:
        account = json.loads(text)["accountId"]
    except (ValueError, KeyError, TypeError):
        account = None
    return load_source(str(account or path.parent.name), lines, text, file=str(path))


def _lines(path: Path, advance: Advance) -> Iterator[str]:
    waiting = 0
    with path.open(encoding="utf-8", newline="") as lines:
        for line in lines:
            waiting += len(line)
            if waiting > 1 << 20:
                advance(waiting)
                waiting = 0
            yield line
    advance(waiting)


def assert_readable(paths: Sequence[Path]) -> int:
    """Return the size of all reports together, in bytes.

    Raises:
        CliError: one is missing, before hours of work on the others.
    """
    try:
        return sum(path.stat().st_size for path in paths)
    except OSError as error:
        why = f"{error.filename}: {error.strerror}"
        raise CliError(f"{why}; name credential reports in CSV") from None


# --- the audit ----------------------------------------------------------------------------------


def run(
    sources: Iterable[AccountSource], thresholds: Thresholds, wanted: Wanted
) -> tuple[Report, list[Finding]]:
    """Audit, write the files, and return the counts and the worst findings.

    Raises:
        ReportError: a report cannot be judged; no file has been written then.
        CliError: a file cannot be read or written.
    """
    try:
        return _run(sources, thresholds, wanted)
    except BrokenPipeError:
        raise  # whoever read standard output has left
    except OSError as error:
        what = error.filename2 or error.filename or "the files of the audit"
        raise CliError(f"{what}: {error.strerror}; name another file, and audit again") from None


def _run(
    sources: Iterable[AccountSource], thresholds: Thresholds, wanted: Wanted
) -> tuple[Report, list[Finding]]:
    with tempfile.TemporaryDirectory(prefix="keyturn-audit-") as folder:
        files = Files(Path(folder)) if wanted.any else None
        screen = Screen(files)
        try:
            report = judge(sources, thresholds, sink=screen)
            if files is not None:
                page = bool(wanted.html or wanted.directory)
                _deliver(files.write(report, page=page), wanted)
        finally:
            if files is not None:
                files.close()
        return report, screen.worst.sorted()


def _deliver(made: dict[str, Path], wanted: Wanted) -> None:
    if wanted.directory:
        wanted.directory.mkdir(parents=True, exist_ok=True)
        for name, path in made.items():
            # Whole or not at all: whoever reads an earlier report there never meets half of one.
            part = wanted.directory / f"{name}.part"
            shutil.copyfile(path, part)
            part.replace(wanted.directory / name)
    if wanted.html:
        shutil.copyfile(made["report.html"], wanted.html)
    if wanted.csv:
        shutil.copyfile(made["findings.csv"], wanted.csv)
    if wanted.json:
        with made["report.json"].open(encoding="utf-8") as text:
            shutil.copyfileobj(text, sys.stdout)


def failing(report: Report, fail_on: Severity | None, *, unknown: bool) -> int:
    """Return how many findings are at or above a severity; those not judged count if asked."""
    if fail_on is None:
        return 0
    return sum(
        count
        for (_, status, severity), count in report.findings.items()
        if _RANK[severity] <= _RANK[fail_on] and (unknown or status is Status.FINDING)
    )


def progress() -> Progress:
    """Return a progress display on standard error, only where somebody looks."""
    console = output.to_people()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def show(report: Report, worst: Sequence[Finding]) -> None:
    """Print counts and the worst findings for people."""
    console = output.console()
    totals = report.summary()["totals"]
    denied = any(name == "secrets" for one in report.accounts for name, _ in one.unavailable)
    managed = "how many are" if denied else totals["managedUsers"]
    console.print(
        f"{counted(totals['accounts'], 'account')}, {counted(totals['users'], 'user')}, "
        f"{counted(totals['activeKeys'], 'active access key')}; "
        f"{managed} managed by Keyturn{' is not known' if denied else ''}",
        style="bold",
    )
    counts = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("SEVERITY", "RULE"):
        counts.add_column(title)
    for title in ("FINDINGS", "NOT JUDGED"):
        counts.add_column(title, justify="right")
    for severity in Severity:
        for rule in sorted({rule for rule, _, graded in report.findings if graded is severity}):
            found = report.findings.get((rule, Status.FINDING, severity), 0)
            unknown = report.findings.get((rule, Status.UNKNOWN, severity), 0)
            counts.add_row(
                severity.value,
                rule.value,
                str(found or ""),
                str(unknown or ""),
                style=_STYLES[severity] if found else "dim",
            )
    console.print(counts)
    if worst:
        console.print(f"\nThe worst {len(worst)} of {report.findings_total}:", style="bold")
    for finding in worst:
        who = f"{finding.account_id} {finding.user or '(account)'}"
        mark = "" if finding.status is Status.FINDING else " (not judged)"
        console.print(f"{finding.severity.value:<8}  {who}: {finding.rule.value}{mark}")
        output.indented(console, finding.detail, 10)
        output.indented(console, f"next: {finding.next}", 10, "dim")
    for problem in report.problems:
        output.note(problem)
