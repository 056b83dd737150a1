"""What the evidence does to a rotation: a key that does not work, consumers that do not move, are
silent, or are hurt."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from botocore.exceptions import ClientError

from localaws.model import FaultRule
from proofs.stack.outcomes import IMPATIENT, WATCHING, assert_outcome
from proofs.stack.scenarios import Scenarios, consuming
from proofs.stack.support import MachineUser, Stack, eventually

pytestmark = [pytest.mark.emulator, pytest.mark.slow, pytest.mark.xdist_group("evidence")]

scenario = Scenarios()


@pytest.fixture(scope="module")
def running(stack: Stack, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[None]]]:
    """All scenarios of this module, started at once."""
    with scenario.running(stack, request) as futures:
        yield futures


class Health:
    """A health endpoint on a free port; `healthy` says what it answers (200 or 503)."""

    def __init__(self, healthy: Callable[[], bool]) -> None:
        self.healthy = healthy
        health = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200 if health.healthy() else 503)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/health"


@contextmanager
def health_of(
    stack: Stack, user: MachineUser, healthy: Callable[[], bool] = lambda: True
) -> Iterator[Health]:
    """A health endpoint that the user's secret names."""
    health = Health(healthy)
    tag(stack, user, "keyturn:health-url", health.url)
    try:
        yield health
    finally:
        health.server.shutdown()
        health.server.server_close()


def tag(stack: Stack, user: MachineUser, key: str, value: str) -> None:
    """Tag the user's secret."""
    stack.secrets.tag_resource(SecretId=user.secret_name, Tags=[{"Key": key, "Value": value}])


def works(stack: Stack, user: MachineUser) -> bool:
    """Whether the user's first key authenticates."""
    client = stack.aws.client(
        "sts",
        access_key_id=user.access_key_id,
        secret_access_key=user.secret_access_key.get_secret_value(),
    )
    try:
        client.get_caller_identity()
    except ClientError:
        return False
    return True


def assert_back(stack: Stack, user: MachineUser, new: str, version: str, *, status: str) -> None:
    """The old key is active and its version in AWSCURRENT; nothing of the rotation is open."""
    assert stack.keys(user.name) == {user.access_key_id: "Active", new: status}
    labels = stack.labels(user.name)
    assert labels["AWSCURRENT"] == version
    assert not {"CLAIM", "AWSPENDING", "BACKOUT"} & labels.keys()


# --- before publishing ----------------------------------------------------------------------------


@scenario
def a_new_key_that_never_works(stack: Stack) -> None:
    user = stack.user()
    before = stack.labels(user.name)
    stack.aws.control.inject(
        FaultRule(
            action="sts:GetCallerIdentity",
            kind="error_before",
            user=user.name,
            status=403,
            code="InvalidClientTokenId",
            count=10_000,
        )
    )
    with consuming(stack, user) as consumer:
        ended = stack.rotate(user.name)
        assert consumer.counts.access_key_id == user.access_key_id
        assert consumer.counts.errors == 0
    assert_outcome(
        ended, "FAILED", user=user.name, error="RotationFailed", reason="does not authenticate"
    )
    assert "Discard New Key" in ended.states
    assert "Publish New Key" not in ended.states
    assert stack.keys(user.name) == {user.access_key_id: "Active"}
    labels = stack.labels(user.name)
    assert labels["AWSCURRENT"] == before["AWSCURRENT"]
    assert not {"CLAIM", "AWSPENDING", "BACKOUT"} & labels.keys()


@scenario
def a_lost_answer_of_create_access_key(stack: Stack) -> None:
    user = stack.user()
    rule = stack.aws.control.inject(
        FaultRule(
            action="iam:CreateAccessKey", kind="lost_answer", user=user.name, function="IssueNewKey"
        )
    )
    with consuming(stack, user) as consumer:
        ended = stack.rotate(user.name)
        assert consumer.counts.errors == 0
    assert len(stack.aws.control.faults_fired(rule=rule)) == 1
    assert_outcome(ended, "ROTATED", user=user.name, times="proven published deactivated")
    # The key that was created and whose secret nobody got to know is gone.
    new = ended.result["newAccessKeyId"]
    assert stack.keys(user.name) == {user.access_key_id: "Inactive", new: "Active"}
    assert any("to make room" in note for note in ended.result["evidence"]["notes"])


