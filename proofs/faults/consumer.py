"""One real consumer for each case: a process that makes signed calls all the time.

Hundreds of them run side by side, so they are forked from a server that has imported the SDK
and read its descriptions once.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

# A call, and a look into the secret, every so often.
INTERVAL_SECONDS = 1.0
_CONFIG = Config(
    connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 4, "mode": "standard"}
)
# Made at import, which happens once, in the fork server.
_SESSION = boto3.Session(region_name="us-east-1")
for _service in ("sqs", "secretsmanager"):
    _SESSION.client(
        _service,
        aws_access_key_id="none",
        aws_secret_access_key="none",
    )


@dataclass
class Report:
    """What a consumer did: calls that worked, calls that worked only after a re-read, failures.

    failed: Unix time, error code and last four characters of the key of each call that failed
    for good.
    """

    calls: int = 0
    reread: int = 0
    failed: list[tuple[float, str, str]] = field(default_factory=list)


class ConsumerProcess:
    """A consumer with its first key; `stop` returns its report.

    It reads its secret with the key that it works with, or, with `reader`, by an identity of its
    own (key id and secret), as it must when that key may be cut off at once.
    """

    def __init__(
        self,
        endpoint: str,
        secret_name: str,
        key_id: str,
        secret: str,
        *,
        reader: tuple[str, str] | None = None,
    ) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        ours, theirs = context.Pipe()
        self._pipe = ours
        self._process = context.Process(
            target=_main, args=(theirs, endpoint, secret_name), daemon=True
        )
        self._process.start()
        theirs.close()
        ours.send((key_id, secret, reader))

    def stop(self) -> Report:
        """End the process and return what it did."""
        try:
            self._pipe.send("stop")
            if self._pipe.poll(60):
                return Report(*self._pipe.recv())
            raise AssertionError("a consumer does not answer")
        finally:
            self._process.join(timeout=5)
            if self._process.is_alive():
                self._process.kill()
            self._pipe.close()


def _main(pipe: Connection, endpoint: str, secret_name: str) -> None:
    key_id, secret, reader = pipe.recv()
    consumer = _Consumer(endpoint, secret_name, key_id, secret, reader=reader)
    while not pipe.poll(INTERVAL_SECONDS):
        consumer.turn()
    report = consumer.report
    with suppress(BrokenPipeError):  # whoever started it is gone
        pipe.send((report.calls, report.reread, report.failed))


class _Consumer:
    """Works with a key; re-reads its secret on a timer and when a call is refused."""

    def __init__(
        self,
        endpoint: str,
        secret_name: str,
        key_id: str,
        secret: str,
        *,
        reader: tuple[str, str] | None,
    ) -> None:
        self._endpoint = endpoint
        self._secret_name = secret_name
        self._reader = reader
        self.report = Report()
        self._use(key_id, secret)

    def turn(self) -> None:
        """Work, then look into the secret: the first use in a span is the one that IAM records."""
        code = self._work()
        if code:
            # A consumer that is told its key is no good looks into its secret and tries again.
            ends = time.monotonic() + 10
            while code and time.monotonic() < ends:
                self._reread()
                code = self._work()
            self.report.reread += not code
        if code:
            self.report.failed.append((time.time(), code, self._key_id[-4:]))
        else:
            self.report.calls += 1
        self._reread()

    def _work(self) -> str:
        try:
            self._queues.list_queues()
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        except BotoCoreError as error:
            return type(error).__name__
        return ""

    def _reread(self) -> None:
        try:
            found = self._secrets.get_secret_value(SecretId=self._secret_name)
            value = json.loads(found["SecretString"])
            key_id, secret = value["AccessKeyId"], value["SecretAccessKey"]
        except (ClientError, BotoCoreError, KeyError, ValueError):
            return
        if key_id != self._key_id:
            self._use(key_id, secret)

    def _use(self, key_id: str, secret: str) -> None:
        self._key_id = key_id
        self._queues = self._client("sqs", key_id, secret)
        self._secrets = self._client("secretsmanager", *(self._reader or (key_id, secret)))

    def _client(self, service: str, key_id: str, secret: str) -> Any:
        make: Any = _SESSION.client
        return make(
            service,
            endpoint_url=self._endpoint,
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
            config=_CONFIG,
        )
