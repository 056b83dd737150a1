"""A container's program: the key lies in a mounted file, which is replaced while it runs.

    python mounted_key.py --key-file /run/machine-user/key.json

The file is a key of a Kubernetes Secret that External Secrets keeps up to date (the manifests are
in external-secrets/); nothing here knows of Secrets Manager. Copy `MountedKey` and machine_key.py.

The kubelet puts new files into a directory of their own and then lets one symbolic link point to
it, so whoever opens the file by its path finds the old key or the new one, whole. A file that is
mounted with `subPath`, and variables made from the Secret, stay as they were until a restart.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import application
from botocore.exceptions import ClientError
from machine_key import Key, authentication_failed

Result = TypeVar("Result")


class MountedKey:
    """A client of one service that signs with the key in a file.

        queues = MountedKey("sqs", Path("/run/machine-user/key.json"))
        queues.call(lambda sqs: sqs.list_queues())

    Several threads may share one. OSError or ValueError when there is no key to begin with.
    """

    def __init__(self, service: str, path: Path) -> None:
        self._service = service
        self._path = path
        self._lock = threading.Lock()
        self._key = self._read()
        self._client = self._key.client(service)
        self._previous = self._client
        self.retried_after_reread = 0

    @property
    def access_key_id(self) -> str:
        """The key that the next call is signed with."""
        return self._key.access_key_id

    def call(self, work: Callable[[Any], Result]) -> Result:
        """Do one piece of work with the client, once more if its key is refused."""
        client = self._look()
        try:
            return work(client)
        except ClientError as error:
            if not authentication_failed(error):
                raise
        found = self._look()
        # Still the same key: this service may not know it yet, so try the one before it.
        done = work(self._previous if found is client else found)
        self.retried_after_reread += 1
        return done

    def _look(self) -> Any:
        """Read the file again (a few hundred bytes in memory) and return the client to use."""
        with self._lock:
            try:
                key = self._read()
            except (OSError, ValueError) as error:
                print(f"could not read the key file: {type(error).__name__}", file=sys.stderr)
                return self._client
            if key != self._key:
                self._key, self._previous = key, self._client
                self._client = key.client(self._service)
            return self._client

    def _read(self) -> Key:
        return Key.from_json(self._path.read_text(encoding="utf-8"))


def main() -> int:
    """List queues all the time."""
    arguments = application.parser(__doc__)
    arguments.add_argument("--key-file", type=Path, required=True, help="the mounted file")
    given = arguments.parse_args()
    queues = MountedKey("sqs", given.key_file)
    return application.run(
        "mounted_key",
        lambda: queues.call(lambda sqs: sqs.list_queues()),
        key_in_use=lambda: queues.access_key_id,
        retried_after_reread=lambda: queues.retried_after_reread,
        interval_seconds=given.interval_seconds,
    )


if __name__ == "__main__":
    sys.exit(main())
