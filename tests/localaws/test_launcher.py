"""Starting and stopping the embedded AWS."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import boto3
import pytest

import localaws
from localaws import LocalAwsError, launcher
from tests.localaws.support import Toy, eventually

pytestmark = pytest.mark.emulator


def children_of(pid: int) -> list[int]:
    """The processes below a process, all the way down (Linux)."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *children_of(child)]
    return found


def alive(pid: int) -> bool:
    """Whether a process exists and is not merely waiting to be reaped."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def listening_on(pid: int) -> set[str]:
    """The hexadecimal addresses on which a process listens (Linux)."""
    sockets = {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    addresses = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                addresses.add(fields[1].split(":")[0])
    return addresses


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux
def test_nothing_listens_beyond_the_loopback_interface(toy: Toy) -> None:
    assert listening_on(toy.aws.pid) == {"0100007F"}
    for child in children_of(toy.aws.pid):
        assert listening_on(child) == set()


@linux
def test_stop_ends_the_emulator_and_its_workers_and_may_be_repeated() -> None:
    with localaws.start() as aws:
        processes = [aws.pid, *children_of(aws.pid)]
        assert len(processes) > 1
        work_dir = Path(aws.environment()["AWS_CONFIG_FILE"]).parent
    aws.stop()
    eventually(lambda: not any(map(alive, processes)))
    assert not work_dir.exists()


PARENT = """
import localaws, sys
aws = localaws.start()
print(aws.pid, aws.work_dir, flush=True)
sys.stdin.read()
"""


@linux
@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_emulator_ends_with_its_parent(death: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(localaws.__file__).parent.parent,
    ) as parent:
        assert parent.stdout is not None
        number, work_dir = parent.stdout.readline().split()
        emulator = int(number)
        processes = [emulator, *children_of(emulator)]
        parent.send_signal(death)
    eventually(lambda: not any(map(alive, processes)))
    assert not Path(work_dir).exists()


@linux
def test_workers_die_with_a_killed_emulator() -> None:
    with localaws.start() as aws:
        processes = [aws.pid, *children_of(aws.pid)]
        os.kill(aws.pid, signal.SIGKILL)
    eventually(lambda: not any(map(alive, processes)))


def test_the_command_prints_exports_and_stops_on_ctrl_c() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "localaws", "up"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(localaws.__file__).parent.parent,
    ) as command:
        assert command.stdout is not None
        lines: list[str] = []
        while not (line := command.stdout.readline()).startswith("#"):
            lines.append(line)
        command.send_signal(signal.SIGINT)
        assert command.wait(30) == 0
    assert any(line.startswith("export AWS_ENDPOINT_URL='http://127.0.0.1:") for line in lines)


def test_a_failed_start_shows_the_end_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {"PYTHONHOME": "/nonexistent"}
    monkeypatch.setattr(launcher, "_server_environment", lambda *_: broken)
    with pytest.raises(LocalAwsError, match="ended with status 1") as failure:
        localaws.start()
    assert "encodings" in str(failure.value)


def test_the_environment_leads_other_programs_here(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    program = "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | toy.aws.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == f"arn:aws:iam::{toy.aws.account_id}:root"


def test_sessions_lead_here_too(toy: Toy) -> None:
    session = toy.aws.session()
    assert isinstance(session, boto3.Session)
    assert session.client("sts").meta.endpoint_url == toy.aws.endpoint_url
    buckets = session.resource("s3").buckets.all()
    assert all(bucket.name for bucket in buckets)


def test_two_emulators_are_two_worlds(toy: Toy, name: str) -> None:
    toy.user(name)
    with localaws.start(region="eu-central-1") as other:
        assert other.client("iam").list_users()["Users"] == []
        assert other.client("sts").meta.region_name == "eu-central-1"


def test_its_clock_is_real_unless_asked_for(toy: Toy) -> None:
    assert abs(toy.aws.control.now() - time.time()) < 5
    with pytest.raises(LocalAwsError, match="not moved"):
        toy.aws.control.join()
