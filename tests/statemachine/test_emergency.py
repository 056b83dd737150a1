"""EMERGENCY: an exposed key goes at once, is never brought back, and the way is always forward."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from localaws.model import FaultRule
from proofs.stack.scenarios import STAYS_OPEN, Scenarios, consuming, never_again, recovery_of, stop
from proofs.stack.support import Ended, MachineUser, Stack, eventually

pytestmark = [pytest.mark.emulator, pytest.mark.slow, pytest.mark.xdist_group("emergency")]

scenario = Scenarios()


@pytest.fixture(scope="module")
def running(stack: Stack, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[None]]]:
    """All scenarios of this module, started at once."""
    with scenario.running(stack, request) as futures:
        yield futures


def start(stack: Stack, user: str | None = None, **fields: object) -> str:
    """Start an EMERGENCY."""
    return stack.start(user, mode="EMERGENCY", reason="found on a pastebin", **fields)


def emergency(stack: Stack, user: str | None = None, **fields: object) -> Ended:
    """Run an EMERGENCY to its end."""
    return stack.ended(start(stack, user, **fields))


def key_labelled(stack: Stack, user: str, label: str) -> str | None:
    """The key in the version that carries a label, or None when no version carries it."""
    version = stack.labels(user).get(label)
    return stack.key_in(user, version) if version else None


def tag_of(stack: Stack, user: MachineUser, tag: str) -> str | None:
    """A tag of the user's secret."""
    described = stack.secrets.describe_secret(SecretId=user.secret_name)
    return {item["Key"]: item["Value"] for item in described.get("Tags", [])}.get(tag)


def assert_no_way_back(stack: Stack, user: str) -> None:
    """A BACK_OUT is refused, because it would bring the exposed key back, and changes nothing."""
    before = stack.keys(user), stack.labels(user)
    asked = stack.rotate(user, action="BACK_OUT")
    assert (asked.error, asked.result["outcome"]) == ("RequestRejected", "REJECTED")
    assert "exposed" in asked.result["reason"]
    assert (stack.keys(user), stack.labels(user)) == before


# --- nothing else is going on -------------------------------------------------------------------


@scenario
def the_only_key_is_replaced_at_once(stack: Stack) -> None:
    user = stack.user()
    with consuming(stack, user) as consumer, never_again(stack, user.name, user.access_key_id):
        ended = emergency(stack, user.name)
        assert (ended.status, ended.result["outcome"]) == ("SUCCEEDED", "ROTATED"), ended.result[
            "reason"
        ]
        assert "Wait For Consumers" not in ended.states
        assert "Watch Consumers" in ended.states
        new = ended.result["newAccessKeyId"]
        assert stack.keys(user.name) == {user.access_key_id: "Inactive", new: "Active"}
        assert stack.current_key(user.name) == new
        assert key_labelled(stack, user.name, "EXPOSED") == user.access_key_id
        assert "CLAIM" not in stack.labels(user.name)
        assert_no_way_back(stack, user.name)
        assert consumer.counts.access_key_id == new


@scenario
def silence_calls_a_person_and_brings_nothing_back(stack: Stack) -> None:
    user = stack.user()
    with (
        consuming(stack, user, refresh_seconds=None),
        never_again(stack, user.name, user.access_key_id),
    ):
        ended = emergency(stack, user.name)
        assert (ended.error, ended.result["outcome"]) == ("AttentionNeeded", "NEEDS_ATTENTION"), (
            ended.result["reason"]
        )
        assert "exposed and stays inactive" in ended.result["reason"]
        assert "reactivatedAt" not in ended.result
        new = ended.result["newAccessKeyId"]
        assert stack.keys(user.name) == {user.access_key_id: "Inactive", new: "Active"}
        assert stack.current_key(user.name) == new
        assert_no_way_back(stack, user.name)


@scenario
def two_active_keys_need_a_name(stack: Stack) -> None:
    user = stack.user()
    stack.add_key(user.name)
    before = stack.keys(user.name), stack.labels(user.name)
    ended = emergency(stack, user.name)
    assert (ended.error, ended.result["outcome"]) == ("RequestRejected", "REJECTED"), ended.result[
        "reason"
    ]
    assert "accessKeyId" in ended.result["reason"]
    assert (stack.keys(user.name), stack.labels(user.name)) == before


