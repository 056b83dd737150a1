"""The two long tables: findings and keys. One string a row, so that they stream."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from keyturn.audit.model import Finding, KeyRecord, Need, Rule, Severity, Status
from keyturn.audit.page.markup import CREDENTIALS, NEEDS, RULES, SEVERITIES, counted, number, text

_COMMAND = re.compile(r"`([^`]+)`")
_SHORT = 160
_NONE = '<span class="m">\u2013</span>'


Column = tuple[str, str, str]
"""Key, heading, and how it sorts: `text`, `num`, or its values from low to high; a leading minus
puts the highest first at the first click."""


def table(name: str, caption: str, columns: Iterable[Column], rows: Iterable[str]) -> Iterator[str]:
    """A table that the page's script sorts and filters. Rows are markup."""
    yield f'<table class="list" id="{name}-table" data-name="{name}"><caption class="vh">'
    yield f"{text(caption)}</caption><thead><tr>"
    for key, heading, sort in columns:
        yield f'<th scope="col" data-key="{key}" data-sort="{sort}">{text(heading)}</th>'
    yield "</tr></thead><tbody>"
    yield from rows
    yield "</tbody></table>"


def finding_columns(*, with_account: bool) -> list[Column]:
    """The columns of the findings; the account's only where there are several."""
    return [
        ("severity", "Severity", "-LOW MEDIUM HIGH CRITICAL"),
        ("rule", "Rule", "text"),
        *([("account", "Account", "text")] if with_account else []),
        ("user", "User", "text"),
        ("credential", "Credential", "text"),
        ("age", "Age", "-num"),
        ("managed", "Managed", "text"),
        ("detail", "What is the case", "text"),
        ("next", "What to do next", "text"),
    ]


def findings_table(findings: Iterable[Finding], *, with_account: bool) -> Iterator[str]:
    """The findings, in the order in which they come."""
    columns = finding_columns(with_account=with_account)
    yield from table("findings", "Findings", columns, _finding_rows(findings, with_account))


def _finding_rows(findings: Iterable[Finding], with_account: bool) -> Iterator[str]:
    seen: set[Rule] = set()
    for finding in findings:
        # The first row of a rule is where a link to the rule leads without a script.
        anchor = "" if finding.rule in seen else f' id="rule={finding.rule.value}"'
        seen.add(finding.rule)
        yield _finding(finding, anchor, with_account=with_account)


def _finding(finding: Finding, anchor: str, *, with_account: bool) -> str:
    account = f'<td class="n">{text(finding.account_id)}</td>' if with_account else ""
    user = _NONE if finding.user is None else text(finding.user)
    credential = text(CREDENTIALS.get(finding.credential, finding.credential or ""))
    return (
        f'<tr{anchor} data-status="{finding.status.value}">'
        f"{_severity(finding.severity, finding.status)}"
        f'<td class="id">{text(finding.rule.value)}</td>{account}'
        f'<td class="u">{user}</td><td class="n">{credential or _NONE}</td>'
        f"{_age(finding.age_days, finding.tier)}{_managed(finding.managed)}"
        f'<td class="w">{text(finding.detail)}{_evidence(finding)}</td>'
        f'<td class="w">{_next(finding.next)}</td></tr>\n'
    )


def _severity(severity: Severity, status: Status) -> str:
    unknown = '<b class="b UNKNOWN">Not judged</b>' if status is Status.UNKNOWN else ""
    badge = f'<b class="b {severity.value}">{SEVERITIES[severity]}</b>'
    return f'<td data-v="{severity.value}">{badge}{unknown}</td>'


def _evidence(finding: Finding) -> str:
    dates = "".join(f"<dt>{text(column)}<dd>{text(value)}" for column, value in finding.dates)
    standards = " \u00b7 ".join(map(text, finding.compliance))
    return (
        "<details><summary>Dates and standards</summary>"
        f"<dl>{dates}</dl><p>{standards}</p></details>"
    )


def _age(age: int | None, tier: str | None) -> str:
    if age is None:
        return f'<td data-v="">{_NONE}</td>'
    small = f"<small>{text(tier)}</small>" if tier else ""
    return f'<td class="n" data-v="{age}">{counted(age, "day")}{small}</td>'


def _managed(managed: bool | None) -> str:
    if managed is None:
        return '<td data-v="unknown" class="m">Not known</td>'
    if managed:
        return '<td data-v="yes">Managed</td>'
    return '<td data-v="no" class="m">Unmanaged</td>'


