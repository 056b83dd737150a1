"""The programs of examples/ as processes: started, listened to, and stopped by process id."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from localaws import Account
from proofs.stack.support import MachineUser

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
STOP_SECONDS = 20.0
LEAN = (sys.executable, str(Path(__file__).with_name("lean.py")))
KEYTURN = (*LEAN, str(EXAMPLES.parent / "cli" / "keyturn_cli"))
"""Runs the command as it is in the repository, whatever is installed."""

BOTO3_REREAD = "boto3_reread"
CACHING_CLIENT = "caching_client"
CREDENTIAL_PROCESS = "credential_process"
STATIC = "static"
MOVING = (BOTO3_REREAD, CACHING_CLIENT, CREDENTIAL_PROCESS)
"""The kinds that pick a new key up without a restart."""


@dataclass(frozen=True)
class Report:
    """What a program said last (see `examples/application.py`); `key` is "..." and 4 letters."""

    kind: str = ""
    calls: int = 0
    failed_calls: int = 0
    retried_after_reread: int = 0
    key_changes: int = 0
    last_error: str = ""
    last_call_failed: bool = False
    key: str = ""


@dataclass(frozen=True)
class Pace:
    """How a program works, in seconds: between two calls, and between two looks at its secret."""

    interval_seconds: float = 0.4
    refresh_seconds: int = 4


class Working(Protocol):
    """Something that makes calls all the time and says how it goes."""

    kind: str
    errors: Path
    report: Report

    @property
    def running(self) -> bool:
        """Whether it has not ended."""

    def on(self, access_key_id: str) -> bool:
        """Whether its last call was signed with this key."""

    def ask_to_stop(self) -> None:
        """Let it end after its present call."""

    def stop(self) -> Report:
        """Stop it and return its last report."""


class Program:
    """One running program. `report` is the newest line that it printed."""

    def __init__(
        self, kind: str, command: Sequence[str], environment: Mapping[str, str], errors: Path
    ) -> None:
        self.kind = kind
        self.errors = errors
        self.report = Report(kind=kind)
        self.said: list[str] = []
        with errors.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                process_group=0,  # Ctrl-C in a terminal reaches us alone, and we stop it
            )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def on(self, access_key_id: str) -> bool:
        """Whether its last call was signed with this key."""
        return self.report.key == f"...{access_key_id[-4:]}"

    def ask_to_stop(self) -> None:
        """Send SIGTERM: it ends after its present call."""
        if self.running:
            self._process.send_signal(signal.SIGTERM)

    def stop(self) -> Report:
        """Stop it, if need be by force, and return its last report."""
        self.ask_to_stop()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(STOP_SECONDS)
        return self.report

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self.report = Report(**json.loads(line))
                self.said = [*self.said[-200:], line]


Starter = Callable[..., Program]
"""Starts a program: `start(kind, of=user, refresh_seconds=..., reader_profile=...)`."""


@dataclass
class Start:
    """What is needed to start programs of one machine user, in a directory of its own."""

    aws: Account
    user: MachineUser
    directory: Path
    paces: Mapping[str, Pace] = field(default_factory=dict)
    reader_profile: str | None = None
    """Who reads the secret, if not the user itself: a profile in `directory / "config"`."""

    def __call__(self, kind: str) -> Program:
        """Start a program of this kind."""
        pace = self.paces.get(kind, Pace())
        make = {
            BOTO3_REREAD: self._reading_itself,
            CACHING_CLIENT: self._reading_itself,
            CREDENTIAL_PROCESS: self._by_process,
            STATIC: self._static,
        }
        command, variables = make[kind](kind, pace)
        # One of a kind may follow another of the same kind.
        errors = self.directory / f"{kind}-{len(list(self.directory.iterdir()))}.stderr"
        interval = ["--interval-seconds", str(pace.interval_seconds)]
        return Program(kind, [*command, *interval], self._environment() | variables, errors)

    def _reading_itself(self, kind: str, pace: Pace) -> tuple[list[str], dict[str, str]]:
        return [*_python(f"{kind}.py"), *self._secret(kind, pace)], self._key()

    def _static(self, _: str, __: Pace) -> tuple[list[str], dict[str, str]]:
        return _python("static_credentials.py"), self._key()

    def _by_process(self, kind: str, pace: Pace) -> tuple[list[str], dict[str, str]]:
        process = [*KEYTURN, "credentials", self.user.name, *self._secret(kind, pace)]
        process = ["--interval" if word == "--refresh-seconds" else word for word in process]
        subprocess.run(
            [*process, "--first-key"],
            env=self._environment(),
            input=json.dumps(
                {
                    "AccessKeyId": self.user.access_key_id,
                    "SecretAccessKey": self.user.secret_access_key.get_secret_value(),
                }
            ),
            text=True,
            check=True,
            timeout=60,
        )
        with self._config.open("a", encoding="utf-8") as config:
            config.write(f"[profile machine]\ncredential_process = {shlex.join(process)}\n")
        return _python("with_credential_process.py"), {"AWS_PROFILE": "machine"}

    def _secret(self, kind: str, pace: Pace) -> list[str]:
        reader = ["--reader-profile", self.reader_profile] if self.reader_profile else []
        return [
            "--secret-name",
            self.user.secret_name,
            "--key-file",
            str(self.directory / f"{kind}.json"),
            "--refresh-seconds",
            str(pace.refresh_seconds),
            *reader,
        ]

    @property
    def _config(self) -> Path:
        return self.directory / "config"

    def _key(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": self.user.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.user.secret_access_key.get_secret_value(),
        }

    def _environment(self) -> dict[str, str]:
        return environment(self.aws, self._config)


def environment(aws: Account, config: Path) -> dict[str, str]:
    """The emulator's address, and nothing of the person's or the administrator's identity."""
    mine: dict[str, Any] = {
        name: value for name, value in os.environ.items() if not name.startswith("AWS_")
    }
    theirs = {
        name: value
        for name, value in aws.environment().items()
        if name
        not in (
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AWS_PROFILE",
        )
    }
    return mine | theirs | {"AWS_CONFIG_FILE": str(config)}


def _python(script: str) -> list[str]:
    return [*LEAN, str(EXAMPLES / script)]
