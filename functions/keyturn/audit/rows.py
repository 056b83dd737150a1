"""From the lines of a credential report to its rows, damaged ones with what is wrong with them.

Columns and their values: IAM User Guide, "Generate credential reports for your AWS account".
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

from keyturn.audit.errors import ReportError
from keyturn.audit.model import AccountSource
from keyturn.model.identifiers import masked_in

ROOT = "<root_account>"
SLOTS = (1, 2)
NO_DATES = frozenset(("N/A", "no_information", "not_supported"))
"""What stands in a date's column when there is none."""
MOST_NAMES = 20_000
"""User names that are remembered to find repeated ones: four times IAM's quota of users."""
_MOST_PROBLEMS = 20
_LONGEST_CELL = 60
_NO_ARN = "\0"
_ARN = re.compile(r"arn:[a-z0-9-]+:iam::(?P<account>\d{12}):(?:root$|user/.)")


class Row(NamedTuple):
    """The cells of a row that the audit needs, and where they are from."""

    user: str
    arn: str
    user_creation_time: str
    password_enabled: str
    password_last_used: str
    password_last_changed: str
    mfa_active: str
    access_key_1_active: str
    access_key_1_last_rotated: str
    access_key_1_last_used_date: str
    access_key_1_last_used_region: str
    access_key_1_last_used_service: str
    access_key_2_active: str
    access_key_2_last_rotated: str
    access_key_2_last_used_date: str
    access_key_2_last_used_region: str
    access_key_2_last_used_service: str
    account_id: str
    line: int

    def key(self, slot: int) -> tuple[Any, ...]:
        """Return a key's cells: whether it is active, creation, last use, its Region, service."""
        return self[7:12] if slot == 1 else self[12:17]


COLUMNS = Row._fields[:-2]
"""The columns that a report must have; others are ignored, because AWS adds some."""