@scenario
def a_new_key_that_cannot_be_stored(stack: Stack) -> None:
    user = stack.user()
    before = stack.labels(user.name)
    rule = stack.aws.control.inject(
        FaultRule(
            action="secretsmanager:PutSecretValue",
            kind="error_before",
            user=user.name,
            nth=2,  # the first stores the intent
            count=1000,
            status=400,
            code="EncryptionFailure",
        )
    )
    ended = stack.rotate(user.name, force=True)
    assert stack.aws.control.faults_fired(rule=rule)
    assert_outcome(
        ended, "FAILED", user=user.name, error="RotationFailed", reason="EncryptionFailure"
    )
    assert "Discard New Key" in ended.states
    assert stack.keys(user.name) == {user.access_key_id: "Active"}
    labels = stack.labels(user.name)
    assert labels["AWSCURRENT"] == before["AWSCURRENT"]
    assert not {"CLAIM", "AWSPENDING", "BACKOUT"} & labels.keys()


# --- the wait for the consumers -------------------------------------------------------------------


@scenario
def nobody_moves(stack: Stack) -> None:
    user = stack.user()
    version = stack.labels(user.name)["AWSCURRENT"]
    with consuming(stack, user, refresh_seconds=None) as consumer:
        ended = stack.rotate(user.name, timing=IMPATIENT)
        assert consumer.counts.errors == 0
    assert_outcome(
        ended,
        "BACKED_OUT",
        user=user.name,
        error="RotationBackedOut",
        reason="no consumer used the new key",
        times="proven published",
    )
    assert "Deactivate Old Key" not in ended.states
    assert ended.states[-1] == "Rotation Backed Out"
    assert_back(stack, user, ended.result["newAccessKeyId"], version, status="Inactive")


@scenario
def one_of_two_moves_late(stack: Stack) -> None:
    user = stack.user()
    version = stack.labels(user.name)["AWSCURRENT"]
    with (
        consuming(stack, user) as quick,
        consuming(stack, user, refresh_seconds=None) as straggler,
    ):
        held = stack.rotate(user.name, timing=IMPATIENT)
        new = held.result["newAccessKeyId"]
        assert_outcome(
            held,
            "NEEDS_ATTENTION",
            user=user.name,
            error="AttentionNeeded",
            reason="the old key has been used too recently",
            times="proven published",
        )
        assert "Deactivate Old Key" not in held.states
        assert stack.keys(user.name) == {user.access_key_id: "Active", new: "Active"}
        labels = stack.labels(user.name)
        assert labels["BACKOUT"] == version
        assert "CLAIM" not in labels
        assert stack.current_key(user.name) == new

        straggler.refresh()
        resumed = stack.rotate(user.name)
        assert_outcome(resumed, "ROTATED", user=user.name, times="deactivated")
        assert resumed.states[:5] == [
            "Check Request",
            "What To Do?",
            "Take Over",
            "Where To Continue?",
            "Wait For Consumers",
        ]
        assert resumed.result["newAccessKeyId"] == new
        assert stack.keys(user.name) == {user.access_key_id: "Inactive", new: "Active"}
        assert (quick.counts.errors, straggler.counts.errors) == (0, 0)


# --- after the deactivation -----------------------------------------------------------------------


@scenario
def silence_after_the_deactivation(stack: Stack) -> None:
    user = stack.user()
    version = stack.labels(user.name)["AWSCURRENT"]
    with consuming(stack, user) as consumer:
        arn = stack.start(user.name, timing={"quietPeriodSeconds": 8})
        eventually(
            lambda: consumer.counts.access_key_id != user.access_key_id and consumer.healthy,
            what="the consumer moves",
        )
        used = consumer.counts.calls
        eventually(lambda: consumer.counts.calls > used, what="the consumer uses the new key")
    ended = stack.ended(arn)
    new = ended.result["newAccessKeyId"]
    assert_outcome(
        ended,
        "NEEDS_ATTENTION",
        user=user.name,
        error="AttentionNeeded",
        reason="silent",
        times="proven published deactivated reactivated",
    )
    assert "Restore Old Version" not in ended.states
    assert stack.keys(user.name) == {user.access_key_id: "Active", new: "Active"}
    assert stack.current_key(user.name) == new
    assert stack.labels(user.name)["BACKOUT"] == version
    assert "CLAIM" not in stack.labels(user.name)

    # The consumer was only rare: a later ROTATE takes it from there.
    with consuming(stack, user, interval_seconds=0.5) as consumer:
        resumed = stack.rotate(user.name)
        assert consumer.counts.errors == 0
    assert_outcome(resumed, "ROTATED", user=user.name, times="deactivated")
    assert stack.keys(user.name) == {user.access_key_id: "Inactive", new: "Active"}


