"""RetireKey: the old key is deleted after its retention, when everything still fits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from localaws.model import FaultRule
from proofs.stack.scenarios import Scenarios, consuming, stop
from proofs.stack.support import Ended, Stack, eventually

pytestmark = [pytest.mark.emulator, pytest.mark.slow, pytest.mark.xdist_group("retire")]

scenario = Scenarios()


@pytest.fixture(scope="module")
def running(stack: Stack, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[None]]]:
    """All scenarios of this module, started at once."""
    with scenario.running(stack, request) as futures:
        yield futures


@dataclass(frozen=True)
class Rotated:
    """A user after its rotation: the old key is inactive and retained."""

    stack: Stack
    user: str
    old: str
    new: str
    version: str

    def retire(self) -> Ended:
        return self.stack.retire(self.user, self.old, self.version)

    @property
    def keys(self) -> dict[str, str]:
        return self.stack.keys(self.user)

    @property
    def kept(self) -> dict[str, str]:
        """The keys as the rotation left them."""
        return {self.old: "Inactive", self.new: "Active"}


@contextmanager
def rotated(stack: Stack) -> Iterator[Rotated]:
    """Rotate a user, whose consumer goes on working."""
    user = stack.user()
    with consuming(stack, user):
        ended = stack.rotate(user.name)
        assert ended.result["outcome"] == "ROTATED"
        version = stack.labels(user.name)["AWSCURRENT"]
        new = ended.result["newAccessKeyId"]
        yield Rotated(stack, user.name, user.access_key_id, new, version)


def assert_refused(ended: Ended, why: str) -> None:
    """RetireKey failed because something does not fit, and says what."""
    assert (ended.error, ended.result["outcome"]) == ("RetirementRefused", "KEPT"), ended.result[
        "reason"
    ]
    assert why in ended.result["reason"]


def assert_superseded(ended: Ended, why: str) -> None:
    """RetireKey found that there is nothing left to do, and says why."""
    assert (ended.status, ended.result["outcome"]) == ("SUCCEEDED", "SUPERSEDED"), ended.result[
        "reason"
    ]
    assert why in ended.result["reason"]


@scenario
def the_rotation_starts_it_and_the_old_key_is_deleted(stack: Stack) -> None:
    user = stack.user()
    with consuming(stack, user):
        ended = stack.rotate(user.name, timing={"retentionSeconds": 3})
        assert ended.result["outcome"] == "ROTATED"
        assert stack.keys(user.name)[user.access_key_id] == "Inactive"
        assert "retirement" not in ended.result["evidence"]
        mark = stack.labels(user.name)["AWSCURRENT"].split("-", 1)[1]
        machine = stack.retire_arn.replace(":stateMachine:", ":execution:")
        retired = stack.ended(f"{machine}:retire-{mark}")
        assert (retired.status, retired.result["outcome"]) == ("SUCCEEDED", "DELETED")
        assert retired.result["oldAccessKeyId"] == user.access_key_id
        waited = [datetime.fromisoformat(retired.result[at]) for at in ("startedAt", "endedAt")]
        assert waited[1] - waited[0] >= timedelta(seconds=3)
        assert stack.keys(user.name) == {ended.result["newAccessKeyId"]: "Active"}
        labels = stack.labels(user.name)
        assert "BACKOUT" not in labels
        assert "CLAIM" not in labels
        assert "keyturn:deactivated-key" not in stack.tags(user.name)
        announced = stack.inbox.announced(retired.arn)
        assert [event["detail-type"] for event in announced] == ["Old Key Deleted"]


@scenario
def a_second_run_finds_the_key_deleted(stack: Stack) -> None:
    with rotated(stack) as done:
        assert done.retire().result["outcome"] == "DELETED"
        assert_superseded(done.retire(), "deleted already")
        assert done.keys == {done.new: "Active"}
        assert "CLAIM" not in stack.labels(done.user)


@scenario
def an_old_key_that_is_active_stays(stack: Stack) -> None:
    with rotated(stack) as done:
        stack.iam.update_access_key(UserName=done.user, AccessKeyId=done.old, Status="Active")
        assert_refused(done.retire(), "is active")
        assert done.keys == {done.old: "Active", done.new: "Active"}


@scenario
def without_our_own_record_the_key_stays(stack: Stack) -> None:
    with rotated(stack) as done:
        stack.secrets.untag_resource(
            SecretId=f"machine-user/{done.user}", TagKeys=["keyturn:deactivated-key"]
        )
        assert_refused(done.retire(), "no record")
        assert done.keys == done.kept


@scenario
def an_unused_new_key_keeps_the_old_one(stack: Stack) -> None:
    user = stack.user()
    with consuming(stack, user):
        ended = stack.rotate(user.name)
        assert ended.result["outcome"] == "ROTATED"
    new = ended.result["newAccessKeyId"]
    before = datetime.fromisoformat(ended.result["deactivatedAt"]) - timedelta(seconds=1)
    for when in (before, None):
        stack.aws.control.set_last_used_date(new, when)
        version = stack.labels(user.name)["AWSCURRENT"]
        refused = stack.retire(user.name, user.access_key_id, version)
        assert_refused(refused, "not been seen in use since the deactivation")
    assert stack.keys(user.name) == {user.access_key_id: "Inactive", new: "Active"}
    assert "CLAIM" not in stack.labels(user.name)


@scenario
def a_newer_rotation_or_a_back_out_supersedes_it(stack: Stack) -> None:
    with rotated(stack) as done:
        other = done.version[:-4] + "0000"
        assert_superseded(stack.retire(done.user, done.old, other), "AWSCURRENT")
        assert stack.rotate(done.user, action="BACK_OUT").result["outcome"] == "BACKED_OUT"
        assert_superseded(done.retire(), "AWSCURRENT")
        assert done.keys[done.old] == "Active"


@scenario
def the_key_in_charge_is_never_deleted(stack: Stack) -> None:
    with rotated(stack) as done:
        assert_refused(stack.retire(done.user, done.new, done.version), "in AWSCURRENT")
        assert done.keys == done.kept


@scenario
def while_a_rotation_runs_it_waits(stack: Stack) -> None:
    with rotated(stack) as done:
        stack.aws.control.inject(
            FaultRule(action="sts:GetCallerIdentity", kind="delay", user=done.user, delay_seconds=4)
        )
        newer = stack.start(done.user, force=True)
        stack.reaches(newer, "Prove New Key")
        ended = done.retire()
        assert "Wait For The Claim" in ended.states
        assert_superseded(ended, "AWSCURRENT")
        assert done.new in done.keys
        assert stack.ended(newer).result["outcome"] == "ROTATED"


@scenario
def somebody_elses_user_or_key_is_left_alone(stack: Stack) -> None:
    unmanaged = stack.user(managed=False)
    ended = stack.retire(unmanaged.name, unmanaged.access_key_id, "0" * 32)
    assert_refused(ended, "not managed")
    with rotated(stack) as done:
        other = stack.user()
        ended = stack.retire(done.user, other.access_key_id, done.version)
        assert_superseded(ended, "deleted already")
        assert stack.keys(other.name) == {other.access_key_id: "Active"}
        assert done.keys == done.kept


@scenario
def bad_input_is_refused_at_once(stack: Stack) -> None:
    whole = {
        "userName": "u-nobody",
        "oldAccessKeyId": "AKIAIOSFODNN7EXAMPLE",
        "versionId": "0" * 32,
        "retentionSeconds": 3600,
    }
    wrong = [
        {},
        {name: value for name, value in whole.items() if name != "versionId"},
        whole | {"retentionSeconds": "3600"},
        whole | {"retentionSeconds": -1},
        whole | {"userName": "../etc"},
        whole | {"force": True},
    ]
    arns = [
        stack.machines.start_execution(stateMachineArn=stack.retire_arn, input=json.dumps(data))[
            "executionArn"
        ]
        for data in wrong
    ]
    for arn in arns:
        ended = stack.ended(arn)
        assert_refused(ended, "field")
        assert "Wait Out The Retention" not in ended.states


def die_holding_the_claim(done: Rotated) -> None:
    """Let a retirement end between its claim and the deletion."""
    control = done.stack.aws.control
    rule = control.inject(
        FaultRule(
            action="iam:DeleteAccessKey",
            kind="error_before",
            user=done.user,
            status=400,
            code="InvalidInput",
            count=3,  # and at each try that follows
        )
    )
    dead = done.retire()
    assert (dead.error, dead.result["outcome"]) == ("RetirementFailed", "FAILED")
    assert len(control.faults_fired(rule=rule)) == 3
    assert "CLAIM" in done.stack.labels(done.user)


def after_the_fence(stack: Stack, user: str, **fields: object) -> Ended:
    """ROTATE, again when the answer is that a dead execution's last call may still take effect."""
    ended = [stack.rotate(user, **fields)]

    def accepted() -> bool:
        fenced = "may still take effect" in ended[0].result["reason"]
        if fenced:
            ended[0] = stack.rotate(user, **fields)
        return not fenced

    eventually(accepted, what="the fence is over")
    return ended[0]


