"""`keyturn local`: the embedded AWS as a process of its own, for playing with `aws` and `sam`.

The emulator belongs to `python -m localaws up`, which this starts apart from the terminal. A state
file, which only its owner can read, says which process that is and how to reach it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keyturn_cli.errors import CliError

REGION = "us-east-1"
READY_SECONDS = 180.0
STOP_SECONDS = 20.0
_NEEDED = ("ministack", "samtranslator", "localaws", "demo")
_EXPORT = re.compile(r"^export (\w+)='([^']*)'$", re.MULTILINE)
_READY = "# Log:"


@dataclass(frozen=True)
class Local:
    """A running emulator: its process and the variables that point programs at it."""

    pid: int
    environment: dict[str, str]
    log: str

    @property
    def endpoint_url(self) -> str:
        """Where it answers."""
        return self.environment["AWS_ENDPOINT_URL"]

    def dump(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"pid": self.pid, "environment": self.environment, "log": self.log}


def state_directory() -> Path:
    """Return where the state file and the logs are: below XDG_STATE_HOME."""
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "keyturn"


def _state_file() -> Path:
    return state_directory() / "local.json"


def running() -> Local | None:
    """Return the emulator that is up, or None; a stale state file is removed."""
    try:
        state = json.loads(_state_file().read_text(encoding="utf-8"))
        found = Local(int(state["pid"]), dict(state["environment"]), str(state["log"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if _is_ours(found.pid):
        return found
    _state_file().unlink(missing_ok=True)
    return None


def _is_ours(pid: int) -> bool:
    """Whether this process is an emulator; process ids are used again by others."""
    try:
        shown = subprocess.run(  # noqa: S603 - a number
            ["ps", "-ww", "-p", str(pid), "-o", "stat=", "-o", "command="],  # noqa: S607 - POSIX
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()
    except FileNotFoundError:  # small container images lack it
        raise CliError(
            f"the command ps is missing, which tells whether process {pid} is the embedded AWS; "
            "install procps"
        ) from None
    return " -m localaws up" in shown and not shown.startswith("Z")


def up(region: str | None = None, template: Path | None = None) -> Local:
    """Start the emulator, and deploy a template to it; one that runs already is returned as it is.

    Raises:
        CliError: it is not installed, does not come up (its last words are quoted), or is up in
            another Region already.
    """
    found = running()
    if found and template:
        raise CliError("the embedded AWS is up already; first: keyturn local down")
    if found:
        plays = found.environment.get("AWS_REGION")
        if region not in (None, plays):
            raise CliError(
                f"the embedded AWS is up already, in {plays}; first: keyturn local down "
                "(everything in it is gone then)"
            )
        return found
    if template and not template.is_file():
        raise CliError(f"{template} does not exist; name the repository's template.yaml")
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise CliError(
            f"the embedded AWS is not installed ({missing[0]} is missing); in a clone of the "
            "repository: pip install '.[local]' (or pipx install --force '.[local]')"
        )
    directory = state_directory()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    said = directory / "local.out"
    with said.open("w") as output:
        process = subprocess.Popen(  # noqa: S603 - this interpreter
            [
                *(sys.executable, "-m", "localaws", "up"),
                *("--region", region or REGION, "--log-dir", str(directory)),
                *(_deployment(template) if template else ()),
            ],
            cwd=_home(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    text = _wait_until_ready(process, said)
    log = text.partition(_READY)[2].partition(". Press")[0].strip()
    made = Local(process.pid, dict(_EXPORT.findall(text)), log)
    _write(made)
    return made


def _deployment(template: Path) -> list[str]:
    """Return the options that deploy Keyturn's template so that a rotation takes a minute."""
    from demo.parameters import PARAMETERS  # noqa: PLC0415 - only a clone has the demo

    own = {"ManagedTagValue": "", "MinKeyAgeSeconds": "0"}  # the Region; keys are new here
    parameters = [f"--parameter={name}={value}" for name, value in (PARAMETERS | own).items()]
    return ["--deploy", str(template.resolve()), "--stack", "keyturn", *parameters]


def _home() -> Path:
    """Return the directory that holds the package localaws."""
    spec = importlib.util.find_spec("localaws")
    assert spec is not None  # noqa: S101 - the caller looked
    return Path(str(spec.origin)).parent.parent


def _wait_until_ready(process: subprocess.Popen[bytes], said: Path) -> str:
    ends = time.monotonic() + READY_SECONDS
    while True:
        text = said.read_text(encoding="utf-8", errors="replace")
        if _READY in text and text.endswith("\n"):
            return text
        if process.poll() is not None or time.monotonic() > ends:
            break
        time.sleep(0.1)
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    last = next((line for line in reversed(text.splitlines()) if line.strip()), "it said nothing")
    raise CliError(f"the embedded AWS did not come up: {last} ({said} has the rest)")


def _write(made: Local) -> None:
    handle, name = tempfile.mkstemp(dir=state_directory(), prefix="local.json")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(made.dump(), file)
    Path(name).replace(_state_file())


def down() -> bool:
    """Stop the emulator; False when none was up.

    Raises:
        CliError: it does not end.
    """
    found = running()
    if found is None:
        return False
    os.kill(found.pid, signal.SIGTERM)
    ends = time.monotonic() + STOP_SECONDS
    while _is_ours(found.pid):
        with contextlib.suppress(ChildProcessError):
            os.waitpid(found.pid, os.WNOHANG)
        if time.monotonic() > ends:
            raise CliError(f"the embedded AWS (process {found.pid}) does not end; see {found.log}")
        time.sleep(0.1)
    _state_file().unlink(missing_ok=True)
    return True


def exports(environment: dict[str, str]) -> str:
    """Return the variables as a shell reads them.

    >>> exports({"AWS_PAGER": "", "AWS_REGION": "us-east-1"})
    "export AWS_PAGER=''\\nexport AWS_REGION=us-east-1"
    """
    return "\n".join(
        f"export {name}={shlex.quote(value)}" for name, value in sorted(environment.items())
    )
