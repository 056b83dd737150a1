"""Stands in for your application: makes calls all the time, counts them, and says how it goes.

Not for copying: the other files of this directory show how to come by the key. It prints a JSON
line whenever something other than the number of calls changes, and every second or so; of a key
only the last four characters of its id, and never a secret.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError
from machine_key import LockedOut

_REPORT_SECONDS = 1.0


@dataclass
class Counts:
    """What the application has done so far.

    calls: pieces of work that succeeded, as the application's user sees it.
    failed_calls: those that did not. retried_after_reread: those that succeeded only after the
    key was refused and read again. key_changes: how often the key in use became another one.
    """

    kind: str
    calls: int = 0
    failed_calls: int = 0
    retried_after_reread: int = 0
    key_changes: int = 0
    last_error: str = ""
    last_call_failed: bool = False
    key: str = ""


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the arguments that all examples have."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument(
        "--interval-seconds", type=float, default=0.3, help="how long to rest between two calls"
    )
    return made


def add_secret(made: argparse.ArgumentParser) -> None:
    """Add the arguments of the examples that read their secret themselves."""
    made.add_argument("--secret-name", required=True, help="for example machine-user/ci-deployer")
    made.add_argument(
        "--key-file", type=Path, required=True, help="where to keep the last good keys"
    )
    made.add_argument(
        "--refresh-seconds", type=int, default=300, help="how often to read the secret again"
    )
    made.add_argument("--reader-profile", help="read the secret with this profile instead")


def run(
    kind: str,
    call: Callable[[], object],
    *,
    key_in_use: Callable[[], str],
    retried_after_reread: Callable[[], int] = lambda: 0,
    interval_seconds: float,
) -> int:
    """Call again and again until SIGTERM or Ctrl-C; returns the exit status.

    Args:
        kind: what the report calls this program.
        call: one piece of work.
        key_in_use: returns the access key id that the last call was signed with.
        retried_after_reread: returns how often a call succeeded only after a new look.
        interval_seconds: how long to rest between two calls.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    counts, reported_at, last_key = Counts(kind), 0.0, ""
    said = asdict(counts)
    while not stop.is_set():
        try:
            call()
        except (ClientError, BotoCoreError, LockedOut) as error:
            counts.failed_calls += 1
            counts.last_call_failed = True
            counts.last_error = _code(error)
        else:
            counts.calls += 1
            counts.last_call_failed = False
        counts.retried_after_reread = retried_after_reread()
        key = key_in_use()
        counts.key_changes += bool(last_key) and key != last_key
        last_key, counts.key = key, f"...{key[-4:]}"
        changed = {**asdict(counts), "calls": 0} != {**said, "calls": 0}
        if changed or time.monotonic() - reported_at >= _REPORT_SECONDS:
            said, reported_at = asdict(counts), time.monotonic()
            _say(counts)
        stop.wait(interval_seconds)
    _say(counts)
    return 0


def _code(error: Exception) -> str:
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "ClientError"))
    return type(error).__name__


def _say(counts: Counts) -> None:
    try:
        print(json.dumps(asdict(counts)), flush=True)
    except BrokenPipeError:  # whoever was listening is gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
