"""BACK_OUT: by the rule when an execution dies, and by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial

import pytest

from keyturn.model.identifiers import recovery_name
from localaws.model import FaultRule
from proofs.stack.outcomes import (
    IMPATIENT,
    LINGERING,
    MOMENTS,
    WHILE_WAITING,
    WHILE_WATCHING,
    At,
    Moment,
    assert_outcome,
    interrupted,
    rotate_when_free,
)
from proofs.stack.scenarios import Scenarios, consuming, recovery_of, stop
from proofs.stack.support import PARAMETERS, Ended, MachineUser, Stack, eventually

pytestmark = [pytest.mark.emulator, pytest.mark.slow, pytest.mark.xdist_group("back_out")]

scenario = Scenarios()

# Where the automatic BACK_OUT goes on after each moment, whether the old key has to be
# reactivated, and whether the new key was published (and is kept, inactive).
GOES_ON_IN = {
    "claimed": ("Discard New Key", "", False),
    "created_not_stored": ("Discard New Key", "", False),
    "stored": ("Discard New Key", "", False),
    "proving": ("Discard New Key", "", False),
    # The labels are those of a half-done back-out: the new key goes when it is quiet.
    "way_back_labelled": ("Wait For Return", "", True),
    "published": ("Reactivate Old Key", "", True),
    "waiting_for_consumers": ("Reactivate Old Key", "", True),
    "deactivation_recorded": ("Reactivate Old Key", "", True),
    "deactivated": ("Reactivate Old Key", "deactivated reactivated", True),
    "watching": ("Reactivate Old Key", "deactivated reactivated", True),
}


@pytest.fixture(scope="module")
def running(stack: Stack, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[None]]]:
    """All scenarios of this module, started at once."""
    with scenario.running(stack, request) as futures:
        yield futures


def assert_back(stack: Stack, user: MachineUser, version: str, *, new: str | None) -> None:
    """The old key is active and its version in AWSCURRENT; a published new key is inactive."""
    keys = {user.access_key_id: "Active"} | ({new: "Inactive"} if new else {})
    assert stack.keys(user.name) == keys
    labels = stack.labels(user.name)
    assert labels["AWSCURRENT"] == version
    assert not {"CLAIM", "AWSPENDING", "BACKOUT"} & labels.keys()


def assert_fence_was_kept(stack: Stack, dead: str, ended: Ended) -> None:
    """Nothing was taken over before the last call of the dead execution had to be over."""
    died = stack.machines.describe_execution(executionArn=dead)["stopDate"]
    began = stack.entered(ended.arn, "Take Over")
    assert (began - died).total_seconds() >= int(PARAMETERS["FenceSeconds"])


# --- by the rule ----------------------------------------------------------------------------------


def aborted(stack: Stack, moment: Moment) -> None:
    """Interrupt a rotation: what the rule starts brings the user back to where it began."""
    user = stack.user()
    version = stack.labels(user.name)["AWSCURRENT"]
    with consuming(stack, user) as consumer:
        dead = interrupted(stack, user.name, moment)
        ended = stack.ended(recovery_of(stack, dead))
        assert consumer.counts.access_key_id == user.access_key_id
        assert consumer.counts.errors == 0
    goes_on_in, times, published = GOES_ON_IN[moment.name]
    assert_outcome(ended, "BACKED_OUT", user=user.name, times=times)
    assert_fence_was_kept(stack, dead, ended)
    begun = ended.states.index("Take Over")
    assert ended.states[begun + 2] == goes_on_in
    assert ended.states[-1] == "Back-Out Done"
    new = ended.result["newAccessKeyId"] if published else None
    assert_back(stack, user, version, new=new)


for _moment in MOMENTS:
    scenario.add(f"aborted_when_{_moment.name}", partial(aborted, moment=_moment))


@scenario
def an_event_that_is_delivered_twice(stack: Stack) -> None:
    user = stack.user()
    with consuming(stack, user):
        dead = interrupted(stack, user.name, WHILE_WAITING)
        recovery = recovery_of(stack, dead)
        described = stack.machines.describe_execution(executionArn=dead)
        event = {
            "detail": {
                "executionArn": dead,
                "status": described["status"],
                "input": described["input"],
            }
        }
        functions = stack.aws.client("lambda")
        again = functions.invoke(
            FunctionName="keyturn-StartBackOut", Payload=json.dumps(event).encode()
        )
        assert "FunctionError" not in again
        ended = stack.ended(recovery)
        third = functions.invoke(
            FunctionName="keyturn-StartBackOut", Payload=json.dumps(event).encode()
        )
        assert json.loads(third["Payload"].read())["started"] is False
    assert ended.arn.endswith(f":{recovery_name(dead)}")
    assert_outcome(ended, "BACKED_OUT", user=user.name)
    about = [
        found
        for page in stack.machines.get_paginator("list_executions").paginate(
            stateMachineArn=stack.rotate_arn
        )
        for found in page["executions"]
        if found["name"].startswith("backout-")
        and user.name
        in stack.machines.describe_execution(executionArn=found["executionArn"])["input"]
    ]
    assert len(about) == 1


@scenario
def a_back_out_that_dies_is_backed_out_too(stack: Stack) -> None:
    user = stack.user()
    version = stack.labels(user.name)["AWSCURRENT"]
    with consuming(stack, user) as consumer:
        dead = interrupted(stack, user.name, WHILE_WATCHING)
        second = recovery_of(stack, dead)
        Moment("", "Wait For Return").interrupt(stack, user.name, second, None)
        ended = stack.ended(recovery_of(stack, second))
        assert consumer.counts.errors == 0
    assert_outcome(ended, "BACKED_OUT", user=user.name, reason="finishing")
    assert "Restore Old Version" not in ended.states
    new = ended.result["newAccessKeyId"]
    assert_back(stack, user, version, new=new)


@scenario
def a_back_out_that_dies_before_it_claims(stack: Stack) -> None:
    user = stack.user()
    version = stack.labels(user.name)["AWSCURRENT"]
    with consuming(stack, user) as consumer:
        dead = interrupted(stack, user.name, WHILE_WATCHING)
        rule = stack.aws.control.inject(
            FaultRule(
                action="lambda:InvokeFunction",
                kind="delay",
                user=user.name,
                function="TakeOver",
                delay_seconds=3,
            )
        )
        second = recovery_of(stack, dead)
        stack.reaches(second, "Take Over")
        stop(stack, second)
        stack.aws.control.clear_faults(rule=rule)
        ended = stack.ended(recovery_of(stack, second))
        assert consumer.counts.errors == 0
    assert_outcome(ended, "BACKED_OUT", user=user.name, times="deactivated reactivated")
    assert_back(stack, user, version, new=ended.result["newAccessKeyId"])


@scenario
def an_alarm_that_is_gone_does_not_stop_a_back_out(stack: Stack) -> None:
    user = stack.user()
    version = stack.labels(user.name)["AWSCURRENT"]
    with consuming(stack, user) as consumer:
        dead = interrupted(stack, user.name, WHILE_WATCHING)
        stack.secrets.tag_resource(
            SecretId=user.secret_name, Tags=[{"Key": "keyturn:alarm-1", "Value": "gone"}]
        )
        ended = stack.ended(recovery_of(stack, dead))
        assert consumer.counts.errors == 0
    assert_outcome(ended, "BACKED_OUT", user=user.name, times="deactivated reactivated")
    assert_back(stack, user, version, new=ended.result["newAccessKeyId"])


# --- by hand --------------------------------------------------------------------------------------


@scenario
def by_hand_while_a_rotation_runs(stack: Stack) -> None:
    user = stack.user()
    version = stack.labels(user.name)["AWSCURRENT"]
    with consuming(stack, user) as consumer:
        running = stack.start(user.name, timing=LINGERING)
        stack.reaches(running, "Wait For Consumers")
        ended = stack.rotate(user.name, action="BACK_OUT", reason="release day")
        stopped = stack.ended(running)
        automatic = stack.ended(recovery_of(stack, running))
        assert consumer.counts.errors == 0
    assert (stopped.status, stopped.error) == ("ABORTED", "TakenOver")
    assert_outcome(ended, "BACKED_OUT", user=user.name)
    assert ended.states[:4] == [
        "Check Request",
        "What To Do?",
        "Stop Claimant",
        "Wait Out The Claimant",
    ]
    assert_outcome(automatic, "SKIPPED", user=user.name, reason="nothing to undo")
    assert_back(stack, user, version, new=ended.result["newAccessKeyId"])


@scenario
def by_hand_after_rotated_and_then_forward_again(stack: Stack) -> None:
    user = stack.user()
    version = stack.labels(user.name)["AWSCURRENT"]
    with consuming(stack, user) as consumer:
        rotated = stack.rotate(user.name)
        rejected = rotated.result["newAccessKeyId"]
        ended = stack.rotate(user.name, action="BACK_OUT")
        assert_outcome(ended, "BACKED_OUT", user=user.name, times="deactivated reactivated")
        assert ended.states[2:5] == ["Take Over", "Where To Continue?", "Reactivate Old Key"]
        assert_back(stack, user, version, new=rejected)

        again = stack.rotate(user.name, action="BACK_OUT")
        assert_outcome(again, "SKIPPED", user=user.name, reason="nothing to undo")

        forced = stack.rotate(user.name, force=True)
        assert_outcome(forced, "ROTATED", user=user.name, times="proven published deactivated")
        newest = forced.result["newAccessKeyId"]
        assert stack.keys(user.name) == {user.access_key_id: "Inactive", newest: "Active"}
        assert consumer.counts.access_key_id == newest
        assert consumer.counts.errors == 0


@scenario
def by_hand_after_attention_was_needed(stack: Stack) -> None:
    user = stack.user()
    version = stack.labels(user.name)["AWSCURRENT"]
    with (
        consuming(stack, user) as quick,
        consuming(stack, user, refresh_seconds=None) as straggler,
    ):
        held = stack.rotate(user.name, timing=IMPATIENT)
        assert held.error == "AttentionNeeded"
        ended = stack.rotate(user.name, action="BACK_OUT")
        assert (quick.counts.errors, straggler.counts.errors) == (0, 0)
    assert_outcome(ended, "BACKED_OUT", user=user.name)
    assert_back(stack, user, version, new=held.result["newAccessKeyId"])


@scenario
def with_nothing_to_undo(stack: Stack) -> None:
    user = stack.user()
    before = At.now(stack, user.name)
    ended = stack.rotate(user.name, action="BACK_OUT")
    assert_outcome(ended, "SKIPPED", user=user.name, reason="nothing to undo")
    assert ended.states[-1] == "Skipped"
    assert At.now(stack, user.name) == before


@scenario
def a_consumer_that_stays_on_the_new_key(stack: Stack) -> None:
    user = stack.user()
    version = stack.labels(user.name)["AWSCURRENT"]
    with consuming(stack, user, refresh_seconds=None) as consumer:
        running = stack.start(user.name, timing=LINGERING)
        stack.reaches(running, "Wait For Consumers")
        consumer.refresh()
        new = consumer.counts.access_key_id
        assert new != user.access_key_id
        ended = stack.rotate(user.name, action="BACK_OUT")
        eventually(lambda: consumer.healthy)
        assert consumer.counts.errors == 0
    assert_outcome(
        ended,
        "NEEDS_ATTENTION",
        user=user.name,
        error="BackoutIncomplete",
        reason="still uses the new key",
    )
    assert "Deactivate New Key" not in ended.states
    assert stack.keys(user.name) == {user.access_key_id: "Active", new: "Active"}
    labels = stack.labels(user.name)
    assert labels["AWSCURRENT"] == version
    # The way back stays open: BACK_OUT finishes it once the consumer has moved.
    assert labels["BACKOUT"] == version
    assert not {"CLAIM", "AWSPENDING"} & labels.keys()
    finished = stack.rotate(user.name, action="BACK_OUT")
    assert_outcome(finished, "BACKED_OUT", user=user.name)
    assert_back(stack, user, version, new=new)


@scenario
def adopted_and_then_backed_out(stack: Stack) -> None:
    """No version holds the old key, so a person has to say what the consumers should use."""
    user = stack.user(secret=False)
    with consuming(stack, user, refresh_seconds=None) as consumer:
        running = stack.start(user.name)
        stack.reaches(running, "Wait For Consumers")
        consumer.refresh()
        assert stack.ended(running).result["outcome"] == "ROTATED"
        ended = stack.rotate(user.name, action="BACK_OUT")
        assert consumer.counts.errors == 0
    new = ended.result["newAccessKeyId"]
    assert_outcome(
        ended,
        "NEEDS_ATTENTION",
        user=user.name,
        error="BackoutIncomplete",
        reason="no version of the secret holds it",
        times="deactivated reactivated",
    )
    assert stack.keys(user.name) == {user.access_key_id: "Active", new: "Active"}
    assert stack.current_key(user.name) == new


@scenario
def rotated_after_the_rule_backed_it_out(stack: Stack) -> None:
    user = stack.user()
    with consuming(stack, user) as consumer:
        dead = interrupted(stack, user.name, WHILE_WATCHING)
        backed_out = stack.ended(recovery_of(stack, dead))
        assert_outcome(backed_out, "BACKED_OUT", user=user.name, times="deactivated reactivated")
        ended = rotate_when_free(stack, user.name, force=True)
        assert_outcome(ended, "ROTATED", user=user.name, times="proven published deactivated")
        newest = ended.result["newAccessKeyId"]
        assert stack.keys(user.name) == {user.access_key_id: "Inactive", newest: "Active"}
        assert consumer.counts.errors == 0


@pytest.mark.parametrize("scenario", scenario.names)
def test_back_out(running: dict[str, Future[None]], scenario: str) -> None:
    """Await one of the scenarios above."""
    running[scenario].result()
