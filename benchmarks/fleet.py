"""Many users on the embedded AWS: rotated at once or by a fleet run, and the calls of an audit."""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import ceil
from typing import Any

import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from benchmarks.deployed import deployed
from benchmarks.figures import Figure
from proofs.stack.support import PREFIX, MachineUser, Stack, eventually

USERS = (10, 100, 1_000, 5_000)
MANAGED_OF_TEN = 1
MOST_IAM_CALLS = 3
_SECRETS_A_PAGE = 100

AT_ONCE, MOST_SECONDS_AT_ONCE = 100, 90.0
FLEETS = (50, 500)
MOST_GROWTH = 1.2
_INTERVAL_SECONDS = 15.0
_CREWS = 8
_LONGEST_SECONDS = 1_800


def _in_parallel(make: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(make, items))


# Calls


def measure_calls(users: Sequence[int] = USERS) -> list[Figure]:
    """Count on the wire what dry runs ask of IAM and Secrets Manager, for more and more users."""
    figures = []
    with deployed() as stack:
        for before, total in zip((0, *users), users, strict=False):
            _populate(stack, range(before, total))
            since = time.time()
            ended = stack.fleet(dryRun=True)
            seconds = time.time() - since
            if ended.status != "SUCCEEDED":
                raise RuntimeError(f"the dry run ended as {ended.status}: {ended.result}")
            calls = stack.aws.control.calls(since=since, principal="AuditAccountRole")
            asked = Counter(call.service for call in calls)
            managed = ended.result["managed"]
            note = f"{managed} of them managed; {seconds:.1f} s, 2 s of them a wait"
            figures += [
                Figure(f"{total} users: IAM calls", asked["iam"], "", MOST_IAM_CALLS, note),
                Figure(f"{total} users: ListSecrets calls", asked["secretsmanager"], "",
                       ceil(managed / _SECRETS_A_PAGE)),
            ]  # fmt: skip
    return figures


def _populate(stack: Stack, numbers: range) -> None:
    def make(number: int) -> None:
        name = f"user-{number:05}"
        stack.iam.create_user(UserName=name)
        stack.iam.create_access_key(UserName=name)
        if number % 10 < MANAGED_OF_TEN:
            stack.secrets.create_secret(Name=PREFIX + name, SecretString="{}")

    _in_parallel(make, numbers)


# Rotations


