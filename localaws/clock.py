"""The emulator's clock: real time, or a time that goes on to the next timer when nobody works.

A moved clock ticks at its real speed as long as anybody is busy: an execution, an invocation, an
API call, or somebody outside who has joined. As soon as all of them wait, it jumps to the first of
their timers, so that a rotation of a week takes seconds and every limit of time is still right.
`time.time()` and `datetime.now()` tell the moved time to everything in this process, MiniStack
included; `time.monotonic()` stays real.

Busy is a count. Who begins to wait takes itself off it; who wakes somebody puts that one on it
first, so that the clock never jumps in between. The threads that count are those made here
(`Thread`, `Pool`): `adopt` puts them into the modules of MiniStack in place of the real ones. All
other threads wait in real time.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

# Nobody must have been busy for this long before the clock jumps: work is handed on meanwhile.
SETTLED_SECONDS = 0.001
# Threads of MiniStack that never end and wait for other things than time.
ENDLESS = frozenset({"_poll_loop", "_loop"})


@dataclass(frozen=True)
class Schedule:
    """What happens at times of its own: when it is due next (Unix time), and what to do then."""

    due: Callable[[], float | None]
    happen: Callable[[], None]


def _nobody() -> None:
    """Nobody is to be woken yet."""


@dataclass(eq=False)
class Sleeper:
    """Somebody who waits: how to wake it. A passive one alone does not make the clock jump."""

    rouse: Callable[[], None] = _nobody
    passive: bool = False
    asleep: bool = False


class Clock:
    """Real time until `start` is called, and a moved one from then on."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._busy = 0
        self._stirred = 0  # how often anybody has become busy
        self._waiting = 0  # sleepers that are not passive and have a timer
        self._timers: list[tuple[float, int, Sleeper]] = []
        self._numbers = itertools.count()
        self._travel: Any = None
        self._schedules: list[Schedule] = []

    @property
    def moves(self) -> bool:
        """Whether time is moved."""
        return self._travel is not None

    def start(self, schedules: Iterable[Schedule] = ()) -> None:
        """Begin to move time."""
        import time_machine  # noqa: PLC0415 - real time does without it, and starts sooner

        self._schedules = [*schedules]
        self._travel = time_machine.travel(time.time(), tick=True).start()
        threading.Thread(target=self._drive, daemon=True, name="clock").start()

    def now(self) -> float:
        """Unix time by this clock."""
        return time.time()

    # Being busy

    def work(self) -> None:
        """Count somebody as busy."""
        with self._changed:
            self._busy += 1
            self._stirred += 1

    def rest(self) -> None:
        """Count somebody as busy no more."""
        with self._changed:
            self._busy -= 1
            if not self._busy:
                self._changed.notify_all()

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Be busy in this block."""
        self.work()
        try:
            yield
        finally:
            self.rest()

    # Waiting

    def wait(self, event: threading.Event, seconds: float | None = None) -> bool:
        """As `event.wait(seconds)`, on this clock where the calling thread is one that counts."""
        if not (self.moves and isinstance(event, Event) and counts()):
            return threading.Event.wait(event, seconds)
        called = threading.Event()
        sleeper = Sleeper(called.set)
        with self._changed:
            if event.is_set():
                return True
            event.sleepers.append(sleeper)
            self.fall_asleep(sleeper, seconds)
        called.wait()
        with self._changed:
            event.sleepers.remove(sleeper)
        return event.is_set()

    def sleep(self, seconds: float) -> None:
        """As `time.sleep`, on this clock where the calling thread is one that counts."""
        self.wait(Event(), seconds)

    def fall_asleep(self, sleeper: Sleeper, seconds: float | None) -> None:
        """Wait from now on, until woken or (None: for ever) until so many seconds have passed."""
        with self._changed:
            sleeper.asleep = True
            if seconds is not None:
                heapq.heappush(self._timers, (time.time() + seconds, next(self._numbers), sleeper))
                self._waiting += not sleeper.passive
            else:
                sleeper.passive = True
            self.rest()

    def wake(self, sleeper: Sleeper) -> None:
        """Let a sleeper go on, which is busy then."""
        with self._changed:
            if sleeper.asleep:
                sleeper.asleep = False
                self._waiting -= not sleeper.passive
                self.work()
                sleeper.rouse()

    # Moving on

    def _drive(self) -> None:
        with self._changed:
            while True:
                schedule, due = self._next()
                if due is None:
                    self._changed.wait()
                elif (left := due - time.time()) <= 0:
                    self._fire(schedule)
                elif self._busy or not self._waiting:
                    self._changed.wait(min(left, threading.TIMEOUT_MAX))
                else:
                    stirred = self._stirred
                    self._changed.wait(SETTLED_SECONDS)
                    if stirred == self._stirred:
                        self._travel.shift(due - time.time() + 1e-6)

    def _next(self) -> tuple[Schedule | None, float | None]:
        """When something is due next, and whether that is a schedule."""
        while self._timers and not self._timers[0][2].asleep:
            heapq.heappop(self._timers)
        schedule, due = None, self._timers[0][0] if self._timers else None
        for candidate in self._schedules:
            at = candidate.due()
            if at is not None and (due is None or at < due):
                schedule, due = candidate, at
        return schedule, due

    def _fire(self, schedule: Schedule | None) -> None:
        if schedule is None:
            self.wake(heapq.heappop(self._timers)[2])
            return
        with self.busy():
            self._changed.release()  # it may need locks whose holders wait for this one
            try:
                schedule.happen()
            finally:
                self._changed.acquire()

    # MiniStack on this clock

    def adopt(self, module: ModuleType) -> None:
        """Let a module's threads, events, pools and sleeps live on this clock."""
        moved = {
            "threading": SimpleNamespace(**{**vars(threading), "Thread": thread, "Event": Event}),
            "time": SimpleNamespace(**{**vars(time), "sleep": self.sleep}),
            "ThreadPoolExecutor": Pool,
            "futures_wait": wait_for_all,
        }
        moved["_threading"] = moved["threading"]
        for name in moved.keys() & vars(module).keys():
            setattr(module, name, moved[name])


