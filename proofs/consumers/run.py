"""Many rotations and back-outs of several machine users side by side, and what they came to."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from proofs.consumers.crew import Crew, Interrupted
from proofs.consumers.health import HealthServer
from proofs.consumers.programs import MOVING, STATIC, Pace, Report
from proofs.consumers.rounds import (
    BACK_OUTS,
    NEVER,
    PACES,
    Achieved,
    Round,
    back_out_after_rotated,
    back_out_at_the_pickup_timeout,
    rotation,
)
from proofs.stack.support import Stack

PROGRESS_SECONDS = 15.0
STARTING_AT_ONCE = 3
"""Interpreters that start are what takes most of the processor."""


@dataclass(frozen=True)
class Plan:
    """How much to do: rotations that end ROTATED, back-outs, and machine users."""

    rotations: int
    back_outs: int
    users: int

    def rounds(self) -> tuple[list[Round], list[Round]]:
        """Return the rounds of ordinary users, well mixed, and those of the user at `NEVER`.

        A sixth of the back-outs are at the pickup timeout. They need a user of their own, whose
        programs do not look at the secret.
        """
        late = self.back_outs // (len(BACK_OUTS) + 1) if self.users > 1 else 0
        backed_out = [BACK_OUTS[n % len(BACK_OUTS)] for n in range(self.back_outs - late)]
        rotated = self.rotations - backed_out.count(back_out_after_rotated)
        # Each kind of round evenly from the beginning to the end; back-outs, which take longer,
        # not last.
        mixed = sorted(
            [(n / len(backed_out), one) for n, one in enumerate(backed_out)]
            + [((n + 0.5) / rotated, rotation) for n in range(rotated)],
            key=lambda placed: placed[0],
        )
        return [one for _, one in mixed], [back_out_at_the_pickup_timeout] * late


@dataclass
class Figures:
    """What the programs of one kind did; see `examples/application.py`."""

    programs: int = 0
    calls: int = 0
    retried_after_reread: int = 0
    failed_calls: int = 0
    key_changes: int = 0
    last_error: str = ""

    def add(self, report: Report) -> None:
        """Add one program's report."""
        self.programs += 1
        self.calls += report.calls
        self.retried_after_reread += report.retried_after_reread
        self.failed_calls += report.failed_calls
        self.key_changes += report.key_changes
        self.last_error = report.last_error or self.last_error


@dataclass
class Result:
    """What a run came to."""

    plan: Plan
    rotations: int = 0
    back_outs: int = 0
    ways: Counter[str] = field(default_factory=Counter)
    kinds: dict[str, Figures] = field(
        default_factory=lambda: {kind: Figures() for kind in (*MOVING, STATIC)}
    )
    problems: list[str] = field(default_factory=list)
    seconds: float = 0

    @property
    def shortcomings(self) -> list[str]:
        """Everything that is not as it was asked for."""
        found = list(self.problems)
        for name in ("rotations", "back_outs"):
            done, asked = getattr(self, name), getattr(self.plan, name)
            if done < asked:
                found.append(f"{done} of {asked} {name.replace('_', '-')}")
        for kind in MOVING:
            figures = self.kinds[kind]
            if figures.failed_calls:
                found.append(
                    f"{figures.failed_calls} failed calls of {kind}, the last with "
                    f"{figures.last_error}"
                )
            if not figures.calls:
                found.append(f"{kind} made no calls")
        return found

    def dump(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "rotations": self.rotations,
            "back_outs": self.back_outs,
            "ways": dict(self.ways),
            "users": self.plan.users,
            "kinds": {kind: asdict(figures) for kind, figures in self.kinds.items()},
            "seconds": round(self.seconds, 1),
            "shortcomings": self.shortcomings,
        }


class Run:
    """Carries a plan out; `progress` is told a line from time to time."""

    def __init__(self, stack: Stack, plan: Plan, progress: Callable[[str], None]) -> None:
        self._stack = stack
        self._progress = progress
        self._health = HealthServer()
        self._interrupted = threading.Event()
        self._starting = threading.Semaphore(STARTING_AT_ONCE)
        self._lock = threading.Lock()
        self._crews: list[Crew] = []
        self._result = Result(plan)

    def __call__(self) -> Result:
        """Run to the end, or until an exception such as KeyboardInterrupt stops everything."""
        began = time.monotonic()
        ordinary, late = map(deque, self._result.plan.rounds())
        users = self._result.plan.users - bool(late)
        work = [(ordinary, PACES)] * users + [(late, NEVER)] * bool(late)
        # Daemons, so that a second Ctrl-C ends the process whatever they wait for.
        threads = [threading.Thread(target=self._work, args=one, daemon=True) for one in work]
        try:
            for thread in threads:
                thread.start()
            told = began
            while any(thread.is_alive() for thread in threads):
                for thread in threads:
                    thread.join(1.0 / len(threads))
                if time.monotonic() - told >= PROGRESS_SECONDS:
                    told = time.monotonic()
                    self._progress(self._line(told - began))
        finally:
            self._interrupted.set()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
            self._health.stop()
        self._result.seconds = time.monotonic() - began
        for crew in self._crews:
            for report in crew.reports():
                self._result.kinds[report.kind].add(report)
        return self._result

    def _work(self, rounds: deque[Round], paces: Mapping[str, Pace]) -> None:
        """One user's share: rounds from the common heap until it is empty or one goes wrong."""
        crew: Crew | None = None
        try:
            with self._starting:
                crew = Crew(self._stack, self._stack.user(), paces, interrupted=self._interrupted)
                with self._lock:
                    self._crews.append(crew)
                crew.wait_until_working()
            while rounds and not self._interrupted.is_set():
                try:
                    next_round = rounds.popleft()
                except IndexError:
                    return
                self._achieved(next_round, next_round(crew, self._health))
        except Interrupted:
            pass
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this round's result
            with self._lock:
                self._result.problems.append(f"{type(error).__name__}: {error}")
            self._progress(f"A round went wrong: {error}")
        finally:
            if crew is not None:
                crew.stop()

    def _achieved(self, done: Round, achieved: Achieved) -> None:
        with self._lock:
            self._result.rotations += achieved.rotations
            self._result.back_outs += achieved.back_outs
            if achieved.back_outs:
                self._result.ways[done.__name__] += achieved.back_outs

    def _line(self, seconds: float) -> str:
        with self._lock:
            crews = list(self._crews)
            done, plan = self._result, self._result.plan
            reports = [report for crew in crews for report in crew.reports()]
            moving = [report for report in reports if report.kind in MOVING]
            return (
                f"{seconds:4.0f} s: {done.rotations} of {plan.rotations} rotations, "
                f"{done.back_outs} of {plan.back_outs} back-outs, "
                f"{sum(report.calls for report in moving)} calls, "
                f"{sum(report.retried_after_reread for report in moving)} retried, "
                f"{sum(report.failed_calls for report in moving)} failed"
            )
