"""aws-secretsmanager-caching: the cache refreshes itself, and a new key makes a new client.

    python caching_client.py --secret-name machine-user/ci-deployer --key-file ~/.keyturn/key.json

Needs the package aws-secretsmanager-caching. The cache asks DescribeSecret at random between half
of `--refresh-seconds` and all of it, and reads a version only when its label has moved. The first
key comes from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, later ones from the secret, which it
reads with its own key (or `--reader-profile`). Copy `CachedKey` and machine_key.py.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

import application
import boto3
from aws_secretsmanager_caching import SecretCache, SecretCacheConfig
from botocore.exceptions import BotoCoreError, ClientError
from machine_key import Key, KeyFile, authentication_failed, fetch, first_keys, reader_of, works


class CachedKey:
    """The key in the secret, by way of a cache that signs with that very key.

        keys = CachedKey("machine-user/ci-deployer", KeyFile(path), refresh_seconds=300)
        keys.session().client("sqs").list_queues()

    `session()` returns the same session until the key changes, so it is cheap to ask each time;
    keep clients only as long as the session is the same. Several threads may share one.
    """

    def __init__(
        self, secret_name: str, keys: KeyFile, *, refresh_seconds: int, reader: Any = None
    ) -> None:
        self._secret_name = secret_name
        self._reader = reader
        self._keys = keys
        self._config = SecretCacheConfig(
            secret_refresh_interval=refresh_seconds,
            # After failures the cache waits longer and longer, by default up to an hour, which
            # could outlast the old key.
            exception_retry_delay_max=refresh_seconds,
        )
        self._lock = threading.Lock()
        self._known = first_keys(keys, secret_name, reader=reader)
        self._adopt(self._known[0])

    @property
    def access_key_id(self) -> str:
        """The key of the present session."""
        return self._known[0].access_key_id

    def session(self) -> boto3.Session:
        """Return a session that signs with the key in the secret."""
        with self._lock:
            try:
                found = Key.from_json(self._cache.get_secret_string(self._secret_name))
                if found != self._known[0] and works(self._secret_name, found):
                    self._adopt(found)
            except (ClientError, BotoCoreError, ValueError) as error:
                # The present key goes on; the cache tries again after a pause of its own.
                print(f"could not read the secret: {type(error).__name__}", file=sys.stderr)
            return self._session

    def refused(self, session: boto3.Session) -> boto3.Session:
        """Return another session, when calls with this one fail authentication.

        Goes round the cache: its own `refresh_secret_now` sleeps for 2.5 to 5 seconds first.
        """
        with self._lock:
            if session is not self._session:
                return self._session  # another thread was here meanwhile
            key = fetch(self._secret_name, self._known, reader=self._reader)
            if key == self._known[0]:
                # The service that refused it may not know it yet: this once, the one before it.
                return _session_of(self._known[:2][-1])
            self._adopt(key)
            return self._session

    def _adopt(self, key: Key) -> None:
        self._keys.remember(key)
        self._known = [key, *(one for one in self._known if one != key)][:3]
        self._cache = self._cache_of(key)
        self._session = _session_of(key)

    def _cache_of(self, key: Key) -> SecretCache:
        client = key.client("secretsmanager") if self._reader is None else self._reader
        return SecretCache(config=self._config, client=client)


def _session_of(key: Key) -> boto3.Session:
    return boto3.Session(
        aws_access_key_id=key.access_key_id, aws_secret_access_key=key.secret_access_key
    )


class Queues:
    """What the application does with the key: a client for each session, and one second try."""

    def __init__(self, keys: CachedKey) -> None:
        self._keys = keys
        self._session: boto3.Session | None = None
        self.retried_after_reread = 0

    def list(self) -> Any:
        """List queues; once more if the key is refused."""
        session = self._keys.session()
        try:
            return self._client_of(session).list_queues()
        except ClientError as error:
            if not authentication_failed(error):
                raise
        listed = self._client_of(self._keys.refused(session)).list_queues()
        self.retried_after_reread += 1
        return listed

    def _client_of(self, session: boto3.Session) -> Any:
        if session is not self._session:
            self._session, self._client = session, session.client("sqs")
        return self._client


def main() -> int:
    """List queues all the time."""
    arguments = application.parser(__doc__)
    application.add_secret(arguments)
    given = arguments.parse_args()
    keys = CachedKey(
        given.secret_name,
        KeyFile(given.key_file),
        refresh_seconds=given.refresh_seconds,
        reader=reader_of(given.reader_profile) if given.reader_profile else None,
    )
    queues = Queues(keys)
    return application.run(
        "caching_client",
        queues.list,
        key_in_use=lambda: keys.access_key_id,
        retried_after_reread=lambda: queues.retried_after_reread,
        interval_seconds=given.interval_seconds,
    )


if __name__ == "__main__":
    sys.exit(main())
