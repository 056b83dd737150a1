"""What the emulator remembers, without starting one."""

from __future__ import annotations

import pytest

from localaws.model import FaultRule, LastUsedModel
from localaws.requests import describe, names_in
from localaws.state import Faults, LastUsed, Request

KEY, USER = "AKIA1", "alice"


def seen(model: LastUsedModel, uses: list[float], now: float) -> float | None:
    """The date shown at `now` after uses at these times."""
    memory = LastUsed()
    memory.set_model(model, USER, None)
    for time in uses:
        memory.used(KEY, USER, "s3", "us-east-1", time)
    shown = memory.shown(KEY, USER, now)
    return None if shown is None else shown[0]


@pytest.mark.parametrize(
    ("model", "uses", "now", "date"),
    [
        (LastUsedModel(), [], 10, None),
        (LastUsedModel(), [1.9, 5.2], 10, 5),
        # The first use of a span is recorded, later ones are not; the next span starts anew.
        (LastUsedModel(coalesce_seconds=900), [0, 899], 1000, 0),
        (LastUsedModel(coalesce_seconds=900), [0, 899, 900], 1000, 900),
        (LastUsedModel(coalesce_seconds=900), [0, 500, 901, 1700], 2000, 901),
        (LastUsedModel(truncate_to_minute=True), [179], 200, 120),
        (LastUsedModel(lag_seconds=60), [100], 159, None),
        (LastUsedModel(lag_seconds=60), [100], 160, 100),
        (LastUsedModel(lag_seconds=60), [100, 150], 170, 100),
        (LastUsedModel(lag_seconds=60, coalesce_seconds=900), [100, 150], 9999, 100),
    ],
)
def test_last_use_is_shown_as_the_model_says(
    model: LastUsedModel, uses: list[float], now: float, date: float | None
) -> None:
    assert seen(model, uses, now) == date


def test_a_random_lag_stays_within_its_bounds_and_repeats_with_its_seed() -> None:
    model = LastUsedModel(lag_seconds=(10, 20), seed=3)
    assert seen(model, [0], 9.9) is None
    assert seen(model, [0], 20) == 0
    moments = [now for now in range(10, 21) if seen(model, [0], now) is not None]
    assert moments == [now for now in range(10, 21) if seen(model, [0], now) is not None]


def test_a_model_of_a_user_precedes_one_of_a_prefix_and_the_default() -> None:
    memory = LastUsed()
    memory.set_model(LastUsedModel(lag_seconds=100), None, None)
    memory.set_model(LastUsedModel(lag_seconds=50), None, "AKIA")
    memory.set_model(LastUsedModel(), USER, None)
    memory.used(KEY, USER, "s3", "us-east-1", 0)
    memory.used("AKIA2", "bob", "s3", "us-east-1", 0)
    memory.used("ASIA3", "carol", "s3", "us-east-1", 0)
    visible = {
        moment: [
            key
            for key, user in ((KEY, USER), ("AKIA2", "bob"), ("ASIA3", "carol"))
            if memory.shown(key, user, moment)
        ]
        for moment in (0, 50, 100)
    }
    assert visible == {0: [KEY], 50: [KEY, "AKIA2"], 100: [KEY, "AKIA2", "ASIA3"]}


def call(user: str, action: str = "CreateAccessKey") -> Request:
    return Request("iam", action, about=frozenset({user}))


def test_a_rule_strikes_its_occurrences_of_its_user_and_action() -> None:
    faults = Faults()
    number = faults.arm(
        FaultRule(action="iam:CreateAccessKey", kind="throttle", user=USER, nth=2, count=2)
    )
    requests = [call(USER), call("bob"), call(USER, "ListUsers"), *[call(USER)] * 3]
    struck = [bool(faults.striking(request)) for request in requests]
    assert struck == [False, False, False, True, True, False]
    assert len(faults.fired(None, number)) == len(faults.fired(USER, None)) == 2
    assert faults.fired("bob", None) == []


def test_rules_are_cleared_by_user_by_number_or_all() -> None:
    faults = Faults()
    numbers = [
        faults.arm(FaultRule(action="*", kind="throttle", user=user, count=9))
        for user in ("a", "b", "c")
    ]
    faults.clear("a", None)
    faults.clear(None, numbers[1])
    assert [bool(faults.striking(call(user))) for user in "abc"] == [False, False, True]
    faults.clear(None, None)
    assert not faults.striking(call("c"))


SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:machine-user"


@pytest.mark.parametrize(
    ("text", "user"),
    [
        ("alice", "alice"),
        ("machine-user/alice", "alice"),
        (f"{SECRET}/alice-AbCdEf", "alice"),
        (f"{SECRET}/alice-bobxyz-AbCdEf", "alice-bobxyz"),
        ("machine-user/alice-bobxyz", "alice-bobxyz"),
        ("arn:aws:iam::123456789012:user/machine/alice", "alice"),
    ],
)
def test_users_are_recognised_in_names_and_arns(text: str, user: str) -> None:
    assert user in names_in(text)
    assert user == "alice" or "alice" not in names_in(text)


def test_secret_values_are_never_looked_into() -> None:
    request = describe(
        "secretsmanager",
        "PutSecretValue",
        principal="arn:aws:sts::123456789012:assumed-role/r/f",
        parameters={"SecretId": "machine-user/alice", "SecretString": "hunter2"},
        event={"input": '{"userName": "alice", "SecretString": "hunter3"}'},
        function="f",
    )
    assert request.about == {"machine-user/alice", "alice"}
    assert request.secret_names == {"machine-user/alice", "alice"}
