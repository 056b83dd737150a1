"""From a shared plan and one row's cells to findings and key records.

A plan holds what all rows with the same profile have in common: texts are split where the row's
own values go, so that a finding costs about a microsecond.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from keyturn.audit.columns import NO_DATES, Cells
from keyturn.audit.dates import BROKEN, Calendar, parsed
from keyturn.audit.findings import Hit, judge
from keyturn.audit.model import Finding, KeyRecord, Need, Severity, Status, Thresholds
from keyturn.audit.need import need
from keyturn.audit.rules import IN_FLIGHT, MANAGED, NO, NOT_KNOWN, UNMANAGED, YES, Profile
from keyturn.audit.sources import SEVERITIES, SOURCES, USER_RULES
from keyturn.audit.texts import MARKED_AGE, MARKED_CELLS, Form, finding_texts, key_texts
from keyturn.model.identifiers import masked_in

SEVERITY_RANK = {severity: rank for rank, severity in enumerate(reversed(Severity))}
_INDEX = {name: index for index, name in enumerate(Cells._fields)}
_USER, _INPUT = "{user}", "{input}"
_LONGEST_CELL = 60
_NOTHING = 1_000_000
"""Greater than any rank."""


@dataclass(frozen=True, slots=True)
class Template:
    """A hit, made ready for being filled in."""

    hit: Hit
    managed: bool | None
    tier: str | None
    compliance: tuple[str, ...]
    columns: tuple[tuple[str, int], ...]
    dated: tuple[int, ...]
    detail: list[str]
    """Split at the age."""
    next: list[str]
    """Split at the user."""
    for_rotation: bool
    """Whether the user goes in as the input of a rotation rather than as a command's option."""
    about_cells: bool
    """Whether the detail says which cells do not tell, so that no two rows share it."""
    severity: int
    """The rank of the severity: the worse, the greater."""
    forms: list[Form] = field(default_factory=list, compare=False)
    """Of rows with plain cells: one, once it was asked for."""


@dataclass(frozen=True, slots=True)
class KeyTemplate:
    """A key record, made ready for being filled in. The numbers are the cells' places."""

    slot: int
    active: bool
    created: int
    used: int
    region: int
    service: int
    clear: bool
    """Whether both dates are dates, or none, as far as there is a use."""
    tier: str | None
    managed: bool | None
    console: bool
    need: Need
    advice: str
    forms: dict[tuple[bool, bool, bool], Form] = field(default_factory=dict, compare=False)
    """By which of use, service and Region there is none of."""


class Plan:
    """What becomes of the rows with one profile, and how many they were."""

    __slots__ = ("count", "hits", "keys", "managed", "oldest", "profile")

    def __init__(
        self, profile: Profile, hits: tuple[Template, ...], keys: tuple[KeyTemplate, ...]
    ) -> None:
        """Nothing is counted yet."""
        self.profile = profile
        self.hits = hits
        self.keys = keys
        self.managed = profile.managed in (MANAGED, IN_FLIGHT)
        ranks = [key.rotated for key in profile.keys if key.active != NO and key.rotated >= 0]
        self.oldest = min(ranks, default=_NOTHING)
        self.count = 0


class Templates:
    """The templates of one report, each made once: few, although profiles can be many."""

    def __init__(self, calendar: Calendar) -> None:
        """Nothing is made yet."""
        self.calendar = calendar
        self._hits: dict[tuple[Hit, bool | None], Template] = {}
        self._keys: dict[KeyTemplate, KeyTemplate] = {}

    def hit(self, hit: Hit, managed: bool | None) -> Template:
        """Return the template of a hit."""
        made = self._hits.get((hit, managed))
        if made is None:
            made = self._hits[hit, managed] = template(hit, managed, self.calendar)
        return made

    def key(self, key: KeyTemplate) -> KeyTemplate:
        """Return the first of equal templates."""
        return self._keys.setdefault(key, key)


