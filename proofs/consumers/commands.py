"""Consumers that are commands: run again and again, each of them a process of its own."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from proofs.consumers.programs import KEYTURN, Report, environment
from proofs.consumers.readers import add_reader_profile
from proofs.stack.support import MachineUser, Stack

AWS = Path(sys.executable).with_name("aws")
COMMAND_SECONDS = 120.0


def let_list_topics(stack: Stack, user: MachineUser) -> None:
    """Allow the commands' call. Not SQS: version 1 of the CLI asks it at AWS's own address."""
    statement = {"Effect": "Allow", "Action": "sns:ListTopics", "Resource": "*"}
    stack.iam.put_user_policy(
        UserName=user.name,
        PolicyName="topics",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )


@dataclass(frozen=True)
class Did:
    """What one repetition did: pieces of work that succeeded, that did not, and what they said."""

    calls: int = 0
    failed_calls: int = 0
    errors: str = ""


class Repeated:
    """Repeats a piece of work in a thread until it is stopped.

    Which key signed a call is what the embedded AWS saw; commands do not tell.
    """

    def __init__(
        self, kind: str, stack: Stack, user: MachineUser, errors: Path, once: Callable[[], Did]
    ) -> None:
        self.kind = kind
        self.errors = errors
        self.report = Report(kind=kind)
        self._stack = stack
        self._principal = f":user/{user.name}"
        self._once = once
        self._over = threading.Event()
        errors.touch()
        let_list_topics(stack, user)
        self._thread = threading.Thread(target=self._repeat, daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._thread.is_alive()

    def on(self, access_key_id: str) -> bool:
        """Whether its last call was signed with this key."""
        return self.report.key == f"...{access_key_id[-4:]}"

    def ask_to_stop(self) -> None:
        """Let it end after its present work."""
        self._over.set()

    def stop(self) -> Report:
        """Stop it and return its last report."""
        self._over.set()
        self._thread.join()
        return self.report

    def _repeat(self) -> None:
        while not self._over.is_set():
            began = time.time()
            did = self._once()
            if did.errors:
                with self.errors.open("a", encoding="utf-8") as log:
                    log.write(did.errors)
            last = self.report
            key = self._key_since(began) or last.key
            self.report = replace(
                last,
                calls=last.calls + did.calls,
                failed_calls=last.failed_calls + did.failed_calls,
                last_call_failed=bool(did.failed_calls),
                last_error=did.errors[-500:] if did.failed_calls else last.last_error,
                key_changes=last.key_changes + (bool(last.key) and key != last.key),
                key=key,
            )

    def _key_since(self, began: float) -> str:
        calls = self._stack.aws.control.calls(
            since=began, principal=self._principal, action="sns:ListTopics"
        )
        return f"...{calls[-1].access_key_id[-4:]}" if calls else ""


def aws_cli(stack: Stack, user: MachineUser, directory: Path) -> Repeated:
    """The AWS CLI with a profile whose credential_process is `keyturn credentials`, by a reader."""
    config = directory / "config"
    add_reader_profile(stack, user, config)
    process = [
        *KEYTURN,
        *("credentials", user.name),
        *("--key-file", str(directory / "key.json")),
        *("--reader-profile", "reader"),
    ]
    with config.open("a", encoding="utf-8") as file:
        file.write(f"[profile machine]\ncredential_process = {shlex.join(process)}\n")
    variables = environment(stack.aws, config) | {"AWS_PROFILE": "machine"}

    def once() -> Did:
        done = subprocess.run(
            [str(AWS), "sns", "list-topics"],
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        if done.returncode:
            return Did(failed_calls=1, errors=done.stderr)
        return Did(calls=1, errors=done.stderr)

    return Repeated("aws_cli", stack, user, directory / "aws.stderr", once)
