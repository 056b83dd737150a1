"""Findings and keys as JSON and as CSV rows, and forms of these for rows that are alike.

`finding_texts` and `key_texts` are the definition: the standard library's writers. A form is what
they make of a record whose cells are marks, split at the marks: filling it in takes a tenth of the
time, and is right for cells that neither JSON, CSV, a spreadsheet nor a shell takes for more than
text (`plain`).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from json import JSONEncoder
from operator import itemgetter
from typing import Any, NamedTuple

from keyturn.audit.columns import Cells
from keyturn.audit.model import Finding, KeyRecord

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
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


class Texts(NamedTuple):
    """A record as a JSON object behind a comma and a new line, and as a CSV row with its end."""

    json: str
    csv: str


class _Echo:
    """Gives back what csv.writer writes."""

    def write(self, text: str) -> str:
        return text


_as_json = JSONEncoder(separators=(",", ":")).encode
_as_csv: Callable[[list[str]], str] = csv.writer(_Echo()).writerow


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _picked(columns: tuple[str, ...], fields: tuple[str, ...]) -> tuple[list[str], Any]:
    return [_camel(name) for name in columns], itemgetter(*map(fields.index, columns))


_FINDING_NAMES, _finding_values = _picked(FINDING_COLUMNS, Finding._fields)
_KEY_NAMES, _key_values = _picked(KEY_COLUMNS, KeyRecord._fields)


def finding_texts(finding: Finding) -> Texts:
    """Return a finding's texts; `dates` is an object in JSON and `column=cell; ...` in CSV."""
    values = _finding_values(finding)
    said = dict(zip(_FINDING_NAMES, values, strict=True))
    said["dates"] = dict(finding.dates)
    return Texts(",\n" + _as_json(said), _as_csv([cell(value) for value in values]))


def key_texts(key: KeyRecord) -> Texts:
    """Return a key's texts."""
    values = _key_values(key)
    said = dict(zip(_KEY_NAMES, values, strict=True))
    return Texts(",\n" + _as_json(said), _as_csv([cell(value) for value in values]))


def cell(value: object) -> str:
    """Return a value as a CSV field that no spreadsheet takes for a formula.

    >>> cell("=HYPERLINK(1)"), cell(True), cell(None), cell((("mfa_active", "true"),))
    ("'=HYPERLINK(1)", 'true', '', 'mfa_active=true')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "; ".join(one if isinstance(one, str) else "=".join(one) for one in value)
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


# Forms

AGE = len(Cells._fields)
"""The place of the age in the values that fill a form; the cells' own places come before it."""
MARKED_AGE = 10**15
MARKED_CELLS = Cells(*(f"zq{place:02}qz" for place in range(AGE)))
_MARK = re.compile(f"zq([0-9]{{2}})qz|{MARKED_AGE}")


class Form:
    """The texts of all records that differ only in their cells and age."""

    __slots__ = ("_csv", "_csv_values", "_json", "_json_values")

    def __init__(self, marked: Texts) -> None:
        """`marked` are the texts of a record of marks."""
        self._json, self._json_values = _split(marked.json)
        self._csv, self._csv_values = _split(marked.csv)

    def fill(self, values: Sequence[str], json_parts: list[str], csv_parts: list[str]) -> None:
        """Add the texts with the cells, which have to be plain, and the age filled in.

        In parts, to be joined for many records at once: `%` and `format` take five times as long.
        """
        as_json, as_csv = self._json, self._csv
        as_json[1::2] = self._json_values(values)
        as_csv[1::2] = self._csv_values(values)
        json_parts += as_json
        csv_parts += as_csv


def _split(marked: str) -> tuple[list[str], Callable[[Sequence[str]], tuple[str, ...]]]:
    """Return the parts, in which every second one is to be filled in, and what picks these."""
    parts = _MARK.split(marked)
    places = [AGE if place is None else int(place) for place in parts[1::2]]
    assert len(places) > 1, "itemgetter gives a tuple"  # noqa: S101 - all have user and dates
    return parts, itemgetter(*places)


_PLAIN = bytes(byte for byte in range(128) if re.match(r"[\w%:./=+@-]", chr(byte)))


def plain(cells: tuple[str, ...]) -> bool:
    """Whether no cell needs quotes, escapes or a guard in JSON, CSV, a spreadsheet or a shell.

    >>> plain(("ci@example.com", "2026-01-02T03:04:05+00:00")), plain(("ci", "-1")), plain(("a,b",))
    (True, False, False)
    """
    joined = "|".join(cells)
    odd = joined.encode(errors="backslashreplace").translate(None, _PLAIN)
    return (
        odd == b"|" * (len(cells) - 1)
        and cells[0][:1] not in "=+-@"  # an empty user is not plain either
        and not ("|=" in joined or "|+" in joined or "|-" in joined or "|@" in joined)
    )
