"""Damaged reports: a clear error, or UNKNOWN with the line; never a silent pass."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from keyturn.audit import outputs, rows, run
from keyturn.audit.context import dump_context, load_source
from keyturn.audit.errors import ReportError
from keyturn.audit.model import AccountSource, Rule, SecretFacts, Status, Thresholds, Unavailable
from keyturn.audit.outputs import Files
from keyturn.audit.run import audit
from keyturn.audit.standards import USER_RULES
from keyturn.model.passwords import PasswordPolicy
from tests.unit.credential_reports import (
    ACCOUNT,
    COLUMNS,
    GOOD_POLICY,
    NOW,
    Kept,
    ago,
    audited,
    key,
    lines,
    password,
    root,
    user,
)

OLD = key(1, ago(91), ago(1))


def refused(text: Iterable[str], **more: str) -> ReportError:
    source = AccountSource(lines=text, at=NOW, **more)  # type: ignore[arg-type]
    with pytest.raises(ReportError) as caught:
        audit([source], Thresholds(), sink=Kept())
    return caught.value


def unknown_rules(kept: Kept, name: str) -> set[Rule]:
    return {one.rule for one in kept.findings if one.status is Status.UNKNOWN and one.user == name}


def no_text() -> Iterator[str]:
    yield from lines(root())
    yield b"\xff".decode()


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        *[(empty, None, None, "empty") for empty in ([], [""], ["\n"], ["\ufeff"], [",,,\n"])],
        (lines(), None, None, "no row"),
        (["<html><body>AccessDenied</body></html>"], 1, "user", "no column user"),
        ([f"{one.rstrip()},arn\n" for one in lines(root())], 1, "arn", "more than once: arn"),
        (lines({**root(), "arn": "arn:aws:iam::999999999999:root"}), 2, "arn", "999999999999"),
        (no_text(), 3, None, "not UTF-8"),
        # Text after a quoted name is no part of the name.
        ([*lines(root()), '"a"x,' + lines(user())[1]], 3, None, "damaged"),
    ],
)
def test_what_is_no_report_of_the_account_is_an_error(
    text: Iterable[str], line: int | None, column: str | None, words: str
) -> None:
    error = refused(text, account_id=ACCOUNT, name="prod.csv")
    assert (error.line, error.column) == (line, column)
    assert f"account {ACCOUNT} (prod.csv)" in str(error)
    assert words in str(error)


@pytest.mark.parametrize(
    "column", [name for name in COLUMNS if "cert" not in name and "next" not in name]
)
def test_a_missing_column_is_named(column: str) -> None:
    text = lines(root(), user(), columns=tuple(name for name in COLUMNS if name != column))
    error = refused(text)
    assert error.column == column
    assert f"no column {column}" in str(error)


@pytest.mark.parametrize("most", [1, 2, 3])
def test_counts_are_the_same_however_few_judgements_are_remembered(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    rows = [
        user(f"u{number:02}", **key(1, ago(20 * (number % 7)), ago(30 * (number % 5))))
        for number in range(70)
    ]
    kept, report = audited(*rows)
    monkeypatch.setattr(run, "MOST_ALIKE", most)
    again, folded = audited(*rows)
    assert again.findings == kept.findings
    assert folded.summary() == report.summary()


def test_a_broken_cell_does_not_hide_a_key_that_was_made_with_its_user() -> None:
    both = {**key(1, ago(5), ago(1)), **key(2, ago(5), "garbage")}
    kept, _ = audited(user(user_creation_time=ago(5), **password(ago(1), ago(5)), **both))
    (found,) = (one for one in kept.findings if one.rule is Rule.KEY_AT_USER_CREATION)
    assert found.status is Status.FINDING
    assert found.detail.startswith("Both access keys were made within 10 seconds")


def test_of_a_pair_of_keys_it_is_not_known_whose_age_the_share_is_of() -> None:
    pair = {**key(1, ago(40), ago(1)), **key(2, ago(40), ago(1))}
    _, report = audited(user("a", user_creation_time="garbage", **pair), user("b"))
    measures = {one.id: one for one in report.tables.measures}
    told = measures["two-active-keys-30"]
    assert (told.count, told.of, told.unknown) == (0, 1, 1)


def test_an_account_that_was_audited_already_is_an_error() -> None:
    twice = [AccountSource(lines=lines(root()), at=NOW, name=name) for name in ("old", "new")]
    with pytest.raises(ReportError, match=f"new, line 2: account {ACCOUNT} is .* from old"):
        audit(twice, Thresholds(), sink=None)


@pytest.mark.parametrize(("users", "why"), [(5, "never closed"), (2000, "field limit")])
def test_an_open_quote_swallows_no_users(users: int, why: str) -> None:
    text = lines(root(), *(user(f"u{number:06}") for number in range(users)))
    text[3] = '"' + text[3]
    error = refused(text)
    assert why in str(error)
    assert error.line is not None
    assert error.line > 4


def test_columns_are_found_by_name_and_unknown_ones_ignored() -> None:
    straight, _ = audited(user(**OLD))
    shuffled = ("additional_credentials_info", *reversed(COLUMNS), "new")
    other, _ = audited(text=lines(root(new="x"), user(**OLD, new="=1"), columns=shuffled))
    assert other.findings == straight.findings
    assert other.keys == straight.keys


@pytest.mark.parametrize("end", ["\r\n", "\n", ""])
def test_line_ends_the_byte_order_mark_blank_lines_and_no_last_newline(end: str) -> None:
    straight, _ = audited(user(**OLD))
    text = [line.rstrip("\n") + end for line in lines(root(), user(**OLD))]
    text = ["\ufeff" + text[0], *text[1:], end, end]
    other, report = audited(text=text)
    assert other.findings == straight.findings
    assert report.accounts[0].rows == 2


@pytest.mark.parametrize("quoted", [True, False])
@pytest.mark.parametrize(("name", "path"), [("a,b,c", "/"), ("x", "/a,b/"), ("a,b", '/q"/,/')])
def test_commas_in_names_and_paths_are_read_quoted_or_not(
    quoted: bool, name: str, path: str
) -> None:
    row = user(name, path=path, **OLD)
    text = lines(root(), row)
    if not quoted:
        text[2] = ",".join(row[column] for column in COLUMNS) + "\n"
    kept, report = audited(text=text)
    assert {record.user for record in kept.keys} == {name}
    assert {record.user_arn for record in kept.keys} == {row["arn"]}
    assert report.accounts[0].unreadable_rows == 0


@pytest.mark.parametrize("change", [lambda row: row[:12], lambda row: [*row, "more"]])
def test_a_row_with_another_number_of_fields_is_unknown(change: object) -> None:
    row = [user(**OLD)[column] for column in COLUMNS]
    text = lines(root(), user("aa"))
    text.append(",".join(change(row)))  # type: ignore[operator]
    kept, report = audited(text=text)
    assert unknown_rules(kept, "ci") == set(USER_RULES)
    assert all("Line 4: the row has" in one.detail for one in kept.findings if one.user == "ci")
    (counts,) = report.accounts
    assert (counts.users, counts.unreadable_rows) == (1, 1)
    assert "line 4" in report.problems[0]
    assert ACCOUNT in report.problems[0]


@pytest.mark.parametrize("between", [[], ["dd"], ["aa", "zz"]])
def test_a_user_who_is_listed_twice_is_judged_once_and_then_unknown(between: list[str]) -> None:
    rows = [user(**OLD), *(user(name) for name in between), user("CI", **OLD)]
    kept, report = audited(*rows)
    assert len([one for one in kept.findings if one.rule is Rule.KEY_NOT_ROTATED]) == 2
    assert unknown_rules(kept, "CI") == set(USER_RULES)
    assert "second time" in report.problems[0]
    assert report.tables.users == 1 + len(between)


def test_a_second_root_row_is_told() -> None:
    kept, report = audited(text=lines(root(), user(), root(**OLD)))
    assert "second time" in report.problems[0]
    assert not [one for one in kept.findings if one.rule is Rule.ROOT_ACCESS_KEY]


def test_repeated_users_are_found_in_long_sorted_reports_and_unsorted_ones_say_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rows, "MOST_NAMES", 10)
    names = [f"u{number:03}" for number in range(50)]
    _, report = audited(*map(user, names))
    assert report.problems == ()
    _, report = audited(*map(user, [*names, names[-1]]))
    assert len(report.problems) == 1
    assert "second time" in report.problems[0]
    _, report = audited(*map(user, reversed(names)))
    assert len(report.problems) == 1
    assert "not in the order" in report.problems[0]


@pytest.mark.parametrize(
    ("name", "arn"),
    [
        ("ci", "arn:aws:iam::999999999999:user/ci"),
        ("ci", "garbage"),
        ("ci", f"arn:aws:iam::{ACCOUNT}:root"),
        ("<root_account>", f"arn:aws:iam::{ACCOUNT}:user/ci"),
        ("", f"arn:aws:iam::{ACCOUNT}:user/ci"),
    ],
)
def test_a_user_whose_name_or_arn_cannot_be_is_unknown(name: str, arn: str) -> None:
    kept, report = audited({**user(**OLD), "user": name, "arn": arn})
    assert unknown_rules(kept, name) >= set(USER_RULES)
    assert report.accounts[0].users == 0
    assert "line 3: " in report.problems[0]


def test_other_partitions_are_read() -> None:
    arns = [one["arn"].replace("arn:aws:", "arn:aws-us-gov:") for one in (root(), user())]
    kept, report = audited(text=lines({**root(), "arn": arns[0]}, {**user(**OLD), "arn": arns[1]}))
    assert report.accounts[0].users == 1
    assert kept.keys[0].user_arn == arns[1]


def test_many_problems_are_counted_and_not_kept() -> None:
    _, report = audited(*[{**user(f"u{number:03}"), "arn": "x"} for number in range(100)])
    assert len(report.problems) == 21
    assert "80 more" in report.problems[-1]
    assert report.accounts[0].unreadable_rows == 100


def test_a_pasted_key_id_or_a_control_character_in_a_cell_does_not_come_back() -> None:
    cell = "AKIAIOSFODNN7EXAMPLE\x1b[31m" + "x" * 5000
    kept, _ = audited({**user(**OLD), "access_key_1_last_used_date": cell})
    told = next(one for one in kept.findings if one.status is Status.UNKNOWN and one.user)
    assert "AKIAIOSFODNN7EXAMPLE" not in told.detail
    assert "\x1b" not in told.detail
    assert len(told.detail) < 200


def test_a_moment_without_a_time_zone_is_a_defect_of_the_caller() -> None:
    with pytest.raises(ValueError, match="time zone"):
        audited(at=NOW.replace(tzinfo=None))


# Many accounts


def test_totals_of_many_accounts_are_the_sums_of_each() -> None:
    accounts = [f"{number:012}" for number in (1, 22, 333)]
    sources = []
    for number, account in enumerate(accounts):
        rows = [
            user("a", account, **OLD),
            user("b", account, **password(ago(1), ago(95), mfa="false")),
            *(user(f"c{more}", account, **key(1, ago(400), ago(400))) for more in range(number)),
        ]
        sources.append((account, lines(root(account), *rows)))

    def source(account: str, text: list[str]) -> AccountSource:
        return AccountSource(lines=text, at=NOW, account_id=account, password_policy=None)

    together = audit([source(*one) for one in sources], Thresholds(), sink=Kept())
    alone = [audit([source(*one)], Thresholds(), sink=None) for one in sources]
    assert [one.account_id for one in together.accounts] == accounts
    assert together.accounts == tuple(one.accounts[0] for one in alone)
    for number, measure in enumerate(together.tables.measures):
        assert measure.count == sum(one.tables.measures[number].count for one in alone)
        assert measure.of == sum(one.tables.measures[number].of for one in alone)
    assert together.findings_total == sum(one.findings_total for one in alone)
    assert together.tables.oldest_key_days == 400
    # The same user name in two accounts is two users.
    assert together.summary()["totals"]["users"] == 2 * 3 + 0 + 1 + 2


def test_managed_users_are_counted_for_the_metrics() -> None:
    facts = {name: SecretFacts(name, "arn", name == "b") for name in ("a", "b", "gone")}
    _, report = audited(
        user("a", **key(1, ago(120), ago(1)), **key(2, ago(500), ago(1), active="false")),
        user("b", **key(1, ago(10), ago(1)), **key(2, ago(100), ago(1))),
        user("c", **key(1, ago(900), ago(1))),
        managed=facts,
    )
    (counts,) = report.accounts
    assert counts.managed_users == 2
    assert counts.rotations_in_flight == 1
    assert counts.managed_keys_over_age == 2
    assert counts.oldest_managed_key_age_days == 120
    assert counts.oldest_key_age_days == 900


# Context


@pytest.mark.parametrize(
    "managed",
    [
        {},
        {"a": SecretFacts("a", "arn", True), "b": SecretFacts("b", "arn", False, "SUCCEEDED", NOW)},
        Unavailable("denied"),
    ],
)
@pytest.mark.parametrize(
    "policy", [None, GOOD_POLICY, PasswordPolicy(None, 8, None), Unavailable("no")]
)
def test_a_context_comes_back_as_it_was(managed: object, policy: object) -> None:
    source = AccountSource(
        lines=[],
        at=NOW,
        account_id=ACCOUNT,
        managed=managed,  # type: ignore[arg-type]
        managed_path="/machine/",
        password_policy=policy,  # type: ignore[arg-type]
    )
    assert load_source(ACCOUNT, source.lines, dump_context(source)) == source


@pytest.mark.parametrize(
    "context",
    ["", "[]", "{}", "null", '{"format": "other"}', '{"format": "keyturn.audit.context/1"}'],
)
def test_a_damaged_context_is_an_error_that_names_the_account(context: str) -> None:
    with pytest.raises(ReportError, match=ACCOUNT):
        load_source(ACCOUNT, [], context)


def test_a_context_of_another_format_or_without_a_time_zone_is_refused() -> None:
    context = json.loads(dump_context(AccountSource(lines=(), at=NOW, account_id=ACCOUNT)))
    for field, value in (("format", "keyturn.audit.context/2"), ("at", "2026-11-21T12:00:00")):
        with pytest.raises(ReportError) as caught:
            load_source(ACCOUNT, (), json.dumps({**context, field: value}))
        assert caught.value.column == field


def test_a_context_of_another_account_is_refused() -> None:
    source = AccountSource(lines=[], at=NOW, account_id="999999999999")
    with pytest.raises(ReportError, match="another account"):
        load_source(ACCOUNT, [], dump_context(source))


# Memory


def _endless(rows: int) -> Iterator[str]:
    yield from lines(root())
    cells = user("NAME", **OLD)
    template = ",".join(cells[column] for column in COLUMNS) + "\n"
    for number in range(rows):
        yield template.replace("NAME", f"u{number:07}")


def test_memory_does_not_grow_with_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Both sizes are beyond everything that is kept up to a limit.
    monkeypatch.setattr(rows, "MOST_NAMES", 200)
    monkeypatch.setattr(outputs, "MOST_ON_THE_PAGE", 200)

    def peak(rows: int) -> int:
        files = Files(tmp_path / str(rows))
        source = AccountSource(lines=_endless(rows), at=NOW)
        tracemalloc.start()
        files.write(audit([source], Thresholds(), sink=files), page=False)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    small, large = peak(1_500), peak(6_000)
    assert large < small + 200_000
