"""The upper part of the page: how the account or the organisation stands, in one minute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from keyturn.audit.counts import AccountCounts, NotJudged, Report, by_rule, by_severity, unknown
from keyturn.audit.model import Severity
from keyturn.audit.page.lists import filters, table
from keyturn.audit.page.markup import RULES, SEVERITIES, counted, moment, number, share, text
from keyturn.audit.study import STUDY, STUDY_ACCOUNTS, STUDY_USERS, StudyCount

_ROW = 44  # a bar of the chart, with its words
_NAMED = 10  # accounts named in a sentence before the rest are only counted


def header(report: Report, generated_at: datetime) -> Iterator[str]:
    """Whose report, of when, and in one sentence how it stands."""
    yield '<header><p class="over">Keyturn credential audit</p>'
    yield f"<h1>{text(title(report))}</h1>"
    yield f'<p class="when">As of <time datetime="{generated_at.isoformat()}">'
    yield f"<b>{moment(generated_at)}</b></time>. {_sentence(report)}</p>"
    yield '<nav aria-label="Parts of the report">'
    parts = [("ages", "Key ages"), ("rules", "Rules"), ("study", "Published figures")]
    if len(report.accounts) > 1:
        parts.append(("accounts", "Accounts"))
    parts += [("findings", "Findings"), ("keys", "Keys")]
    yield from (f'<a href="#{anchor}">{words}</a>' for anchor, words in parts)
    yield "</nav></header>"


def title(report: Report) -> str:
    """Account 123456789012, or how many accounts."""
    if len(report.accounts) == 1:
        return f"Account {report.accounts[0].account_id}"
    return counted(len(report.accounts), "account")


def _sentence(report: Report) -> str:
    counts = by_severity(report.findings)
    urgent, high = counts[Severity.CRITICAL], counts[Severity.HIGH]
    if urgent or high:
        stands = f"{number(urgent)} critical and {number(high)} high findings"
    elif report.findings:
        stands = "No critical or high finding"
    else:
        stands = "No finding"
    more = unknown(report.findings)
    not_judged = f"; {number(more)} could not be judged" if more else ""
    return f"{stands} among {counted(report.total('users'), 'user')}{not_judged}."


def tiles(report: Report) -> Iterator[str]:
    """Counts by severity, and beside them what could not be judged."""
    counts, more = by_severity(report.findings), unknown(report.findings)
    yield '<section class="plain" aria-labelledby="counts"><h2 id="counts" class="vh">Findings'
    yield ' by severity</h2><ul class="tiles">'
    for severity, words in SEVERITIES.items():
        count = counts[severity]
        yield f'<li class="{severity.value}{"" if count else " none"}">'
        yield f'<a href="#severity={severity.value}&amp;status=FINDING"><b>{number(count)}</b>'
        yield f"{words}</a></li>"
    yield f'<li class="UNKNOWN{"" if more else " none"}"><a href="#status=UNKNOWN">'
    yield f"<b>{number(more)}</b>Could not be judged</a></li></ul>"
    yield from _facts(report)
    yield "</section>"


def _facts(report: Report) -> Iterator[str]:
    users = report.total("users")
    managed = unmanaged = ("\u2013", "not known here")
    if not any(map(_no_secrets, report.accounts)):
        count, too_old = report.total("managed_users"), report.total("managed_keys_over_age")
        late = f", {counted(too_old, 'key')} too old" if too_old else ""
        managed = (number(count), share(count, users) + late)
        unmanaged = (number(users - count), "not rotated by Keyturn")
    oldest = report.tables.oldest_key_days
    ages = [account.oldest_managed_key_age_days for account in report.accounts]
    known = [age for age in ages if age is not None]
    keys, unreadable = report.total("keys"), report.total("unreadable_rows")
    facts = [
        (
            "Users",
            number(users),
            f"and {counted(unreadable, 'row')} unreadable" if unreadable else "",
        ),
        ("Managed by Keyturn", *managed),
        ("Unmanaged", *unmanaged),
        ("Active keys", number(report.total("active_keys")), f"of {counted(keys, 'key')}"),
        (
            "Oldest active key",
            "\u2013" if oldest is None else counted(oldest, "day"),
            f"managed: {counted(max(known), 'day')}" if known else "",
        ),
    ]
    yield '<dl class="facts">'
    for name, value, small in facts:
        yield f"<div><dt>{name}</dt><dd>{value}"
        yield f"<small>{text(small)}</small></dd></div>" if small else "</dd></div>"
    yield "</dl>"


def _no_secrets(account: AccountCounts) -> bool:
    return any(source == "secrets" for source, _ in account.unavailable)


def not_judged(report: Report) -> Iterator[str]:
    """What the audit does not know. Never a pass, so it stands above everything that is known."""
    where: dict[NotJudged, list[str]] = {}
    for account in report.accounts:
        for item in account.not_judged:
            where.setdefault(item, []).append(account.account_id)
    cases, problems = unknown(report.findings), report.problems
    clear = not (where or problems)
    yield f'<section class="unjudged{" clear" if clear else ""}" id="unjudged">'
    yield "<h2>What could not be judged</h2>"
    if clear:
        yield "<p>Every rule could be judged for every user and account.</p></section>"
        return
    yield "<p>Unknown is not a pass: these need a look by hand, or a permission.</p><ul>"
    for item, accounts in where.items():
        named = _named(accounts) if len(report.accounts) > 1 else ""
        yield f'<li><b class="b UNKNOWN">{item.rule.value}</b> {text(item.why)}'
        yield f"<small>{text(named)}</small></li>" if named else "</li>"
    if cases:
        yield '<li><a href="#status=UNKNOWN">'
        yield f"See {counted(cases, 'case')}, each with how to find out</a></li>"
    yield "</ul>"
    if problems:
        yield f"<details><summary>{counted(len(problems), 'problem')} of the reports"
        yield f"</summary><ul>{''.join(f'<li>{text(p)}</li>' for p in problems)}"
        yield "</ul></details>"
    yield "</section>"


def _named(accounts: list[str]) -> str:
    more = len(accounts) - _NAMED
    return ", ".join(accounts[:_NAMED]) + (f" and {number(more)} more" if more > 0 else "")


def ages(report: Report) -> Iterator[str]:
    """The age tiers as a chart."""
    tables = report.tables
    yield '<section id="ages"><h2>How old the active keys are</h2>'
    yield "<p>A key should be rotated within "
    yield f"{counted(report.thresholds.max_key_age_days, 'day')}.</p>"
    if any(count for _, count in tables.key_tiers):
        yield _chart(tables.key_tiers)
    else:
        yield '<p class="note">There is no active key whose age is known.</p>'
    if tables.keys_of_unknown_age:
        yield '<p class="note">Not in the chart: '
        yield f"{counted(tables.keys_of_unknown_age, 'active key')} of unknown age.</p>"
    yield "</section>"


def _chart(counts: Sequence[tuple[str, int]]) -> str:
    """One bar for each tier, the youngest first; inline SVG, and every number is there as text."""
    whole = sum(count for _, count in counts)
    words = ", ".join(f"{label}: {number(count)}" for label, count in counts)
    parts = [
        f'<svg height="{_ROW * len(counts)}" role="img" aria-labelledby="tiers-title tiers-desc">'
        f'<title id="tiers-title">Active access keys by age</title>'
        f'<desc id="tiers-desc">{text(words)}</desc>'
    ]
    for index, (label, count) in enumerate(counts):
        top = index * _ROW
        parts.append(
            f'<text x="0" y="{top + 14}">{text(label)}</text>'
            f'<text x="100%" y="{top + 14}" class="end">{number(count)}'
            f'<tspan class="q"> \u00b7 {share(count, whole)}</tspan></text>'
            f'<rect class="track" y="{top + 21}" width="100%" height="10" rx="3"/>'
            f'<rect class="t{index + 1}" y="{top + 21}" width="{_width(count, whole)}" height="10"'
            ' rx="3"/>'
        )
    return "".join([*parts, "</svg>"])


def _width(part: int, whole: int) -> str:
    """In percent; something is never drawn as nothing."""
    if not part or not whole:
        return "0"
    return f"{max(100 * part / whole, 0.5):.2f}%"


def rules(report: Report) -> Iterator[str]:
    """Findings by rule; each leads to the list of them."""
    counts = by_rule(report.findings)
    yield '<section id="rules"><h2>Findings by rule</h2>'
    if not counts:
        yield '<p class="note">No rule is broken.</p></section>'
        return
    yield '<table class="rules"><thead><tr><th scope="col">Rule<th scope="col" class="r">Cases'
    yield "</tr></thead><tbody>"
    for rule, words in RULES.items():
        if count := counts.get(rule, 0):
            yield f'<tr><td><a href="#rule={rule.value}">{rule.value}</a>'
            yield f"<small>{words}</small></td>"
            yield f'<td class="r"><b>{number(count)}</b></td></tr>'
    yield "</tbody></table></section>"


def study(report: Report) -> Iterator[str]:
    """The tables of the published study, with this report's figures beside them."""
    yield '<section id="study"><h2>Beside published figures</h2>'
    yield f"<p>{STUDY}: {STUDY_USERS:,} users in {STUDY_ACCOUNTS:,} accounts. "
    yield "Upper bar: this report; lower bar: the study.</p>"
    yield '<table class="study"><thead><tr><th scope="col">Users<th scope="col" class="r">Here'
    yield '<th scope="col" class="r">Share<th scope="col" class="r">Study<th scope="col">'
    yield '<span class="vh">Bars</span></tr></thead><tbody>'
    yield from map(_measure, report.tables.measures)
    yield "</tbody></table></section>"