class Rows:
    """The rows of one report, in its order: each with why it cannot be judged, or with nothing.

    Raises ReportError, while it is read, for a report that cannot be judged as a whole.
    """

    def __init__(self, source: AccountSource, audited: Mapping[str, str]) -> None:
        """`audited` are the accounts that had their turn before, with their sources' names."""
        self.account_id = source.account_id
        """From the first ARN, where the source does not know it."""
        self.users = _NO_ARN
        """How the ARNs of the account's users begin."""
        self.problems: list[str] = []
        self._source, self._audited = source, audited
        self._hidden = 0
        self._reader: Any = None  # csv.reader's own type has no public name
        self._names: set[str] = set()
        self._previous = ""
        self._sorted = True
        self._told = False

    @property
    def line(self) -> int:
        """The line that was read last, from 1."""
        return self._reader.line_num if self._reader else 0

    @property
    def name(self) -> str:
        """How errors and problems name this report."""
        if self.account_id is None:
            return self._source.name
        return f"account {self.account_id} ({self._source.name})"

    def problem(self, what: str) -> None:
        """Keep a problem; of many only the first are kept, and the others counted."""
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(f"{self.name}: {what}")
        else:
            self._hidden += 1

    def all_problems(self) -> tuple[str, ...]:
        """Return the problems, and how many more there are."""
        more = f"{self.name}: {self._hidden} more problems of this kind."
        return (*self.problems, *([more] if self._hidden else []))

    def __iter__(self) -> Iterator[tuple[Row, str]]:
        try:
            yield from self._read()
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
        if self.users == _NO_ARN:
            raise ReportError(
                self.name, "the report has no row with the ARN of a user, not even the root user."
            )

    def _read(self) -> Iterator[tuple[Row, str]]:
        # A byte order mark stands before the first line where an editor has put it there. Strict,
        # because a quote that is never closed would else swallow the users after it.
        lines = iter(self._source.lines)
        first = next(lines, "").removeprefix("\ufeff")
        rows = self._reader = csv.reader(chain([first], lines), strict=True)
        pick, width = self._header(next(rows, []))
        for found in rows:
            cells = found if len(found) <= width else mended(found, width)
            if len(cells) == width:
                picked = pick(cells)
                why = self._damage(picked[0], picked[1])
            elif cells:
                picked = (cells[0], *[""] * (len(COLUMNS) - 1))
                fields = f"the row has {len(cells)} fields and the header {width}"
                why = f"{fields}; the report may be cut short."
            else:
                continue
            yield Row._make((*picked, self.account_id or "unknown", rows.line_num)), why

    def _header(self, cells: list[str]) -> tuple[Callable[[list[str]], tuple[str, ...]], int]:
        """Return what picks a row's cells, and how many a row has."""
        header = [name.strip() for name in cells]
        if not any(header):
            raise ReportError(self.name, "the credential report is empty.")
        for problem, columns in (
            ("the credential report has no column", [c for c in COLUMNS if c not in header]),
            ("a column appears more than once:", [c for c in COLUMNS if header.count(c) > 1]),
        ):
            if columns:
                what = f"{problem} {', '.join(columns)}."
                raise ReportError(self.name, what, column=columns[0], line=1)
        return itemgetter(*map(header.index, COLUMNS)), len(header)

    def _damage(self, user: str, arn: str) -> str:
        """Return why a row cannot be judged, or nothing."""
        if not arn.startswith(self.users):
            account_id = account_of(arn)
            if account_id is None:
                return f"arn is {shown(arn)}, not the ARN of an IAM user."
            if self.users == _NO_ARN:
                self._learn(account_id, arn)
            if account_id != self.account_id:
                return f"the user belongs to account {account_id}."
            if arn.endswith(":root"):
                return "" if user == ROOT else "the ARN is the root user's, the name is not."
        if user == ROOT:
            return "the name is the root user's, the ARN is not."
        return self._repeated(user.lower())

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
        if account_id in self._audited:
            raise ReportError(
                self._source.name,
                f"account {account_id} is audited already, from {self._audited[account_id]}; its "
                "users would count twice.",
                column="arn",
                line=self.line,
                then="Leave one of the two reports out.",
            )
        self.account_id = account_id
        self.users = f"{arn[: arn.index(account_id)]}{account_id}:user/"

    def _repeated(self, name: str) -> str:
        """Return what is wrong with a name. IAM sorts its reports, which needs no memory."""
        if not name:
            return "the user has no name."
        if name == self._previous or name in self._names:
            return "the user is listed a second time."
        self._sorted = self._sorted and name > self._previous
        self._previous = name
        if len(self._names) < MOST_NAMES:
            self._names.add(name)
        elif not self._sorted and not self._told:
            self._told = True
            self.problem(
                f"the report is not in the order of user names: from line {self.line} on, a user "
                "who is listed twice may not be noticed."
            )
        return ""


def account_of(arn: str) -> str | None:
    """Return the account of a user's or the root user's ARN, or None when it is neither.

    >>> account_of("arn:aws-us-gov:iam::123456789012:user/machine/ci")
    '123456789012'
    """
    found = _ARN.match(arn)
    return found["account"] if found else None


def mended(row: list[str], width: int) -> list[str]:
    """Return a row whose user name has commas that were not quoted as one with the right fields.

    IAM allows commas in user names and paths, and how AWS writes them is not documented. The row
    is mended only where the parts fit: the ARN must end in the name.
    """
    extra = len(row) - width
    for count in range(1, extra + 2):
        user = ",".join(row[:count])
        arn = ",".join(row[count : extra + 2])
        if arn.endswith(f"/{user}") and account_of(arn):
            return [user, arn, *row[extra + 2 :]]
    return row


def shown(cell: str) -> str:
    """Return a cell for a message: short, without control characters, key ids masked."""
    return ascii(masked_in(cell[:_LONGEST_CELL]))
