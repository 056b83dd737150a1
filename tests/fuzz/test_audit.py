"""The audit against a slow, plain reading of the rules with datetimes, for reports of any kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from keyturn.audit.model import Rule, SecretFacts, Severity, Status, Thresholds
from tests.fuzz.support import examples
from tests.unit.credential_reports import NOW, Kept, ago, audited, key, password, user

_CUTS = (0, 30, 45, 90, 365, 1826)
_NO_DATES = ("N/A", "no_information", "not_supported")

# Dates where it matters: a few seconds around every cut.
dates = st.one_of(
    st.builds(
        ago,
        st.sampled_from(_CUTS),
        st.integers(-12, 12),
        suffix=st.sampled_from(["Z", "+00:00"]),
    ),
    st.builds(ago, st.integers(0, 2500), st.integers(0, 86_400)),
)
cells = st.one_of(
    dates, dates, dates, st.sampled_from([*_NO_DATES, "N/A", "garbage", "", "2026-02-30T00:00:00Z"])
)
booleans = st.sampled_from(["true", "false", "true", "false", "TRUE", "False", "N/A", ""])


@st.composite
def rows(draw: st.DrawFn) -> dict[str, str]:
    """Draw a user."""
    created = draw(cells)
    row = user("u", user_creation_time=created)
    row |= password(draw(cells), draw(cells), draw(booleans))
    row["password_enabled"] = draw(booleans)
    for slot in (1, 2):
        if draw(st.booleans()):
            near = _date(created)
            rotated = draw(cells)
            if near and draw(st.booleans()):
                moment = near + timedelta(seconds=draw(st.integers(-12, 12)))
                rotated = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
            row |= key(slot, rotated, draw(cells), draw(booleans))
    return row


def _date(cell: str) -> datetime | None:
    try:
        moment = datetime.strptime(cell.replace("Z", "+00:00"), "%Y-%m-%dT%H:%M:%S%z")
    except ValueError:
        return None
    return None if moment > NOW + timedelta(days=1) else moment


class _Broken(Exception):
    """A cell does not tell."""


class Reference:
    """The rules as the sheet has them. Every cell is either a value or an unknown one.

    Instead of three-valued logic it tries every value that the unknown cells could have: a rule is
    UNKNOWN where these disagree.
    """

    def __init__(self, row: Mapping[str, str], thresholds: Thresholds) -> None:
        self.row = row
        self.thresholds = thresholds

    def judge(self) -> Counter[tuple[Rule, Status, str | None]]:
        unknown = [
            name
            for name in self.row
            if name.endswith(("_active", "_enabled")) and "cert" not in name
            if self.row[name].lower() not in ("true", "false")
        ]
        outcomes = []
        for mask in range(1 << len(unknown)):
            guess = {
                name: "true" if mask >> number & 1 else "false"
                for number, name in enumerate(unknown)
            }
            outcomes.append(self._judge({**self.row, **guess}))
        answer: Counter[tuple[Rule, Status, str | None]] = Counter()
        for place in {place for outcome in outcomes for place in outcome}:
            values = {outcome.get(place, False) for outcome in outcomes}
            if values == {True}:
                answer[place[0], Status.FINDING, place[1]] += 1
            elif values != {False}:
                answer[place[0], Status.UNKNOWN, place[1]] += 1
        return answer

    def _judge(  # noqa: C901 - the sheet in one place, to be read beside it
        self, row: Mapping[str, str]
    ) -> dict[tuple[Rule, str | None], bool | None]:
        """Return True, False or None (unknown) for each rule and credential."""

        def over(moment: datetime, days: int) -> bool:
            return NOW - moment > timedelta(days=days)

        def unused(moment: datetime, days: int) -> bool:
            return NOW - moment >= timedelta(days=days)

        def date(name: str, *fallback: str) -> datetime:
            if row[name] in _NO_DATES and fallback:
                return date(*fallback)
            found = _date(row[name])
            if found is None:
                raise _Broken
            return found

        def attempt(question: Any, *given: Any) -> bool | None:
            try:
                return bool(question(*given))
            except _Broken:
                return None

        result: dict[tuple[Rule, str | None], bool | None] = {}
        last_uses: list[datetime | None] = []
        console = row["password_enabled"].lower() == "true"
        active = [n for n in (1, 2) if row[f"access_key_{n}_active"].lower() == "true"]

        def add_use(credential: str, *names: str) -> None:
            try:
                last_uses.append(date(*names))
            except _Broken:
                last_uses.append(None)
            result[Rule.UNUSED_CREDENTIAL, credential] = (
                None
                if last_uses[-1] is None
                else unused(last_uses[-1], self.thresholds.unused_after_days)
            )

        if console:
            add_use("password", "password_last_used", "password_last_changed", "user_creation_time")
            result[Rule.PASSWORD_WITHOUT_MFA, "password"] = row["mfa_active"].lower() == "false"
            result[Rule.OLD_PASSWORD, "password"] = attempt(
                lambda: over(date("password_last_changed", "user_creation_time"), 90)
            )
        for slot in active:
            name = f"access_key_{slot}"
            add_use(name, f"{name}_last_used_date", f"{name}_last_rotated")
            result[Rule.KEY_NOT_ROTATED, name] = attempt(
                lambda name=name: over(
                    date(f"{name}_last_rotated"), self.thresholds.max_key_age_days
                )
            )
        result[Rule.TWO_ACTIVE_KEYS, None] = len(active) == 2
        known = [moment for moment in last_uses if moment]
        if any(not unused(moment, 90) for moment in known):
            result[Rule.UNUSED_USER, None] = False
        else:
            result[Rule.UNUSED_USER, None] = None if None in last_uses else True
        if console:
            self._made_with_user(row, active, result)
        return result

    def _made_with_user(
        self,
        row: Mapping[str, str],
        active: list[int],
        result: dict[tuple[Rule, str | None], bool | None],
    ) -> None:
        created = _date(row["user_creation_time"])
        together, unclear = [], False
        for slot in (1, 2):
            cell = row[f"access_key_{slot}_last_rotated"]
            moment = _date(cell)
            if cell in _NO_DATES and slot not in active:
                continue
            if moment and created and abs(moment - created) <= timedelta(seconds=10):
                together.append(slot)
            elif moment is None or created is None:
                unclear = True
        if together:
            credential = f"access_key_{together[0]}" if len(together) == 1 else None
            result[Rule.KEY_AT_USER_CREATION, credential] = True
        elif unclear:
            result[Rule.KEY_AT_USER_CREATION, None] = None


def _told(kept: Kept) -> Counter[tuple[Rule, Status, str | None]]:
    return Counter(
        (one.rule, one.status, one.credential) for one in kept.findings if one.user == "u"
    )


@examples(1500)
@given(rows(), st.sampled_from([(90, 90), (90, 45), (30, 90), (75, 365)]))
def test_every_row_is_judged_as_the_sheet_says(
    row: dict[str, str], limits: tuple[int, int]
) -> None:
    thresholds = Thresholds(*limits)
    kept, report = audited(row, thresholds=thresholds)
    expected = Reference(row, thresholds).judge()
    # Which key was made with a user whose state is not known is not told: compare without it.
    assert _without_slot(_told(kept)) == _without_slot(expected)
    counted = Counter({kind: count for kind, count in report.accounts[0].findings.items()})
    assert counted == Counter((one.rule, one.status, one.severity) for one in kept.findings)


def _without_slot(
    found: Counter[tuple[Rule, Status, str | None]],
) -> Counter[tuple[Rule, Status, str | None]]:
    return Counter(
        {
            (rule, status, None if rule is Rule.KEY_AT_USER_CREATION else credential): count
            for (rule, status, credential), count in found.items()
        }
    )


@examples(150)
@given(st.lists(rows(), max_size=12), st.booleans())
def test_counts_and_tables_agree_with_the_findings_of_the_rows(
    users: list[dict[str, str]], in_flight: bool
) -> None:
    named = [
        {**row, "user": f"u{n:02}", "arn": row["arn"] + f"{n:02}"} for n, row in enumerate(users)
    ]
    managed = {"u03": SecretFacts("u03", "arn", in_flight)}
    kept, report = audited(*named, managed=managed)
    measures = {one.id: one for one in report.tables.measures}
    found = Counter(one.rule for one in kept.findings if one.status is Status.FINDING and one.user)
    unknown = Counter(one.rule for one in kept.findings if one.status is Status.UNKNOWN)
    for measure, rule in (
        ("console-users-without-mfa", Rule.PASSWORD_WITHOUT_MFA),
        ("keys-made-with-user", Rule.KEY_AT_USER_CREATION),
        ("two-active-keys", Rule.TWO_ACTIVE_KEYS),
        ("users-unused-90", Rule.UNUSED_USER),
    ):
        assert measures[measure].count == found[rule], measure
        assert measures[measure].unknown == unknown[rule], measure
    old = {one.user for one in kept.findings if one.rule is Rule.KEY_NOT_ROTATED and one.age_days}
    assert measures["keys-over-90"].count == len(old)
    assert report.total("keys") == len(kept.keys)
    active = sum(count for _, count in report.tables.key_tiers) + report.tables.keys_of_unknown_age
    assert active <= report.accounts[0].active_keys
    assert report.findings_total == len(kept.findings)
    low = [one for one in kept.findings if one.rule is Rule.TWO_ACTIVE_KEYS and one.user == "u03"]
    assert all((one.severity is Severity.LOW) == in_flight for one in low if one.age_days)