def _measure(one: StudyCount) -> str:
    doubt = f"<small>and {number(one.unknown)} not known</small>" if one.unknown else ""
    return (
        f'<tr><td class="what">{text(one.words)}{doubt}</td>'
        f'<td class="r">{number(one.count)}'
        f'<span class="m"> of {number(one.of)}</span></td>'
        f'<td class="r here"><b>{share(one.count, one.of)}</b></td>'
        f'<td class="r there">{share(one.study_count, one.study_of)}</td>'
        # Two thin bars; the table beside them has the numbers.
        '<td class="mini"><svg height="18" aria-hidden="true">'
        '<rect class="track" width="100%" height="7" rx="2"/>'
        f'<rect class="bar" width="{_width(one.count, one.of)}" height="7" rx="2"/>'
        '<rect class="track" y="10" width="100%" height="7" rx="2"/>'
        f'<rect class="other" y="10" width="{_width(one.study_count, one.study_of)}" height="7"'
        ' rx="2"/></svg></td></tr>'
    )


ACCOUNT_COLUMNS = [
    ("account", "Account", "text"),
    ("users", "Users", "-num"),
    ("managed", "Managed", "-num"),
    ("keys", "Keys", "-num"),
    *((severity.value, words, "-num") for severity, words in SEVERITIES.items()),
    ("unknown", "Not judged", "-num"),
    ("at", "Report of (UTC)", "text"),
]


def accounts(report: Report) -> Iterator[str]:
    """One line for each account, where there are several."""
    yield '<section id="accounts"><h2>Accounts</h2>'
    yield from filters("accounts", [])
    yield from table("accounts", "Accounts", ACCOUNT_COLUMNS, map(_account, report.accounts))
    yield "</section>"


def _account(one: AccountCounts) -> str:
    managed = None if _no_secrets(one) else one.managed_users
    severities = by_severity(one.findings)
    counts = [one.users, managed, one.keys, *map(severities.__getitem__, SEVERITIES)]
    cells = "".join(
        '<td data-v="">not known</td>' if n is None else f'<td data-v="{n}">{number(n)}</td>'
        for n in (*counts, unknown(one.findings))
    )
    return (
        f'<tr><td class="n" data-v="{text(one.account_id)}">'
        f'<a href="#account={text(one.account_id)}">{text(one.account_id)}</a></td>{cells}'
        f'<td class="n">{one.at:%Y-%m-%d %H:%M}</td></tr>\n'
    )
