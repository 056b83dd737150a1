"""The upper part of the page: how the account or the organisation stands, in one minute."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from keyturn.audit.model import Severity
from keyturn.audit.page import charts
from keyturn.audit.page.figures import Account, Figures, Measure
from keyturn.audit.page.lists import filters, table
from keyturn.audit.page.markup import counted, moment, number, share, text
from keyturn.audit.page.words import RULES, SEVERITIES

_NAMED = 10  # accounts named in a sentence before the rest are only counted


def header(figures: Figures, generated_at: datetime) -> Iterator[str]:
    """Whose report, of when, and in one sentence how it stands."""
    yield '<header><p class="over">Keyturn credential audit</p>'
    yield f"<h1>{text(title(figures))}</h1>"
    yield f'<p class="when">As of <time datetime="{generated_at.isoformat()}">'
    yield f"<b>{moment(generated_at)}</b></time>. {_sentence(figures)}</p>"
    yield '<nav aria-label="Parts of the report">'
    parts = [("ages", "Key ages"), ("rules", "Rules"), ("study", "Published figures")]
    if len(figures.accounts) > 1:
        parts.append(("accounts", "Accounts"))
    parts += [("findings", "Findings"), ("keys", "Keys")]
    yield from (f'<a href="#{anchor}">{words}</a>' for anchor, words in parts)
    yield "</nav></header>"


def title(figures: Figures) -> str:
    """Account 123456789012, or how many accounts."""
    if len(figures.accounts) == 1:
        return f"Account {figures.accounts[0].account_id}"
    return counted(len(figures.accounts), "account")


def _sentence(figures: Figures) -> str:
    urgent = figures.by_severity.get(Severity.CRITICAL, 0)
    high = figures.by_severity.get(Severity.HIGH, 0)
    if urgent or high:
        stands = f"{number(urgent)} critical and {number(high)} high findings"
    elif figures.by_rule:
        stands = "No critical or high finding"
    else:
        stands = "No finding"
    unknown = f"; {number(figures.unknown)} could not be judged" if figures.unknown else ""
    return f"{stands} among {counted(figures.users, 'user')}{unknown}."


def tiles(figures: Figures) -> Iterator[str]:
    """Counts by severity, and beside them what could not be judged."""
    yield '<section class="plain" aria-labelledby="counts"><h2 id="counts" class="vh">Findings'
    yield ' by severity</h2><ul class="tiles">'
    for severity, words in SEVERITIES.items():
        count = figures.by_severity.get(severity, 0)
        yield f'<li class="{severity.value}{"" if count else " none"}">'
        yield f'<a href="#severity={severity.value}&amp;status=FINDING"><b>{number(count)}</b>'
        yield f"{words}</a></li>"
    yield f'<li class="UNKNOWN{"" if figures.unknown else " none"}"><a href="#status=UNKNOWN">'
    yield f"<b>{number(figures.unknown)}</b>Could not be judged</a></li></ul>"
    yield from _facts(figures)
    yield "</section>"


def _facts(figures: Figures) -> Iterator[str]:
    unknown = ("\u2013", "not known here")
    managed, unmanaged = unknown, unknown
    if figures.managed is not None:
        late = f", {counted(figures.late_managed_keys, 'key')} too old"
        managed = (
            number(figures.managed),
            share(figures.managed, figures.users) + (late if figures.late_managed_keys else ""),
        )
        unmanaged = (number(figures.users - figures.managed), "not rotated by Keyturn")
    age = "\u2013" if figures.oldest_days is None else counted(figures.oldest_days, "day")
    managed_age = figures.oldest_managed_days
    of_managed = "" if managed_age is None else f"managed: {counted(managed_age, 'day')}"
    facts = [
        ("Users", number(figures.users), _but(figures.unreadable_rows, "row", "unreadable")),
        ("Managed by Keyturn", *managed),
        ("Unmanaged", *unmanaged),
        ("Active keys", number(figures.active_keys), f"of {counted(figures.keys, 'key')}"),
        ("Oldest active key", age, of_managed),
    ]
    yield '<dl class="facts">'
    for name, value, small in facts:
        yield f"<div><dt>{name}</dt><dd>{value}"
        yield f"<small>{text(small)}</small></dd></div>" if small else "</dd></div>"
    yield "</dl>"


def _but(count: int, noun: str, what: str) -> str:
    return f"and {counted(count, noun)} {what}" if count else ""


def not_judged(figures: Figures) -> Iterator[str]:
    """What the audit does not know. Never a pass, so it stands above everything that is known."""
    clear = not (figures.unknown or figures.not_judged or figures.problems)
    yield f'<section class="unjudged{" clear" if clear else ""}" id="unjudged">'
    yield "<h2>What could not be judged</h2>"
    if clear:
        yield "<p>Every rule could be judged for every user and account.</p></section>"
        return
    yield "<p>Unknown is not a pass: these need a look by hand, or a permission.</p><ul>"
    for (rule, why), accounts in figures.not_judged.items():
        where = _named(accounts) if len(figures.accounts) > 1 else ""
        yield f'<li><b class="b UNKNOWN">{text(rule)}</b> {text(why)}'
        yield f"<small>{text(where)}</small></li>" if where else "</li>"
    if figures.unknown:
        yield '<li><a href="#status=UNKNOWN">'
        yield f"See {counted(figures.unknown, 'case')}, each with how to find out</a></li>"
    yield "</ul>"
    if figures.problems:
        yield f"<details><summary>{counted(len(figures.problems), 'problem')} of the reports"
        yield f"</summary><ul>{''.join(f'<li>{text(p)}</li>' for p in figures.problems)}"
        yield "</ul></details>"
    yield "</section>"


def _named(accounts: tuple[str, ...]) -> str:
    more = len(accounts) - _NAMED
    return ", ".join(accounts[:_NAMED]) + (f" and {number(more)} more" if more > 0 else "")


def ages(figures: Figures) -> Iterator[str]:
    """The age tiers as a chart."""
    yield '<section id="ages"><h2>How old the active keys are</h2>'
    yield f"<p>A key should be rotated within {counted(figures.max_key_age_days, 'day')}.</p>"
    if any(count for _, count in figures.tiers):
        yield charts.tiers(figures.tiers)
    else:
        yield '<p class="note">There is no active key whose age is known.</p>'
    if figures.keys_of_unknown_age:
        yield '<p class="note">Not in the chart: '
        yield f"{counted(figures.keys_of_unknown_age, 'active key')} of unknown age.</p>"
    yield "</section>"


def rules(figures: Figures) -> Iterator[str]:
    """Findings by rule; each leads to the list of them."""
    yield '<section id="rules"><h2>Findings by rule</h2>'
    if not figures.by_rule:
        yield '<p class="note">No rule is broken.</p></section>'
        return
    yield '<table class="rules"><thead><tr><th scope="col">Rule<th scope="col" class="r">Cases'
    yield "</tr></thead><tbody>"
    for rule, words in RULES.items():
        if count := figures.by_rule.get(rule, 0):
            yield f'<tr><td><a href="#rule={rule.value}">{rule.value}</a>'
            yield f"<small>{words}</small></td>"
            yield f'<td class="r"><b>{number(count)}</b></td></tr>'
    yield "</tbody></table></section>"


def study(figures: Figures) -> Iterator[str]:
    """The tables of the published study, with this report's figures beside them."""
    yield '<section id="study"><h2>Beside published figures</h2>'
    yield f"<p>{text(figures.study)}. Upper bar: this report; lower bar: the study.</p>"
    yield '<table class="study"><thead><tr><th scope="col">Users<th scope="col" class="r">Here'
    yield '<th scope="col" class="r">Share<th scope="col" class="r">Study<th scope="col">'
    yield '<span class="vh">Bars</span></tr></thead><tbody>'
    yield from map(_measure, figures.measures)
    yield "</tbody></table></section>"


