"""Whom a fleet run rotates, and the reason that everybody else is given."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.fleet.choosing import BATCH, Selection, Why, batches, choose
from keyturn.fleet.facts import FleetUser
from tests.unit.fleets import CLOCK, DAY, NOW, settings, user

HOUR = timedelta(hours=1)


def chosen(*users: FleetUser, limit: int = 50, **given_: Any) -> list[str]:
    return [item.user_name for item in plan(*users, limit=limit, **given_).chosen]


def plan(*users: FleetUser, limit: int = 50, **given_: Any) -> Selection:
    return choose(users, clock=CLOCK, limit=limit, attempts=given_.pop("attempts", {}), **given_)


# One line a rule: the facts, why the user is left alone (None: chosen), and words of the reason.
TABLE: list[tuple[str, FleetUser, dict[str, datetime], Why | None, str]] = [
    ("due", user("u", 100), {}, None, ""),
    ("due to the second", user("u", 78), {}, None, ""),
    ("a second too young", user("u", 78 - 1 / 86_400), {}, Why.NOT_DUE, "77 days old"),
    ("the younger key does not count", user("u", 1, 100), {}, None, ""),
    ("no active key", user("u", active_keys=()), {}, Why.NO_ACTIVE_KEY, "no active key"),
    (
        "a key without a date is not taken for a young one",
        user("u", 1, unclear_keys=True),
        {},
        Why.AGE_UNKNOWN,
        "look at the key in IAM",
    ),
    ("at work", user("u", 100, in_flight=True), {}, Why.IN_FLIGHT, "claim"),
    (
        "backed out a day ago",
        user("u", 100, last_result="BACKED_OUT", last_result_at=NOW - DAY),
        {},
        Why.COOLING_DOWN,
        "2026-11-20 was in vain (BACKED_OUT)",
    ),
    (
        "in need of attention 7 days ago",
        user("u", 100, last_result="NEEDS_ATTENTION", last_result_at=NOW - 7 * DAY),
        {},
        None,
        "",
    ),
    (
        "in need of attention, an hour before 7 days are over",
        user("u", 100, last_result="NEEDS_ATTENTION", last_result_at=NOW - 7 * DAY + HOUR),
        {},
        Why.COOLING_DOWN,
        "from 2026-11-21 on",
    ),
    (
        "failed in a year that no clock shows: somebody wrote it into the tag",
        user("u", 100, last_result="FAILED", last_result_at=datetime.max.replace(tzinfo=UTC)),
        {},
        None,
        "",
    ),
    (
        "failed yesterday",
        user("u", 100, last_result="FAILED", last_result_at=NOW - DAY),
        {},
        Why.COOLING_DOWN,
        "FAILED",
    ),
    (
        "skipped yesterday is no failure",
        user("u", 100, last_result="SKIPPED", last_result_at=NOW - DAY),
        {},
        None,
        "",
    ),
    (
        "rejected yesterday, of which only the fleet knows",
        user("u", 100),
        {"u": NOW - DAY},
        Why.COOLING_DOWN,
        "2026-11-20 was in vain;",
    ),
    ("tried 8 days ago", user("u", 100), {"u": NOW - 8 * DAY}, None, ""),
    (
        "an attempt that was followed by a new key was not in vain",
        user("u", 100),
        {"u": NOW - 101 * DAY},
        None,
        "",
    ),
    (
        "rotated since the report was made",
        user("u", 100, last_result="ROTATED", last_result_at=NOW - HOUR),
        {},
        Why.NOT_DUE,
        "after the credential report",
    ),
    (
        "rotated before the report was made, and old again",
        user("u", 100, last_result="ROTATED", last_result_at=NOW - 4 * HOUR),
        {},
        None,
        "",
    ),
]


@pytest.mark.parametrize(
    ("who", "attempts", "why", "words"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_who_is_chosen(
    who: FleetUser, attempts: dict[str, datetime], why: Why | None, words: str
) -> None:
    found = plan(who, attempts=attempts)
    if why is None:
        assert [item.user_name for item in found.chosen] == ["u"]
        assert found.left == ()
    else:
        (left,) = found.left
        assert (left.user_name, left.why, found.chosen) == ("u", why, ())
        assert words in left.words


def test_who_is_not_managed_is_not_even_named() -> None:
    assert plan(user("other", 500, managed=False)) == Selection((), ())


def test_the_oldest_key_comes_first_and_who_was_tried_in_vain_goes_behind() -> None:
    users = [
        user("young", 80),
        user("oldest-but-failed", 300, last_result="BACKED_OUT", last_result_at=NOW - 30 * DAY),
        user("old", 120),
        user("rejected", 200),
    ]
    attempts = {"rejected": NOW - 40 * DAY}
    assert chosen(*users, attempts=attempts) == ["old", "young", "rejected", "oldest-but-failed"]


def test_one_that_always_fails_does_not_take_the_only_place_every_day() -> None:
    users = [user("broken", 300), user("b", 90), user("c", 85)]
    attempts: dict[str, datetime] = {}
    tried = []
    for day in range(3):
        now = NOW + day * DAY
        clock = type(CLOCK)(now=now, report_at=now, due_after_seconds=CLOCK.due_after_seconds)
        (one,) = choose(users, clock=clock, attempts=attempts, limit=1).chosen
        attempts[one.user_name] = now
        tried.append(one.user_name)
    assert tried == ["broken", "b", "c"]


def test_the_limit_leaves_the_youngest_for_the_next_run() -> None:
    found = plan(*(user(f"u{age}", age) for age in (80, 90, 100)), limit=2)
    assert [item.user_name for item in found.chosen] == ["u100", "u90"]
    (left,) = found.left
    assert (left.user_name, left.why) == ("u80", Why.OVER_LIMIT)


def test_named_users_are_rotated_whatever_their_age_and_their_last_result() -> None:
    cooling = user("cooling", 1, last_result="BACKED_OUT", last_result_at=NOW - HOUR)
    unmanaged = user("unmanaged", 3, managed=False)  # RotateKey will refuse it, in its own words
    asked = ["unmanaged", "cooling", "unmanaged"]
    found = plan(user("old", 500), cooling, unmanaged, asked_for=asked)
    assert [item.user_name for item in found.chosen] == ["unmanaged", "cooling"]
    assert found.left == ()
    assert "asked for by name; the key is 1 day old" in found.chosen[1].reason


def test_named_users_that_are_at_work_or_unknown_are_told() -> None:
    found = plan(user("busy", in_flight=True), asked_for=["busy", "nobody"])
    assert {(left.user_name, left.why) for left in found.left} == {
        ("busy", Why.IN_FLIGHT),
        ("nobody", Why.UNKNOWN_USER),
    }
    assert found.chosen == ()


def test_named_users_do_not_go_beyond_the_limit() -> None:
    found = plan(user("a"), user("b"), asked_for=["b", "a"], limit=1)
    assert [item.user_name for item in found.chosen] == ["b"]
    assert [left.why for left in found.left] == [Why.OVER_LIMIT]


LEGAL = re.compile(r"[0-9A-Za-z_-]{1,80}")
CHARACTERS = "abcXYZ0189_+=,.@-"


@given(name=st.text(CHARACTERS, min_size=1, max_size=64), hour=st.integers(0, 23))
def test_the_name_is_legal_for_every_user_name_and_the_same_all_day(name: str, hour: int) -> None:
    names = set()
    for now in (NOW, NOW.replace(hour=hour)):
        clock = type(CLOCK)(now=now, report_at=now, due_after_seconds=0)
        (one,) = choose([user(name)], clock=clock, attempts={}, limit=1).chosen
        names.add(one.execution_name)
    assert len(names) == 1
    assert LEGAL.fullmatch(names.pop())


def test_another_day_and_a_user_that_was_made_again_have_other_names() -> None:
    def name(who: FleetUser, now: datetime) -> str:
        clock = type(CLOCK)(now=now, report_at=now, due_after_seconds=0)
        return choose([who], clock=clock, attempts={}, limit=1).chosen[0].execution_name

    today = name(user(), NOW)
    assert name(user(), NOW + DAY) != today
    assert name(user(created_at=NOW - DAY), NOW) != today
    assert name(user(arn="arn:aws:iam::123456789012:user/x/ci"), NOW) != today


@given(st.integers(0, 400))
def test_batches_hold_everybody_once(count: int) -> None:
    divided = batches(range(count))
    assert [number for batch in divided for number in batch] == list(range(count))
    assert all(1 <= len(batch) <= BATCH for batch in divided)


# When a key is due


@pytest.mark.parametrize(
    ("changed", "days"),
    [
        # 90 days without 7 (pickup), 3.25 (watch), 1 (until the next run), 4 hours (the report)
        ({}, 90 - 7 - 3.25 - 1 - 4 / 24),
        ({"WATCH_SECONDS": 0, "PICKUP_TIMEOUT_SECONDS": 86_400}, 90 - 1 - 1 - 4 / 24),
        ({"MAX_KEY_AGE_DAYS": 30}, 30 - 7 - 3.25 - 1 - 4 / 24),
        ({"MAX_KEY_AGE_DAYS": 10}, 1),  # RotateKey would skip a younger key
        ({"MAX_KEY_AGE_DAYS": 0, "MIN_KEY_AGE_SECONDS": 0}, 0),
    ],
)
def test_a_key_is_due_early_enough_to_be_rotated_before_it_is_too_old(
    changed: dict[str, int], days: float
) -> None:
    assert settings(**changed).due_after_seconds == round(days * 86_400)


def test_the_run_waits_as_long_as_a_rotation_may_take_and_its_back_out() -> None:
    longest = settings().longest_rotation_seconds
    assert longest > 604_800 + 280_800 + 3_600 + 3_600
    assert longest < 604_800 + 280_800 + 86_400


def test_the_days_of_a_run_are_those_of_utc() -> None:
    late = datetime(2026, 11, 21, 23, 59, tzinfo=UTC)
    clock = type(CLOCK)(now=late, report_at=late, due_after_seconds=0)
    (one,) = choose([user()], clock=clock, attempts={}, limit=1).chosen
    assert one.execution_name.startswith("rotate-20261121-")
    assert one.reason.startswith("fleet run of 2026-11-21: the key is 100 days old")
