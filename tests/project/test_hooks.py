"""The commit hooks: they run from the pinned environment, and the secret scan finds secrets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent.parent
BIN = Path(sys.executable).parent
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]


def scan(*files: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "detect-secrets-hook"), "--baseline", ".secrets.baseline", *map(str, files)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_every_hook_comes_from_the_pinned_environment() -> None:
    assert [repository["repo"] for repository in HOOKS] == ["local"]
    hooks = HOOKS[0]["hooks"]
    assert all(hook["language"] == "system" for hook in hooks)
    programs = {hook["entry"].split()[0] for hook in hooks}
    assert all(program.startswith(".venv/bin/") for program in programs)
    assert all((BIN / Path(program).name).exists() for program in programs)


def test_the_secret_scan_finds_a_key_of_aws(tmp_path: Path) -> None:
    planted = tmp_path / "settings.py"
    # In two parts, or the scan would find it here.
    planted.write_text(
        'aws_secret_access_key = "' + "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzzzKEY" + 'a"\n'
    )
    found = scan(planted)
    assert found.returncode == 1
    assert "AWS Access Key" in found.stdout


def test_nothing_that_is_tracked_holds_a_secret() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"],  # noqa: S607 - the git of whoever runs the tests
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    found = scan(*(Path(name) for name in listed.split("\0") if name))
    assert found.returncode == 0, found.stdout
