"""The emulator's process: `python -m localaws.server <lifeline fd> <ready fd>`.

Binds a free loopback port, installs the overlay over MiniStack, serves, and ends when the
lifeline, a pipe that the launcher holds open, is closed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import signal
import socket
import sys
import threading
from typing import Any

LOOPBACK = "127.0.0.1"


def main() -> None:
    """Serve until the lifeline closes or a signal arrives."""
    lifeline, ready = int(sys.argv[1]), int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, 0))
        port = listener.getsockname()[1]
        # MiniStack reads both while its modules load.
        os.environ["GATEWAY_PORT"] = str(port)
        os.environ["AWS_ENDPOINT_URL"] = f"http://{LOOPBACK}:{port}"
        _allow_many_files()
        asyncio.run(_serve(listener, port, lifeline, ready))
    os._exit(0)  # execution threads may be asleep in a Wait state of a week


async def _serve(listener: socket.socket, port: int, lifeline: int, ready: int) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from ministack.app import app

    from localaws import overlay
    from localaws.middleware import Middleware

    workers = overlay.install(endpoint_url=f"http://{LOOPBACK}:{port}")

    def announce() -> None:
        os.write(ready, json.dumps({"port": port}).encode() + b"\n")
        os.close(ready)

    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ending.set)

    def watch_lifeline() -> None:
        os.read(lifeline, 1)  # returns only at its end
        workers.stop()
        os._exit(0)

    threading.Thread(target=watch_lifeline, daemon=True, name="lifeline").start()

    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 0.5
    config.loglevel = "WARNING"
    logging.getLogger("hypercorn.access").disabled = True

    async def ended() -> None:
        await ending.wait()

    application: Any = Middleware(app, workers, on_ready=announce)
    try:
        await serve(application, config, shutdown_trigger=ended)
    finally:
        workers.stop()


def _allow_many_files() -> None:
    """A hundred executions hold several descriptors each; use what the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))


if __name__ == "__main__":
    main()
