"""The fleet run on the embedded AWS: calls for thousands of users, and rotations of hundreds."""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import localaws
from benchmarks.figures import Figure
from proofs.stack.support import PARAMETERS, PREFIX, MachineUser, Stack

_ROOT = Path(__file__).parent.parent

USERS = (10, 100, 1_000, 5_000)
MANAGED_OF_TEN = 1
MOST_IAM_CALLS = 3
_SECRETS_A_PAGE = 100

FLEETS = (50, 500)
MOST_GROWTH = 1.2
_INTERVAL_SECONDS = 15.0
_CREWS = 8
# Long enough for two processors to serve hundreds at once: every wait is the same for both fleets.
_PARAMETERS = PARAMETERS | {
    "MaxKeyAgeDays": "0",
    "MaxRotationsPerRun": str(max(FLEETS)),
    "PickupTimeoutSeconds": "1200",
    "QuietPeriodSeconds": "1",
    "LastUsedLagSeconds": "0",
    # Much longer than the consumers' interval: on a busy computer they take several times as long.
    "WatchSeconds": "90",
    "PollMinSeconds": "20",
    "PollMaxSeconds": "20",
}
_LONGEST_SECONDS = 1_800


def measure_calls(users: Sequence[int] = USERS) -> list[Figure]:
    """Deploy the real template to the embedded AWS and count the calls of dry runs."""
    return list(_calls(users))


def measure_rotations(fleets: Sequence[int] = FLEETS) -> list[Figure]:
    """Deploy the real template to the embedded AWS anew for each fleet, and rotate it."""
    fleet = [_rotated(count) for count in fleets]
    small, large = fleet[0], fleet[-1]
    of = f"{fleets[-1]} users over {fleets[0]}"
    return [
        *(figure for rotated in fleet for figure in rotated.figures),
        _growth(f"fleet: seconds per rotation, {of}", small.elapsed, large.elapsed),
        _growth(f"fleet: mean time of one rotation, {of}", small.mean, large.mean),
    ]


@dataclass(frozen=True)
class _Rotated:
    """A fleet that was rotated; None when not every rotation went well.

    elapsed: seconds of the run by users. mean: of one rotation, from its start to its end.
    """

    elapsed: float | None
    mean: float | None
    figures: tuple[Figure, ...]


def _growth(name: str, small: float | None, large: float | None) -> Figure:
    growth = round(large / small, 2) if small and large else None
    return Figure(name, growth, "", MOST_GROWTH)


@contextmanager
def _deployed() -> Iterator[Stack]:
    with localaws.start() as aws:
        outputs = localaws.deploy(
            aws, stack_name="keyturn", template=_ROOT / "template.yaml", parameters=_PARAMETERS
        )
        yield Stack(aws, outputs)


# Calls


def _calls(totals: Sequence[int]) -> Iterator[Figure]:
    """Count on the wire what a dry run asks of IAM and Secrets Manager."""
    with _deployed() as stack:
        for before, total in zip((0, *totals), totals, strict=False):
            _populate(stack, range(before, total))
            since, began = time.time(), time.monotonic()
            ended = stack.fleet(dryRun=True)
            seconds = time.monotonic() - began
            if ended.status != "SUCCEEDED":
                raise RuntimeError(f"the dry run ended as {ended.status}: {ended.result}")
            calls = stack.aws.control.calls(since=since, principal="AuditAccountRole")
            asked = Counter(call.service for call in calls)
            note = f"{ended.result['managed']} of them managed; {seconds:.1f} s, 2 s of them a wait"
            yield Figure(f"{total} users: IAM calls", asked["iam"], "", MOST_IAM_CALLS, note)
            yield Figure(
                f"{total} users: ListSecrets calls",
                asked["secretsmanager"],
                "",
                ceil(ended.result["managed"] / _SECRETS_A_PAGE),
            )


def _populate(stack: Stack, numbers: range) -> None:
    def make(number: int) -> None:
        name = f"user-{number:05}"
        stack.iam.create_user(UserName=name)
        stack.iam.create_access_key(UserName=name)
        if number % 10 < MANAGED_OF_TEN:
            stack.secrets.create_secret(Name=PREFIX + name, SecretString="{}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make, numbers))


# Rotations


class _Crew:
    """Consumers of many users in a few threads: each reads its secret and makes a signed call.

    A client of boto3 for each of hundreds of users would be most of what this computer does.
    """

    def __init__(self, stack: Stack, users: Sequence[MachineUser]) -> None:
        self._endpoint = stack.aws.endpoint_url
        self._region = stack.aws.region
        self._secrets = stack.aws.client("secretsmanager")
        self._pool = urllib3.PoolManager(maxsize=_CREWS, retries=False, timeout=60)
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
            ends = time.monotonic() + _INTERVAL_SECONDS
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


def _rotated(count: int) -> _Rotated:
    """Let a fleet run rotate so many users."""
    name = f"fleet of {count} users: seconds per rotation"
    with _deployed() as stack:
        with ThreadPoolExecutor(8) as pool:
            users = list(pool.map(lambda _: stack.user(), range(count)))
        crew = _Crew(stack, users)
        time.sleep(_INTERVAL_SECONDS)  # every key is used once
        began = time.monotonic()
        started = stack.machines.start_execution(stateMachineArn=stack.fleet_arn, input="{}")
        ended = stack.ended(started["executionArn"], within_seconds=_LONGEST_SECONDS)
        seconds = time.monotonic() - began
        crew.stop()
        whole = stack.reports.json(f"fleet/{ended.result['runId']}/result.json")
        mean = _mean_seconds(stack)
        why = {item["reason"] for item in whole["rotations"] if item["outcome"] != "ROTATED"}
    outcomes = ended.result.get("outcomes", {})
    told = ", ".join(f"{number} {outcome}" for outcome, number in outcomes.items())
    note = (
        f"{told} in {seconds:.0f} s, one started a second; "
        f"{crew.failed.total()} failed calls of their consumers"
    )
    if outcomes != {"ROTATED": count} or crew.failed:
        print(*sorted(why)[:10], dict(crew.failed), sep="\n", file=sys.stderr)
        return _Rotated(None, None, (Figure(name, None, "s", None, note),))
    return _Rotated(
        seconds / count,
        mean,
        (
            Figure(name, round(seconds / count, 2), "s", None, note),
            Figure(f"fleet of {count} users: mean time of one rotation", round(mean, 1), "s"),
        ),
    )


def _mean_seconds(stack: Stack) -> float:
    """Return the mean time from start to end of the rotations."""
    pages = stack.machines.get_paginator("list_executions").paginate(
        stateMachineArn=stack.rotate_arn, statusFilter="SUCCEEDED"
    )
    seconds: list[float] = [
        (one["stopDate"] - one["startDate"]).total_seconds()
        for page in pages
        for one in page["executions"]
    ]
    return statistics.mean(seconds)
