"""The target of the scenarios on this machine: an embedded AWS with a moved clock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import localaws
from localaws import Account, LocalAws
from localaws.consumer import Participant
from localaws.model import LastUsedModel

ROOT = Path(__file__).parents[2]
# No durations: those are the template's. A loopback address is what health URLs are here, and
# x86_64 what this machine may be.
PARAMETERS = {
    "ManagedTagValue": "test",
    "AllowPrivateHealthUrls": "true",
    "FunctionArchitecture": "x86_64",
}
# What AWS documents and people have measured (docs/decisions/0004): uses within 15 minutes of a
# recorded one are not recorded, dates have no seconds, and come up to four hours late.
LAST_USED = LastUsedModel(
    coalesce_seconds=900, truncate_to_minute=True, lag_seconds=(0, 4 * 3600), seed=11
)


class EmbeddedTarget:
    """A stack on an embedded AWS (see `Target`)."""

    def __init__(self, aws: LocalAws, outputs: dict[str, str]) -> None:
        self.aws: Account = aws
        self.outputs = outputs

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.aws.control.now(), UTC)

    def join(self, *, passive: bool = False) -> Participant:
        return self.aws.control.join(passive=passive)

    def age(self, access_key_id: str, days: float) -> None:
        self.aws.control.backdate_key(access_key_id, self.now() - timedelta(days=days))

    @contextmanager
    def health_url(self, healthy: Callable[[], bool]) -> Iterator[str]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200 if healthy() else 503)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            try:
                yield f"http://127.0.0.1:{server.server_port}/health"
            finally:
                server.shutdown()


@contextmanager
def embedded() -> Iterator[EmbeddedTarget]:
    """Deploy the template with its default durations on an embedded AWS of its own."""
    with localaws.start(clock="moved") as aws:
        aws.control.set_last_used(LAST_USED)
        outputs = localaws.deploy(
            aws, stack_name="keyturn", template=ROOT / "template.yaml", parameters=PARAMETERS
        )
        yield EmbeddedTarget(aws, outputs)
