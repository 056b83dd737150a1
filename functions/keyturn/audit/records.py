"""Findings and keys as JSON and as CSV.

Both begin with what many records have in common, which is written once and remembered.
"""

from __future__ import annotations

import json
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _text
from typing import Any

from keyturn.audit.counts import camel
from keyturn.audit.model import COMMON_TO_FINDINGS, COMMON_TO_KEYS, Finding, KeyRecord

FINDING_COLUMNS = Finding._fields[:-1]
KEY_COLUMNS = KeyRecord._fields
_FORMULA = "=+-@\t\r\n"
_WORDS = {None: "null", True: "true", False: "false"}


Texts = tuple[str, str]
"""A record as a JSON object behind a comma and a new line, and as a CSV row with its end."""


def finding_texts(finding: Finding) -> Texts:
    """Return a finding's texts; `dates` is an object in JSON and `column=cell; ...` in CSV."""
    as_json, as_csv = _common(finding[:COMMON_TO_FINDINGS], FINDING_COLUMNS)
    account_id, user, dates = finding.account_id, finding.user, finding.dates
    managed, age, detail, then = finding.managed, finding.age_days, finding.detail, finding.next
    told = ",".join([f'"{column}":{_text(value)}' for column, value in dates])
    shown = "; ".join([f"{column}={value}" for column, value in dates])
    return (
        f'{as_json}"accountId":{_text(account_id)},"user":{_maybe(user)},'
        f'"managed":{_WORDS[managed]},"ageDays":{"null" if age is None else age},'
        f'"dates":{{{told}}},"detail":{_text(detail)},"next":{_text(then)}}}',
        f"{as_csv}{account_id},{_cell(user)},{'' if managed is None else _WORDS[managed]},"
        f"{'' if age is None else age},{_cell(shown)},{_cell(detail)},{_cell(then)}\r\n",
    )


def key_texts(key: KeyRecord) -> Texts:
    """Return a key's texts."""
    as_json, as_csv = _common(key[:COMMON_TO_KEYS], KEY_COLUMNS)
    user, arn, made, age = key.user, key.user_arn, key.user_created, key.age_days
    created, used = key.created, key.last_used
    service, region = key.last_used_service, key.last_used_region
    return (
        f'{as_json}"accountId":{_text(key.account_id)},"user":{_text(user)},'
        f'"userArn":{_text(arn)},"userCreated":{_text(made)},"created":{_maybe(created)},'
        f'"lastUsed":{_maybe(used)},"lastUsedService":{_maybe(service)},'
        f'"lastUsedRegion":{_maybe(region)},"ageDays":{"null" if age is None else age}}}',
        f"{as_csv}{key.account_id},{_cell(user)},{_cell(arn)},{_cell(made)},{_cell(created)},"
        f"{_cell(used)},{_cell(service)},{_cell(region)},{'' if age is None else age}\r\n",
    )


@lru_cache(maxsize=4096)
def _common(values: tuple[Any, ...], columns: tuple[str, ...]) -> Texts:
    """Return the beginning of records whose first values are these."""
    said = {camel(column): value for column, value in zip(columns, values, strict=False)}
    return (
        f",\n{json.dumps(said, separators=(',', ':'))[:-1]},",
        "".join(f"{_cell(_plain(value))}," for value in values),
    )


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return "; ".join(value)
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _maybe(value: str | None) -> str:
    return "null" if value is None else _text(value)


def _cell(value: str | None) -> str:
    """Return a CSV field, quoted where it must be, that no spreadsheet takes for a formula.

    >>> _cell("=HYPERLINK(1,2)"), _cell(None)
    ('"\'=HYPERLINK(1,2)"', '')
    """
    if not value:
        return ""
    if value[0] in _FORMULA:
        value = f"'{value}"
    if "," in value or '"' in value or "\n" in value or "\r" in value:
        return '"' + value.replace('"', '""') + '"'
    return value
