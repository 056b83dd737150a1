"""The audit: reads reports row by row, gives findings and keys to a sink, keeps only counts.

Rows with the same profile (see `rules`) are judged once and counted; a sink gets its findings from
the shared plan. Memory depends neither on the number of rows nor on that of findings.
"""

from __future__ import annotations

import csv
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from keyturn.audit.columns import NO_DATES, ROOT, Cells, Table, account_of, mended, opened
from keyturn.audit.dates import BROKEN, NO_DATE, Calendar, parsed
from keyturn.audit.emitting import (
    Plan,
    Row,
    Templates,
    account_finding,
    finding,
    key_record,
    plan_for,
    shown,
    template,
    unreadable,
)
from keyturn.audit.errors import ReportError
from keyturn.audit.findings import (
    LONG_AGO_DAYS,
    MAX_PASSWORD_AGE_DAYS,
    UNUSED_USER_DAYS,
    judge_policy,
    judge_root,
    root_key_unknown,
    root_password,
    secrets_unknown,
)
from keyturn.audit.model import (
    AccountSource,
    Finding,
    KeyRecord,
    Rule,
    Thresholds,
    Unavailable,
)
from keyturn.audit.report import AccountCounts, FindingKind, NotJudged, Report, RootFacts
from keyturn.audit.rules import (
    IN_FLIGHT,
    MADE_WITH_USER_SECONDS,
    MANAGED,
    NO,
    NOT_KNOWN,
    UNMANAGED,
    YES,
    Key,
    Profile,
    key_older_than,
)
from keyturn.audit.tables import Tally

_BOOLEANS = {"true": YES, "false": NO, "True": YES, "False": NO, "TRUE": YES, "FALSE": NO}
_MOST_PLANS = 10_000
_MOST_NAMES = 20_000
"""User names that are remembered to find repeated ones: four times IAM's quota of users."""
_MOST_PROBLEMS = 20


class Sink(Protocol):
    """Takes findings and keys as they come, in the order of the reports."""

    def finding(self, finding: Finding) -> None:
        """Take a finding."""

    def key(self, key: KeyRecord) -> None:
        """Take an access key."""


@runtime_checkable
class RowSink(Sink, Protocol):
    """A sink that takes all that a row's plan gives together, in place of one by one."""

    def row(self, plan: Plan, row: Row, calendar: Calendar) -> None:
        """Take a row's keys, then its findings."""


def audit(sources: Iterable[AccountSource], thresholds: Thresholds, *, sink: Sink | None) -> Report:
    """Audit accounts one after the other; without a sink there are only counts.

    Raises ReportError for a report that cannot be judged; what its rows gave until then is with
    the sink already, so whoever goes on without it begins again without it.
    """
    tally = Tally()
    accounts: list[AccountCounts] = []
    seen: dict[str, str] = {}
    for source in sources:
        accounts.append(_Account(source, thresholds, sink, tally, seen).run())
    return Report(
        thresholds=thresholds,
        accounts=tuple(accounts),
        tables=tally.tables(),
        problems=tuple(problem for account in accounts for problem in account.problems),
    )


