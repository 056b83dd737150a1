"""What not to do: keys from the environment, read once when the process starts.

    AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=... python static_credentials.py

Such a program works until its key is deactivated. A rotation notices it in time when it calls
more often than once in the quiet period; a rarer one is hurt, and its health has to say so (the
tag `keyturn:health-url` or `keyturn:alarm-1` of its secret) for the back-out to help it.
"""

from __future__ import annotations

import sys

import application
import boto3
from machine_key import Key


def main() -> int:
    """List queues all the time."""
    given = application.parser(__doc__).parse_args()
    key = Key.from_environment()
    if key is None:
        print("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set", file=sys.stderr)
        return 2
    queues = boto3.client("sqs")
    return application.run(
        "static",
        queues.list_queues,
        key_in_use=lambda: key.access_key_id,
        interval_seconds=given.interval_seconds,
    )


if __name__ == "__main__":
    sys.exit(main())
