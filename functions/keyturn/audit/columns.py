"""Reading the CSV: columns by name, the cells that are needed, rows that are damaged.

Columns and their values: IAM User Guide, "Generate credential reports for your AWS account".
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

from keyturn.audit.errors import ReportError

ROOT = "<root_account>"
NO_DATES = frozenset(("N/A", "no_information", "not_supported"))
"""What stands in a date's column when there is none."""
_ARN = re.compile(r"arn:[a-z0-9-]+:iam::(?P<account>\d{12}):(?:root$|user/.)")


class Cells(NamedTuple):
    """The cells that the rules need, in the order in which they are picked from a row."""

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


class Table(NamedTuple):
    """An opened report: its rows (`line_num` is on the reader), and how to pick the cells."""

    rows: Any  # csv.reader's own type has no public name
    pick: Callable[[list[str]], tuple[str, ...]]
    width: int
    arn: int
    """The place of the ARN in a row."""


def opened(lines: Iterable[str], source: str) -> Table:
    """Read the header; raises ReportError when it is empty or a needed column is missing.

    Unknown columns are ignored: AWS adds some.
    """
    # Strict, because a quote that is never closed would else swallow the users after it.
    rows = csv.reader(_without_mark(lines, source), strict=True)
    header = [name.strip() for name in next(rows, [])]
    if not any(header):
        raise ReportError(source, "the credential report is empty.")
    missing = [name for name in Cells._fields if name not in header]
    if missing:
        raise ReportError(
            source,
            f"the credential report has no column {', '.join(missing)}.",
            column=missing[0],
            line=1,
        )
    twice = [name for name in Cells._fields if header.count(name) > 1]
    if twice:
        raise ReportError(
            source, f"the column {twice[0]} appears more than once.", column=twice[0], line=1
        )
    return Table(
        rows, itemgetter(*map(header.index, Cells._fields)), len(header), header.index("arn")
    )


def _without_mark(lines: Iterable[str], source: str) -> Iterator[str]:
    """Return the lines without the byte order mark that some editors put before the first."""
    iterator = iter(lines)
    first = next(iterator, None)
    if first is None:
        raise ReportError(source, "the credential report is empty.")
    return chain([first.removeprefix("\ufeff")], iterator)


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
