"""ROTATE takes up, wherever it was left, a rotation whose execution has died.

On a stack of its own whose rule on dead executions is disabled, as if the rule were late or lost:
with the rule, the automatic BACK_OUT would come first (see test_back_out).
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial

import pytest

import localaws
from proofs.stack.outcomes import (
    MOMENTS,
    STILL_FENCED,
    Moment,
    assert_outcome,
    interrupted,
    rotate_when_free,
)
from proofs.stack.scenarios import Scenarios, consuming
from proofs.stack.support import PARAMETERS, Stack
from tests.conftest import ROOT

pytestmark = [pytest.mark.emulator, pytest.mark.slow, pytest.mark.xdist_group("resume")]

scenario = Scenarios()

# Where the next execution goes on after each moment, and the timestamps that it adds itself.
GOES_ON_IN = {
    "claimed": ("Issue New Key", "proven published deactivated"),
    "created_not_stored": ("Issue New Key", "proven published deactivated"),
    "stored": ("Prove New Key", "proven published deactivated"),
    "proving": ("Prove New Key", "proven published deactivated"),
    "way_back_labelled": ("Prove New Key", "proven published deactivated"),
    "published": ("Wait For Consumers", "deactivated"),
    "waiting_for_consumers": ("Wait For Consumers", "deactivated"),
    "deactivation_recorded": ("Wait For Consumers", "deactivated"),
    "deactivated": ("Watch Consumers", "deactivated"),
    "watching": ("Watch Consumers", "deactivated"),
}


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A stack of which nothing backs dead executions out."""
    with localaws.start() as aws:
        outputs = localaws.deploy(
            aws, stack_name="keyturn", template=ROOT / "template.yaml", parameters=PARAMETERS
        )
        events = aws.client("events")
        for rule in events.list_rules()["Rules"]:
            events.disable_rule(Name=rule["Name"])
        yield Stack(aws, outputs)


@pytest.fixture(scope="module")
def running(stack: Stack, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[None]]]:
    """All scenarios of this module, started at once."""
    with scenario.running(stack, request) as futures:
        yield futures


def resumed(stack: Stack, moment: Moment) -> None:
    """Interrupt a rotation, ROTATE again, and find one finished rotation."""
    user = stack.user()
    with consuming(stack, user) as consumer:
        dead = interrupted(stack, user.name, moment)
        at_once = stack.rotate(user.name)
        ended = rotate_when_free(stack, user.name)
        assert consumer.counts.errors == 0
    assert_outcome(
        at_once, "REJECTED", user=user.name, error="RequestRejected", reason=STILL_FENCED
    )
    assert dead in at_once.result["reason"]
    goes_on_in, times = GOES_ON_IN[moment.name]
    assert_outcome(ended, "ROTATED", user=user.name, times=times)
    begun = ended.states[2:5] if "Take Over" in ended.states else ended.states[2:3]
    assert begun[-1] == goes_on_in, ended.states
    new = ended.result["newAccessKeyId"]
    assert ended.result["oldAccessKeyId"] == user.access_key_id
    assert stack.keys(user.name) == {user.access_key_id: "Inactive", new: "Active"}
    assert stack.current_key(user.name) == new
    assert not {"CLAIM", "AWSPENDING"} & stack.labels(user.name).keys()


for _moment in MOMENTS:
    scenario.add(_moment.name, partial(resumed, moment=_moment))


@pytest.mark.parametrize("scenario", scenario.names)
def test_resume(running: dict[str, Future[None]], scenario: str) -> None:
    """Await the rotation that was interrupted at this moment."""
    running[scenario].result()