@scenario
def a_key_that_no_version_holds_is_tagged_and_deactivated(stack: Stack) -> None:
    """The published key stays; the owner is looked up from the key id alone."""
    user = stack.user()
    exposed = stack.add_key(user.name).access_key_id
    with consuming(stack, user), never_again(stack, user.name, exposed):
        ended = emergency(stack, accessKeyId=exposed)
        assert ended.result["outcome"] == "ROTATED"
        assert stack.keys(user.name) == {user.access_key_id: "Active", exposed: "Inactive"}
        assert stack.current_key(user.name) == user.access_key_id
        assert tag_of(stack, user, "keyturn:exposed-keys") == exposed
        assert "Issue New Key" not in ended.states


@scenario
def a_user_without_a_secret_gets_one(stack: Stack) -> None:
    user = stack.user(secret=False)
    with consuming(stack, user), never_again(stack, user.name, user.access_key_id):
        ended = emergency(stack, user.name)
        assert ended.result["outcome"] == "ROTATED"
        assert stack.current_key(user.name) == ended.result["newAccessKeyId"]
        assert tag_of(stack, user, "keyturn:exposed-keys") == user.access_key_id


@scenario
def without_room_for_a_new_key_the_exposed_one_goes_all_the_same(stack: Stack) -> None:
    user = stack.user()
    foreign = stack.add_key(user.name).access_key_id
    with never_again(stack, user.name, user.access_key_id):
        ended = emergency(stack, user.name, accessKeyId=user.access_key_id)
        assert (ended.error, ended.result["outcome"]) == ("AttentionNeeded", "NEEDS_ATTENTION"), (
            ended.result["reason"]
        )
        assert "no room" in ended.result["reason"]
        assert foreign[-4:] in ended.result["reason"]
        assert stack.keys(user.name) == {user.access_key_id: "Inactive", foreign: "Active"}
        assert "deactivatedAt" in ended.result
        assert "CLAIM" not in stack.labels(user.name)


@scenario
def a_retained_key_is_marked_so_that_no_back_out_brings_it_back(stack: Stack) -> None:
    user = stack.user()
    with consuming(stack, user):
        assert stack.rotate(user.name).result["outcome"] == "ROTATED"
    with never_again(stack, user.name, user.access_key_id):
        ended = emergency(stack, accessKeyId=user.access_key_id)
        assert ended.result["outcome"] == "SKIPPED"
        assert "inactive already" in ended.result["reason"]
        assert key_labelled(stack, user.name, "EXPOSED") == user.access_key_id
        assert "CLAIM" not in stack.labels(user.name)
        assert_no_way_back(stack, user.name)


# --- over a running rotation --------------------------------------------------------------------


def open_rotation(stack: Stack, user: MachineUser) -> tuple[str, str]:
    """Start a rotation and wait until its new key is published; returns its ARN and that key.

    It stays there: the old key is not quiet for long enough.
    """
    arn = stack.start(user.name, timing=STAYS_OPEN)
    stack.reaches(arn, "Wait For Consumers")
    return arn, stack.current_key(user.name)


def assert_marked_before_stopped(stack: Stack, user: str) -> None:
    """First the label (or tag), then the stop: who dies in between leaves the key marked."""
    calls = [
        call.action
        for call in stack.aws.control.calls(principal="StopClaimantRole", about=user)
        if call.action in ("UpdateSecretVersionStage", "TagResource", "StopExecution")
    ]
    assert calls[0] != "StopExecution"
    assert calls[-1] == "StopExecution"


@scenario
def the_old_key_of_an_open_rotation(stack: Stack) -> None:
    user = stack.user()
    with consuming(stack, user), never_again(stack, user.name, user.access_key_id):
        first, new = open_rotation(stack, user)
        ended = emergency(stack, accessKeyId=user.access_key_id)
        assert ended.result["outcome"] == "ROTATED"
        assert ended.result["newAccessKeyId"] == new
        assert stack.ended(first).status == "ABORTED"
        assert_marked_before_stopped(stack, user.name)
        assert "Wait Out The Claimant" in ended.states
        assert "Wait For Consumers" not in ended.states
        assert key_labelled(stack, user.name, "EXPOSED") == user.access_key_id
        skipped = stack.ended(recovery_of(stack, first))
        assert (skipped.status, skipped.result["outcome"]) == ("SUCCEEDED", "SKIPPED")
        assert stack.keys(user.name) == {user.access_key_id: "Inactive", new: "Active"}


