"""Runs the command as a person would: another process, pointed at the embedded AWS."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from proofs.stack.support import Stack

KEYTURN = (sys.executable, str(Path(__file__).parent.parent.parent / "cli" / "keyturn_cli"))


def run(
    stack: Stack, *arguments: str, given: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, without a terminal."""
    environment = {"PATH": os.environ["PATH"], "COLUMNS": "200", **stack.aws.environment()}
    return subprocess.run(
        [*KEYTURN, *arguments],
        env=environment | variables,
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