def plan_for(
    profile: Profile, calendar: Calendar, thresholds: Thresholds, templates: Templates
) -> Plan:
    """Judge a profile."""
    managed = None if profile.managed == NOT_KNOWN else profile.managed != UNMANAGED
    hits = tuple([templates.hit(hit, managed) for hit in judge(profile, calendar, thresholds)])
    keys = []
    for key in profile.keys:
        if key.exists:
            kind, advice = need(key, profile, calendar, thresholds.unused_after_days)
            keys.append(
                templates.key(
                    KeyTemplate(
                        key.slot,
                        # Not known counts as active: it may well be.
                        key.active != NO,
                        _INDEX[f"{key.name}_last_rotated"],
                        _INDEX[f"{key.name}_last_used_date"],
                        _INDEX[f"{key.name}_last_used_region"],
                        _INDEX[f"{key.name}_last_used_service"],
                        key.rotated >= 0 and key.used != BROKEN,
                        calendar.tier(key.rotated),
                        managed,
                        profile.console == YES,
                        kind,
                        advice,
                    )
                )
            )
    return Plan(profile, hits, tuple(keys))


def template(hit: Hit, managed: bool | None, calendar: Calendar) -> Template:
    """Make a hit ready for being filled in."""
    for_rotation = _INPUT in hit.next
    return Template(
        hit,
        managed,
        calendar.tier(hit.rank) if hit.dated else None,
        SOURCES[hit.rule].compliance,
        tuple((name, _INDEX[name]) for name in hit.columns),
        tuple(_INDEX[name] for name in hit.dated),
        hit.detail.split("{age}"),
        hit.next.split(_INPUT if for_rotation else _USER),
        for_rotation,
        hit.status is Status.UNKNOWN and not hit.detail,
        SEVERITY_RANK[hit.severity],
    )


class Row(NamedTuple):
    """One row, and where it is from."""

    cells: tuple[str, ...]
    account_id: str
    line: int


def age_of(made: Template, cells: tuple[str, ...], at: datetime) -> int | None:
    """Return the full days since the latest of the dates that a finding is about."""
    moments = [moment for place in made.dated if (moment := parsed(cells[place]))]
    return max(0, (at - max(moments)).days) if made.dated else None


def finding(made: Template, row: Row, calendar: Calendar) -> Finding:
    """Fill in a row's values."""
    if made.about_cells:
        return _filled(made, row, None, _blame(made, row, calendar))
    age = age_of(made, row.cells, calendar.at)
    return _filled(made, row, age, str(age).join(made.detail))


def form(made: Template, account_id: str) -> Form:
    """Make, keep and return the form of a template that is not about broken cells."""
    age = MARKED_AGE if made.dated else None
    marked = Row(MARKED_CELLS, account_id, 0)
    found = Form(finding_texts(_filled(made, marked, age, str(age).join(made.detail))))
    made.forms.append(found)
    return found


def _filled(made: Template, row: Row, age: int | None, detail: str) -> Finding:
    cells, hit = row.cells, made.hit
    user = cells[0]
    then = made.next[0]
    if len(made.next) > 1:
        then = (rotation_input if made.for_rotation else user_option)(user).join(made.next)
    return Finding(
        hit.rule,
        hit.status,
        hit.severity,
        row.account_id,
        user,
        made.managed,
        hit.credential,
        age,
        made.tier,
        tuple([(name, cells[place]) for name, place in made.columns]),
        made.compliance,
        detail,
        then,
    )


def key_record(made: KeyTemplate, row: Row, calendar: Calendar) -> KeyRecord:
    """Fill in a row's values."""
    cells = row.cells
    created, used = cells[made.created], cells[made.used]
    region, service = cells[made.region], cells[made.service]
    moment = None if created in NO_DATES else parsed(created)
    return _filled_key(
        made,
        row,
        (
            created if moment else None,
            None if used in NO_DATES or parsed(used) is None else used,
            None if service in NO_DATES else service,
            None if region in NO_DATES else region,
        ),
        max(0, (calendar.at - moment).days) if moment else None,
    )


