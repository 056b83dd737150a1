"""Plain boto3: reads its secret again from time to time, and at once when its key is refused.

    python boto3_reread.py --secret-name machine-user/ci-deployer --key-file ~/.keyturn/key.json

The first key comes from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, later ones from the secret,
which it reads with its own key (or `--reader-profile`). Copy `Rereading` and machine_key.py.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import application
import boto3
from botocore.exceptions import BotoCoreError, ClientError
from machine_key import KeyFile, LockedOut, authentication_failed, fetch, first_keys, reader_of

Result = TypeVar("Result")


class Rereading:
    """A client of one service that signs with the key in the secret.

        queues = Rereading("sqs", "machine-user/ci-deployer", KeyFile(path), refresh_seconds=300)
        queues.call(lambda sqs: sqs.list_queues())

    Several threads may share one.
    """

    def __init__(
        self,
        service: str,
        secret_name: str,
        keys: KeyFile,
        *,
        refresh_seconds: float,
        reader: Any = None,
    ) -> None:
        self._service = service
        self._secret_name = secret_name
        self._keys = keys
        self._refresh_seconds = refresh_seconds
        self._reader = reader
        self._lock = threading.Lock()
        self._known = first_keys(keys, secret_name, reader=reader)
        keys.remember(self._known[0])
        self._client = self._made()
        self._previous = self._client
        self._next_refresh = 0.0
        self.retried_after_reread = 0

    @property
    def access_key_id(self) -> str:
        """The key that the next call is signed with."""
        return self._known[0].access_key_id

    def call(self, work: Callable[[Any], Result]) -> Result:
        """Do one piece of work with the client, once more if its key is refused."""
        if time.monotonic() >= self._next_refresh:
            self._refresh()
        client = self._client
        try:
            return work(client)
        except ClientError as error:
            if not authentication_failed(error):
                raise
        done = work(self._replaced(client))
        self.retried_after_reread += 1
        return done

    def _refresh(self) -> None:
        """The timed look. One thread looks, the others go on; trouble is left to the next look."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            self._next_refresh = time.monotonic() + self._refresh_seconds
            self._look()
        except (ClientError, BotoCoreError, LockedOut, ValueError) as error:
            print(f"could not read the secret: {type(error).__name__}", file=sys.stderr)
        finally:
            self._lock.release()

    def _replaced(self, refused: Any) -> Any:
        """The look after a refusal; returns the client for the second try."""
        with self._lock:
            if self._client is refused:  # else another thread has looked meanwhile
                self._look()
            # Still the same key: this service may not know it yet, so try the one before it.
            return self._previous if self._client is refused else self._client

    def _look(self) -> None:
        key = fetch(self._secret_name, self._known, reader=self._reader)
        if key == self._known[0]:
            return
        self._keys.remember(key)
        self._known = [key, *(one for one in self._known if one != key)][:3]
        self._previous, self._client = self._client, self._made()

    def _made(self) -> Any:
        make: Any = boto3.Session().client
        key = self._known[0]
        return make(
            self._service,
            aws_access_key_id=key.access_key_id,
            aws_secret_access_key=key.secret_access_key,
        )


def main() -> int:
    """List queues all the time."""
    arguments = application.parser(__doc__)
    application.add_secret(arguments)
    given = arguments.parse_args()
    queues = Rereading(
        "sqs",
        given.secret_name,
        KeyFile(given.key_file),
        refresh_seconds=given.refresh_seconds,
        reader=reader_of(given.reader_profile) if given.reader_profile else None,
    )
    return application.run(
        "boto3_reread",
        lambda: queues.call(lambda sqs: sqs.list_queues()),
        key_in_use=lambda: queues.access_key_id,
        retried_after_reread=lambda: queues.retried_after_reread,
        interval_seconds=given.interval_seconds,
    )


if __name__ == "__main__":
    sys.exit(main())
