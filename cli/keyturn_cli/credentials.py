"""`keyturn credentials USER`: a `credential_process`, which hands a machine user's key to any SDK.

In ~/.aws/config (a profile with a credential_process must not hold keys itself):

    [profile ci-deployer]
    region = eu-west-1
    credential_process = keyturn credentials ci-deployer --region eu-west-1

(not every SDK tells the process which profile it works for, so the Region is said twice). Give it
the present key once, on its standard input:

    keyturn credentials ci-deployer --first-key < present-key.json

Where one machine has profiles for several accounts, users of the same name must not share a file:
`--account 111122223333`, both here and in ~/.aws/config, gives each account files of its own.

Botocore runs the process again 15 minutes before the Expiration that it printed, so this prints
now + 15 minutes + `--interval`, and programs pick a new key up without a restart.

It reads the secret with the last good key, which `--key-file` keeps (mode 0600, the last two
keys: one of them is active at every moment of a rotation and of its back-out). With
`--reader-profile NAME` another identity reads it: that is needed where files do not outlive a
restart, where the machine can be off for longer than the quiet period, and for programs that run
so rarely that reading the secret would be the only use of the key that IAM records.

When Secrets Manager is out of reach, the last good key is served again, and asked about sooner.

This module is what an SDK waits for: it imports neither Typer nor boto3.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

from botocore.exceptions import BotoCoreError, ClientError

from keyturn_cli.machine_key import Key, KeyFile, LockedOut, fetch, reader_of

ADVISORY_REFRESH = timedelta(minutes=15)
"""How long before the Expiration botocore asks again."""

SOON_SECONDS = 60.0
"""When to ask again after a look that failed, if the interval is not shorter."""

PREFIX = "machine-user/"
_ACCOUNT = re.compile(r"[0-9]{12}")
_USER_NAME = re.compile(r"(?!\.+$)[A-Za-z0-9_+=.@-]{1,64}")


def expiration(now: datetime, seconds: float) -> str:
    """Return the Expiration with which botocore asks again after so many seconds."""
    at = now + ADVISORY_REFRESH + timedelta(seconds=seconds)
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def current(secret_name: str, keys: KeyFile, reader_profile: str | None) -> tuple[Key, bool]:
    """Return the key to hand out now, and whether it was looked up just now.

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
        return known[0], False
    keys.remember(key)
    return key, True


def key_file(user: str, account: str | None = None) -> Path:
    """Return where a user's keys are kept unless told: below XDG_CACHE_HOME."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "keyturn" / (account or "") / f"{user}.json"


def main(arguments: Sequence[str]) -> int:
    """Print the key in the form that SDKs want, and nothing else; 1 when there is none."""
    given = parser().parse_args(arguments)
    region = given.region or os.environ.get("AWS_REGION")
    if region:  # botocore reads only the second of the two
        os.environ["AWS_DEFAULT_REGION"] = region
    if given.endpoint_url:
        os.environ["AWS_ENDPOINT_URL"] = given.endpoint_url
    try:
        return _answer(given)
    except KeyboardInterrupt:
        return 130
    # Blind on purpose: an SDK shows these lines, and a traceback could quote a value.
    except Exception as error:
        if given.debug:
            raise
        print(f"keyturn: {type(error).__name__}; --debug shows where", file=sys.stderr)
        return 1


def _answer(given: argparse.Namespace) -> int:
    path = given.key_file or key_file(given.user, given.account)
    keys = KeyFile(path)
    try:
        if given.first_key:
            _keep_first(keys, Key.from_json(sys.stdin.read()), path)
            return 0
        name = given.secret_name or given.secret_name_prefix + given.user
        key, fresh = current(name, keys, given.reader_profile)
    except LockedOut as error:
        print(f"{error}; {_hand_out(given)}", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    seconds = given.interval if fresh else min(given.interval, SOON_SECONDS)
    answer = {
        "Version": 1,
        "AccessKeyId": key.access_key_id,
        "SecretAccessKey": key.secret_access_key,
        "Expiration": expiration(datetime.now(UTC), seconds),
    }
    json.dump(answer, sys.stdout)
    return 0


def _keep_first(keys: KeyFile, key: Key, path: Path) -> None:
    """Keep a key, and say so when there was another: it may be that of another account's user."""
    keys.save(key)
    if keys.load()[1:]:
        print(
            f"{path} held another key, which stays in it as the second; if that one is of a user "
            "of the same name in another account, give each account a file of its own with "
            "--account ID or --key-file, in credential_process, too",
            file=sys.stderr,
        )


def _hand_out(given: argparse.Namespace) -> str:
    where = ""
    if given.key_file:
        where = f" --key-file {shlex.quote(str(given.key_file))}"
    elif given.account:
        where = f" --account {given.account}"
    return (
        f"hand the present key out: keyturn credentials {given.user}{where} --first-key "
        "< present-key.json"
    )


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as the other commands do."""

    def error(self, message: str) -> NoReturn:
        print(f"keyturn: {message}; see keyturn credentials --help", file=sys.stderr)
        sys.exit(2)


def parser() -> argparse.ArgumentParser:
    """Return the parser; `keyturn_cli.app` shows the same options in its help."""
    made = _Parser(prog="keyturn credentials", add_help=False, allow_abbrev=False)
    made.add_argument("user", type=_user)
    made.add_argument("--interval", type=_seconds, default=300.0)
    made.add_argument("--account", type=_account)
    made.add_argument("--key-file", type=Path)
    made.add_argument("--reader-profile")
    made.add_argument("--first-key", action="store_true")
    made.add_argument("--secret-name-prefix", default=PREFIX)
    made.add_argument("--secret-name")
    made.add_argument("--region")
    made.add_argument("--endpoint-url")
    made.add_argument("--debug", action="store_true")
    return made


def _user(text: str) -> str:
    # It becomes part of a file's name.
    if not _USER_NAME.fullmatch(text):
        raise argparse.ArgumentTypeError("USER must be the name of an IAM user")
    return text


def _account(text: str) -> str:
    if not _ACCOUNT.fullmatch(text):
        raise argparse.ArgumentTypeError("must be the number of an AWS account, 12 digits")
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86_400:
        raise argparse.ArgumentTypeError("must be more than 0 and at most 86400 seconds")
    return seconds
