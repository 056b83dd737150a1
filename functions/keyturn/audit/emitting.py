"""From a shared plan and one row's cells to findings and key records.

A plan holds what all rows with the same profile have in common: texts are split where the row's
own values go, so that a finding costs about a microsecond.
"""

from __future__ import annotations

import json
import shlex
from typing import NamedTuple

from keyturn.audit.columns import NO_DATES, Cells
from keyturn.audit.dates import BROKEN, Calendar, parsed
from keyturn.audit.findings import Hit, judge
from keyturn.audit.model import Finding, KeyRecord, Need, Status, Thresholds
from keyturn.audit.need import need
from keyturn.audit.rules import NO, UNMANAGED, YES, Profile
from keyturn.audit.sources import SEVERITIES, SOURCES, USER_RULES
from keyturn.identifiers import masked_in

_INDEX = {name: index for index, name in enumerate(Cells._fields)}
_USER, _INPUT = "{user}", "{input}"
_LONGEST_CELL = 60
_NOTHING = 1_000_000
"""Greater than any rank."""


class Template(NamedTuple):
    """A hit, made ready for being filled in."""

    hit: Hit
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


class KeyTemplate(NamedTuple):
    """A key record, made ready for being filled in. The numbers are the cells' places."""

    slot: int
    active: bool
    created: int
    used: int
    region: int
    service: int
    tier: str | None
    managed: bool
    console: bool
    need: Need
    advice: str


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
        self.managed = profile.managed != UNMANAGED
        ranks = [key.rotated for key in profile.keys if key.active != NO and key.rotated >= 0]
        self.oldest = min(ranks, default=_NOTHING)
        self.count = 0


class Templates:
    """The templates of one report, each made once: few, although profiles can be many."""

    def __init__(self, calendar: Calendar) -> None:
        """Nothing is made yet."""
        self.calendar = calendar
        self._hits: dict[Hit, Template] = {}
        self._keys: dict[KeyTemplate, KeyTemplate] = {}

    def hit(self, hit: Hit) -> Template:
        """Return the template of a hit."""
        made = self._hits.get(hit)
        if made is None:
            made = self._hits[hit] = template(hit, self.calendar)
        return made

    def key(self, key: KeyTemplate) -> KeyTemplate:
        """Return the first of equal templates."""
        return self._keys.setdefault(key, key)


def plan_for(
    profile: Profile, calendar: Calendar, thresholds: Thresholds, templates: Templates
) -> Plan:
    """Judge a profile."""
    hits = tuple([templates.hit(hit) for hit in judge(profile, calendar, thresholds)])
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
                        calendar.tier(key.rotated),
                        profile.managed != UNMANAGED,
                        profile.console == YES,
                        kind,
                        advice,
                    )
                )
            )
    return Plan(profile, hits, tuple(keys))


def template(hit: Hit, calendar: Calendar) -> Template:
    """Make a hit ready for being filled in."""
    for_rotation = _INPUT in hit.next
    return Template(
        hit,
        calendar.tier(hit.rank) if hit.dated else None,
        SOURCES[hit.rule].compliance,
        tuple((name, _INDEX[name]) for name in hit.columns),
        tuple(_INDEX[name] for name in hit.dated),
        hit.detail.split("{age}"),
        hit.next.split(_INPUT if for_rotation else _USER),
        for_rotation,
    )


class Row(NamedTuple):
    """One row, and where it is from."""

    cells: tuple[str, ...]
    account_id: str
    line: int
    option: str = ""
    """`user_option` of the user."""


def finding(made: Template, row: Row, managed: bool, calendar: Calendar) -> Finding:
    """Fill in a row's values."""
    cells = row.cells
    hit = made.hit
    user = cells[0]
    age = None
    if made.dated:
        at = calendar.at
        moments = [moment for place in made.dated if (moment := parsed(cells[place]))]
        age = max(0, (at - max(moments)).days)
        detail = str(age).join(made.detail)
    elif hit.status is Status.UNKNOWN and not hit.detail:
        detail = _blame(made, row, calendar)
    else:
        detail = hit.detail
    parts = made.next
    then = parts[0]
    if len(parts) > 1:
        then = (rotation_input(user) if made.for_rotation else row.option).join(parts)
    return Finding(
        hit.rule,
        hit.status,
        hit.severity,
        row.account_id,
        user,
        managed,
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
    created = cells[made.created]
    used, region, service = cells[made.used], cells[made.region], cells[made.service]
    moment = None if created in NO_DATES else parsed(created)
    return KeyRecord(
        row.account_id,
        cells[0],
        cells[1],
        cells[2],
        made.slot,
        made.active,
        created if moment else None,
        None if used in NO_DATES or parsed(used) is None else used,
        None if service in NO_DATES else service,
        None if region in NO_DATES else region,
        max(0, (calendar.at - moment).days) if moment else None,
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