class _Account:
    """One account's report while it is read."""

    def __init__(
        self,
        source: AccountSource,
        thresholds: Thresholds,
        sink: Sink | None,
        tally: Tally,
        seen: dict[str, str],
    ) -> None:
        """`seen` has the accounts that were audited before, and their sources' names."""
        self.source = source
        self.seen = seen
        self.thresholds = thresholds
        self.sink = sink
        self.row_sink = sink if isinstance(sink, RowSink) else None
        self.tally = tally
        self.calendar = Calendar(
            source.at,
            (
                thresholds.max_key_age_days,
                thresholds.unused_after_days,
                LONG_AGO_DAYS,
                MAX_PASSWORD_AGE_DAYS,
                *UNUSED_USER_DAYS,
            ),
        )
        self.templates = Templates(self.calendar)
        self.account_id = source.account_id
        self.user_arns = "\0"  # how the ARNs of this account's users begin, once it is known
        self.managed: dict[str, int] = {}
        self.without_secret = UNMANAGED
        if isinstance(source.managed, Unavailable):
            self.without_secret = NOT_KNOWN
        else:
            for name, facts in source.managed.items():
                self.managed[name] = IN_FLIGHT if facts.in_flight else MANAGED
        self.plans: dict[tuple[int, ...], Plan] = {}
        self.judged: dict[Profile, Plan] = {}
        self.findings: Counter[FindingKind] = Counter()
        self.counts: Counter[str] = Counter()
        self.oldest: int | None = None
        self.oldest_managed: int | None = None
        self.root: RootFacts | None = None
        self.names: set[str] = set()
        self.checks_names = True
        self.sorted = True
        self.told_unsorted = False
        self.problems: list[str] = []
        self.table: Table | None = None

    @property
    def name(self) -> str:
        """How errors and problems name this report."""
        if self.account_id is None:
            return self.source.name
        return f"account {self.account_id} ({self.source.name})"

    def run(self) -> AccountCounts:
        """Read the report to its end."""
        try:
            self._read()
        except csv.Error as error:
            what = str(error)
            if what == "unexpected end of data":
                what = "a quotation mark before the end of this line is never closed"
            raise ReportError(self.name, f"the CSV is damaged: {what}.", line=self.line) from error
        except UnicodeDecodeError as error:
            raise ReportError(
                self.name,
                "the report is not UTF-8, in this line or a later one.",
                line=self.line + 1,  # files are decoded ahead of the lines
            ) from error
        if self.user_arns == "\0":
            raise ReportError(
                self.name, "the report has no row with the ARN of a user, not even the root user."
            )
        self._fold()
        self._end()
        if self.oldest is not None:
            self.tally.oldest_key_days = max(self.oldest, self.tally.oldest_key_days or 0)
        return self._counted()

    @property
    def line(self) -> int:
        """The line that was read last, from 1."""
        return self.table.rows.line_num if self.table else 0

    def _read(self) -> None:
        """Judge every row. Written for speed: see benchmarks/audit.py before changing it."""
        self.table = opened(self.source.lines, self.name)
        rows, pick, width, arn_at = self.table
        plans, managed, silent = self.plans, self.managed, self.sink is None
        denied = self.without_secret == NOT_KNOWN
        cuts, boolean = self.calendar.cuts, _BOOLEANS
        no_dates, parse, rank = NO_DATES, datetime.fromisoformat, bisect_right
        previous, oldest, user_arns = "", self.calendar.future, self.user_arns
        checks_names = True
        for read in rows:
            row: list[str] = read
            if len(row) != width or not row[arn_at].startswith(user_arns):
                row = self._closer_look(row)
                user_arns = self.user_arns
                if not row:
                    continue
            (
                user, arn, created, console, password_used, password_changed, mfa,
                active_1, rotated_1, used_1, _, _,
                active_2, rotated_2, used_2, _, _,
            ) = cells = pick(row)  # fmt: skip
            name = user.lower()
            if checks_names or name <= previous:
                if self._repeated(name, previous):
                    why = "the user is listed a second time." if name else "the user has no name."
                    self._unreadable(cells, why)
                    continue
                checks_names = self.checks_names
            previous = name
            try:
                has_console = boolean[console]
                profile: tuple[int, ...] = (
                    has_console,
                    boolean[mfa],
                    rank(cuts, parse(created)),
                    NO_DATE if password_used in no_dates else rank(cuts, parse(password_used)),
                    NO_DATE
                    if password_changed in no_dates
                    else rank(cuts, parse(password_changed)),
                    boolean[active_1],
                    NO_DATE if rotated_1 in no_dates else rank(cuts, parse(rotated_1)),
                    NO_DATE if used_1 in no_dates else rank(cuts, parse(used_1)),
                    boolean[active_2],
                    NO_DATE if rotated_2 in no_dates else rank(cuts, parse(rotated_2)),
                    NO_DATE if used_2 in no_dates else rank(cuts, parse(used_2)),
                    _made_with(created, rotated_1, rotated_2) if has_console else 0,
                    self._managed(user, arn) if user in managed or denied else UNMANAGED,
                )
            except (LookupError, ValueError, TypeError):
                profile = self._slowly(Cells(*cells))
            plan = plans.get(profile)
            if plan is None:
                plan = self._plan(profile)
            plan.count += 1
            if plan.oldest <= oldest or plan.managed:
                oldest = self._remember_age(plan, cells, oldest)
            if not silent and (plan.hits or plan.keys):
                self._give(plan, cells)

    def _give(self, plan: Plan, cells: tuple[str, ...]) -> None:
        """Give a row's keys and findings to the sink."""
        sink, calendar = self.sink, self.calendar
        row = Row(cells, self.account_id or "", self.line)
        if self.row_sink is not None:
            self.row_sink.row(plan, row, calendar)
        else:
            assert sink  # noqa: S101 - without a sink nothing is given
            for key in plan.keys:
                sink.key(key_record(key, row, calendar))
            for hit in plan.hits:
                sink.finding(finding(hit, row, calendar))

    def _say(self, said: Finding) -> None:
        """Count and give a finding that is not a plan's."""
        self.findings[said.rule, said.status, said.severity] += 1
        if self.sink is not None:
            self.sink.finding(said)

    def _plan(self, profile: tuple[int, ...]) -> Plan:
        """Return the plan of a profile that was not met before, or not lately."""
        if len(self.plans) >= _MOST_PLANS:
            self.plans.clear()
        young = min(self.thresholds.unused_after_days, MAX_PASSWORD_AGE_DAYS, UNUSED_USER_DAYS[0])
        simpler = Profile(*profile).simpler(self.calendar, young)
        plan = self.judged.get(simpler)
        if plan is None:
            if len(self.judged) >= _MOST_PLANS:
                self._fold()
            plan = plan_for(simpler, self.calendar, self.thresholds, self.templates)
            self.judged[simpler] = plan
        self.plans[profile] = plan
        return plan

    def _fold(self) -> None:
        """Add what the plans have counted to the totals."""
        for plan in self.judged.values():
            count, profile = plan.count, plan.profile
            self.tally.add(profile, self.calendar, count)
            for made in plan.hits:
                hit = made.hit
                self.findings[hit.rule, hit.status, hit.severity] += count
            self.counts["users"] += count
            self.counts["keys"] += count * len(plan.keys)
            self.counts["active"] += count * sum(key.active for key in plan.keys)
            if plan.managed:
                self.counts["managed"] += count
                self.counts["in flight"] += count * (profile.managed == IN_FLIGHT)
                old = self.thresholds.max_key_age_days
                self.counts["managed over age"] += count * sum(
                    key_older_than(key, self.calendar, old) == YES for key in profile.keys
                )
        self.plans.clear()
        self.judged.clear()

    # What is not an ordinary row

    def _closer_look(self, row: list[str]) -> list[str]:
        """Return a row that can be judged after all, or nothing when it has been dealt with."""
        assert self.table  # noqa: S101 - rows come from it
        _, pick, width, _ = self.table
        if not row:  # a blank line
            return []
        if len(row) > width:
            row = mended(row, width)
        if len(row) != width:
            fields = f"the row has {len(row)} fields and the header {width}"
            self._unreadable(tuple(row), f"{fields}; the report may be cut short.")
            return []
        cells = Cells(*pick(row))
        account_id = account_of(cells.arn)
        if account_id is None:
            self._unreadable(cells, f"arn is {shown(cells.arn)}, not the ARN of an IAM user.")
            return []
        if self.user_arns == "\0":
            self._learn(account_id, cells.arn)
        if account_id != self.account_id:
            self._unreadable(cells, f"the user belongs to account {account_id}.")
            return []
        if cells.user == ROOT:
            self._root(cells)
            return []
        if cells.arn.endswith(":root"):
            self._unreadable(cells, "the ARN is the root user's, the name is not.")
            return []
        return row

    def _learn(self, account_id: str, arn: str) -> None:
        """Take the account from the first ARN; raises ReportError when it is another's report."""
        if self.account_id not in (None, account_id):
            raise ReportError(
                self.name,
                f"the report is of account {account_id}.",
                column="arn",
                line=self.line,
                then=f"Give the report of account {self.account_id}.",
            )
        if account_id in self.seen:
            raise ReportError(
                self.source.name,
                f"account {account_id} is audited already, from {self.seen[account_id]}; its "
                "users would count twice.",
                column="arn",
                line=self.line,
                then="Leave one of the two reports out.",
            )
        self.seen[account_id] = self.source.name
        self.account_id = account_id
        self.user_arns = f"{arn[: arn.index(account_id)]}{account_id}:user/"

    def _repeated(self, name: str, previous: str) -> bool:
        """Whether a user was listed before. IAM sorts its reports, which needs no memory."""
        if name in self.names or name == previous:
            return True
        if name < previous:
            self.sorted = False
            self.checks_names = True
        if len(self.names) < _MOST_NAMES:
            self.names.add(name)
        elif self.sorted:
            self.checks_names = False
        elif not self.told_unsorted:
            self.told_unsorted = True
            self._problem(
                f"the report is not in the order of user names: from line {self.line} on, a user "
                "who is listed twice may not be noticed."
            )
        return False

    def _unreadable(self, cells: tuple[str, ...], why: str) -> None:
        self.counts["unreadable"] += 1
        self._problem(f"line {self.line}: {why} Its rules are UNKNOWN.")
        row = Row(cells, self.account_id or "unknown", self.line)
        for said in unreadable(row, why):
            self._say(said)

    def _problem(self, problem: str) -> None:
        """Keep a problem; many are only counted."""
        self.counts["problems"] += 1
        if self.counts["problems"] <= _MOST_PROBLEMS:
            self.problems.append(f"{self.name}: {problem}")

    def _slowly(self, cells: Cells) -> tuple[int, ...]:
        """Return the profile of a row cell by cell: at least one of them is broken."""
        rank = self.calendar.rank
        console = _boolean(cells.password_enabled)
        made_with = 0
        created = parsed(cells.user_creation_time)
        rotated = (cells.access_key_1_last_rotated, cells.access_key_2_last_rotated)
        for slot, moment in enumerate(map(parsed, rotated), 1):
            if created and moment and abs(moment - created) <= _MADE_WITH:
                made_with |= slot
        return (
            console,
            _boolean(cells.mfa_active),
            rank(cells.user_creation_time),
            rank(cells.password_last_used),
            rank(cells.password_last_changed),
            _boolean(cells.access_key_1_active),
            rank(cells.access_key_1_last_rotated),
            rank(cells.access_key_1_last_used_date),
            _boolean(cells.access_key_2_active),
            rank(cells.access_key_2_last_rotated),
            rank(cells.access_key_2_last_used_date),
            0 if console == NO else made_with,
            self._managed(cells.user, cells.arn),
        )

    def _managed(self, user: str, arn: str) -> int:
        """A managed user has a secret and lies under the path."""
        if not arn.startswith(self.user_arns[:-1] + self.source.managed_path):
            return UNMANAGED
        return self.managed.get(user, self.without_secret)

    def _remember_age(self, plan: Plan, cells: tuple[str, ...], oldest: int) -> int:
        """Remember the age of the oldest active keys; returns the lowest rank so far."""
        for key in plan.keys:
            age = self.calendar.age_days(cells[key.created]) if key.active else None
            if age is not None:
                self.oldest = max(age, self.oldest or 0)
                if plan.managed:
                    self.oldest_managed = max(age, self.oldest_managed or 0)
        return min(plan.oldest, oldest)

    # The root user and the account

    def _root(self, cells: Cells) -> None:
        """Judge the root user's row, by the root rules only."""
        if self.root:
            self._problem(f"line {self.line}: the root user is listed a second time; ignored.")
            self.counts["unreadable"] += 1
            return
        rank = self.calendar.rank
        keys = (
            Key(1, _boolean(cells.access_key_1_active), rank(cells[8]), rank(cells[9])),
            Key(2, _boolean(cells.access_key_2_active), rank(cells[13]), rank(cells[14])),
        )
        mfa = _boolean(cells.mfa_active)
        active = [key.active for key in keys]
        self.root = RootFacts(
            password_last_used=cells.password_last_used,
            mfa=None if mfa == BROKEN else mfa == YES,
            active_keys=None if BROKEN in active else active.count(YES),
        )
        row = Row(cells, self.account_id or "", self.line)
        for hit in judge_root(keys, shown(cells.password_last_used), mfa):
            self._say(finding(template(hit, False, self.calendar), row, self.calendar))

    def _end(self) -> None:
        """Say what no row says: a root user that was not listed, and the password policy."""
        account_id = self.account_id or ""
        if self.root is None:
            why = "the report has no row of the root user."
            self._problem(f"{why} The root rules are UNKNOWN.")
            self._say(account_finding(root_key_unknown(why), account_id))
            self._say(
                account_finding(root_password("unknown, the row is missing", BROKEN), account_id)
            )
        if isinstance(self.source.managed, Unavailable):
            hit = secrets_unknown(self.source.managed.why)
            self._say(account_finding(hit, account_id))
        policy = judge_policy(self.source.password_policy)
        if policy:
            self._say(account_finding(policy, account_id))
        hidden = self.counts["problems"] - len(self.problems)
        if hidden:
            self.problems.append(f"{self.name}: {hidden} more problems of this kind.")

    def _counted(self) -> AccountCounts:
        counts, source = self.counts, self.source
        unavailable = []
        not_judged = [
            NotJudged(
                Rule.ROOT_PASSWORD_ROTATION,
                "credential report",
                "IAM publishes no date on which the root password was changed.",
            )
        ]
        if self.root is None:
            why = "the report has no row of the root user."
            not_judged.append(NotJudged(Rule.ROOT_ACCESS_KEY, "credential report", why))
        if isinstance(source.managed, Unavailable):
            why = source.managed.why
            unavailable.append(("secrets", why))
            told = secrets_unknown(why).detail
            not_judged.append(NotJudged(Rule.TWO_ACTIVE_KEYS, "secrets", told))
        if isinstance(source.password_policy, Unavailable):
            why = source.password_policy.why
            unavailable.append(("password policy", why))
            not_judged.append(NotJudged(Rule.PASSWORD_POLICY, "password policy", why))
        return AccountCounts(
            account_id=self.account_id or "",
            source=source.name,
            at=self.calendar.at,
            rows=counts["users"] + counts["unreadable"] + (self.root is not None),
            users=counts["users"],
            unreadable_rows=counts["unreadable"],
            keys=counts["keys"],
            active_keys=counts["active"],
            managed_users=counts["managed"],
            rotations_in_flight=counts["in flight"],
            managed_keys_over_age=counts["managed over age"],
            oldest_managed_key_age_days=self.oldest_managed,
            oldest_key_age_days=self.oldest,
            findings=dict(self.findings),
            root=self.root or RootFacts(None, None, None),
            unavailable=tuple(unavailable),
            not_judged=tuple(not_judged),
            problems=tuple(self.problems),
        )


_MADE_WITH = timedelta(seconds=MADE_WITH_USER_SECONDS)


def _made_with(created: str, rotated_1: str, rotated_2: str) -> int:
    """Return the slots of keys made within 10 seconds of the user; ValueError for no date."""
    start = datetime.fromisoformat(created)
    made = 0
    if rotated_1 not in NO_DATES and abs(datetime.fromisoformat(rotated_1) - start) <= _MADE_WITH:
        made = 1
    if rotated_2 not in NO_DATES and abs(datetime.fromisoformat(rotated_2) - start) <= _MADE_WITH:
        made |= 2
    return made


def _boolean(cell: str) -> int:
    return {"true": YES, "false": NO}.get(cell.lower(), BROKEN)
