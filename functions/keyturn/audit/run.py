"""The audit: leads rows to findings, gives findings and keys to a sink, and keeps only counts.

Users with the same facts are counted together, so memory depends neither on the number of rows nor
on that of findings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from keyturn.audit.account import (
    policy_findings,
    root_findings,
    root_missing,
    secrets_unknown,
    unreadable,
)
from keyturn.audit.counts import COUNTED, AccountCounts, FindingKind, NotJudged, Report, RootFacts
from keyturn.audit.facts import (
    BROKEN,
    IN_FLIGHT,
    MANAGED,
    NO,
    NOT_KNOWN,
    UNMANAGED,
    YES,
    Calendar,
    Facts,
    boolean,
    facts_of,
    parsed,
)
from keyturn.audit.findings import finding_of, findings_of
from keyturn.audit.keys import key_of, keys_of
from keyturn.audit.model import AccountSource, Finding, KeyRecord, Rule, Thresholds, Unavailable
from keyturn.audit.rows import ROOT, SLOTS, Row, Rows
from keyturn.audit.rules import key_older_than
from keyturn.audit.study import Tables

MOST_ALIKE = 20_000
"""How many different facts are counted apart before they are added up."""
_NO_ROOT = "the report has no row of the root user."
_NO_DATE = "IAM publishes no date on which the root password was changed."


class Sink(Protocol):
    """Takes findings and keys as they come, in the order of the reports."""

    def finding(self, finding: Finding) -> None:
        """Take a finding."""

    def key(self, key: KeyRecord) -> None:
        """Take an access key."""


def audit(sources: Iterable[AccountSource], thresholds: Thresholds, *, sink: Sink | None) -> Report:
    """Audit accounts one after the other; without a sink there are only counts.

    Raises ReportError for a report that cannot be judged; what its rows gave until then is with
    the sink already, so whoever goes on without it begins again without it.
    """
    tables = Tables()
    accounts: list[AccountCounts] = []
    audited: dict[str, str] = {}
    for source in sources:
        rows = Rows(source, audited)
        accounts.append(_Account(source, rows, thresholds, sink, tables).run())
        audited[accounts[-1].account_id] = source.name
    problems = tuple(problem for account in accounts for problem in account.problems)
    return Report(thresholds, tuple(accounts), tables, problems)


@dataclass(slots=True)
class _Alike:
    """Users with the same facts: what is found in each of them, and how many they are."""

    keys: list[KeyRecord]
    findings: list[Finding]
    oldest: int
    """The rank of the oldest active key."""
    users: int = 0


class _Account:
    """One account's report while it is read."""

    def __init__(
        self,
        source: AccountSource,
        rows: Rows,
        thresholds: Thresholds,
        sink: Sink | None,
        tables: Tables,
    ) -> None:
        """Nothing is read yet."""
        self.source, self.rows, self.sink, self.tables = source, rows, sink, tables
        self.calendar = Calendar(source.at, thresholds)
        self.managed: Mapping[str, int] = {}
        self.managed_path = source.managed_path
        self.without_secret = NOT_KNOWN
        if not isinstance(source.managed, Unavailable):
            self.without_secret = UNMANAGED
            self.managed = {
                name: IN_FLIGHT if facts.in_flight else MANAGED
                for name, facts in source.managed.items()
            }
        self.alike: dict[Facts, _Alike] = {}
        self.same: dict[Any, Any] = {}
        """Findings and keys that users with other facts have, too: kept once."""
        self.findings: Counter[FindingKind] = Counter()
        self.counts: Counter[str] = Counter()
        self.root: RootFacts | None = None
        self.unavailable: list[tuple[str, str]] = []
        self.not_judged: list[NotJudged] = []
        self.oldest_rank = self.calendar.youngest
        self.oldest: int | None = None
        self.oldest_managed: int | None = None

    def run(self) -> AccountCounts:
        """Read the report to its end."""
        for row, why in self.rows:
            if why:
                self._unreadable(f"line {row.line}: {why} Its rules are UNKNOWN.")
                self._say(unreadable(row, why))
            elif row.user != ROOT:
                self._user(row)
            elif self.root is None:
                self._root(row)
            else:
                self._unreadable(
                    f"line {row.line}: the root user is listed a second time; ignored."
                )
        self._add_up()
        self._end(self.rows.account_id or "")
        if self.oldest is not None:
            self.tables.oldest_key_days = max(self.oldest, self.tables.oldest_key_days or 0)
        counts = self.counts
        return AccountCounts(
            account_id=self.rows.account_id or "",
            source=self.source.name,
            at=self.calendar.at,
            rows=counts["users"] + counts["unreadable_rows"] + (self.root is not None),
            **{name: counts[name] for name in COUNTED if name != "rows"},
            oldest_managed_key_age_days=self.oldest_managed,
            oldest_key_age_days=self.oldest,
            findings=dict(self.findings),
            root=self.root or RootFacts(None, None, None),
            unavailable=tuple(self.unavailable),
            not_judged=tuple(self.not_judged),
            problems=self.rows.all_problems(),
        )

    def _end(self, account_id: str) -> None:
        """Say what no row says, and what could not be judged for the whole account."""
        report, secrets, policy = "credential report", self.source.managed, "password policy"
        self._not_judged(Rule.ROOT_PASSWORD_ROTATION, report, _NO_DATE)
        if self.root is None:
            self._not_judged(Rule.ROOT_ACCESS_KEY, report, _NO_ROOT)
            self.rows.problem(f"{_NO_ROOT} The root rules are UNKNOWN.")
            self._say(root_missing(account_id, _NO_ROOT))
        if isinstance(secrets, Unavailable):
            unknown = secrets_unknown(account_id, secrets.why)
            self._not_judged(Rule.TWO_ACTIVE_KEYS, "secrets", unknown.detail)
            self.unavailable.append(("secrets", secrets.why))
            self._say([unknown])
        given = self.source.password_policy
        if isinstance(given, Unavailable):
            self._not_judged(Rule.PASSWORD_POLICY, policy, given.why)
            self.unavailable.append((policy, given.why))
        self._say(policy_findings(account_id, given))

    def _not_judged(self, rule: Rule, source: str, why: str) -> None:
        self.not_judged.append(NotJudged(rule, source, why))

    def _user(self, row: Row) -> None:
        calendar, sink = self.calendar, self.sink
        facts = facts_of(row, calendar, self._managed(row))
        alike = self.alike.get(facts) or self._first(facts)
        alike.users += 1
        if alike.oldest <= self.oldest_rank or facts.managed:
            self._remember_age(facts, row)
            self.oldest_rank = min(alike.oldest, self.oldest_rank)
        if sink is not None:
            for key in alike.keys:
                sink.key(key_of(key, row, calendar))
            for finding in alike.findings:
                sink.finding(finding_of(finding, row, calendar))

    def _managed(self, row: Row) -> int:
        """A managed user has a secret and lies under the path."""
        managed = self.managed.get(row.user, self.without_secret)
        if managed == UNMANAGED or row.arn.startswith(self.rows.users[:-1] + self.managed_path):
            return managed
        return UNMANAGED

    def _first(self, facts: Facts) -> _Alike:
        """Judge the first of the users with these facts, for all of them."""
        if len(self.alike) >= MOST_ALIKE:
            self._add_up()
        calendar, same = self.calendar, self.same
        ranks = [key.rotated for key in facts.keys if key.active != NO and key.rotated >= 0]
        alike = self.alike[facts] = _Alike(
            [same.setdefault(key, key) for key in keys_of(facts, calendar)],
            [same.setdefault(found, found) for found in findings_of(facts, calendar)],
            min(ranks, default=calendar.youngest + 1),
        )
        return alike

    def _add_up(self) -> None:
        """Add those who are alike to the totals, and forget them."""
        counts, calendar = self.counts, self.calendar
        old = calendar.thresholds.max_key_age_days
        for facts, alike in self.alike.items():
            users = alike.users
            self.tables.add(facts, calendar, users)
            for found in alike.findings:
                self.findings[found.rule, found.status, found.severity] += users
            counts["users"] += users
            counts["keys"] += users * len(alike.keys)
            counts["active_keys"] += users * sum(key.active for key in alike.keys)
            if facts.managed in (MANAGED, IN_FLIGHT):
                counts["managed_users"] += users
                counts["rotations_in_flight"] += users * (facts.managed == IN_FLIGHT)
                counts["managed_keys_over_age"] += users * sum(
                    key_older_than(key, calendar, old) == YES for key in facts.keys
                )
        self.alike.clear()

    def _remember_age(self, facts: Facts, row: Row) -> None:
        """Remember the age in days of the oldest active keys."""
        for key in facts.keys:
            created = parsed(row.key(key.slot)[1])
            if created is None or key.active == NO:
                continue
            days = self.calendar.age_days(created)
            self.oldest = max(days, self.oldest or 0)
            if facts.managed in (MANAGED, IN_FLIGHT):
                self.oldest_managed = max(days, self.oldest_managed or 0)

    def _root(self, row: Row) -> None:
        """Judge the root user's row, by the root rules only."""
        mfa = boolean(row.mfa_active)
        active = [boolean(row.key(slot)[0]) for slot in SLOTS]
        self.root = RootFacts(
            password_last_used=row.password_last_used,
            mfa=None if mfa == BROKEN else mfa == YES,
            active_keys=None if BROKEN in active else sum(active),
        )
        self._say(root_findings(row, self.calendar))

    def _unreadable(self, problem: str) -> None:
        self.counts["unreadable_rows"] += 1
        self.rows.problem(problem)

    def _say(self, findings: Iterable[Finding]) -> None:
        """Count and give findings that no user's facts gave."""
        for finding in findings:
            self.findings[finding.rule, finding.status, finding.severity] += 1
            if self.sink is not None:
                self.sink.finding(finding)
