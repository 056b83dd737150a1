"""Fixtures: a machine user, and a way to start the programs of examples/ for it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from proofs.consumers.programs import EXAMPLES, Pace, Program, Start, Starter
from proofs.stack.support import MachineUser, Stack


@pytest.fixture
def user(stack: Stack) -> MachineUser:
    """A machine user whose secret holds its key."""
    return stack.user()


@pytest.fixture
def start(stack: Stack, user: MachineUser, tmp_path: Path) -> Iterator[Starter]:
    """Start a program, `start(kind, of=..., refresh_seconds=...)`; it is stopped at the end."""
    started: list[Program] = []

    def begin(
        kind: str,
        *,
        of: MachineUser = user,
        refresh_seconds: int = 1,
        reader_profile: str | None = None,
    ) -> Program:
        pace = Pace(interval_seconds=0.1, refresh_seconds=refresh_seconds)
        program = Start(stack.aws, of, tmp_path, {kind: pace}, reader_profile)(kind)
        started.append(program)
        return program

    yield begin
    for program in started:
        program.stop()


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import a file of examples/ as a program there would."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module
