"""Rounds: one rotation, or one of the ways to a back-out, each with what it has to end as.

A round ends when the keys, the secret and every program are where they have to be; anything else
is an AssertionError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from proofs.consumers.crew import Crew
from proofs.consumers.health import HealthServer
from proofs.consumers.programs import Pace
from proofs.stack.support import Ended

ROUND_SECONDS = 300.0
LOOK_SECONDS = 1.0

# What a program needs at most to pick a key up: its look, and a new interpreter for the process.
REFRESH_SECONDS = 6
PROCESS_REFRESH_SECONDS = 8
PACES = {
    "boto3_reread": Pace(refresh_seconds=REFRESH_SECONDS),
    "caching_client": Pace(refresh_seconds=REFRESH_SECONDS),
    "credential_process": Pace(refresh_seconds=PROCESS_REFRESH_SECONDS),
}
NEVER = {kind: Pace(refresh_seconds=3600) for kind in PACES}
"""Programs whose caches outlast the pickup timeout."""

# In proportion to the programs as the defaults are to real ones: the quiet period is longer than
# the longest pause between two calls, the grace longer than the longest time between two looks.
# The watch has room for a few looks: one that falls just after a program's own look at its secret
# sees only that, and reading a secret is not yet an application's use.
QUIET_SECONDS = 5
LATENESS_SECONDS = 2  # coarseness and lag of proofs.stack.support.PARAMETERS
TIMING = {
    "quietPeriodSeconds": QUIET_SECONDS,
    "pickupTimeoutSeconds": 120,
    "watchSeconds": 6,
    "backoutGraceSeconds": PROCESS_REFRESH_SECONDS + 4,
}
# Rarer than the quiet period, so that a rotation does not see it: this one gets hurt.
STATIC_PACE = Pace(interval_seconds=2.0 * (QUIET_SECONDS + LATENESS_SECONDS))
WATCH_STATIC_SECONDS = 60


@dataclass(frozen=True)
class Achieved:
    """What a round has achieved."""

    rotations: int = 0
    back_outs: int = 0


Round = Callable[[Crew, HealthServer], Achieved]


def rotation(crew: Crew, _: HealthServer) -> Achieved:
    """A rotation that goes the whole way."""
    _rotated(crew)
    return Achieved(rotations=1)


def back_out_while_waiting(crew: Crew, _: HealthServer) -> Achieved:
    """A person backs a rotation out while its programs move: some have, some have not."""
    old = crew.stack.current_key(crew.name)
    running = _start(crew)
    _reaches(crew, running, "Wait For Consumers")
    crew.wait(lambda: not all(program.on(old) for program in crew.programs), "a program moves")
    return _backed_out_by_a_person(crew, running, old)


def back_out_while_watching(crew: Crew, _: HealthServer) -> Achieved:
    """A person backs a rotation out when all have moved and the old key is inactive."""
    old = crew.stack.current_key(crew.name)
    running = _start(crew, watchSeconds=WATCH_STATIC_SECONDS)
    _reaches(crew, running, "Watch Consumers")
    return _backed_out_by_a_person(crew, running, old)


def back_out_after_rotated(crew: Crew, _: HealthServer) -> Achieved:
    """A person backs a rotation out after it has ended."""
    old = crew.stack.current_key(crew.name)
    new = _rotated(crew)
    ended = _ended(crew, _start_back_out(crew))
    _assert_back(crew, ended, old, new, error=None)
    return Achieved(rotations=1, back_outs=1)


def back_out_by_health(crew: Crew, health: HealthServer) -> Achieved:
    """A static program is hurt by the deactivation, its health says so, and it is helped."""
    old = crew.stack.current_key(crew.name)
    url = health.url(crew.name, lambda: crew.healthy)
    with crew.with_static(STATIC_PACE) as static, _tag(crew, "keyturn:health-url", url):
        ended = _ended(crew, _start(crew, watchSeconds=WATCH_STATIC_SECONDS))
        _assert_back(crew, ended, old, ended.result["newAccessKeyId"], reason="health URL")
        assert static.report.failed_calls, "the static program was not hurt"
        crew.wait(lambda: not static.report.last_call_failed, "the static program works again")
    return Achieved(back_outs=1)


def back_out_by_alarm(crew: Crew, _: HealthServer) -> Achieved:
    """An alarm goes off after the deactivation."""
    old = crew.stack.current_key(crew.name)
    alarm = crew.stack.new_alarm(crew.name)
    with _tag(crew, "keyturn:alarm-1", alarm):
        running = _start(crew, watchSeconds=WATCH_STATIC_SECONDS)
        _reaches(crew, running, "Watch Consumers")
        crew.stack.goes_off(alarm)
        ended = _ended(crew, running)
        _assert_back(crew, ended, old, ended.result["newAccessKeyId"], reason="in ALARM")
    return Achieved(back_outs=1)


def back_out_at_the_pickup_timeout(crew: Crew, _: HealthServer) -> Achieved:
    """No program picks the new key up in time (for a crew at the pace of `NEVER`)."""
    old = crew.stack.current_key(crew.name)
    timing = {"pickupTimeoutSeconds": 12, "backoutGraceSeconds": 1}
    ended = _ended(crew, _start(crew, **timing))
    new = ended.result["newAccessKeyId"]
    _assert_back(crew, ended, old, new, reason="no consumer used the new key within 12 seconds")
    return Achieved(back_outs=1)


BACK_OUTS: list[Round] = [
    back_out_by_health,
    back_out_while_watching,
    back_out_by_alarm,
    back_out_after_rotated,
    back_out_while_waiting,
]
"""The ways that any crew can go."""


def _start(crew: Crew, **timing: int) -> str:
    return crew.stack.start(crew.name, force=True, timing=TIMING | timing)


def _start_back_out(crew: Crew) -> str:
    return crew.stack.start(crew.name, action="BACK_OUT", timing=TIMING)


def _rotated(crew: Crew) -> str:
    """Rotate; returns the new key."""
    old = crew.stack.current_key(crew.name)
    ended = _ended(crew, _start(crew))
    assert (ended.status, ended.result.get("outcome")) == ("SUCCEEDED", "ROTATED"), _told(ended)
    new = str(ended.result["newAccessKeyId"])
    assert crew.stack.keys(crew.name) == {old: "Inactive", new: "Active"}, _told(ended)
    assert crew.stack.current_key(crew.name) == new, _told(ended)
    crew.wait_until_on(new)
    return new


def _backed_out_by_a_person(crew: Crew, running: str, old: str) -> Achieved:
    ended = _ended(crew, _start_back_out(crew))
    stopped = _ended(crew, running)
    assert (stopped.status, stopped.error) == ("ABORTED", "TakenOver"), _told(stopped)
    _assert_back(crew, ended, old, ended.result["newAccessKeyId"], error=None)
    return Achieved(back_outs=1)


def _assert_back(
    crew: Crew,
    ended: Ended,
    old: str,
    new: str,
    *,
    error: str | None = "RotationBackedOut",
    reason: str = "",
) -> None:
    """The old key is active and in AWSCURRENT, the new one inactive, and every program is back."""
    assert (ended.result.get("outcome"), ended.error) == ("BACKED_OUT", error), _told(ended)
    assert reason in ended.result["reason"], _told(ended)
    assert crew.stack.keys(crew.name) == {old: "Active", new: "Inactive"}, _told(ended)
    assert crew.stack.current_key(crew.name) == old, _told(ended)
    crew.wait_until_on(old)


def _ended(crew: Crew, arn: str) -> Ended:
    """Wait for the end of an execution, looking less often than `Stack.ended` would."""
    describe = crew.stack.machines.describe_execution
    crew.wait(
        lambda: describe(executionArn=arn)["status"] != "RUNNING",
        f"{arn} ends",
        within_seconds=ROUND_SECONDS,
        every_seconds=LOOK_SECONDS,
    )
    return crew.stack.ended(arn)


def _reaches(crew: Crew, arn: str, state: str) -> None:
    def there() -> bool:
        if state in crew.stack.states(arn):
            return True
        status = crew.stack.machines.describe_execution(executionArn=arn)["status"]
        assert status == "RUNNING", f"{arn} has ended before it reached {state}"
        return False

    crew.wait(
        there,
        f"{arn} enters {state}",
        within_seconds=ROUND_SECONDS,
        every_seconds=LOOK_SECONDS,
    )


@contextmanager
def _tag(crew: Crew, name: str, value: str) -> Iterator[None]:
    secret = crew.user.secret_name
    crew.stack.secrets.tag_resource(SecretId=secret, Tags=[{"Key": name, "Value": value}])
    try:
        yield
    finally:
        crew.stack.secrets.untag_resource(SecretId=secret, TagKeys=[name])


def _told(ended: Ended) -> str:
    return f"{ended.arn}: {ended.status} {ended.error} {ended.result} {ended.states}"
