"""The audit's page: what it shows, what it never loads, and that nothing breaks out of it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from keyturn.audit.counts import Report
from keyturn.audit.model import (
    AccountSource,
    Finding,
    KeyRecord,
    Need,
    Rule,
    Severity,
    Status,
    Thresholds,
    Unavailable,
)
from keyturn.audit.outputs import Files
from keyturn.audit.page import render
from keyturn.audit.run import audit
from tests.unit.credential_reports import GOOD_POLICY, NOW, key, lines, root, user
from tools import audit_picture

AT = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
HOSTILE = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "\"'><svg onload=alert(1)>",
    "a\u2028b\u202ec\x00\x1b[0m\ud800",
    "&lt;b&gt;",
    "</title></td></table>",
    "`</code><script>`",
)
FINDING = Finding(
    Severity.HIGH,
    Status.FINDING,
    Rule.KEY_NOT_ROTATED,
    "access_key_2",
    "over 5 years",
    ("CIS AWS Foundations v3.0 1.14", "Security Hub IAM.3"),
    "111122223333",
    "ci+a=b,c.d@e_f-g",
    True,
    2571,
    (("access_key_2_last_rotated", "2019-02-16T06:00:00+00:00"),),
    "It is far too old.",
    "Find it with `aws iam list-access-keys --user-name x`.",
)
KEY = KeyRecord(
    2,
    True,
    "over 5 years",
    True,
    True,
    Need.IDENTITY_CENTER,
    "Use IAM Identity Center.",
    "111122223333",
    "ci+a=b,c.d@e_f-g",
    "arn:aws:iam::111122223333:user/machines/ci",
    "2019-02-16T05:00:00+00:00",
    "2019-02-16T06:00:00+00:00",
    "2026-02-28T06:00:00+00:00",
    "sqs",
    "eu-west-3",
    2571,
)


class Page(HTMLParser):
    """Every tag with its attributes, and all text outside script and style."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.inline: dict[str, list[str]] = {"script": [], "style": []}
        self._in = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in = tag

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in in self.inline:
            self.inline[self._in].append(data)
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page(
    findings: Sequence[Finding] = (),
    keys: Sequence[KeyRecord] = (),
    *,
    report: Report | None = None,
) -> str:
    """A page with these rows, under the figures of a small real audit."""
    return "".join(render(report or counted(audit_picture.source(30)), findings, keys))


def counted(*sources: AccountSource) -> Report:
    return audit(sources, Thresholds(), sink=None)


def in_good_order() -> AccountSource:
    """An account of nobody but a root user, with a good policy."""
    return AccountSource(lines(root()), NOW, password_policy=GOOD_POLICY)


def test_every_field_of_a_finding_is_shown() -> None:
    two_accounts = counted(audit_picture.source(3), audit_picture.source(3, "444455556666"))
    html = page([FINDING], [KEY], report=two_accounts)

    table = html[html.index('<table class="list" id="findings-table"') :]
    shown = Page(table[: table.index("</table>")]).text
    for words in (
        *("key-not-rotated", "High", "111122223333", "ci+a=b,c.d@e_f-g", "Managed"),
        *("Access key 2", "2,571 days", "over 5 years", "access_key_2_last_rotated"),
        *("2019-02-16T06:00:00+00:00", "CIS AWS Foundations v3.0 1.14", "Security Hub IAM.3"),
        *("It is far too old.", "aws iam list-access-keys --user-name x"),
    ):
        assert words in shown


def test_every_key_says_whether_it_need_exist() -> None:
    html = page([], [KEY._replace(need=need) for need in Need])

    table = Page(html[html.index('<table class="list" id="keys-table"') :]).text
    for words in (
        *("Remove", "Identity Center", "Roles Anywhere", "IAM role", "Not known"),
        *("ci+a=b,c.d@e_f-g", "Access key 2", "Active", "2026-02-28", "sqs in eu-west-3"),
        *("has a console password", "Use IAM Identity Center."),
    ):
        assert words in table


@pytest.mark.parametrize("hostile", HOSTILE)
def test_nothing_in_the_data_becomes_markup(hostile: str) -> None:
    finding = FINDING._replace(
        user=hostile,
        credential=hostile,
        account_id=hostile,
        tier=hostile,
        dates=((hostile, hostile),),
        compliance=(hostile,),
        detail=hostile,
        next=f"{hostile} {'x' * 200} `{hostile}`",
    )
    key = KEY._replace(
        user=hostile,
        user_arn=hostile,
        user_created=hostile,
        last_used=hostile,
        last_used_service=hostile,
        last_used_region=hostile,
        tier=hostile,
        advice=hostile,
    )

    attacked = page([finding], [key])

    harmless, before = Page(attacked), Page(page([FINDING], [KEY]))
    assert len(harmless.named("script")) == 1
    assert harmless.inline == before.inline
    allowed = {name for name, _ in before.tags}
    assert {name for name, _ in harmless.tags} <= allowed
    assert not any(name.startswith("on") for _, attributes in harmless.tags for name in attributes)
    attacked.encode()  # half characters would not be UTF-8
    for invisible in "\u2028\u202e\x00\x1b":
        assert invisible not in attacked


