"""The stage: the embedded AWS, the deployed stack, users with old keys, consumer processes."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import localaws
from demo.model import ConsumerRole, ConsumerSeen, UserRole, UserSeen
from demo.parameters import PARAMETERS
from localaws import LocalAws, LocalAwsError
from localaws.consumer import Counts

ROOT = Path(__file__).parent.parent
STOP_SECONDS = 5.0
READY_SECONDS = 30.0

QUIET_SECONDS = sum(
    int(PARAMETERS[name])
    for name in ("QuietPeriodSeconds", "LastUsedCoarsenessSeconds", "LastUsedLagSeconds")
)

# The straggler calls just before the rotations start, and again when the machine has deactivated
# its key, even when this computer is busy. If a call comes in between after all, the machine
# waits for another quiet period and the demo takes longer.
STRAGGLER = ConsumerRole(
    name="nightly-report", interval_seconds=QUIET_SECONDS + 8, refresh_seconds=None, health=True
)
CAST = (
    UserRole(
        name="storefront",
        key_age_days=412,
        consumers=(
            ConsumerRole(
                name="storefront-web", interval_seconds=0.3, refresh_seconds=0.5, health=True
            ),
        ),
        outcome="ROTATED",
        status="SUCCEEDED",
    ),
    UserRole(
        name="reporting",
        key_age_days=190,
        consumers=(
            ConsumerRole(name="reporting-web", interval_seconds=0.3, refresh_seconds=0.5),
            STRAGGLER,
        ),
        outcome="BACKED_OUT",
        status="FAILED",
    ),
)

Step = Callable[[str], AbstractContextManager[None]]


class ConsumerProcess:
    """`python -m localaws.consumer` as a process; what it counts arrives in `news`."""

    def __init__(
        self, aws: LocalAws, role: ConsumerRole, *, secret_name: str, key_id: str, secret: str
    ) -> None:
        self.role = role
        self.health_url: str | None = None
        self.news: queue.SimpleQueue[tuple[float, Counts]] = queue.SimpleQueue()
        self._working = threading.Event()
        command = [
            sys.executable, "-m", "localaws.consumer",
            "--secret-name", secret_name,
            "--interval-seconds", str(role.interval_seconds),
        ]  # fmt: skip
        if role.refresh_seconds is not None:
            command += ["--refresh-seconds", str(role.refresh_seconds)]
        if role.health:
            command.append("--health")
        mine = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        key = {"AWS_ACCESS_KEY_ID": key_id, "AWS_SECRET_ACCESS_KEY": secret}
        self._process = subprocess.Popen(
            command,
            env=mine | aws.environment() | key,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            process_group=0,  # Ctrl-C reaches the demo alone, which then stops its consumers
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def wait_until_working(self) -> None:
        """Return after the first good call."""
        ends = time.monotonic() + READY_SECONDS
        while not self._working.wait(0.1):
            if not self.alive:
                raise LocalAwsError(
                    f"the consumer {self.role.name} ended with status {self._process.returncode}"
                )
            if time.monotonic() > ends:
                raise LocalAwsError(
                    f"the consumer {self.role.name} made no good call in {READY_SECONDS:g} s"
                )

    def terminate(self) -> None:
        """Ask it to end."""
        if self.alive:
            self._process.terminate()

    def finish(self) -> None:
        """Wait until it has ended and everything that it printed is in `news`."""
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(STOP_SECONDS)

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        with self._process.stdout as lines:
            for line in lines:
                document = json.loads(line)
                if "health_url" in document:
                    self.health_url = document["health_url"]
                    continue
                counts = Counts(**document)
                self.news.put((time.time(), counts))
                if counts.calls:
                    self._working.set()


@dataclass
class Scene:
    """Everything that takes part."""

    aws: LocalAws
    outputs: dict[str, str]
    users: list[UserSeen]
    processes: dict[str, ConsumerProcess]
    """By the consumer's name."""

    def start_rotations(self) -> None:
        """Start one execution of RotateKey for each user."""
        machines = self.aws.client("stepfunctions")
        for user in self.users:
            started = machines.start_execution(
                stateMachineArn=self.outputs["RotateKeyStateMachineArn"],
                input=json.dumps({"userName": user.role.name, "reason": "make demo"}),
            )
            user.execution_arn = started["executionArn"]

    def stop_consumers(self) -> None:
        """End all consumer processes. Calling it again does nothing."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.finish()

    def current_key(self, user: UserSeen) -> str:
        """Return the key that a consumer of the user's secret would read now."""
        secrets = self.aws.client("secretsmanager")
        found = secrets.get_secret_value(SecretId=self.outputs["SecretNamePrefix"] + user.role.name)
        return str(json.loads(found["SecretString"])["AccessKeyId"])


@contextmanager
def staged(step: Step, *, log_dir: Path | None) -> Iterator[Scene]:
    """Set the scene up, and take everything down again at the end, whatever happens.

    step: shows a step of the set-up; a context manager that is given the step in words.
    """
    with step("starting the embedded AWS (one local process, no Docker)"):
        aws = localaws.start(log_dir=log_dir)
    scene = Scene(aws, {}, [], {})
    try:
        with step("deploying template.yaml to it"):
            scene.outputs = localaws.deploy(
                aws, stack_name="keyturn", template=ROOT / "template.yaml", parameters=PARAMETERS
            )
        with step("creating 2 users with old keys, starting 3 consumer processes"):
            for role in CAST:
                _enter(scene, role)
            for process in scene.processes.values():
                process.wait_until_working()
            _tag_health_urls(scene)
        yield scene
    finally:
        try:
            scene.stop_consumers()
        finally:
            aws.stop()


def _enter(scene: Scene, role: UserRole) -> None:
    iam, secrets = scene.aws.client("iam"), scene.aws.client("secretsmanager")
    tag = {"Key": "keyturn:managed", "Value": PARAMETERS["ManagedTagValue"]}
    iam.create_user(UserName=role.name, Tags=[tag])
    work = {"Effect": "Allow", "Action": "sqs:ListQueues", "Resource": "*"}
    iam.put_user_policy(
        UserName=role.name,
        PolicyName="work",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [work]}),
    )
    iam.attach_user_policy(UserName=role.name, PolicyArn=scene.outputs["ConsumerPolicyArn"])
    key = iam.create_access_key(UserName=role.name)["AccessKey"]
    key_id, secret = key["AccessKeyId"], key["SecretAccessKey"]
    scene.aws.control.backdate_key(key_id, datetime.now(UTC) - timedelta(days=role.key_age_days))
    secret_name = scene.outputs["SecretNamePrefix"] + role.name
    made = secrets.create_secret(
        Name=secret_name,
        SecretString=json.dumps({"AccessKeyId": key_id, "SecretAccessKey": secret}),
    )
    seen = [ConsumerSeen(consumer, key_id) for consumer in role.consumers]
    scene.users.append(UserSeen(role, key_id, made["VersionId"], seen))
    for consumer in role.consumers:
        scene.processes[consumer.name] = ConsumerProcess(
            scene.aws, consumer, secret_name=secret_name, key_id=key_id, secret=secret
        )


def _tag_health_urls(scene: Scene) -> None:
    secrets = scene.aws.client("secretsmanager")
    for user in scene.users:
        for consumer in user.consumers:
            url = scene.processes[consumer.role.name].health_url
            if url:
                secrets.tag_resource(
                    SecretId=scene.outputs["SecretNamePrefix"] + user.role.name,
                    Tags=[{"Key": "keyturn:health-url", "Value": url}],
                )