@scenario
def bad_health_after_the_deactivation(stack: Stack) -> None:
    user = stack.user()
    version = stack.labels(user.name)["AWSCURRENT"]
    with consuming(stack, user) as consumer, health_of(stack, user) as health:
        arn = stack.start(user.name, timing=WATCHING)
        stack.reaches(arn, "Watch Consumers")
        # From now on like a service of which one rare job still has the old key.
        health.healthy = lambda: works(stack, user)
        ended = stack.ended(arn)
        assert health.healthy(), f"it has not recovered: {ended.result}"
        assert consumer.counts.access_key_id == user.access_key_id
        assert consumer.counts.errors == 0
    assert_outcome(
        ended,
        "BACKED_OUT",
        user=user.name,
        error="RotationBackedOut",
        reason="bad 2 times in a row: status 503",
        times="proven published deactivated reactivated",
    )
    assert ended.states.count("Check Health") >= 2
    new = ended.result["newAccessKeyId"]
    assert_back(stack, user, new, version, status="Inactive")
    assert ended.result["evidence"]["health"]["status"] == 503


@scenario
def a_health_function_that_fails_for_good(stack: Stack) -> None:
    user = stack.user()
    stack.aws.control.inject(
        FaultRule(
            action="lambda:InvokeFunction",
            kind="error_before",
            user=user.name,
            function="CheckHealth",
            count=1000,
            status=403,
            code="AccessDeniedException",
        )
    )
    with consuming(stack, user) as consumer, health_of(stack, user):
        ended = stack.rotate(user.name, timing=IMPATIENT)
        assert consumer.counts.errors == 0
    assert_outcome(
        ended,
        "NEEDS_ATTENTION",
        user=user.name,
        error="AttentionNeeded",
        reason="the health function failed",
        times="proven published",
    )
    new = ended.result["newAccessKeyId"]
    assert stack.keys(user.name) == {user.access_key_id: "Active", new: "Active"}


@scenario
def bad_health_before_the_deactivation(stack: Stack) -> None:
    user = stack.user()
    with consuming(stack, user) as consumer, health_of(stack, user, lambda: False):
        ended = stack.rotate(user.name, timing=IMPATIENT)
        assert consumer.counts.errors == 0
    new = ended.result["newAccessKeyId"]
    assert_outcome(
        ended,
        "NEEDS_ATTENTION",
        user=user.name,
        error="AttentionNeeded",
        reason="the health URL is not good: status 503",
        times="proven published",
    )
    assert "Watch Consumers" not in ended.states
    assert stack.keys(user.name) == {user.access_key_id: "Active", new: "Active"}
    assert stack.current_key(user.name) == new


@scenario
def an_alarm_after_the_deactivation(stack: Stack) -> None:
    user = stack.user()
    version = stack.labels(user.name)["AWSCURRENT"]
    alarm = stack.new_alarm(user.name)
    tag(stack, user, "keyturn:alarm-1", alarm)
    with consuming(stack, user) as consumer:
        arn = stack.start(user.name, timing=WATCHING)
        stack.reaches(arn, "Watch Consumers")
        stack.goes_off(alarm)
        ended = stack.ended(arn)
        assert consumer.counts.errors == 0
    assert_outcome(
        ended,
        "BACKED_OUT",
        user=user.name,
        error="RotationBackedOut",
        reason=f"the alarm {alarm} was bad: in ALARM",
        times="proven published deactivated reactivated",
    )
    assert_back(stack, user, ended.result["newAccessKeyId"], version, status="Inactive")
    assert ended.result["evidence"]["alarmsNotOk"]


@scenario
def an_alarm_that_does_not_exist(stack: Stack) -> None:
    user = stack.user()
    tag(stack, user, "keyturn:alarm-1", "no-such-alarm")
    ended = stack.rotate(user.name, force=True)
    assert_outcome(
        ended, "REJECTED", user=user.name, error="RequestRejected", reason="no-such-alarm"
    )
    assert stack.keys(user.name) == {user.access_key_id: "Active"}


@pytest.mark.parametrize("scenario", scenario.names)
def test_evidence(running: dict[str, Future[None]], scenario: str) -> None:
    """Await one of the scenarios above."""
    running[scenario].result()