@scenario
def a_dead_retirement_does_not_open_the_rotation_again(stack: Stack) -> None:
    """The next ROTATE takes the claim over and finds nothing to do; the retained key stays so."""
    with rotated(stack) as done:
        die_holding_the_claim(done)
        ended = after_the_fence(stack, done.user)
        assert ended.result["outcome"] == "SKIPPED"
        assert "Watch Consumers" not in ended.states
        assert "CLAIM" not in stack.labels(done.user)
        assert done.keys == done.kept
        assert done.retire().result["outcome"] == "DELETED"


@scenario
def a_dead_retirements_claim_is_taken_over_by_a_new_rotation(stack: Stack) -> None:
    with rotated(stack) as done:
        die_holding_the_claim(done)
        ended = after_the_fence(stack, done.user, force=True)
        assert ended.result["outcome"] == "ROTATED"
        assert ended.result["oldAccessKeyId"] == done.new
        assert done.old not in done.keys
        assert "CLAIM" not in stack.labels(done.user)


@scenario
def a_dead_retirements_claim_is_taken_over_by_the_next_retirement(stack: Stack) -> None:
    with rotated(stack) as done:
        die_holding_the_claim(done)
        assert done.retire().result["outcome"] == "DELETED"
        assert done.keys == {done.new: "Active"}
        assert "CLAIM" not in stack.labels(done.user)


@scenario
def a_retirement_takes_no_claim_of_a_dead_rotation(stack: Stack) -> None:
    """A dead, undecided rotation may need the old key: BACK_OUT and ROTATE may go on from it."""
    with rotated(stack) as done:
        newer = stack.start(done.user, force=True)
        stack.reaches(newer, "Prove New Key")
        stop(stack, newer)
        ended = done.retire()
        assert "Wait For The Claim" in ended.states
        assert_superseded(ended, "deleted already")  # the newer rotation had made room
        assert done.keys == {done.new: "Active"}


@pytest.mark.parametrize("scenario", scenario.names)
def test_retire(running: dict[str, Future[None]], scenario: str) -> None:
    running[scenario].result()
