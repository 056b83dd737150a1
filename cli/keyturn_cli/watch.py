"""`keyturn watch`: follows one execution to its end. The work is in Step Functions, not here.

`view` makes what is shown from facts and a clock; `follow` decides when to look. Both know nothing
of AWS or of the terminal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from keyturn.aws import iam, secrets
from keyturn.model.errors import AwsRefused, AwsThrottled, KeyturnError
from keyturn.model.identifiers import is_intent, key_of_version, masked
from keyturn.model.world import Key
from keyturn_cli import output, runs
from keyturn_cli.runs import Run, Visit
from keyturn_cli.users import SHOWN_LABELS
from keyturn_cli.words import STATES, left, span, stamp, used

LOOK_MIN_SECONDS = 2.0
LOOK_MAX_SECONDS = 15.0
_GROWTH = 1.25
_GLYPHS = {"done": "✓", "here": "▶", "failed": "✗"}
_STYLES = {"done": "green", "here": "bold cyan", "failed": "bold red"}


@dataclass(frozen=True)
class Seen:
    """One look: the execution, both keys, and the labels. `now` is AWS's clock or ours."""

    run: Run
    now: datetime
    keys: tuple[Key, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Line:
    """One state of the path as it is shown."""

    mark: str
    state: str
    detail: str


@dataclass(frozen=True)
class KeyLine:
    """One key as it is shown."""

    role: str
    masked_id: str
    status: str
    age: str
    last_used: str


@dataclass(frozen=True)
class View:
    """What the live view shows, in words."""

    title: str
    path: tuple[Line, ...]
    waiting_for: str
    next_look: str
    keys: tuple[KeyLine, ...]
    labels: str
    trouble: str
    end: str


def view(seen: Seen, now: datetime) -> View:
    """Return what to show at this moment; `now` may be later than the look."""
    run = seen.run
    user = run.user_name or "?"
    age = span(((run.ended_at or now) - (run.started_at or now)).total_seconds())
    here = run.here
    lines = tuple(_line(visit, run, here, now) for visit in run.path if visit.kind != "Choice")
    return View(
        title=f"{run.action} {user}   {run.status}   {age}",
        path=lines,
        waiting_for=run.waits_for,
        next_look=left(run.next_look_at, now) if run.running and run.next_look_at else "",
        keys=tuple(_key_line(key, seen, now) for key in seen.keys),
        labels="  ".join(f"{label} {held}" for label, held in seen.labels.items()),
        trouble=run.trouble if run.running else "",
        end="" if run.running else f"{run.outcome}: {run.reason}",
    )


def _line(visit: Visit, run: Run, here: Visit | None, now: datetime) -> Line:
    looks = f"{visit.times} times, " if visit.times > 1 else ""
    gloss = STATES.get(visit.state, "")
    if visit is here and run.running:
        since = span((now - visit.last_at).total_seconds())
        return Line("here", visit.state, f"{looks}for {since}{'; ' if gloss else ''}{gloss}")
    failed = visit.kind == "Fail" or (visit is here and run.status != "SUCCEEDED")
    took = ((visit.left_at or visit.last_at) - visit.entered_at).total_seconds()
    detail = "" if visit.kind in ("Succeed", "Fail") else f"{looks}{span(took)}"
    return Line("failed" if failed else "done", visit.state, detail)


def _key_line(key: Key, seen: Seen, now: datetime) -> KeyLine:
    rotation = seen.run.rotation
    roles = {
        rotation.get("oldAccessKeyId"): "old key",
        rotation.get("newAccessKeyId"): "new key",
    }
    use = key.last_use
    return KeyLine(
        role=roles.get(key.id, "key"),
        masked_id=masked(key.id),
        status="Active" if key.active else "Inactive",
        age=f"{span((now - key.created_at).total_seconds())} old",
        last_used=used(use.at if use else None, use.service if use else "", now),
    )


def changes(before: Seen | None, seen: Seen, told: set[str]) -> Iterator[str]:
    """Yield what is new since the look before, each as one line; `told` remembers the states."""
    run = seen.run
    for visit in run.path:
        if visit.kind == "Choice" or visit.state in told:
            continue
        told.add(visit.state)
        gloss = STATES.get(visit.state)
        yield f"{stamp(visit.entered_at)} {visit.state}{': ' + gloss if gloss else ''}"
    at = stamp(seen.now)
    old = before.run if before else None
    if run.waits_for and (old is None or old.waits_for != run.waits_for):
        yield f"{at}   waits: {run.waits_for}"
    if run.trouble and (old is None or old.trouble != run.trouble):
        yield f"{at}   trouble: {run.trouble}"
    for key in seen.keys:
        line = _key_line(key, seen, seen.now)
        now = f"{line.role} {line.masked_id} is {line.status}"
        was = next((k for k in before.keys if k.id == key.id), None) if before else None
        if was is None or was.active != key.active:
            yield f"{at}   {now}"
    if before and seen.keys:  # without any, they were not looked at
        present = {key.id for key in seen.keys}
        gone = [key.id for key in before.keys if key.id not in present]
        yield from (f"{at}   key {masked(key)} is deleted" for key in gone)
    if not run.running:
        yield f"{stamp(run.ended_at or seen.now)} {run.outcome}: {run.reason}"


def as_json(seen: Seen) -> dict[str, Any]:
    """Return a look as JSON, with whole key ids."""
    run = seen.run
    here = run.here
    return {
        "executionArn": run.arn,
        "userName": run.user_name,
        "action": run.action,
        "status": run.status,
        "state": here.state if here else None,
        "stateEnteredAt": here.last_at if here else None,
        "path": [
            {
                "state": visit.state,
                "enteredAt": visit.entered_at,
                "leftAt": visit.left_at,
                "times": visit.times,
            }
            for visit in run.path
            if visit.kind != "Choice"
        ],
        "waitsFor": run.waits_for or None,
        "nextLookAt": run.next_look_at,
        "keys": [
            {
                "accessKeyId": key.id,
                "active": key.active,
                "createdAt": key.created_at,
                "lastUsedAt": key.last_use.at if key.last_use else None,
                "lastUsedService": key.last_use.service if key.last_use else None,
            }
            for key in seen.keys
        ],
        "labels": seen.labels,
        "result": run.result or None,
    }


def clock() -> datetime:
    """Return our own clock, for looks that have no answer with AWS's."""
    return datetime.now(UTC)


# --- looking ------------------------------------------------------------------------------------


def look(run: Run, prefix: str) -> Seen:
    """Look once: two to four calls, and one for each key."""
    run = runs.fetch(run)
    if not run.user_name or run.outcome == "REJECTED":
        return Seen(run, clock())
    try:
        ring = iam.list_keys(run.user_name)
    except AwsRefused as error:
        if "NoSuchEntity" not in str(error):
            raise
        return Seen(run, clock())  # no such user: the execution will say so itself
    secret = secrets.describe(prefix + run.user_name)
    labels: dict[str, str] = {}
    for label in SHOWN_LABELS if secret else ():
        version = secret.version(label) if secret else None
        if version:
            key = key_of_version(version)
            word = "on the intent" if is_intent(version) else f"on {version[:8]}..."
            labels[label.value] = f"on {masked(key)}" if key else word
    return Seen(run, ring.now, ring.keys, labels)


class Screen(Protocol):
    """Where a watch is shown."""

    def show(self, seen: Seen) -> None:
        """Show a new look."""

    def wait(self, seconds: float) -> None:
        """Pass the time until the next look."""


def follow(
    look_once: Callable[[Run], Seen], run: Run, screen: Screen, *, until: Callable[[Run], bool]
) -> Seen:
    """Look again and again until a run is as wanted: every 2 seconds, growing to 15, and from 2
    again after every change. AWS being out of reach for a while is waited out; missing or expired
    credentials are not.
    """
    pause, before, misses = LOOK_MIN_SECONDS, None, 0
    while True:
        try:
            seen = look_once(before.run if before else run)
            misses = 0
        except AwsThrottled:
            misses += 1
            if misses > 20:  # about five minutes
                raise
            screen.wait(LOOK_MAX_SECONDS)
            continue
        screen.show(seen)
        if until(seen.run):
            return seen
        moved = before is None or before.run.last_event != seen.run.last_event
        pause = LOOK_MIN_SECONDS if moved else min(pause * _GROWTH, LOOK_MAX_SECONDS)
        before = seen
        screen.wait(pause)


class Lines:
    """Plain lines, one for each change: for logs and pipes."""

    def __init__(self) -> None:
        self._before: Seen | None = None
        self._told: set[str] = set()

    def show(self, seen: Seen) -> None:
        """Print what is new."""
        for line in changes(self._before, seen, self._told):
            print(line, flush=True)
        self._before = seen

    def wait(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)


class JsonLines:
    """A JSON object on a line for each look that found something new."""

    def __init__(self) -> None:
        self._before: Seen | None = None

    def show(self, seen: Seen) -> None:
        """Print the look, if anything changed but the clock."""
        if self._before is None or replace(self._before, now=seen.now) != seen:
            output.print_json(as_json(seen), indent=None)
        self._before = seen

    def wait(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)


class Panel:
    """The live view; it is drawn again every second, without asking AWS."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._seen: Seen | None = None
        self._looked_at = time.monotonic()

    def show(self, seen: Seen) -> None:
        """Draw a new look."""
        self._seen, self._looked_at = seen, time.monotonic()
        self._draw()

    def wait(self, seconds: float) -> None:
        """Pass the time, and let the clocks go on."""
        ends = time.monotonic() + seconds
        while (remaining := ends - time.monotonic()) > 0:
            time.sleep(min(1.0, remaining))
            self._draw()

    def _draw(self) -> None:
        if self._seen is not None:
            passed = timedelta(seconds=time.monotonic() - self._looked_at)
            self._live.update(drawn(view(self._seen, self._seen.now + passed)), refresh=True)


def drawn(shown: View) -> RenderableType:
    """Return the view as Rich draws it."""
    path = Table.grid(padding=(0, 1))
    for line in shown.path:
        style = _STYLES[line.mark]
        path.add_row(Text(_GLYPHS[line.mark], style), Text(line.state, style), Text(line.detail))
    keys = Table.grid(padding=(0, 2))
    for key in shown.keys:
        style = "" if key.status == "Active" else "dim"
        keys.add_row(
            *(Text(t, style) for t in (key.role, key.masked_id, key.status, key.age, key.last_used))
        )
    parts: list[RenderableType] = [Text(shown.title, "bold"), path]
    if shown.waiting_for:
        soon = f"   (next look {shown.next_look})" if shown.next_look else ""
        parts.append(Text(f"waits: {shown.waiting_for}{soon}", "yellow"))
    if shown.trouble:
        parts.append(Text(f"trouble: {shown.trouble}", "red"))
    if shown.keys:
        parts += [Text(), keys]
    if shown.labels:
        parts.append(Text(shown.labels, "dim"))
    if shown.end:
        parts += [Text(), Text(shown.end, "bold")]
    return Group(*parts)


@contextmanager
def screen(*, json: bool = False) -> Iterator[Screen]:
    """Yield the screen that fits: a live view on a terminal, else lines."""
    console = output.console()
    if json:
        yield JsonLines()
    elif not console.is_terminal or console.is_dumb_terminal:
        yield Lines()
    else:
        with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
            yield Panel(live)


@contextmanager
def left_alone(run: Run) -> Iterator[None]:
    """Say that an execution goes on when looking at it fails."""
    try:
        yield
    except KeyturnError:
        output.note(f"the execution goes on. See it again: keyturn watch {run.arn}")
        raise


def to_the_end(run: Run, prefix: str, *, json: bool = False) -> int:
    """Follow an execution to its end; return 0 when it succeeded, 1 when not, 130 on Ctrl-C."""
    try:
        with left_alone(run), screen(json=json) as shown:
            seen = follow(
                lambda so_far: look(so_far, prefix),
                run,
                shown,
                until=lambda found: not found.running,
            )
    except KeyboardInterrupt:
        output.note(f"left; the execution goes on. See it again: keyturn watch {run.arn}")
        return 130
    return 0 if seen.run.status == "SUCCEEDED" else 1
