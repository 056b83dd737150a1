"""Shows the demo: plain lines without a terminal, live panels below the story with one."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich import box
from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from demo.model import ConsumerSeen, Ended, Kind, Moment, UserSeen, counted, masked

STYLES = {
    Kind.STATE: "",
    Kind.KEYS: "cyan",
    Kind.CONSUMER: "blue",
    Kind.GOOD: "green",
    Kind.MIXED: "bold yellow",
    Kind.BAD: "bold red",
}
WIDEST = 100


class View(Protocol):
    """What the demo says goes through one of these."""

    console: Console

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Show a step of the set-up while it runs."""
        yield

    def begin(self, at: float) -> None:
        """Start the clock: all times are shown relative to `at` (Unix time)."""

    def show(self, moments: list[Moment], users: list[UserSeen]) -> None:
        """Tell what happened and show how things stand."""

    def end(self) -> None:
        """Leave the terminal as it was; calling it again does nothing."""


class PlainView:
    """One line for each change, with the seconds since the rotations started."""

    def __init__(self) -> None:
        self.console = Console(
            width=80, force_terminal=False, no_color=True, highlight=False, markup=False
        )
        self._began = time.time()

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Tell the step before it runs, so that a log shows where it hangs."""
        print(f"set-up: {text}", flush=True)
        yield

    def begin(self, at: float) -> None:
        """Start the clock."""
        self._began = at

    def show(self, moments: list[Moment], users: list[UserSeen]) -> None:
        """Print the moments; how things stand follows from them."""
        for moment in moments:
            print(line_of(moment, self._began), flush=True)

    def end(self) -> None:
        """There is nothing to leave."""


class LiveView:
    """The story scrolls by above one panel for each user."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, markup=False)
        self._began = time.time()
        self._live: Live | None = None

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Show a spinner while the step runs, then how long it took."""
        began = time.monotonic()
        with self.console.status(text):
            yield
        self.console.print(f"set-up: {text} ({time.monotonic() - began:.1f} s)", style="dim")

    def begin(self, at: float) -> None:
        """Start the clock and the panels."""
        self._began = at
        self._live = Live(console=self.console, auto_refresh=False, redirect_stderr=False)
        self._live.start()

    def show(self, moments: list[Moment], users: list[UserSeen]) -> None:
        """Print the moments above the panels and draw the panels again."""
        for moment in moments:
            row = Table.grid(padding=(0, 1))  # so that a long text wraps within its column
            row.add_column(width=6)
            row.add_column(width=14)
            row.add_column()
            text = Text(moment.text, style=STYLES[moment.kind])
            row.add_row(Text(_stamp(moment, self._began), style="dim"), moment.who, text)
            self.console.print(row)
        if self._live is not None:
            self._live.update(panels(users, self._began), refresh=True)

    def end(self) -> None:
        """Leave the last panels where they are."""
        live, self._live = self._live, None
        if live is not None:
            live.stop()


def suitable_view() -> View:
    """Return the live view for a terminal that can move its cursor, else the plain one."""
    if sys.stdout.isatty() and not Console().is_dumb_terminal:
        return LiveView()
    return PlainView()


def line_of(moment: Moment, began: float) -> str:
    """Return a moment as one line of the story."""
    return f"{_stamp(moment, began)} {moment.who:<14} {moment.text}"


def _stamp(moment: Moment, began: float) -> str:
    return f"{max(0.0, moment.at - began):5.1f}s"


def panels(users: list[UserSeen], began: float) -> RenderableType:
    """Return one panel for each user."""
    now = time.time()
    clock = Text(f"{now - began:.0f} s since the start; Ctrl-C stops everything", style="dim")
    return Constrain(Group(*(_panel(user, now) for user in users), clock), WIDEST)


def _panel(user: UserSeen, now: float) -> Panel:
    facts = Table.grid(padding=(0, 1))
    facts.add_column(style="dim", width=7)
    facts.add_column()
    facts.add_row("state", _state_of(user, now))
    facts.add_row("", Text(user.ended.reason if user.ended else user.waits_for, style="italic"))
    for key, status in user.keys.items():
        facts.add_row("old key" if key == user.old_key else "new key", _key_line(user, key, status))
    consumers = Table.grid(padding=(0, 2))
    for consumer in user.consumers:
        consumers.add_row(*_consumer_cells(consumer))
    border = "blue"
    if user.ended:
        border = "green" if user.ended.outcome == "ROTATED" else "yellow"
    return Panel(
        Group(facts, consumers),
        title=Text(f"machine user {user.role.name}", style="bold"),
        title_align="left",
        border_style=border,
    )


def _state_of(user: UserSeen, now: float) -> Text:
    if user.ended:
        style = "bold green" if user.ended.outcome == "ROTATED" else "bold yellow"
        return Text(f"{user.ended.outcome} (execution {_status_of(user.ended)})", style=style)
    return Text.assemble((user.state, "bold"), f"  {max(0, now - user.state_since):.0f} s")


def _status_of(ended: Ended) -> str:
    return f"{ended.status}: {ended.error}" if ended.error else ended.status


def _key_line(user: UserSeen, key: str, status: str) -> Text:
    return Text.assemble(
        masked(key),
        "  ",
        (f"{status:<8}", "green" if status == "Active" else "yellow"),
        "  ",
        (" ".join(user.labels_of(key)), "cyan"),
        "  CLAIM held" if "CLAIM" in user.labels and key == user.new_key else "",
    )


def _consumer_cells(consumer: ConsumerSeen) -> list[Text]:
    failing = consumer.failing_since is not None
    health = ""
    if consumer.health is not None:
        health = "healthy" if consumer.health == 200 else f"ILL {consumer.health}"
    error = consumer.last_error
    if error and not failing:
        error = "recovered"
    return [
        Text(consumer.role.name, style="bold"),
        Text(masked(consumer.access_key_id)),
        Text(counted(consumer.calls, "call")),
        Text(counted(consumer.errors, "error"), style="bold red" if consumer.errors else "green"),
        Text(health, style="bold red" if consumer.health != 200 else "green"),
        Text(error, style="bold red" if failing else "green"),
    ]


def summary(users: list[UserSeen], began: float, *, plain: bool) -> Table:
    """Return the table of how everything ended: a column for each user."""
    table = Table(box=box.ASCII2 if plain else box.ROUNDED)
    table.add_column("")
    for user in users:
        table.add_column(user.role.name, overflow="fold")
    rows = [_summary_of(user, began) for user in users]
    for name in rows[0]:
        table.add_row(Text(name, style="dim"), *(Text(row[name]) for row in rows))
    return table


def _summary_of(user: UserSeen, began: float) -> dict[str, str]:
    ended = user.ended

    def when(at: float | None) -> str:
        return f"at {at - began:.1f} s" if at is not None else "-"

    keys = "\n".join(
        f"{'old' if key == user.old_key else 'new'} {masked(key)} {status}"
        for key, status in user.keys.items()
    )
    consumers = "\n".join(
        f"{consumer.role.name}: {consumer.calls} ok, {consumer.errors} failed"
        for consumer in user.consumers
    )
    return {
        "outcome": ended.outcome if ended else f"still in {user.state}",
        "execution": _status_of(ended) if ended else "RUNNING",
        "reason": ended.reason if ended else user.waits_for,
        "keys": keys,
        "AWSCURRENT": masked(user.labels.get("AWSCURRENT", "")),
        "calls": consumers,
        "old key off": when(user.deactivated_at),
        "old key on": when(user.reactivated_at),
        "ended": when(user.ended_at),
    }
