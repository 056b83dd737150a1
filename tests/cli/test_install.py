"""The command installs with pip, alone, into an environment of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
NEEDED = ("functions", "cli", "localaws", "pyproject.toml", "README.md", "LICENSE")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cli_install")]


def call(
    *command: str | Path, home: Path, timeout: float = 240
) -> subprocess.CompletedProcess[str]:
    """Run a command far from the repository, with nothing of it on the path."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "PYTHON", "COVERAGE", "COV_"))
    }
    return subprocess.run(
        [str(word) for word in command],
        env=kept | {"HOME": str(home)},
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin directory of a new environment with `pip install .` done."""
    base = tmp_path_factory.mktemp("install")
    source, env = base / "source", base / "env"
    source.mkdir()
    junk = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in NEEDED:  # a copy, because building leaves its traces beside the sources
        there = ROOT / name
        if there.is_dir():
            shutil.copytree(there, source / name, ignore=junk)
        else:
            shutil.copy(there, source / name)
    assert call(sys.executable, "-m", "venv", env, home=base).returncode == 0
    done = call(
        env / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-input",
        "--disable-pip-version-check", "--retries", "0", source, home=base,
    )  # fmt: skip
    if done.returncode != 0 and any(
        word in done.stderr
        for word in ("No matching distribution", "NewConnectionError", "Could not fetch")
    ):
        pytest.skip(f"no package index within reach: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return env / "bin"


def test_the_installed_command_shows_its_help(installed: Path) -> None:
    done = call(installed / "keyturn", "--help", home=installed.parent)
    assert (done.returncode, done.stderr) == (0, "")
    assert "rotate" in done.stdout


def test_the_installed_command_tells_its_version(installed: Path) -> None:
    done = call(installed / "keyturn", "--version", home=installed.parent)
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"keyturn {wanted['project']['version']}\n"


def test_the_installed_command_lacks_only_the_embedded_aws_and_says_how_to_get_it(
    installed: Path,
) -> None:
    done = call(installed / "keyturn", "local", "up", home=installed.parent)
    assert (done.returncode, done.stdout) == (2, "")
    # Not by the package's name: what an index has under it need not be ours.
    assert "pip install '.[local]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["status", "plan u", "audit", "watch u", "onboard u"])
def test_every_installed_command_gets_as_far_as_asking_for_credentials(
    installed: Path, command: str
) -> None:
    """With nothing missing that is not a dependency."""
    done = call(
        "env", "AWS_EC2_METADATA_DISABLED=true", "AWS_REGION=eu-west-1",
        installed / "keyturn", *command.split(), home=installed.parent,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("keyturn: no AWS credentials were found")
    assert len(done.stderr.splitlines()) == 1
