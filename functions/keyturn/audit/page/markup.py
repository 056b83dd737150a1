"""Text that is safe inside HTML, and how the page writes numbers and moments."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape

REPLACEMENT = "\ufffd"


class Html(str):
    """Markup that is already safe; every other string is escaped by `text`."""

    __slots__ = ()


def text(value: object) -> str:
    """A value for an element or a quoted attribute.

    Characters that cannot be seen (controls, text that turns its direction round, line separators)
    become a replacement character, so that nothing in a name can hide or disguise itself.
    """
    if isinstance(value, Html):
        return value
    string = str(value)
    if not string.isprintable():
        string = "".join(c if c.isprintable() or c == "\n" else REPLACEMENT for c in string)
    return escape(string)


def join(parts: Iterable[str], between: str = "") -> Html:
    """Safe markup out of safe markup and plain strings."""
    return Html(between.join(text(part) for part in parts))


def number(value: int) -> str:
    """12478 as 12,478."""
    return f"{value:,}"


def counted(value: int, noun: str) -> str:
    """1 user, 2 users."""
    return f"{value:,} {noun}" if value == 1 else f"{value:,} {noun}s"


def share(part: int, whole: int) -> str:
    """A percentage with one decimal; a dash when there is nothing to be a share of."""
    return f"{100 * part / whole:.1f}%" if whole else "\u2013"


def moment(at: datetime) -> str:
    """Such as 2026-11-21 10:08 UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
