"""Deploys a SAM template to the emulator with the real SAM CLI."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from localaws.errors import LocalAwsError
from localaws.launcher import Account

TAIL_LINES = 40


def deploy(
    aws: Account,
    *,
    stack_name: str,
    template: Path,
    parameters: Mapping[str, str],
    timeout_seconds: float = 120,
) -> dict[str, str]:
    """Run `sam deploy` (without `sam build`: the sources are shipped) and return the outputs.

    The stack lands in the account and Region of `aws`, which may be `aws.account(...)`. The Lambda
    workers import dependencies from the environment of this interpreter. Parameters with an empty
    value are passed on as empty.
    """
    sam = Path(sys.executable).with_name("sam")
    command = [
        str(sam), "deploy",
        "--template-file", str(template.resolve()),
        "--stack-name", stack_name,
        "--region", aws.region,
        "--resolve-s3",
        "--capabilities", "CAPABILITY_IAM", "CAPABILITY_NAMED_IAM",
        "--no-confirm-changeset",
        "--no-fail-on-empty-changeset",
        "--no-progressbar",
    ]  # fmt: skip
    # A samconfig.toml beside the template is for people; nothing of it may slip in here.
    settings = aws.work_dir / "samconfig.toml"
    settings.write_text("version = 0.1\n")
    command += ["--config-file", str(settings)]
    if parameters:
        command += ["--parameter-overrides"]
        command += [
            f"ParameterKey={name},ParameterValue={_quoted(value)}"
            for name, value in parameters.items()
        ]
    try:
        done = subprocess.run(
            command,
            env=_environment(aws),
            cwd=template.resolve().parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LocalAwsError(f"sam deploy took longer than {timeout_seconds:g} s") from error
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-TAIL_LINES:])
        raise LocalAwsError(f"sam deploy of {stack_name} failed:\n{tail}")
    stacks = aws.client("cloudformation").describe_stacks(StackName=stack_name)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stacks[0].get("Outputs", [])}


def _quoted(value: str) -> str:
    """A value as SAM's parameter overrides want it: spaces, quotes and emptiness survive."""
    escaped = value.replace('"', '\\"')
    return f'"{escaped}"'


def _environment(aws: Account) -> dict[str, str]:
    mine = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "SAM_CLI_"))
    }
    return (
        mine
        | aws.environment()
        | {
            "SAM_CLI_POLL_DELAY": "0.1",  # how often it looks at the stack's events, in seconds
            "__SAM_CLI_APP_DIR": str(aws.work_dir),  # or it writes into the person's home
        }
    )
