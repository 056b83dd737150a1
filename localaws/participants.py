"""Who takes part in the moved time from outside: a test, or a consumer that it runs.

Each is busy from its joining on, except while it sleeps. The control endpoints `clock/...` come
here; `localaws.control.Joined` is the other end.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import Any

from ministack.core.responses import request_scope

from localaws.clock import Sleeper, clock
from localaws.overlay.stepfunctions_runs import awaiting, has_entered


async def reached(arn: str, state: str, seconds: float) -> bool:
    """Wait in real time for an execution to enter a state (or ""): to end; whether it has."""
    loop, awake = asyncio.get_running_loop(), asyncio.Event()
    region, account = arn.split(":")[3:5]
    with request_scope(account, region):
        with awaiting(arn, state, lambda: _rouse(loop, awake)) as still:
            if still:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(awake.wait(), seconds)
        return has_entered(arn, state)


def _rouse(loop: asyncio.AbstractEventLoop, awake: asyncio.Event) -> None:
    loop.call_soon_threadsafe(awake.set)


class Participants:
    """Everybody outside who has joined, by number."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._sleepers: dict[int, Sleeper] = {}

    async def answer(self, command: str, asked: dict[str, Any]) -> Any:
        """Carry out a control command of the clock."""
        match command:
            case "now":
                return clock.now()
            case "join":
                return self._join(passive=asked["passive"])
            case "sleep":
                await self._sleep(asked["number"], asked["seconds"])
            case "until":
                arn, state = asked["execution"], asked["state"]
                await self._sleep(asked["number"], asked["seconds"], arn, state)
                return has_entered(arn, state)
            case "leave":
                self._leave(asked["number"])
            case _:
                raise ValueError(f"unknown command of the clock: {command!r}")
        return None

    def _join(self, *, passive: bool) -> int:
        if not clock.moves:
            raise ValueError("this clock is not moved: start the emulator with clock='moved'")
        number = next(self._numbers)
        self._sleepers[number] = Sleeper(passive=passive)
        clock.work()
        return number

    async def _sleep(self, number: int, seconds: float, arn: str = "", state: str = "") -> None:
        """Until so many seconds have passed, or an execution has entered a state or ended."""
        sleeper = self._sleepers.get(number)
        if sleeper is None:  # it has left meanwhile
            return
        loop, awake = asyncio.get_running_loop(), asyncio.Event()

        sleeper.rouse = lambda: _rouse(loop, awake)
        with awaiting(arn, state, lambda: clock.wake(sleeper)) as still:
            with clock.busy():  # or it could come before anybody listens
                clock.fall_asleep(sleeper, seconds)
                if not still:
                    clock.wake(sleeper)
            await awake.wait()

    def _leave(self, number: int) -> None:
        sleeper = self._sleepers.pop(number, None)
        if sleeper is not None:
            clock.wake(sleeper)
            clock.rest()