def _measure(one: Measure) -> str:
    bars = charts.pair(one.count, one.whole, one.study_count, one.study_whole)
    return (
        f'<tr><td class="what">{text(one.words)}{_doubt(one.unknown)}</td>'
        f'<td class="r">{number(one.count)}'
        f'<span class="m"> of {number(one.whole)}</span></td>'
        f'<td class="r here"><b>{share(one.count, one.whole)}</b></td>'
        f'<td class="r there">{share(one.study_count, one.study_whole)}</td>'
        f'<td class="mini">{bars}</td></tr>'
    )


def _doubt(unknown: int) -> str:
    return f"<small>and {number(unknown)} not known</small>" if unknown else ""


ACCOUNT_COLUMNS = [
    ("account", "Account", "text"),
    ("users", "Users", "-num"),
    ("managed", "Managed", "-num"),
    ("keys", "Keys", "-num"),
    *((severity.value, words, "-num") for severity, words in SEVERITIES.items()),
    ("unknown", "Not judged", "-num"),
    ("at", "Report of (UTC)", "text"),
]


def accounts(figures: Figures) -> Iterator[str]:
    """One line for each account, where there are several."""
    yield '<section id="accounts"><h2>Accounts</h2>'
    yield from filters("accounts", [])
    yield from table("accounts", "Accounts", ACCOUNT_COLUMNS, map(_account, figures.accounts))
    yield "</section>"


def _account(one: Account) -> str:
    counts = [one.users, one.managed, one.keys]
    counts += [one.by_severity.get(severity, 0) for severity in SEVERITIES] + [one.unknown]
    cells = "".join(
        '<td data-v="">not known</td>' if n is None else f'<td data-v="{n}">{number(n)}</td>'
        for n in counts
    )
    return (
        f'<tr><td class="n" data-v="{text(one.account_id)}">'
        f'<a href="#account={text(one.account_id)}">{text(one.account_id)}</a></td>{cells}'
        f'<td class="n">{text(one.at[:16].replace("T", " "))}</td></tr>\n'
    )