class _Crew:
    """Consumers of many users in a few threads: each reads its secret and makes a signed call.

    A client of boto3 for each of hundreds of users would be most of what this computer does.
    """

    def __init__(self, stack: Stack, users: Sequence[MachineUser], interval: float) -> None:
        self._endpoint = stack.aws.endpoint_url
        self._region = stack.aws.region
        self._secrets = stack.aws.client("secretsmanager")
        self._pool = urllib3.PoolManager(maxsize=_CREWS, retries=False, timeout=60)
        self._interval = interval
        self._stop = threading.Event()
        self.failed: Counter[str] = Counter()
        self._threads = [
            threading.Thread(target=self._work, args=(users[start::_CREWS],), daemon=True)
            for start in range(_CREWS)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop after the present round."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _work(self, users: Sequence[MachineUser]) -> None:
        while not self._stop.is_set():
            ends = time.monotonic() + self._interval
            for user in users:
                try:
                    self._call(user)
                except Exception as error:  # noqa: BLE001 - counted, and shown with the figure
                    self.failed[type(error).__name__] += 1
            self._stop.wait(max(0.0, ends - time.monotonic()))

    def _call(self, user: MachineUser) -> None:
        found = self._secrets.get_secret_value(SecretId=user.secret_name)
        key: dict[str, Any] = json.loads(found["SecretString"])
        request = AWSRequest(
            "POST",
            f"{self._endpoint}/",
            {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS.ListQueues"},
            b"{}",
        )
        credentials = Credentials(key["AccessKeyId"], key["SecretAccessKey"])
        SigV4Auth(credentials, "sqs", self._region).add_auth(request)
        answer = self._pool.request(
            "POST", f"{self._endpoint}/", body=b"{}", headers=dict(request.headers)
        )
        if answer.status != 200:
            self.failed[f"status {answer.status}"] += 1


@contextmanager
def _consumed(
    stack: Stack, count: int, interval: float
) -> Iterator[tuple[list[str], Counter[str]]]:
    """Make so many users, each with a consumer; yields their names and what failed for those."""
    users = _in_parallel(lambda _: stack.user(), range(count))
    crew = _Crew(stack, users, interval)
    time.sleep(interval)  # every key is used once
    try:
        yield [user.name for user in users], crew.failed
    finally:
        crew.stop()


def measure_at_once(users: int = AT_ONCE) -> list[Figure]:
    """Start the rotations of many users at once, and wait until all have ended."""
    # One look is enough when it comes late enough for the consumers to have moved and for the old
    # key to be quiet. The retirements must not run into the measurement.
    stack_of_all = deployed(
        PollMinSeconds="7", PollMaxSeconds="7", WatchSeconds="10", RetentionSeconds="3600"
    )
    with stack_of_all as stack, _consumed(stack, users + 1, 5) as (names, failed):
        stack.rotate(names.pop())  # starts the interpreters, which are not what is measured
        began = time.monotonic()
        arns = _in_parallel(stack.start, names)
        eventually(
            # One call for all of them: looking at each would be most of what the emulator does.
            lambda: not _executions(stack, "RUNNING"),
            within_seconds=4 * MOST_SECONDS_AT_ONCE,
            what=f"{users} rotations end",
            every_seconds=1,
        )
        seconds = time.monotonic() - began
        outcomes = Counter(str(stack.ended(arn).result.get("outcome")) for arn in arns)
    name, note = f"{users} users rotated at the same time", _told(outcomes, failed)
    went_well = outcomes == {"ROTATED": users} and not failed
    taken = round(seconds, 1) if went_well else None
    return [Figure(name, taken, "s", MOST_SECONDS_AT_ONCE, note)]


def measure_rotations(fleets: Sequence[int] = FLEETS) -> list[Figure]:
    """Rotate fleets of different sizes, each on a new stack: a rotation takes as long in all."""
    figures, taken = [], []
    for count in fleets:
        each, mean, note = _rotated(count)
        taken.append((each, mean))
        name = f"fleet of {count} users"
        figures += [
            Figure(f"{name}: seconds per rotation", each and round(each, 2), "s", note=note),
            Figure(f"{name}: mean time of one rotation", mean and round(mean, 1), "s"),
        ]
    what = ("seconds per rotation", "mean time of one rotation")
    for name, small, large in zip(what, taken[0], taken[-1], strict=True):
        growth = round(large / small, 2) if small and large else None
        of = f"{fleets[-1]} users over {fleets[0]}"
        figures.append(Figure(f"fleet: {name}, {of}", growth, "", MOST_GROWTH))
    return figures


def _rotated(count: int) -> tuple[float | None, float | None, str]:
    """Let a fleet run rotate so many users.

    Returns the seconds of the run by users, the mean seconds of one rotation from its start to its
    end (both None when not every rotation went well), and how they went in words.
    """
    # Long enough for two processors to serve hundreds at once: every wait is the same for all
    # fleets. The watch is much longer than the consumers' interval: on a busy computer they take
    # several times as long.
    stack_of_fleet = deployed(
        MaxKeyAgeDays="0", MaxRotationsPerRun=str(max(FLEETS)), PickupTimeoutSeconds="1200",
        WatchSeconds="90", PollMinSeconds="20", PollMaxSeconds="20",
    )  # fmt: skip
    with stack_of_fleet as stack:
        with _consumed(stack, count, _INTERVAL_SECONDS) as (_, failed):
            began = time.monotonic()
            started = stack.machines.start_execution(stateMachineArn=stack.fleet_arn, input="{}")
            ended = stack.ended(started["executionArn"], within_seconds=_LONGEST_SECONDS)
            seconds = time.monotonic() - began
        whole = stack.reports.json(f"fleet/{ended.result['runId']}/result.json")
        done = _executions(stack, "SUCCEEDED")
    outcomes = Counter(ended.result.get("outcomes", {}))
    note = f"{_told(outcomes, failed)}; one started a second, all in {seconds:.0f} s"
    if outcomes != {"ROTATED": count} or failed:
        why = {item["reason"] for item in whole["rotations"] if item["outcome"] != "ROTATED"}
        return None, None, "; ".join([note, *sorted(why)[:10]])
    mean = statistics.mean((one["stopDate"] - one["startDate"]).total_seconds() for one in done)
    return seconds / count, mean, note


def _told(outcomes: Counter[str], failed: Counter[str]) -> str:
    told = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    why = f" {dict(failed)}" if failed else ""
    return f"{told}; {failed.total()} failed calls of their consumers{why}"


def _executions(stack: Stack, status: Any) -> list[Any]:
    """Return the executions of RotateKey in that status."""
    pages = stack.machines.get_paginator("list_executions").paginate(
        stateMachineArn=stack.rotate_arn, statusFilter=status
    )
    return [one for page in pages for one in page["executions"]]