class Event(threading.Event):
    """An event whose waiters do not count as busy."""

    def __init__(self) -> None:
        super().__init__()
        self.sleepers: list[Sleeper] = []

    def wait(self, timeout: float | None = None) -> bool:
        """As the real one's, on the clock."""
        return clock.wait(self, timeout)

    def set(self) -> None:
        """As the real one's; whoever waits is busy from now on."""
        with clock._changed:
            super().set()
            for sleeper in self.sleepers:
                clock.wake(sleeper)


class Thread(threading.Thread):
    """A thread that is busy from its start to its end, except when it waits on the clock."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._over = Event()

    def start(self) -> None:
        """As the real one's."""
        clock.work()
        super().start()

    def run(self) -> None:
        """As the real one's."""
        try:
            super().run()
        finally:
            self._over.set()
            clock.rest()

    def join(self, timeout: float | None = None) -> None:
        """As the real one's, on the clock."""
        clock.wait(self._over, timeout)


def counts() -> bool:
    """Whether the calling thread is one that counts."""
    return isinstance(threading.current_thread(), Thread)


def thread(*args: Any, **kwargs: Any) -> threading.Thread:
    """A thread that counts, unless it never ends."""
    endless = getattr(kwargs.get("target"), "__name__", "") in ENDLESS
    return (threading.Thread if endless else Thread)(*args, **kwargs)


class Future(concurrent.futures.Future[Any]):
    """A future whose waiters do not count as busy."""

    def __init__(self) -> None:
        super().__init__()
        self.over = Event()
        self.add_done_callback(lambda _: self.over.set())

    def result(self, timeout: float | None = None) -> Any:
        """As the real one's, on the clock."""
        if not clock.wait(self.over, timeout):
            raise TimeoutError
        return super().result()


class Pool:
    """A pool whose threads are busy for as long as there is work for them."""

    def __init__(self, max_workers: int) -> None:
        self._most = max_workers
        self._lock = threading.Lock()
        self._running = 0
        self._queue: deque[tuple[Future, Callable[..., Any], tuple[Any, ...]]] = deque()

    def submit(self, work: Callable[..., Any], *args: Any) -> Future:
        """As the real one's."""
        future = Future()
        with self._lock:
            self._queue.append((future, work, args))
            if self._running < self._most:
                self._running += 1
                Thread(target=self._work, daemon=True).start()
        return future

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    self._running -= 1
                    return
                future, work, args = self._queue.popleft()
            try:
                future.set_result(work(*args))
            except Exception as error:  # noqa: BLE001 - whoever waits for the future gets it
                future.set_exception(error)

    def shutdown(self, wait: bool = True) -> None:
        """Do nothing: the threads end with the work."""

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: MiniStack waits for its futures itself."""


def wait_for_all(futures: Iterable[Future]) -> None:
    """As `concurrent.futures.wait`, on the clock."""
    for future in futures:
        future.over.wait()


clock = Clock()
