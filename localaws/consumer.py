"""A consumer: a program that makes signed calls all the time with the key in its secret.

Run as a process of its own (`python -m localaws.consumer ...`) by the demo, and in a thread by
tests. It prints one JSON line for each change in its counts, and never a secret.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import SecretStr


class ClientFactory(Protocol):
    """Makes a client that signs with the given key (`LocalAws.client` is one)."""

    def __call__(self, name: str, *, access_key_id: str, secret_access_key: str) -> Any:
        """Return a boto3 client."""


class Participant(Protocol):
    """Somebody who takes part in a time that can be moved (`Control.join` makes one)."""

    def sleep(self, seconds: float) -> None:
        """Sleep by that time, or until `leave`."""

    def leave(self) -> None:
        """Take part no more; a sleep ends at once."""


@dataclass
class Counts:
    """What a consumer has done: calls that worked, calls that failed, and the key it uses.

    retried: calls that worked after a new look into the secret only.
    """

    calls: int = 0
    errors: int = 0
    retried: int = 0
    last_error: str = ""
    access_key_id: str = ""


class Consumer:
    """Calls SQS with a key, and re-reads its secret every `refresh_seconds` (None: never).

    reader: the client of Secrets Manager that it reads with; None: one that signs with its key.
    works_first: it looks into its secret after its work instead of right before it, so that its
    work is what IAM records of its key.
    joined: it waits between its calls by a moved clock, and leaves that when it stops.

    A call that fails authentication is an error that a person would see: it is counted, and the
    secret is read again only when `rereads_on_error` says so. With `retries` it reads the secret
    and calls again, so many times, an interval apart; only what fails for good is an error then.
    """

    def __init__(
        self,
        *,
        client: ClientFactory,
        secret_name: str,
        access_key_id: str,
        secret_access_key: SecretStr,
        interval_seconds: float = 0.3,
        refresh_seconds: float | None = 0.5,
        rereads_on_error: bool = False,
        retries: int = 0,
        works_first: bool = False,
        reader: Any = None,
        joined: Participant | None = None,
    ) -> None:
        self._client = client
        self._secret_name = secret_name
        self._interval = interval_seconds
        self._refresh = refresh_seconds
        self._rereads_on_error = rereads_on_error
        self._retries = retries
        self._works_first = works_first
        self._reader = reader
        self._stop = threading.Event()
        self._joined = joined
        self._thread: threading.Thread | None = None
        self._healthy = True
        self.counts = Counts()
        self._use(access_key_id, secret_access_key)

    @property
    def healthy(self) -> bool:
        """Whether the last call worked."""
        return self._healthy

    def start(self) -> Consumer:
        """Run in a thread of this process."""
        self._thread = threading.Thread(target=self.run, daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop, and wait for the thread when there is one."""
        self._stop.set()
        if self._joined is not None:
            self._joined.leave()
        if self._thread is not None:
            self._thread.join(timeout=20)

    def run(self, changed: Any = None) -> None:
        """Call until stopped; `changed(counts)` is told after every call."""
        since_refresh = 0.0
        while not self._stop.is_set():
            looks = self._refresh is not None and since_refresh >= self._refresh
            if looks:
                since_refresh = 0.0
            if looks and not self._works_first:
                self.refresh()
            self._call()
            if looks and self._works_first:
                self.refresh()
            if changed is not None:
                changed(self.counts)
            self._pause()
            since_refresh += self._interval

    def _pause(self) -> None:
        if self._joined is not None:
            self._joined.sleep(self._interval)
        else:
            self._stop.wait(self._interval)

    def refresh(self) -> None:
        """Read the secret and use the key that it holds."""
        try:
            found = self._secrets.get_secret_value(SecretId=self._secret_name)
            value = json.loads(found["SecretString"])
            key_id, secret = value["AccessKeyId"], SecretStr(value["SecretAccessKey"])
        except (ClientError, BotoCoreError) as error:
            if not self._retries:
                self._failed(error)
            return
        except (KeyError, ValueError):
            return  # no key in the secret (yet): go on with the present one
        if key_id != self.counts.access_key_id:
            self._use(key_id, secret)

    def _use(self, key_id: str, secret: SecretStr) -> None:
        text = secret.get_secret_value()
        self._secrets = self._reader or self._client(
            "secretsmanager", access_key_id=key_id, secret_access_key=text
        )
        self._queues = self._client("sqs", access_key_id=key_id, secret_access_key=text)
        self.counts.access_key_id = key_id

    def _call(self) -> None:
        error = self._refused()
        for again in range(self._retries):
            if error is None:
                break
            if again:
                self._pause()
            self.refresh()
            error = self._refused()
            self.counts.retried += error is None
        if error is not None:
            self._failed(error)
            if self._rereads_on_error:
                self.refresh()
            return
        self._healthy = True
        self.counts.calls += 1

    def _refused(self) -> Exception | None:
        """Make the call; returns what went wrong."""
        try:
            self._queues.list_queues()
        except (ClientError, BotoCoreError) as error:
            return error
        return None

    def _failed(self, error: Exception) -> None:
        self._healthy = False
        self.counts.errors += 1
        code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
        self.counts.last_error = code or type(error).__name__


def serve_health(consumer: Consumer) -> ThreadingHTTPServer:
    """Serve 200 while the consumer's last call worked and 503 otherwise, on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if consumer.healthy else 503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing: the demo's screen is not for access logs."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def end_with_parent() -> None:
    """End this process soon after the one that started it, even if that one was killed."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main(arguments: list[str]) -> int:
    """Run a consumer as a process; its first key comes in the environment."""
    end_with_parent()
    parser = argparse.ArgumentParser(prog="python -m localaws.consumer")
    parser.add_argument("--secret-name", required=True)
    parser.add_argument("--interval-seconds", type=float, default=0.3)
    parser.add_argument("--refresh-seconds", type=float, default=None)
    parser.add_argument("--health", action="store_true", help="serve a health endpoint")
    given = parser.parse_args(arguments)

    make: Any = boto3.client  # the stubs know a type for each service, and take no variable

    def client(name: str, *, access_key_id: str, secret_access_key: str) -> Any:
        return make(name, aws_access_key_id=access_key_id, aws_secret_access_key=secret_access_key)

    consumer = Consumer(
        client=client,
        secret_name=given.secret_name,
        access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
        secret_access_key=SecretStr(os.environ["AWS_SECRET_ACCESS_KEY"]),
        interval_seconds=given.interval_seconds,
        refresh_seconds=given.refresh_seconds,
    )
    if given.health:
        server = serve_health(consumer)
        print(json.dumps({"health_url": f"http://127.0.0.1:{server.server_port}/"}), flush=True)
    signal.signal(signal.SIGTERM, lambda *_: consumer.stop())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    consumer.run(lambda counts: print(json.dumps(asdict(counts)), flush=True))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
