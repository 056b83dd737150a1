"""A person redrives a rotation that was stopped: it changes nothing any more, and says so.

After every step at which a rotation can be stopped, before the automatic back-out has looked and
after it has ended: the redriven execution ends in a clear Fail (or, when it had decided already,
as it would have), no key is left inactive with nobody in charge of it, and a further ROTATE works.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

import pytest

from proofs.stack.outcomes import FIELDS, At, Moment, rotate_when_free
from proofs.stack.scenarios import Scenarios, consuming, now, recovery_of
from proofs.stack.support import MachineUser, Stack, eventually

pytestmark = [pytest.mark.emulator, pytest.mark.slow, pytest.mark.xdist_group("redrive")]

scenario = Scenarios()

CHANGING = (
    "iam:CreateAccessKey",
    "iam:DeleteAccessKey",
    "iam:UpdateAccessKey",
    "secretsmanager:CreateSecret",
    "secretsmanager:PutSecretValue",
    "secretsmanager:UpdateSecretVersionStage",
    "secretsmanager:TagResource",
    "secretsmanager:UntagResource",
)
_SWAP = "secretsmanager:UpdateSecretVersionStage"
# Long enough to be stopped in, and short enough to be waited out after a redrive.
_SLOW_PICKUP = {"quietPeriodSeconds": 6}
_SLOW_WATCH = {"watchSeconds": 8}
# Nobody uses the new key, so the rotation backs itself out.
_NO_PICKUP = {"pickupTimeoutSeconds": 6}


@dataclass(frozen=True)
class Case:
    """Where a rotation is stopped, and whether its consumers follow to the new key."""

    stopped_at: Moment
    consumers_follow: bool = True


CASES = [
    Case(Moment("claimed", "Issue New Key", "iam:CreateAccessKey", "IssueNewKey", "before")),
    Case(Moment("created", "Issue New Key", "iam:CreateAccessKey", "IssueNewKey")),
    Case(Moment("stored", "Issue New Key", "secretsmanager:PutSecretValue", "IssueNewKey", nth=2)),
    Case(Moment("proving", "Prove New Key")),
    Case(Moment("way_back_labelled", "Publish New Key", _SWAP, "MoveCurrent")),
    Case(Moment("published", "Publish New Key", _SWAP, "MoveCurrent", nth=2)),
    Case(Moment("waiting_for_consumers", "Wait For Consumers", timing=_SLOW_PICKUP)),
    Case(
        Moment(
            "deactivation_recorded",
            "Deactivate Old Key",
            "secretsmanager:TagResource",
            "DeactivateKey",
        )
    ),
    Case(Moment("deactivated", "Deactivate Old Key", "iam:UpdateAccessKey", "DeactivateKey")),
    Case(Moment("watching", "Watch Consumers", timing=_SLOW_WATCH)),
    Case(
        Moment(
            "reactivating",
            "Reactivate Old Key",
            "iam:ListAccessKeys",
            "ReactivateOldKey",
            timing=_NO_PICKUP,
        ),
        consumers_follow=False,
    ),
    Case(
        Moment(
            "waiting_for_return",
            "Wait For Return",
            timing=_NO_PICKUP | {"backoutGraceSeconds": 6},
        ),
        consumers_follow=False,
    ),
    Case(
        Moment("closing", "Close Rotation", "secretsmanager:TagResource", "CloseRotation", "before")
    ),
]


@pytest.fixture(scope="module")
def running(stack: Stack, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[None]]]:
    """All scenarios of this module, started at once."""
    with scenario.running(stack, request) as futures:
        yield futures


def redrive(stack: Stack, arn: str) -> None:
    """Redrive an execution as a person does in the console."""
    stack.machines.redrive_execution(executionArn=arn)


def changes(stack: Stack, user: str, since: float) -> list[str]:
    """The calls about a user since a moment that changed a key, a version, a label or a tag."""
    return [
        f"{call.service}:{call.action}"
        for call in stack.aws.control.calls(since=since, about=user)
        if f"{call.service}:{call.action}" in CHANGING and not call.error
    ]


def assert_redriven(stack: Stack, user: str, arn: str) -> None:
    """A redriven execution ended in a Fail state whose cause is a whole result that says why."""
    ended = stack.ended(arn)
    told = f"{ended.error} {ended.result} {ended.states}"
    assert stack.machines.describe_execution(executionArn=arn)["redriveCount"] == 1
    assert (ended.status, ended.error) == ("FAILED", "AttentionNeeded"), told
    assert ended.result.keys() >= FIELDS, told
    assert ended.result["outcome"] == "NEEDS_ATTENTION", told
    assert ended.result["userName"] == user, told
    assert "redriven" in ended.result["reason"] or "claim" in ended.result["reason"], told


def assert_somebody_in_charge(stack: Stack, user: MachineUser) -> None:
    """Rotated, or back, or both keys active: no consumer's key is inactive in an open rotation."""
    keys, labels = stack.keys(user.name), stack.labels(user.name)
    assert keys[stack.current_key(user.name)] == "Active"
    undecided = {"CLAIM", "AWSPENDING"} & labels.keys()
    assert not undecided or keys[user.access_key_id] == "Active", f"{keys} {labels}"


