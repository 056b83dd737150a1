"""A `credential_process`: hands the key in the secret to any AWS SDK or CLI, with an expiry date.

In ~/.aws/config (a profile with a credential_process must not hold keys itself):

    [profile ci-deployer]
    credential_process = /usr/bin/python3 /opt/keyturn/credential_process.py
        --secret-name machine-user/ci-deployer --key-file /var/lib/ci/key.json

all on one line. Give it the present key once, on its standard input:

    credential_process.py --secret-name ... --key-file ... --first-key < present-key.json

Botocore runs the process again 15 minutes before the Expiration that it printed, so this prints
now + 15 minutes + `--refresh-seconds`, and programs pick a new key up without a restart.

It reads the secret with the last good key, which `--key-file` keeps (mode 0600, the last two
keys: one of them is active at every moment of a rotation and of its back-out). With
`--reader-profile NAME` another identity reads it: that is needed where files do not outlive a
restart, where the machine can be off for longer than the quiet period, and for programs that run
so rarely that reading the secret would be the only use of the key that IAM records.

When Secrets Manager cannot be reached, the last good key is served again.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError
from machine_key import Key, KeyFile, LockedOut, fetch, reader_of

ADVISORY_REFRESH = timedelta(minutes=15)
"""How long before the Expiration botocore asks again."""


def expiration(now: datetime, refresh_seconds: float) -> str:
    """Return the Expiration with which botocore asks again after `refresh_seconds`."""
    at = now + ADVISORY_REFRESH + timedelta(seconds=refresh_seconds)
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def current(secret_name: str, keys: KeyFile, reader_profile: str | None) -> Key:
    """Return the key to hand out now.

    Raises LockedOut when no key can be read or served: the SDK then shows why, instead of
    signing with a key that is known to be refused.
    """
    known = keys.load()
    try:
        other = None if reader_profile is None else reader_of(reader_profile)
        key = fetch(secret_name, known, reader=other)
    except (ClientError, BotoCoreError, ValueError) as error:
        if not known:
            raise LockedOut(f"no key is kept, and none can be read: {error}") from error
        print(f"{error}; serving the last good key", file=sys.stderr)
        return known[0]
    keys.remember(key)
    return key


def main() -> int:
    """Print the key in the form that SDKs want."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--secret-name", required=True)
    parser.add_argument("--key-file", type=Path, required=True)
    parser.add_argument("--refresh-seconds", type=float, default=300)
    parser.add_argument("--reader-profile", help="read the secret with this profile instead")
    parser.add_argument(
        "--first-key", action="store_true", help="keep the key on standard input, and end"
    )
    given = parser.parse_args()
    keys = KeyFile(given.key_file)
    try:
        if given.first_key:
            keys.save(Key.from_json(sys.stdin.read()))
            return 0
        key = current(given.secret_name, keys, given.reader_profile)
    except (LockedOut, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    answer = {
        "Version": 1,
        "AccessKeyId": key.access_key_id,
        "SecretAccessKey": key.secret_access_key,
        "Expiration": expiration(datetime.now(UTC), given.refresh_seconds),
    }
    json.dump(answer, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
