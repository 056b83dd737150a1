"""ROTATE: what is rotated, what is left alone, and what is refused, with nothing interfering."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any
from uuid import uuid4

import pytest

from keyturn.model.request import is_user_name
from proofs.stack.outcomes import At, assert_outcome
from proofs.stack.scenarios import Scenarios, consuming
from proofs.stack.support import PREFIX, MachineUser, Stack

pytestmark = [pytest.mark.emulator, pytest.mark.slow, pytest.mark.xdist_group("rotate")]

scenario = Scenarios()

WHOLE_WAY = "proven published deactivated"
UNTOUCHED = ["Check Request", "What To Do?", "Request Rejected"]
LEFT_ALONE = [
    "Check Request",
    "What To Do?",
    "Announce Outcome",
    "Tell People",
    "How Did It End?",
    "Skipped",
]


@pytest.fixture(scope="module")
def running(stack: Stack, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[None]]]:
    """All scenarios of this module, started at once."""
    with scenario.running(stack, request) as futures:
        yield futures


def loops_once(states: list[str]) -> list[str]:
    """The states in the order in which each was first entered."""
    return list(dict.fromkeys(states))


def assert_rotated(stack: Stack, user: MachineUser, result: dict[str, Any]) -> None:
    """One active key, in AWSCURRENT; the old one inactive; nothing claimed or pending."""
    new = result["newAccessKeyId"]
    assert result["oldAccessKeyId"] == user.access_key_id
    assert stack.keys(user.name) == {user.access_key_id: "Inactive", new: "Active"}
    assert stack.current_key(user.name) == new
    assert not {"CLAIM", "AWSPENDING", "EXPOSED"} & stack.labels(user.name).keys()


# --- rotated --------------------------------------------------------------------------------------


@scenario
def consumers_move_and_the_old_key_goes(stack: Stack) -> None:
    user = stack.user()
    before = stack.labels(user.name)
    with (
        consuming(stack, user, separate_reader=False) as one,
        consuming(stack, user, separate_reader=False) as other,
    ):
        ended = stack.rotate(user.name, reason="yearly")
        assert one.counts.access_key_id == ended.result["newAccessKeyId"]
        assert (one.counts.errors, other.counts.errors) == (0, 0)
    assert_outcome(ended, "ROTATED", user=user.name, times=WHOLE_WAY)
    assert loops_once(ended.states) == [
        "Check Request",
        "What To Do?",
        "Issue New Key",
        "New Key Issued?",
        "Prove New Key",
        "New Key Proven?",
        "Publish New Key",
        "Consumers To Wait For?",
        "Wait For Consumers",
        "Check Pickup",
        "Picked Up?",
        "Deactivate Old Key",
        "Old Key Deactivated?",
        "Watch Consumers",
        "Health URL Set?",
        "Check Watch",
        "Watch Passed?",
        "Close Rotation",
        "Announce Outcome",
        "Tell People",
        "How Did It End?",
        "Rotated",
    ]
    assert_rotated(stack, user, ended.result)
    # The old version stays the way back until the next rotation.
    assert stack.labels(user.name)["BACKOUT"] == before["AWSCURRENT"]
    evidence = ended.result["evidence"]
    assert evidence["newKeyConsumerUse"]["service"] == "sqs"
    assert evidence["requestReason"] == "yearly"


@scenario
def named_by_its_key(stack: Stack) -> None:
    user = stack.user(f"Every_+=.@-{uuid4().hex[:9]}")
    with consuming(stack, user) as consumer:
        ended = stack.rotate(accessKeyId=user.access_key_id)
        assert consumer.counts.errors == 0
    assert_outcome(ended, "ROTATED", user=user.name, times=WHOLE_WAY)
    assert_rotated(stack, user, ended.result)


@scenario
def a_user_without_a_key_gets_its_first(stack: Stack) -> None:
    user = stack.user(key=False)
    ended = stack.rotate(user.name)
    assert_outcome(ended, "ISSUED", user=user.name, times="proven published")
    assert "Wait For Consumers" not in ended.states
    assert ended.states[-1] == "Issued"
    new = ended.result["newAccessKeyId"]
    assert stack.keys(user.name) == {new: "Active"}
    labels = stack.labels(user.name)
    assert not {"CLAIM", "AWSPENDING", "BACKOUT"} & labels.keys()
    assert labels["AWSCURRENT"].startswith(f"{new}-")
    found = stack.secrets.get_secret_value(SecretId=user.secret_name)
    value = json.loads(found["SecretString"])
    assert value.pop("SecretAccessKey")
    assert value.pop("IssuedAt").endswith("Z")
    assert value == {
        "Version": 1,
        "AccessKeyId": new,
        "UserName": user.name,
        "ExecutionArn": ended.arn,
        "Replaces": None,
    }


def adopted(stack: Stack, user: MachineUser) -> None:
    """The consumer is told of the secret only once it holds a key, as an operator would do it."""
    with consuming(stack, user, refresh_seconds=None) as consumer:
        arn = stack.start(user.name)
        stack.reaches(arn, "Wait For Consumers")
        consumer.refresh()
        ended = stack.ended(arn)
        assert consumer.counts.access_key_id == ended.result["newAccessKeyId"]
        assert consumer.counts.errors == 0
    assert_outcome(ended, "ROTATED", user=user.name, times=WHOLE_WAY)
    assert_rotated(stack, user, ended.result)
    # A version that does not hold the old key is no way back to it.
    assert "BACKOUT" not in stack.labels(user.name)


@scenario
def adopted_without_a_secret(stack: Stack) -> None:
    # Its secret's name ends in a hyphen and six characters, as the ARN of a secret does.
    adopted(stack, stack.user(f"u{uuid4().hex[:6]}-worker", secret=False))


@scenario
def adopted_with_an_empty_secret(stack: Stack) -> None:
    user = stack.user(secret=False)
    stack.secrets.create_secret(Name=user.secret_name)
    adopted(stack, user)


@scenario
def adopted_with_another_key_in_the_secret(stack: Stack) -> None:
    user = stack.user(secret=False)
    value = {"AccessKeyId": "AKIADELETEDLONGAGO00", "SecretAccessKey": "whatever"}
    stack.secrets.create_secret(Name=user.secret_name, SecretString=json.dumps(value))
    adopted(stack, user)


@scenario
def kept_for_its_retention_and_then_forced(stack: Stack) -> None:
    user = stack.user()
    with consuming(stack, user) as consumer:
        first = stack.rotate(user.name, timing={"retentionSeconds": 3600})
        assert_outcome(first, "ROTATED", user=user.name, times=WHOLE_WAY)
        assert first.states[-2:] == ["Start Retirement", "Rotated"]
        second = first.result["newAccessKeyId"]
        at_rest = At.now(stack, user.name)

        again = stack.rotate(user.name)
        assert_outcome(again, "SKIPPED", user=user.name, reason="rotated already")
        assert again.states == LEFT_ALONE
        assert At.now(stack, user.name) == at_rest

        forced = stack.rotate(user.name, force=True)
        assert_outcome(forced, "ROTATED", user=user.name, times=WHOLE_WAY)
        third = forced.result["newAccessKeyId"]
        assert stack.keys(user.name) == {second: "Inactive", third: "Active"}
        assert consumer.counts.access_key_id == third
        assert consumer.counts.errors == 0


# --- skipped --------------------------------------------------------------------------------------


@scenario
def a_young_key_is_left_alone(stack: Stack) -> None:
    user = stack.user(days_old=0)
    before = At.now(stack, user.name)
    ended = stack.rotate(user.name)
    assert_outcome(ended, "SKIPPED", user=user.name, reason="seconds old")
    assert ended.states == LEFT_ALONE
    assert At.now(stack, user.name) == before


@scenario
def an_unused_key_is_left_alone(stack: Stack) -> None:
    user = stack.user(days_old=100)
    before = At.now(stack, user.name)
    ended = stack.rotate(user.name)
    assert_outcome(ended, "SKIPPED", user=user.name, reason="not been used for 100 days")
    assert ended.states == LEFT_ALONE
    assert At.now(stack, user.name) == before


# --- refused --------------------------------------------------------------------------------------


@scenario
def two_active_keys_that_no_version_holds(stack: Stack) -> None:
    user = stack.user(secret=False)
    stack.add_key(user.name)
    before = At.now(stack, user.name)
    ended = stack.rotate(user.name, force=True)
    assert_outcome(
        ended, "REJECTED", user=user.name, error="RequestRejected", reason="two active keys"
    )
    assert ended.states == UNTOUCHED
    assert At.now(stack, user.name) == before


@scenario
def a_second_key_that_is_not_ours_takes_the_room(stack: Stack) -> None:
    user = stack.user()
    foreign = stack.add_key(user.name)
    before = At.now(stack, user.name)
    ended = stack.rotate(user.name, force=True)
    assert_outcome(
        ended,
        "REJECTED",
        user=user.name,
        error="RequestRejected",
        reason=f"...{foreign.access_key_id[-4:]}",
    )
    assert ended.states == UNTOUCHED
    assert At.now(stack, user.name) == before


@scenario
def an_unmanaged_user(stack: Stack) -> None:
    user = stack.user(managed=False)
    before = At.now(stack, user.name)
    ended = stack.rotate(user.name, force=True)
    assert_outcome(ended, "REJECTED", user=user.name, error="RequestRejected", reason="not managed")
    assert ended.states == UNTOUCHED
    assert At.now(stack, user.name) == before


@scenario
def the_key_of_an_unmanaged_user(stack: Stack) -> None:
    user = stack.user(managed=False)
    ended = stack.rotate(accessKeyId=user.access_key_id)
    assert_outcome(ended, "REJECTED", user=None, error="RequestRejected", reason="accessKeyId")
    assert ended.states == UNTOUCHED
    # Keys are masked for people, also in reasons.
    assert user.access_key_id not in ended.result["reason"]


@scenario
def a_user_who_does_not_exist(stack: Stack) -> None:
    ended = stack.rotate("nobody-at-all")
    assert_outcome(
        ended, "REJECTED", user="nobody-at-all", error="RequestRejected", reason="does not exist"
    )
    assert ended.states == UNTOUCHED


@scenario
def a_name_with_a_comma(stack: Stack) -> None:
    user = stack.user("lastname,firstname", secret=False)
    ended = stack.rotate(user.name, force=True)
    assert_outcome(ended, "REJECTED", user=user.name, error="RequestRejected", reason="comma")
    assert ended.states == UNTOUCHED
    assert stack.keys(user.name) == {user.access_key_id: "Active"}


@scenario
def a_user_who_is_being_rotated(stack: Stack) -> None:
    user = stack.user()
    with consuming(stack, user) as consumer:
        first = stack.start(user.name, timing={"quietPeriodSeconds": 8})
        stack.reaches(first, "Wait For Consumers")
        before = At.now(stack, user.name)
        second = stack.rotate(user.name, force=True)
        assert_outcome(second, "REJECTED", user=user.name, error="RequestRejected", reason=first)
        assert second.states == UNTOUCHED
        after = At.now(stack, user.name)
        assert (after.keys.keys(), after.labels) == (before.keys.keys(), before.labels)
        assert_outcome(stack.ended(first), "ROTATED", user=user.name, times=WHOLE_WAY)
        assert consumer.counts.errors == 0


@scenario
def ten_starts_at_the_same_moment(stack: Stack) -> None:
    user = stack.user()
    with consuming(stack, user) as consumer:
        endings = [stack.ended(arn) for arn in [stack.start(user.name) for _ in range(10)]]
        assert consumer.counts.errors == 0
    winners = [ended for ended in endings if ended.status == "SUCCEEDED"]
    assert len(winners) == 1
    assert_outcome(winners[0], "ROTATED", user=user.name, times=WHOLE_WAY)
    assert_rotated(stack, user, winners[0].result)
    for ended in endings:
        if ended is not winners[0]:
            assert_outcome(ended, "REJECTED", user=user.name, error="RequestRejected")
    created = stack.aws.control.calls(action="iam:CreateAccessKey", about=user.name)
    by_keyturn = [call for call in created if ":assumed-role/" in call.principal]
    assert len(by_keyturn) == 1


# --- bad input ------------------------------------------------------------------------------------

KEY_ID = "AKIA0000000000000000"
BAD_INPUTS: dict[str, tuple[object, str]] = {
    "nothing": ({}, "userName or accessKeyId"),
    "a list": ([], "JSON object"),
    "a text": ("ci", "JSON object"),
    "an unknown field": ({"userName": "u", "user": "u"}, "'user'"),
    "an unknown duration": ({"userName": "u", "timing": {"weeks": 1}}, "'timing.weeks'"),
    "a name that is a number": ({"userName": 7}, "userName"),
    "a name with a slash": ({"userName": "a/b"}, "userName"),
    "a short key id": ({"accessKeyId": "AKIA"}, "accessKeyId"),
    "both": ({"userName": "u", "accessKeyId": KEY_ID}, "either userName or accessKeyId"),
    "an unknown action": ({"userName": "u", "action": "DELETE"}, "action"),
    "an unknown mode": ({"userName": "u", "mode": "FAST"}, "mode"),
    "force as a text": ({"userName": "u", "force": "yes"}, "force"),
    "reason as a list": ({"userName": "u", "reason": ["x"]}, "reason"),
    "timing as a number": ({"userName": "u", "timing": 5}, "timing"),
    "a fraction of a second": (
        {"userName": "u", "timing": {"watchSeconds": 1.5}},
        "timing.watchSeconds",
    ),
    "a negative duration": (
        {"userName": "u", "timing": {"watchSeconds": -1}},
        "timing.watchSeconds",
    ),
    "BACK_OUT in EMERGENCY": (
        {"userName": "u", "action": "BACK_OUT", "mode": "EMERGENCY"},
        "EMERGENCY",
    ),
}


@scenario
def every_bad_input_is_refused_in_one_sentence(stack: Stack) -> None:
    started = {
        name: stack.machines.start_execution(
            stateMachineArn=stack.rotate_arn, input=json.dumps(data)
        )["executionArn"]
        for name, (data, _) in BAD_INPUTS.items()
    }
    for name, (data, words) in BAD_INPUTS.items():
        ended = stack.ended(started[name])
        given = data.get("userName") if isinstance(data, dict) else None
        user = given if is_user_name(given) else None  # nothing else that was pasted is repeated
        assert_outcome(ended, "REJECTED", user=user, error="RequestRejected", reason=words)
        assert ended.states == UNTOUCHED, name
        reason = ended.result["reason"]
        assert "\n" not in reason, name
        assert not reason.endswith("."), name
    # No secret was made for the user that these name.
    listed = stack.secrets.list_secrets()["SecretList"]
    assert f"{PREFIX}u" not in {secret["Name"] for secret in listed}


@scenario
def timing_that_would_shorten_or_cannot_be_met(stack: Stack) -> None:
    user = stack.user()
    before = At.now(stack, user.name)
    for timing, words in (
        ({"watchSeconds": 1}, "watchSeconds is 1 seconds in the input's timing"),
        ({"quietPeriodSeconds": 60}, "the timing cannot be met"),
        ({"pollMinSeconds": 5, "pollMaxSeconds": 4}, "pollMinSeconds"),
    ):
        ended = stack.rotate(user.name, force=True, timing=timing)
        assert_outcome(ended, "REJECTED", user=user.name, error="RequestRejected", reason=words)
        assert ended.states == UNTOUCHED
    assert At.now(stack, user.name) == before


@pytest.mark.parametrize("scenario", scenario.names)
def test_rotate(running: dict[str, Future[None]], scenario: str) -> None:
    """Await one of the scenarios above."""
    running[scenario].result()
