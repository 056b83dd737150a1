"""A machine user with one program of each kind, all of them calling all the time."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr

from localaws import LastUsedModel
from proofs.consumers.programs import (
    MOVING,
    STATIC,
    Pace,
    Program,
    Report,
    Start,
    Working,
)
from proofs.stack.support import MachineUser, Stack, eventually

SETTLE_SECONDS = 120.0
"""How long a busy computer may take to start a program, or to let it notice a new key."""

# Last-used data as bad as proofs.stack.support.PARAMETERS tell the stack that it may be.
AS_TOLD = LastUsedModel(coalesce_seconds=1, lag_seconds=(0, 1))


Begin = Callable[[Path], Working]
"""Starts a consumer, given a directory of its own."""


class Interrupted(Exception):
    """Somebody wants everything to end now."""


class Crew:
    """The programs of one machine user, and their figures.

    Those are one of each kind that moves; or only the one that `begin` starts.
    When `interrupted` is set, whatever waits for something raises `Interrupted`.
    """

    def __init__(
        self,
        stack: Stack,
        user: MachineUser,
        paces: Mapping[str, Pace],
        *,
        begin: Begin | None = None,
        interrupted: threading.Event | None = None,
    ) -> None:
        self.stack = stack
        self.user = user
        self._interrupted = interrupted or threading.Event()
        self._directory = tempfile.TemporaryDirectory(prefix="keyturn-consumers-")
        self._lock = threading.Lock()
        self._over: list[Report] = []
        stack.aws.control.set_last_used(AS_TOLD, user=user.name)
        start = self._starter(user, paces)
        self.programs: list[Working] = []
        try:
            if begin is None:
                self.programs += [start(kind) for kind in MOVING]
            else:
                self.programs.append(begin(Path(self._directory.name)))
        except BaseException:
            self.stop()
            raise

    @property
    def name(self) -> str:
        """The name of the user."""
        return self.user.name

    @property
    def healthy(self) -> bool:
        """Whether the last call of every program worked, as a health URL would tell it."""
        with self._lock:
            return not any(program.report.last_call_failed for program in self.programs)

    def reports(self) -> list[Report]:
        """The last report of every program, of those that have ended as well."""
        with self._lock:
            return [*self._over, *(program.report for program in self.programs)]

    def wait_until_working(self) -> None:
        """Wait for the first call of every program."""
        self.wait(
            lambda: all(program.report.calls > 0 for program in self.programs),
            "every program makes its first call",
        )

    def wait_until_on(self, access_key_id: str) -> None:
        """Wait until every program signs with this key."""
        self.wait(
            lambda: all(program.on(access_key_id) for program in self.programs),
            f"every program uses ...{access_key_id[-4:]}",
        )

    @contextmanager
    def with_static(self, pace: Pace) -> Iterator[Program]:
        """One more program, given the present key when it starts; it never looks again."""
        value = self.stack.secrets.get_secret_value(SecretId=self.user.secret_name)["SecretString"]
        key = json.loads(value)
        holder = MachineUser(self.name, key["AccessKeyId"], SecretStr(key["SecretAccessKey"]))
        program = self._starter(holder, {STATIC: pace})(STATIC)
        with self._lock:
            self.programs.append(program)
        try:
            self.wait_until_working()
            yield program
        finally:
            program.stop()
            with self._lock:
                self.programs.remove(program)
                self._over.append(program.report)

    def stop(self) -> None:
        """Stop every program, all of them at once, and remove their files."""
        for program in self.programs:
            program.ask_to_stop()
        for program in self.programs:
            program.stop()
        self._directory.cleanup()

    def _starter(self, user: MachineUser, paces: Mapping[str, Pace]) -> Start:
        return Start(self.stack.aws, user, Path(self._directory.name), paces)

    def wait(
        self,
        condition: Callable[[], bool],
        what: str,
        *,
        within_seconds: float = SETTLE_SECONDS,
        every_seconds: float = 0.25,
    ) -> None:
        """Wait on a condition, as long as every program runs."""

        def met() -> bool:
            if self._interrupted.is_set():
                raise Interrupted
            for program in list(self.programs):
                errors = program.errors.read_text(encoding="utf-8")[-2000:]
                assert program.running, f"{program.kind} of {self.name} has ended: {errors}"
            return condition()

        eventually(
            met,
            within_seconds=within_seconds,
            what=f"{what} ({self.name})",
            every_seconds=every_seconds,
        )