@scenario
def the_new_key_of_an_open_rotation(stack: Stack) -> None:
    """Restores the old key, deactivates the exposed new one, then rotates the old one."""
    user = stack.user()
    with consuming(stack, user) as consumer:
        first, exposed = open_rotation(stack, user)
        with never_again(stack, user.name, exposed):
            ended = emergency(stack, user.name, accessKeyId=exposed)
            assert ended.result["outcome"] == "ROTATED"
            assert stack.ended(first).status == "ABORTED"
            assert_marked_before_stopped(stack, user.name)
            order = ["Restore Old Version", "Deactivate New Key", "Issue New Key"]
            assert [state for state in ended.states if state in order] == order
            third = ended.result["newAccessKeyId"]
            assert third not in (exposed, user.access_key_id)
            assert ended.result["oldAccessKeyId"] == user.access_key_id
            assert stack.keys(user.name) == {user.access_key_id: "Inactive", third: "Active"}
            assert consumer.counts.access_key_id == third
            skipped = stack.ended(recovery_of(stack, first))
            assert (skipped.status, skipped.result["outcome"]) == ("SUCCEEDED", "SKIPPED")


def slow_proof(stack: Stack, user: MachineUser, *, seconds: float = 7) -> str:
    """Start a rotation whose proof of the new key takes long; returns its ARN."""
    stack.aws.control.inject(
        FaultRule(
            action="sts:GetCallerIdentity", kind="delay", user=user.name, delay_seconds=seconds
        )
    )
    arn = stack.start(user.name)
    stack.reaches(arn, "Prove New Key")
    return arn


@scenario
def the_old_key_while_the_new_one_is_not_published_yet(stack: Stack) -> None:
    """The key that waits to be published takes its place."""
    user = stack.user()
    with consuming(stack, user), never_again(stack, user.name, user.access_key_id):
        first = slow_proof(stack, user)
        pending = key_labelled(stack, user.name, "AWSPENDING")
        ended = emergency(stack, accessKeyId=user.access_key_id)
        assert ended.result["outcome"] == "ROTATED"
        assert ended.result["newAccessKeyId"] == pending
        assert stack.ended(first).status == "ABORTED"
        assert "Wait For Consumers" not in ended.states


@scenario
def the_new_key_before_it_was_published(stack: Stack) -> None:
    """Nobody uses it yet: it is deleted, and the old key is rotated as usual."""
    user = stack.user()
    with consuming(stack, user):
        slow_proof(stack, user)
        exposed = key_labelled(stack, user.name, "AWSPENDING")
        assert exposed is not None
        with never_again(stack, user.name, exposed):
            ended = emergency(stack, accessKeyId=exposed)
            assert ended.result["outcome"] == "ROTATED"
            assert ended.result["oldAccessKeyId"] == user.access_key_id
            assert exposed not in stack.keys(user.name)
            assert "Wait For Consumers" in ended.states


@scenario
def a_mark_alone_does_not_hold_up_the_emergency(stack: Stack) -> None:
    """An EMERGENCY that died between the mark and the stop left a rotation that goes on waiting."""
    user = stack.user()
    with consuming(stack, user), never_again(stack, user.name, user.access_key_id):
        first, _ = open_rotation(stack, user)
        stack.label(user.name, "EXPOSED", stack.labels(user.name)["BACKOUT"])
        ended = emergency(stack, accessKeyId=user.access_key_id)
        assert ended.result["outcome"] == "ROTATED"
        assert stack.ended(first).status == "ABORTED"


@scenario
def a_mark_during_the_watch_keeps_the_old_key_down(stack: Stack) -> None:
    """The running rotation sees silence and would reactivate the old key, were it not marked."""
    user = stack.user()
    with consuming(stack, user) as consumer:
        arn = stack.start(user.name)
        stack.reaches(arn, "Watch Consumers")
        consumer.stop()
        stack.label(user.name, "EXPOSED", stack.labels(user.name)["BACKOUT"])
        eventually(lambda: stack.keys(user.name)[user.access_key_id] == "Inactive")
        stack.aws.control.set_last_used_date(stack.current_key(user.name), None)
        with never_again(stack, user.name, user.access_key_id):
            ended = stack.ended(arn)
            assert ended.error == "AttentionNeeded"
            assert "exposed" in ended.result["reason"]
            assert ended.states.count("Reactivate Old Key") == 1


# --- against another EMERGENCY, or a person -----------------------------------------------------