def key_form(made: KeyTemplate, account_id: str, without: tuple[bool, bool, bool]) -> Form:
    """Make, keep and return the form of keys with a date.

    `without` tells where there is no use, service and Region.
    """
    no_use, no_service, no_region = without
    found = made.forms[without] = Form(
        key_texts(
            _filled_key(
                made,
                Row(MARKED_CELLS, account_id, 0),
                (
                    MARKED_CELLS[made.created],
                    None if no_use else MARKED_CELLS[made.used],
                    None if no_service else MARKED_CELLS[made.service],
                    None if no_region else MARKED_CELLS[made.region],
                ),
                MARKED_AGE,
            )
        )
    )
    return found


def _filled_key(
    made: KeyTemplate, row: Row, told: tuple[str | None, ...], age: int | None
) -> KeyRecord:
    """`told` are the key's creation, use, service and Region."""
    created, used, service, region = told
    return KeyRecord(
        row.account_id,
        row.cells[0],
        row.cells[1],
        row.cells[2],
        made.slot,
        made.active,
        created,
        used,
        service,
        region,
        age,
        made.tier,
        made.managed,
        made.console,
        made.need,
        made.advice,
    )


def unreadable(row: Row, why: str) -> list[Finding]:
    """Return the findings for a row that cannot be judged: every rule of users is UNKNOWN."""
    user = row.cells[0] if row.cells else None
    return [
        Finding(
            rule,
            Status.UNKNOWN,
            SEVERITIES[rule],
            row.account_id,
            user,
            False,
            None,
            None,
            None,
            (),
            SOURCES[rule].compliance,
            f"Line {row.line}: {why}",
            "Generate the credential report again; if the row stays so, look at the user itself.",
        )
        for rule in USER_RULES
    ]


def account_finding(hit: Hit, account_id: str) -> Finding:
    """Return a finding of the account that no row gave."""
    return Finding(
        hit.rule,
        hit.status,
        hit.severity,
        account_id,
        None,
        False,
        hit.credential,
        None,
        None,
        (),
        SOURCES[hit.rule].compliance,
        hit.detail,
        hit.next,
    )


def user_option(user: str) -> str:
    """Return the option that names a user in a command of the AWS CLI, safe in a shell.

    With `=`, because a user name may begin with `-`.

    >>> user_option("-ci+eu@example.com")
    '--user-name=-ci+eu@example.com'
    """
    return f"--user-name={shlex.quote(user)}"


def rotation_input(user: str) -> str:
    """Return the input of a rotation as a shell's argument.

    >>> rotation_input("ci")
    '\\'{"userName": "ci"}\\''
    """
    return shlex.quote(json.dumps({"userName": user}))


def shown(cell: str) -> str:
    """Return a cell for a message: short, without control characters, key ids masked."""
    return ascii(masked_in(cell[:_LONGEST_CELL]))


def _blame(made: Template, row: Row, calendar: Calendar) -> str:
    """Return which cells do not tell, and in which line."""
    wrong = []
    for name, place in made.columns:
        cell = row.cells[place]
        if name.endswith(("_active", "_enabled")):
            if cell.lower() not in ("true", "false"):
                wrong.append(f"{name} is {shown(cell)}, neither true nor false")
        elif calendar.rank(cell) == BROKEN:
            later = "later than the report" if parsed(cell) else "not a date"
            wrong.append(f"{name} is {shown(cell)}, {later}")
    if not wrong:
        wrong = [
            f"{name} is {shown(row.cells[place])} although there is a key"
            for name, place in made.columns
            if name.endswith("_last_rotated") and row.cells[place] in NO_DATES
        ]
    return f"Line {row.line}: {'; '.join(wrong)}."
