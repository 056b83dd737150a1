"""The operator's command against the deployed stack."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import Stack

CLI = Path(__file__).parent.parent.parent / "cli"
pytestmark = pytest.mark.xdist_group("cli")


def run(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(CLI), **stack.aws.environment()}
    return subprocess.run(
        [sys.executable, "-m", "keyturn_cli", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_first_key_is_issued_with_one_command(stack: Stack) -> None:
    user = stack.user(key=False)
    done = run(stack, "rotate", user.name)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ISSUED: issuing a first key" in done.stdout
    assert list(stack.keys(user.name).values()) == ["Active"]


def test_a_back_out_with_nothing_to_undo_says_so(stack: Stack) -> None:
    done = run(stack, "backout", stack.user().name)
    assert done.returncode == 0
    assert "SKIPPED: nothing to undo" in done.stdout


def test_a_rejection_is_a_failure_with_its_reason(stack: Stack) -> None:
    done = run(stack, "rotate", "nobody-of-that-name")
    assert done.returncode == 1
    assert "REJECTED: the IAM user nobody-of-that-name does not exist" in done.stdout


def test_a_wrong_stack_is_one_line_without_a_traceback(stack: Stack) -> None:
    done = run(stack, "rotate", "u", "--stack-name", "no-such-stack")
    assert done.returncode == 2
    assert "no-such-stack" in done.stderr
    assert "Traceback" not in done.stderr
