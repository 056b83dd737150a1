"""The emulator's process: `python -m localaws.server <listener> <lifeline> <ready> [bare]`.

The arguments are file descriptors that the launcher made: a bound socket, a pipe that it holds
open for as long as the emulator shall live, and one on which it waits for a line. The launcher
also sets the variables that MiniStack reads while its modules load. `bare` leaves the overlay
out, to see what MiniStack does by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from ministack import app as ministack_app

from localaws import overlay
from localaws.middleware import Announcing, Middleware

MOST_FILES = 65_536


def main() -> None:
    """Serve until the lifeline closes or SIGTERM arrives."""
    listener, lifeline, ready = (int(number) for number in sys.argv[1:4])
    bare = sys.argv[4:] == ["bare"]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the launcher passes it on by the lifeline
    _allow_many_files()

    def announce() -> None:
        os.write(ready, b"ready\n")
        os.close(ready)

    application: Any = ministack_app.app
    stop: Callable[[], None] = _nothing
    if not bare:
        workers = overlay.install(
            endpoint_url=os.environ["AWS_ENDPOINT_URL"],
            moved_clock=os.environ["LOCALAWS_CLOCK"] == "moved",
        )
        application, stop = Middleware(application, workers), workers.stop

    def end() -> None:
        stop()
        shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)  # ours alone, made by the launcher
        # Not sys.exit: execution threads may be asleep in a Wait state of a week.
        os._exit(0)

    def watch_lifeline() -> None:
        os.read(lifeline, 1)  # returns at the end of the pipe: the launcher is gone
        end()

    threading.Thread(target=watch_lifeline, daemon=True, name="lifeline").start()
    asyncio.run(_serve(Announcing(application, announce), listener))
    end()


async def _serve(application: Any, listener: int) -> None:
    config = Config()
    config.bind = [f"fd://{listener}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 0.5
    config.loglevel = "WARNING"
    logging.getLogger("hypercorn.access").disabled = True
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)

    async def ended() -> None:
        await ending.wait()

    await serve(application, config, shutdown_trigger=ended)


def _nothing() -> None:
    """There are no workers of ours to stop."""


def _allow_many_files() -> None:
    """A hundred executions hold several descriptors each: use what the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # macOS allows less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    main()
