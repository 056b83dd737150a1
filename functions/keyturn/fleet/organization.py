"""One report of all accounts, from what each of them left in the bucket (`keyturn.fleet.central`).

An account whose report is missing, old, broken or not its own is listed as not judged, and why: it
never counts as an account without findings, and stops no other.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from keyturn.audit.context import load_source
from keyturn.audit.errors import ReportError
from keyturn.audit.model import AccountSource, Thresholds
from keyturn.audit.outputs import Files
from keyturn.audit.run import audit
from keyturn.aws import organizations, s3
from keyturn.aws.log import logger
from keyturn.fleet import central
from keyturn.model.environment import Environment
from keyturn.model.errors import AwsRefused, AwsThrottled, KeyturnError
from keyturn.model.moments import iso

PREFIX = "organization/"
NOT_JUDGED = "not-judged.json"
OLDEST = timedelta(days=2)
# A clock may differ; a report from the future would make every key look young.
AHEAD = timedelta(hours=1)
# A report of 5,000 users, the most that IAM allows, has about 2 MB, and so has its context. A
# larger one would be a way to fill the function's disk, and so to keep everybody's report away.
LARGEST_BYTES = 16 * 1024 * 1024
ACCOUNT_ID = re.compile(r"[0-9]{12}")


@dataclass(frozen=True)
class CentralSettings:
    """The settings of the collecting account's function."""

    bucket: str
    list_accounts: bool
    thresholds: Thresholds

    @classmethod
    def from_env(cls, variables: Mapping[str, str] | None = None) -> CentralSettings:
        """Read the settings.

        Raises:
            SettingMissing: a variable is absent or not a whole number.
        """
        env = Environment(variables)
        return cls(
            bucket=env.text("REPORT_BUCKET_NAME"),
            list_accounts=env.text("LIST_ORGANIZATION_ACCOUNTS") == "true",
            thresholds=Thresholds(env.number("MAX_KEY_AGE_DAYS"), env.number("UNUSED_AFTER_DAYS")),
        )


@dataclass(frozen=True)
class NotJudged:
    """An account that the report says nothing about, and why, in words."""

    account_id: str
    why: str

    def dump(self) -> dict[str, str]:
        """Return the JSON form."""
        return {"accountId": self.account_id, "why": self.why}


class CannotBeJudged(KeyturnError):
    """An account's report is missing, old, or of two audits; the message says which."""


@dataclass(frozen=True)
class Fetched:
    """One account's report and context on the disk."""

    account_id: str
    report: Path
    context: str

    def source(self) -> AccountSource:
        """The account as the audit takes it; its lines are read from the disk as they are needed.

        Raises:
            KeyturnError: the context cannot be read.
        """
        return load_source(self.account_id, self._lines(), self.context)

    def _lines(self) -> Iterator[str]:
        with self.report.open(encoding="utf-8", newline="") as file:
            yield from file


def fetch(bucket: str, account_id: str, folder: Path) -> Fetched:
    """Fetch what an account has sent.

    Raises:
        CannotBeJudged: something is missing, or the two objects are of different audits.
        AwsRefused: denied, or too large.
    """
    report, context = folder / central.REPORT, folder / central.CONTEXT
    found = []
    for path in (report, context):
        key = f"{central.PREFIX}{account_id}/{path.name}"
        metadata = s3.download(bucket, key, path, at_most=LARGEST_BYTES)
        if metadata is None:
            raise CannotBeJudged(f"it has sent no {path.name}")
        found.append(metadata.get(central.REPORT_AT))
    if found[0] != found[1]:
        raise CannotBeJudged("its report and its context are of different audits")
    return Fetched(account_id, report, context.read_text(encoding="utf-8"))


def assert_recent(at: datetime, now: datetime) -> None:
    """Raise CannotBeJudged when a report is too old to tell how the account stands."""
    if now - at > OLDEST:
        raise CannotBeJudged(f"its newest report is of {iso(at)}, older than {OLDEST.days} days")
    if at - now > AHEAD:
        raise CannotBeJudged(f"its report is of {iso(at)}, which is in the future")


def judgeable(
    account_ids: Iterable[str],
    settings: CentralSettings,
    now: datetime,
    not_judged: list[NotJudged],
) -> Iterator[AccountSource]:
    """Yield the accounts that can be judged; append the others to `not_judged`.

    Each report is read twice, first to its end and for nothing, so that one that breaks off in
    the middle leaves nothing behind in the findings. One account's files are on the disk at a time.
    """
    for account_id in account_ids:
        with tempfile.TemporaryDirectory() as folder:
            try:
                fetched = fetch(settings.bucket, account_id, Path(folder))
                source = fetched.source()
                assert_recent(source.at, now)
                audit([source], settings.thresholds, sink=None)
            except (AwsThrottled, OSError):
                raise  # not the account's fault: the next attempt may succeed
            # Blind on purpose: what one account has sent must not keep the others' report away.
            except Exception as error:  # noqa: BLE001
                known = isinstance(error, CannotBeJudged | ReportError | AwsRefused)
                why = str(error) if known else f"its files cannot be read ({type(error).__name__})"
                logger.warning("an account is not judged", account=account_id, why=why)
                not_judged.append(NotJudged(account_id, why))
                continue
            yield fetched.source()


def accounts(reporting: Iterable[str], listed: Iterable[str]) -> list[str]:
    """The accounts to judge, in order: those that report, and those that are known otherwise."""
    return sorted({name for name in reporting if ACCOUNT_ID.fullmatch(name)} | set(listed))


def make_report(settings: CentralSettings, now: datetime) -> dict[str, Any]:
    """Judge all accounts, write the report, and return how many accounts are in it.

    Raises:
        AwsRefused, AwsThrottled: the accounts could not be listed, or nothing could be written.
    """
    reporting = s3.folders(settings.bucket, central.PREFIX)
    listed = organizations.accounts() if settings.list_accounts else []
    not_judged: list[NotJudged] = []
    with tempfile.TemporaryDirectory() as folder, Files(Path(folder)) as files:
        sources = judgeable(accounts(reporting, listed), settings, now, not_judged)
        report = audit(sources, settings.thresholds, sink=files)
        problems = [
            f"Account {entry.account_id} is not judged: {entry.why}" for entry in not_judged
        ]
        written = files.write(replace(report, problems=(*problems, *report.problems)))
        for prefix in (f"{PREFIX}{now:%Y-%m-%d}/", f"{PREFIX}latest/"):
            for path in written.values():
                s3.upload(settings.bucket, prefix + path.name, path)
            s3.write_json(settings.bucket, prefix + NOT_JUDGED, [e.dump() for e in not_judged])
    return {"judged": len(report.accounts), "notJudged": [entry.dump() for entry in not_judged]}
