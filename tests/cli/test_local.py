"""keyturn local: an emulator that outlives the command that started it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from typer.testing import CliRunner

from keyturn_cli import local
from keyturn_cli.app import app
from keyturn_cli.errors import CliError
from tests.cli.support import KEYTURN

Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def call(tmp_path: Path) -> Iterator[Call]:
    """Run keyturn with a state directory of its own; whatever is up afterwards is stopped."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*KEYTURN, "local", *words],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "XDG_STATE_HOME": str(tmp_path / "state"),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )

    yield run
    run("down")


@pytest.mark.emulator
def test_it_comes_up_once_is_found_again_and_goes_down(call: Call, tmp_path: Path) -> None:
    up = call("up", "--region", "eu-west-1", "--export")
    assert (up.returncode, up.stderr) == (0, "")
    exported = dict(line.removeprefix("export ").split("=", 1) for line in up.stdout.splitlines())
    assert exported["AWS_REGION"] == "eu-west-1"
    again = call("up")
    assert exported["AWS_ENDPOINT_URL"] in again.stdout
    state = json.loads(call("status", "--json").stdout)
    assert (state["up"], state["environment"]["AWS_REGION"]) == (True, "eu-west-1")
    kept = tmp_path / "state" / "keyturn" / "local.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    client = boto3.client(
        "sts",
        endpoint_url=exported["AWS_ENDPOINT_URL"],
        region_name="eu-west-1",
        aws_access_key_id=exported["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=exported["AWS_SECRET_ACCESS_KEY"],
    )
    assert client.get_caller_identity()["Account"] == "123456789012"
    assert call("down").stdout == "stopped\n"
    assert not kept.exists()
    down = call("status")
    assert (down.returncode, down.stdout) == (1, "not up; start it with: keyturn local up\n")
    assert call("down").stdout == "the embedded AWS is not up\n"


@pytest.mark.emulator
def test_it_comes_with_the_stack_if_asked_so_that_a_rotation_can_be_tried(
    call: Call, tmp_path: Path
) -> None:
    """What docs/cli.md shows."""
    template = KEYTURN[1].removesuffix("cli/keyturn_cli") + "template.yaml"
    up = call("up", "--deploy", template)
    assert (up.returncode, up.stderr) == (0, "")
    variables: dict[str, str] = json.loads(call("status", "--json").stdout)["environment"]
    client = boto3.client(
        "iam",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        region_name=variables["AWS_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_user(UserName="ci-deployer")
    key = client.create_access_key(UserName="ci-deployer")["AccessKey"]

    def keyturn(*words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*KEYTURN, *words],
            env={"PATH": os.environ["PATH"], **variables},
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    onboarded = keyturn(
        "onboard", "ci-deployer", "--existing-secret-stdin", "--yes",
        given=json.dumps(key, default=str),
    )  # fmt: skip
    assert (onboarded.returncode, onboarded.stderr) == (0, "")
    assert "done: tag the user keyturn:managed=us-east-1" in onboarded.stdout
    planned = keyturn("plan", "ci-deployer")
    assert (planned.returncode, planned.stderr) == (0, "")
    assert "ci-deployer: it would issue a new key" in planned.stdout
    assert "  because: rotating\n" in planned.stdout
    twice = call("up", "--deploy", template)
    assert twice.stderr == "keyturn: the embedded AWS is up already; first: keyturn local down\n"


def test_the_process_id_of_somebody_else_is_not_taken_for_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Process ids are used again; `local down` must not end a stranger."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    kept = tmp_path / "keyturn" / "local.json"
    kept.parent.mkdir()
    kept.write_text(json.dumps({"pid": os.getpid(), "environment": {}, "log": "x"}))
    assert local.running() is None
    assert not kept.exists()
    assert local.down() is False


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"pid": "x"}'])
def test_a_damaged_state_file_counts_as_not_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "keyturn").mkdir()
    (tmp_path / "keyturn" / "local.json").write_text(content)
    assert local.running() is None


def test_without_ps_it_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As in small container images."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    kept = tmp_path / "keyturn" / "local.json"
    kept.parent.mkdir()
    kept.write_text(json.dumps({"pid": os.getpid(), "environment": {}, "log": "x"}))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CliError, match="install procps"):
        local.running()
    assert kept.exists()


@pytest.mark.parametrize(
    ("words", "status"),
    [([], 0), (["--region", "eu-west-1"], 0), (["--region", "us-east-1"], 2)],
)
def test_another_region_than_it_plays_already_is_not_passed_over(
    monkeypatch: pytest.MonkeyPatch, words: list[str], status: int
) -> None:
    variables = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_REGION": "eu-west-1"}
    monkeypatch.setattr(local, "running", lambda: local.Local(1, variables, "x"))
    done = CliRunner().invoke(app, ["local", "up", *words])
    assert done.exit_code == status
    assert ("is up already, in eu-west-1; first: keyturn local down" in done.stderr) is bool(status)


def test_after_the_end_a_shell_that_still_points_at_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    was = local.Local(1, {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "x")
    monkeypatch.setattr(local, "running", lambda: was)
    monkeypatch.setattr(local, "down", lambda: True)
    for endpoint, told in (("http://127.0.0.1:9", True), ("http://127.0.0.1:8", False)):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        done = CliRunner().invoke(app, ["local", "down"])
        assert (done.exit_code, done.stdout) == (0, "stopped\n")
        assert ("go on in a new one" in done.stderr) is told
