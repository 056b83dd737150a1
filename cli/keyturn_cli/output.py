"""What is printed: JSON for programs on request, else words (no colours under NO_COLOR)."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from keyturn.model.moments import iso
from keyturn_cli.errors import CliError, Declined


def console() -> Console:
    """Return a console on the present standard output; Rich heeds NO_COLOR and TERM."""
    return Console(highlight=False, markup=False, soft_wrap=not sys.stdout.isatty())


def to_people() -> Console:
    """Return a console on standard error: progress, which is no part of the output."""
    return Console(stderr=True, highlight=False, markup=False)


def indented(on: Console, text: str, by: int, style: str = "") -> None:
    """Print a text that wraps within its own column; without a terminal it stays one line."""
    if on.is_terminal:
        on.print(Padding(Text(text, style), (0, 0, 0, by)))
    else:
        on.print(" " * by + text)


def print_json(value: Mapping[str, Any] | Sequence[Any], *, indent: int | None = 2) -> None:
    """Print a JSON document: camelCase names, ISO 8601 UTC times."""
    print(json.dumps(value, indent=indent, default=_plain), flush=True)


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return iso(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def note(text: str) -> None:
    """Tell a person something beside the output."""
    print(f"keyturn: {text}", file=sys.stderr, flush=True)


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is changed.

    Raises:
        Declined: the person said no.
        CliError: there is nobody to ask.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise CliError("there is no terminal to ask on; say --yes to go on without being asked")
    print(f"{question} [y/N] ", end="", flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Declined("nothing was changed")
