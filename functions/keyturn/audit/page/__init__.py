"""The audit as one HTML page: no outside resource, readable without its script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files

from keyturn.audit.counts import Report, by_rule
from keyturn.audit.model import Finding, KeyRecord, Thresholds
from keyturn.audit.page import lists, overview
from keyturn.audit.page.markup import number, text


def render(report: Report, findings: Sequence[Finding], keys: Sequence[KeyRecord]) -> Iterator[str]:
    """The page in pieces, in order.

    `findings` and `keys` come worst first; where the report counted more, the page says so.
    """
    at = max((account.at for account in report.accounts), default=datetime.now(UTC))
    several = len(report.accounts) > 1
    yield from _head(report, at)
    yield from overview.header(report, at)
    yield "<main>"
    yield from overview.tiles(report)
    yield from overview.not_judged(report)
    yield '<div class="two">'
    yield from overview.ages(report)
    yield from overview.rules(report)
    yield "</div>"
    yield from overview.study(report)
    if several:
        yield from overview.accounts(report)
    yield from _findings(report, findings)
    yield from _keys(report, keys)
    yield "</main>"
    yield from _footer(report.thresholds)
    yield "</body></html>\n"


def _head(report: Report, at: datetime) -> Iterator[str]:
    several = len(report.accounts) > 1
    style = _static("page.css") + "".join(
        _labels(name, columns)
        for name, columns in [
            ("accounts", overview.ACCOUNT_COLUMNS),
            ("findings", lists.finding_columns(with_account=several)),
            ("keys", lists.key_columns(with_account=several)),
        ]
    )
    script = _static("page.js")
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="referrer" content="no-referrer"><meta name="robots" content="noindex">'
    yield f"<title>Credential audit of {text(overview.title(report).lower())}, "
    yield f"{at:%Y-%m-%d}</title><style>{style}</style><script>{script}</script>"
    yield "</head><body>"


@cache
def _static(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(inline: str) -> str:
    """What a Content-Security-Policy calls an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'"


def _labels(name: str, columns: Iterable[lists.Column]) -> str:
    """On a phone every cell has its column's name before it."""
    return "".join(
        f'#{name}-table td:nth-child({place})::before{{--label:"{heading}"}}'
        for place, (_, heading, _) in enumerate(columns, 1)
    )


def _findings(report: Report, findings: Sequence[Finding]) -> Iterator[str]:
    yield '<section id="findings"><h2>Findings and what to do next</h2>'
    yield "<p>Keyturn rotates the keys of managed users. Everything else is for a person to do: the"
    yield " audit deletes and disables nothing.</p>"
    choices = [
        ("rule", "Rule", lists.rule_choices(by_rule(report.findings))),
        ("severity", "Severity", lists.SEVERITY),
        ("status", "Status", lists.STATUS),
        ("managed", "Managed", lists.MANAGED),
    ]
    yield from lists.filters("findings", [*choices, *_accounts(report)])
    yield from lists.findings_table(findings, with_account=len(report.accounts) > 1)
    yield from _rest(len(findings), report.findings_total, "findings", "findings.csv")
    yield "</section>"


def _keys(report: Report, keys: Sequence[KeyRecord]) -> Iterator[str]:
    yield '<section id="keys"><h2>Long-term keys: need they exist at all?</h2>'
    yield "<p>The safest key is the one that is not there.</p>"
    choices = [
        ("need", "Need it exist?", lists.NEED),
        ("state", "State", lists.STATE),
        ("managed", "Managed", lists.MANAGED),
    ]
    yield from lists.filters("keys", [*choices, *_accounts(report)])
    yield from lists.keys_table(keys, with_account=len(report.accounts) > 1)
    yield from _rest(len(keys), report.total("keys"), "keys", "keys.csv")
    yield "</section>"


def _accounts(report: Report) -> lists.Choices:
    """The choice of an account, where there are several."""
    ids = [account.account_id for account in report.accounts]
    return [("account", "Account", zip(ids, ids, strict=True))] if len(ids) > 1 else []


def _rest(shown: int, total: int, what: str, file: str) -> Iterator[str]:
    """Says what the page leaves out, so that a short list is never taken for the whole."""
    if not total:
        yield f'<p class="note">There are no {what}.</p>'
    elif total > shown:
        yield f'<p class="note">This page has {number(shown)} of {number(total)} {what}, '
        yield f"the worst first. All of them are in report.json and {file}, beside this page.</p>"


def _footer(limits: Thresholds) -> Iterator[str]:
    yield f"<footer><p>Judged with keys rotated within {limits.max_key_age_days} days and "
    yield f"credentials unused for {limits.unused_after_days} days or more; ages at the moment of "
    yield "the credential report. Each finding names the rules that it comes from.</p>"
    yield "<p>This file loads nothing from anywhere.</p></footer>"
