"""An application whose profile has a `credential_process`: nothing in it knows of rotations.

    AWS_PROFILE=ci-deployer python with_credential_process.py

with, in ~/.aws/config (see docs/consumers.md),

    [profile ci-deployer]
    region = eu-west-1
    credential_process = keyturn credentials ci-deployer --region eu-west-1

The variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must not be set: they would win. One
client for the whole life of the process; botocore runs `keyturn credentials` again by itself.
"""

from __future__ import annotations

import sys
from typing import Any

import application
import boto3


class SignedWith:
    """Notes which key signed a request, for the report; an application does not need it."""

    def __init__(self, client: Any) -> None:
        self.access_key_id = ""
        client.meta.events.register("before-send.sqs", self._note)

    def _note(self, request: Any, **_: object) -> None:
        authorization = request.headers["Authorization"]
        text = authorization.decode() if isinstance(authorization, bytes) else authorization
        self.access_key_id = text.partition("Credential=")[2].partition("/")[0]


def main() -> int:
    """List queues all the time."""
    given = application.parser(__doc__).parse_args()
    queues = boto3.client("sqs")
    signed_with = SignedWith(queues)
    return application.run(
        "credential_process",
        queues.list_queues,
        key_in_use=lambda: signed_with.access_key_id,
        interval_seconds=given.interval_seconds,
    )


if __name__ == "__main__":
    sys.exit(main())