@scenario
def two_at_once_replace_the_key_once(stack: Stack) -> None:
    user = stack.user()
    with consuming(stack, user), never_again(stack, user.name, user.access_key_id):
        both = [start(stack, user.name, accessKeyId=user.access_key_id) for _ in range(2)]
        ended = [stack.ended(arn) for arn in both]
        assert sorted(end.result["outcome"] for end in ended) in (
            ["REJECTED", "ROTATED"],
            ["ROTATED", "SKIPPED"],
        )
        assert len(stack.keys(user.name)) == 2


@scenario
def a_person_cannot_back_it_out_while_it_runs(stack: Stack) -> None:
    user = stack.user()
    with consuming(stack, user), never_again(stack, user.name, user.access_key_id):
        arn = start(stack, user.name)
        stack.reaches(arn, "Watch Consumers")
        asked = stack.rotate(user.name, action="BACK_OUT")
        assert asked.error == "RequestRejected"
        assert "exposed" in asked.result["reason"]
        assert stack.ended(arn).result["outcome"] == "ROTATED"


# --- when it dies -------------------------------------------------------------------------------


@scenario
def aborted_in_the_watch_it_is_finished_forward(stack: Stack) -> None:
    user = stack.user()
    with consuming(stack, user), never_again(stack, user.name, user.access_key_id):
        arn = start(stack, user.name)
        stack.reaches(arn, "Watch Consumers")
        stop(stack, arn)
        ended = stack.ended(recovery_of(stack, arn))
        assert (ended.status, ended.result["outcome"]) == ("SUCCEEDED", "ROTATED"), ended.result[
            "reason"
        ]
        assert "Reactivate Old Key" not in ended.states
        assert stack.current_key(user.name) == ended.result["newAccessKeyId"]
        assert "CLAIM" not in stack.labels(user.name)


@scenario
def aborted_before_the_publishing_it_is_finished_forward(stack: Stack) -> None:
    user = stack.user()
    with consuming(stack, user), never_again(stack, user.name, user.access_key_id):
        stack.aws.control.inject(
            FaultRule(action="sts:GetCallerIdentity", kind="delay", user=user.name, delay_seconds=7)
        )
        arn = start(stack, user.name)
        stack.reaches(arn, "Prove New Key")
        stop(stack, arn)
        ended = stack.ended(recovery_of(stack, arn))
        assert (ended.status, ended.result["outcome"]) == ("SUCCEEDED", "ROTATED"), ended.result[
            "reason"
        ]
        assert "Publish New Key" in ended.states


@scenario
def aborted_before_there_was_a_new_key_it_is_finished_forward(stack: Stack) -> None:
    user = stack.user()
    with consuming(stack, user), never_again(stack, user.name, user.access_key_id):
        rule = stack.aws.control.inject(
            FaultRule(action="iam:CreateAccessKey", kind="throttle", user=user.name, count=99)
        )
        arn = start(stack, user.name)
        eventually(lambda: bool(stack.aws.control.faults_fired(rule=rule)))
        stop(stack, arn)
        stack.aws.control.clear_faults(rule=rule)
        ended = stack.ended(recovery_of(stack, arn))
        assert (ended.status, ended.result["outcome"]) == ("SUCCEEDED", "ROTATED"), ended.result[
            "reason"
        ]
        assert ended.result["oldAccessKeyId"] == user.access_key_id


@scenario
def dead_before_its_claim_the_exposed_new_key_goes_with_the_back_out(stack: Stack) -> None:
    """The EMERGENCY stopped the rotation and died; the rotation's own recovery does the rest."""
    user = stack.user()
    with consuming(stack, user):
        first, exposed = open_rotation(stack, user)
        with never_again(stack, user.name, exposed):
            arn = start(stack, accessKeyId=exposed)
            stack.reaches(arn, "Wait Out The Claimant")
            stop(stack, arn)
            assert stack.ended(recovery_of(stack, arn)).result["outcome"] == "SKIPPED"
            ended = stack.ended(recovery_of(stack, first))
            assert ended.result["outcome"] == "BACKED_OUT"
            assert ended.states.count("Check Return") == 1
            assert stack.keys(user.name)[user.access_key_id] == "Active"
            assert stack.current_key(user.name) == user.access_key_id


@pytest.mark.parametrize("scenario", scenario.names)
def test_emergency(running: dict[str, Future[None]], scenario: str) -> None:
    running[scenario].result()