def test_nothing_is_loaded_from_anywhere() -> None:
    html = page([FINDING], [KEY])

    parsed = Page(html)
    for tag, attributes in parsed.tags:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base", "video", "audio"}
        assert not {"src", "srcset", "action", "style", "background", "data"} & attributes.keys()
        for name in ("href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
    assert not re.search(r"url\(|@import|image-set", "".join(parsed.inline["style"]))
    assert not re.search(
        r"fetch\(|XMLHttp|import\(|WebSocket|https?:|innerHTML|eval\(",
        "".join(parsed.inline["script"]),
    )


def test_the_policy_allows_the_pages_own_script_and_style_and_nothing_else() -> None:
    parsed = Page(page())

    (policy,) = [
        meta["content"] or ""
        for meta in parsed.named("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    for kind in ("script", "style"):
        (inline,) = parsed.inline[kind]
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"


def test_a_page_that_leaves_rows_out_says_so() -> None:
    report = counted(audit_picture.source(30))
    findings, keys = report.findings_total, report.total("keys")
    words = Page(page([FINDING], [KEY], report=report)).text
    assert f"This page has 1 of {findings} findings" in words
    assert f"This page has 1 of {keys} keys" in words
    words = Page(page([FINDING] * findings, [KEY] * keys, report=report)).text
    assert "This page has" not in words


def test_an_audit_of_nothing_says_that_there_is_nothing() -> None:
    words = Page(page(report=counted())).text

    for nothing in (
        *("There are no findings.", "There are no keys.", "No finding among 0 users."),
        *("No rule is broken.", "There is no active key whose age is known."),
        "Every rule could be judged for every user and account.",
    ):
        assert nothing in words


def test_accounts_of_which_none_could_be_judged_are_not_all_clear() -> None:
    words = Page(page(report=replace(counted(), problems=("account 1: denied",)))).text

    assert "1 problem of the reports account 1: denied" in words
    assert "Every rule could be judged" not in words


def test_many_accounts_are_named_and_their_problems_told() -> None:
    accounts = [f"{number:012}" for number in range(1, 13)]
    sources = [audit_picture.source(1, account) for account in accounts]
    sources[0] = AccountSource([*sources[0].lines, "cut,short\n"], AT)

    sources[1] = AccountSource(
        lines(root(accounts[1]), user("ci", accounts[1], **key(1, "garbage"))), NOW
    )

    words = Page(page(report=counted(*sources))).text

    assert "Not in the chart: 1 active key of unknown age." in words
    assert f"{', '.join(accounts[:10])} and 2 more" in words
    assert "1 problem of the reports" in words
    assert "line 4: the row has 2 fields and the header 17" in words


def test_what_is_not_critical_is_not_called_so() -> None:
    words = Page(page(report=counted(in_good_order()))).text

    assert "No critical or high finding among 0 users; 1 could not be judged." in words


def test_what_could_not_be_judged_stands_above_the_findings() -> None:
    source = AccountSource(
        lines=audit_picture.report(5),
        at=AT,
        managed=Unavailable("ListSecrets was <denied>."),
        password_policy=Unavailable("GetAccountPasswordPolicy was denied."),
    )

    html = page(report=counted(source))

    part = html[html.index('id="unjudged"') : html.index('id="ages"')]
    words = Page(part).text
    for needed in (
        *("root-password-rotation", "password-policy", "ListSecrets was <denied>."),
        "GetAccountPasswordPolicy was denied.",
    ):
        assert needed in words
    # Whether a user is managed is not known then: no number may say 0, and no row "Unmanaged".
    assert "not known here" in Page(html).text
    rows = page([FINDING._replace(managed=None)], [KEY._replace(managed=None)])
    assert rows.count('<td data-v="unknown" class="m">Not known</td>') == 2
    assert '<td data-v="no"' not in rows


def test_the_upper_part_tells_how_the_account_stands() -> None:
    report = counted(audit_picture.source(240))
    summary = report.summary()

    words = Page(page(report=report)).text

    assert "Account 111122223333" in words
    assert "2026-03-02 06:00 UTC" in words
    for severity, name in (("CRITICAL", "Critical"), ("HIGH", "High"), ("LOW", "Low")):
        assert f"{summary['totals']['findings']['bySeverity'][severity]} {name}" in words
    for tier in summary["tables"]["tiers"]:
        assert f"{tier['tier']} {tier['keys']}" in words
    for measure in summary["tables"]["measures"]:
        assert f"{measure['words']} {measure['count']} of {measure['of']}" in words
    assert f"{summary['tables']['oldestKeyDays']:,} days" in words


def test_the_chart_can_be_read_without_being_seen() -> None:
    html = page()

    (chart,) = [svg for svg in Page(html).named("svg") if svg.get("role") == "img"]
    for name in (chart["aria-labelledby"] or "").split():
        assert f'id="{name}"' in html


def test_the_files_of_an_audit_have_the_page(tmp_path: Path) -> None:
    files = Files(tmp_path)
    report = audit([audit_picture.source(30)], Thresholds(), sink=files)

    html = files.write(report)["report.html"].read_text()

    assert html.count("<tr id=") + html.count("<tr data-status=") == report.findings_total
