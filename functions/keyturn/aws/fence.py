"""The fence: when a function may still change something.

A claim is taken over once `FenceSeconds` have passed since its execution ended, so no call of
that execution may begin later. Changing calls ask `may_change` first; without an open fence the
answer is no.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from keyturn.model.errors import ExecutionRedriven, FenceClosed
from keyturn.model.settings import CHANGE_BUDGET_SECONDS


@dataclass(frozen=True)
class Fence:
    """When the state was entered, how often the execution was redriven, and a clock."""

    entered_at: datetime
    redrive_count: int = 0
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def check(self) -> None:
        """Raise FenceClosed or ExecutionRedriven when no changing call may begin any more."""
        self.assert_not_redriven()
        if self.clock() > self.entered_at + timedelta(seconds=CHANGE_BUDGET_SECONDS):
            raise FenceClosed(
                f"the state was entered more than {CHANGE_BUDGET_SECONDS} seconds ago; another "
                "execution may take over soon, so this call is not begun"
            )

    def assert_not_redriven(self) -> None:
        """Raise ExecutionRedriven in a redriven execution."""
        if self.redrive_count > 0:
            raise ExecutionRedriven(
                "this execution was redriven; the user may have been rotated or backed out by "
                "another execution since, so it changes nothing: start a new execution instead"
            )


_open: ContextVar[Fence | None] = ContextVar("fence", default=None)


@contextmanager
def opened(fence: Fence) -> Iterator[None]:
    """Let changing calls ask this fence for the duration of the block."""
    token = _open.set(fence)
    try:
        yield
    finally:
        _open.reset(token)


def assert_not_redriven() -> None:
    """Raise ExecutionRedriven at once, so that a redriven execution does not poll for days first.

    What a redriven execution waits for has been taken over, or will be: it could change nothing
    with what it finds.
    """
    fence = _open.get()
    if fence is not None:
        fence.assert_not_redriven()


def may_change() -> None:
    """Return when a changing call may begin.

    Raises:
        FenceClosed: the budget is over, the execution was redriven, or no fence is open.
    """
    fence = _open.get()
    if fence is None:
        raise FenceClosed("a changing call was made outside of a state of the state machine")
    fence.check()