def _next(words: str) -> str:
    """Words with their commands set apart. Long instructions open at their first command."""
    first = words.find("`")
    if first < 1 or len(words) <= _SHORT:
        return _commands(words)
    lead = words[:first].rstrip()
    return f"<details><summary>{text(lead)}</summary>{_commands(words[first:])}</details>"


def _commands(words: str) -> str:
    parts = _COMMAND.split(text(words))
    parts[1::2] = [f"<code>{command}</code>" for command in parts[1::2]]
    return "".join(parts)


def key_columns(*, with_account: bool) -> list[Column]:
    """The columns of the keys."""
    return [
        ("need", "Need it exist?", "text"),
        *([("account", "Account", "text")] if with_account else []),
        ("user", "User", "text"),
        ("key", "Key", "text"),
        ("state", "State", "text"),
        ("age", "Age", "-num"),
        ("used", "Last used", "text"),
        ("managed", "Managed", "text"),
        ("advice", "What to do", "text"),
    ]


def keys_table(keys: Iterable[KeyRecord], *, with_account: bool) -> Iterator[str]:
    """The long-term keys, each with whether it need exist at all."""
    rows = (_key(key, with_account=with_account) for key in keys)
    columns = key_columns(with_account=with_account)
    yield from table("keys", "Access keys", columns, rows)


def _key(key: KeyRecord, *, with_account: bool) -> str:
    account = f'<td class="n">{text(key.account_id)}</td>' if with_account else ""
    person = "<small>has a console password</small>" if key.console_password else ""
    state = "<td>Active</td>" if key.active else '<td class="m">Inactive</td>'
    return (
        f"<tr>{_need(key.need)}{account}"
        f'<td class="u" title="{text(key.user_arn)}, made {text(key.user_created)}">'
        f"{text(key.user)}{person}</td>"
        f'<td class="n">Access key {key.slot}</td>{state}'
        f"{_age(key.age_days, key.tier)}{_used(key)}{_managed(key.managed)}"
        f'<td class="w">{_next(key.advice)}</td></tr>\n'
    )


def _need(need: Need) -> str:
    what, why = NEEDS[need]
    return (
        f'<td data-v="{need.value}"><b class="b {need.value}">{what}</b><small>{why}</small></td>'
    )


def _used(key: KeyRecord) -> str:
    if key.last_used is None:
        return '<td data-v="" class="m">No use recorded</td>'
    where = " in ".join(filter(None, [key.last_used_service, key.last_used_region]))
    small = f"<small>{text(where)}</small>" if where else ""
    return f'<td class="n" data-v="{text(key.last_used)}">{text(key.last_used[:10])}{small}</td>'


Choices = Iterable[tuple[str, str, Iterable[tuple[str, str]]]]


def filters(name: str, choices: Choices) -> Iterator[str]:
    """The form over a table; hidden until the script that carries it out has started."""
    yield f'<form class="filters" id="{name}-filters" hidden>'
    yield '<label class="find">Find <input type="search" name="find" autocomplete="off"'
    yield f' aria-controls="{name}-table"></label>'
    for key, label, options in choices:
        yield f'<label>{text(label)} <select name="{key}"><option value="">All</option>'
        for value, words in options:
            yield f'<option value="{text(value)}">{text(words)}</option>'
        yield "</select></label>"
    yield '<label class="sort">Sort by <select name="sort"><option value="">As reported</option>'
    yield '</select></label><button type="reset">Clear</button></form>'
    yield f'<p class="shown" id="{name}-shown" role="status"></p>'


def rule_choices(counts: Mapping[Rule, int]) -> list[tuple[str, str]]:
    """The rules that have findings, with how many, in the order of `RULES`."""
    return [(r.value, f"{r.value} ({number(counts[r])})") for r in RULES if counts.get(r)]


MANAGED = [("yes", "Managed"), ("no", "Unmanaged"), ("unknown", "Not known")]
SEVERITY = [(s.value, words) for s, words in SEVERITIES.items()]
STATUS = [("FINDING", "Broken rules"), ("UNKNOWN", "Not judged")]
NEED = [(n.value, f"{what}: {why}") for n, (what, why) in NEEDS.items()]
STATE = [("Active", "Active"), ("Inactive", "Inactive")]