def rotates_in_the_end(stack: Stack, user: MachineUser) -> None:
    """A further ROTATE of the user works once the fence is over, whatever happened before.

    It may find a back-out half done; then it finishes that, says so, and the next one rotates.
    """
    with consuming(stack, user, rereads_on_error=True):
        ended = rotate_when_free(stack, user.name, force=True)
        if ended.error == "RotationBackedOut":
            assert "finishing the back-out" in ended.result["reason"]
            ended = stack.rotate(user.name, force=True)
        assert ended.result["outcome"] == "ROTATED", f"{ended.error} {ended.result}"
    current = stack.current_key(user.name)
    assert current == ended.result["newAccessKeyId"]
    assert stack.keys(user.name)[current] == "Active"
    assert "CLAIM" not in stack.labels(user.name)


def interrupted(stack: Stack, user: MachineUser, case: Case) -> str:
    """Run a rotation up to the case's moment and stop it; returns its ARN."""
    moment = case.stopped_at
    rule = moment.arm(stack, user.name)
    refresh = 0.5 if case.consumers_follow else None
    with consuming(stack, user, refresh_seconds=refresh):
        arn = stack.start(user.name, timing=moment.timing or {})
        moment.interrupt(stack, user.name, arn, rule)
    return arn


def redriven_after_the_back_out(stack: Stack, case: Case) -> None:
    """The user is back where it began; the redriven execution leaves it there."""
    user = stack.user()
    dead = interrupted(stack, user, case)
    stack.ended(recovery_of(stack, dead))
    assert_somebody_in_charge(stack, user)
    before, tags, moment = At.now(stack, user.name), stack.tags(user.name), now()
    redrive(stack, dead)
    assert_redriven(stack, user.name, dead)
    assert changes(stack, user.name, moment) == []
    assert (At.now(stack, user.name), stack.tags(user.name)) == (before, tags)
    rotates_in_the_end(stack, user)


def redriven_at_once(stack: Stack, case: Case) -> None:
    """The redrive and the automatic back-out begin together."""
    user = stack.user()
    dead = interrupted(stack, user, case)
    before = At.now(stack, user.name)
    redrive(stack, dead)
    assert_redriven(stack, user.name, dead)
    # It skips when it finds the redriven execution running, and is rejected when another back-out,
    # started for the end of the redriven one, is faster.
    recovery = stack.ended(recovery_of(stack, dead))
    assert recovery.error in (None, "RotationFailed", "RequestRejected"), recovery
    quiet(stack, user.name)
    assert_somebody_in_charge(stack, user)
    assert len(stack.keys(user.name)) <= len(before.keys)
    rotates_in_the_end(stack, user)


def quiet(stack: Stack, user: str) -> None:
    """Wait until for three seconds no execution about a user has been running.

    The rule starts one a moment after another has ended.
    """
    calm_since = time.monotonic()

    def at_rest() -> bool:
        nonlocal calm_since
        pages = stack.machines.get_paginator("list_executions").paginate(
            stateMachineArn=stack.rotate_arn, statusFilter="RUNNING"
        )
        arns = [found["executionArn"] for page in pages for found in page["executions"]]
        if any(
            user in stack.machines.describe_execution(executionArn=arn)["input"] for arn in arns
        ):
            calm_since = time.monotonic()
        return time.monotonic() - calm_since > 3

    eventually(at_rest, within_seconds=120, what=f"{user} is at rest", every_seconds=0.5)


for _case in CASES:
    _name = _case.stopped_at.name
    scenario.add(
        f"{_name}_and_after_the_back_out", partial(redriven_after_the_back_out, case=_case)
    )
    scenario.add(f"{_name}_and_at_once", partial(redriven_at_once, case=_case))


@scenario
def one_that_had_decided(stack: Stack) -> None:
    """Its claim was off, only the answer was lost: nothing is left to do, or to be changed."""
    user = stack.user()
    case = Case(Moment("closed", "Close Rotation", _SWAP, "CloseRotation"))
    dead = interrupted(stack, user, case)
    before, moment = At.now(stack, user.name), now()
    redrive(stack, dead)
    ended = stack.ended(dead)
    # As the rotation that it was, or as one that may not even look any more.
    assert (ended.status, ended.result["outcome"]) in (
        ("SUCCEEDED", "ROTATED"),
        ("FAILED", "NEEDS_ATTENTION"),
    )
    skipped = stack.ended(recovery_of(stack, dead))
    assert skipped.result["outcome"] == "SKIPPED"
    assert changes(stack, user.name, moment) == []
    assert At.now(stack, user.name) == before
    rotates_in_the_end(stack, user)


@scenario
def one_that_was_redriven_twice(stack: Stack) -> None:
    """The second redrive is as harmless as the first."""
    user = stack.user()
    dead = interrupted(stack, user, CASES[6])
    stack.ended(recovery_of(stack, dead))
    redrive(stack, dead)
    stack.ended(dead)
    before, moment = At.now(stack, user.name), now()
    redrive(stack, dead)
    ended = stack.ended(dead)
    assert (ended.status, ended.error) == ("FAILED", "AttentionNeeded")
    assert changes(stack, user.name, moment) == []
    assert At.now(stack, user.name) == before


@pytest.mark.parametrize("scenario", scenario.names)
def test_redrive(running: dict[str, Future[None]], scenario: str) -> None:
    running[scenario].result(timeout=280)
