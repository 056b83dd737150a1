"""A machine user's own key: where it is kept between runs, and how a newer one is fetched.

Every example that reads its secret with the very key that it uses needs this file; copy it along.
The user needs the policy in the stack output `ConsumerPolicyArn`.

Three rules make this safe during a rotation and during its back-out:

- the last two keys are kept, and the secret is read with the first that still authenticates
  (or by another identity, the reader, which no rotation of this user can lock out);
- a key that is new to us is used once before it is handed out, because IAM may not have told
  every endpoint of it yet: until then the one before it goes on;
- whatever else goes wrong (network, throttling, permissions) changes nothing.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError

AUTHENTICATION_FAILED = frozenset(
    {
        "InvalidClientTokenId",  # STS, IAM, SQS, SNS and others
        "UnrecognizedClientException",  # Secrets Manager, DynamoDB, KMS, Lambda and others
        "InvalidAccessKeyId",  # S3
        "AuthFailure",  # EC2
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
    }
)
"""The error codes that say "this key is not (or not yet, or no longer) one of ours"."""

_session = botocore.session.get_session()  # one, so that a service's model is loaded once
_KEPT = 2  # IAM allows a user two keys, so an older one than these is of no use


class LockedOut(Exception):
    """None of the known keys authenticates: a person has to hand out a key once more."""


@dataclass(frozen=True)
class Key:
    """An access key; its secret half does not print itself."""

    access_key_id: str
    secret_access_key: str = field(repr=False)

    @classmethod
    def from_environment(cls) -> Key | None:
        """Return the key in the usual variables, if there is one."""
        key_id, secret = (
            os.environ.get("AWS_ACCESS_KEY_ID"),
            os.environ.get("AWS_SECRET_ACCESS_KEY"),
        )
        return cls(key_id, secret) if key_id and secret else None

    @classmethod
    def from_json(cls, text: str) -> Key:
        """Return the key in a secret's value; ValueError, which never quotes it, without one."""
        try:
            value = json.loads(text)
            key_id, secret = value["AccessKeyId"], value["SecretAccessKey"]
        except (ValueError, KeyError, TypeError):
            key_id = secret = None
        if not (key_id and isinstance(key_id, str) and secret and isinstance(secret, str)):
            raise ValueError("the value holds no access key")
        return cls(key_id, secret)

    def client(self, service: str) -> Any:
        """Return a client that signs with this key and with no other."""
        return _session.create_client(
            service,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            config=Config(
                connect_timeout=3,
                read_timeout=10,
                retries={"mode": "standard", "total_max_attempts": 3},
            ),
        )


def authentication_failed(error: Exception) -> bool:
    """Whether a call failed because of the key that signed it, and not for another reason."""
    if not isinstance(error, ClientError):
        return False
    return error.response.get("Error", {}).get("Code") in AUTHENTICATION_FAILED


def read(secret_name: str, client: Any) -> Key:
    """Return the key that the secret holds now, read with a Secrets Manager client."""
    return Key.from_json(client.get_secret_value(SecretId=secret_name)["SecretString"])


def reader_of(profile: str) -> Any:
    """Return a Secrets Manager client of another identity, named by its profile."""
    return botocore.session.Session(profile=profile).create_client("secretsmanager")


def fetch(secret_name: str, known: Sequence[Key], *, reader: Any = None) -> Key:
    """Return the key to use from now on.

    Args:
        secret_name: the secret of this machine user.
        known: the keys to read it with, in the order in which to try them.
        reader: a Secrets Manager client to read it with instead.

    Raises LockedOut when none of the known keys authenticates, and whatever else keeps the secret
    from being read (then go on with the present key, and try again later).
    """
    for key in known if reader is None else ():
        try:
            found = read(secret_name, key.client("secretsmanager"))
        except ClientError as error:
            if not authentication_failed(error):
                raise
            continue
        return found if found == key or works(secret_name, found) else key
    if reader is None:
        raise LockedOut(f"no key that is known here can read {secret_name} any more")
    found = read(secret_name, reader)
    return found if not known or found == known[0] or works(secret_name, found) else known[0]


def works(secret_name: str, key: Key) -> bool:
    """Whether a key authenticates from here, tried by describing the secret with it.

    Not tried with STS: that would look like an application's use, for which a rotation waits.
    A user who may not read the secret (another identity reads it) is known all the same.
    """
    try:
        key.client("secretsmanager").describe_secret(SecretId=secret_name)
    except ClientError as error:
        if authentication_failed(error):
            return False
        if error.response["Error"]["Code"] != "AccessDeniedException":
            raise
    return True


def first_keys(keys: KeyFile, secret_name: str, *, reader: Any = None) -> list[Key]:
    """Return the keys to begin with: those that were kept, then the one in the environment.

    Without any, a `reader` gets the first one from the secret.
    """
    kept, given = keys.load(), Key.from_environment()
    known = kept + ([given] if given and given not in kept else [])
    if known:
        return known
    if reader is None:
        raise LockedOut("there is no key to begin with: set AWS_ACCESS_KEY_ID once")
    return [fetch(secret_name, [], reader=reader)]


class KeyFile:
    """The last two good keys in a file that only its owner can read, the newest first.

    A program that starts again long after its first key was rotated away finds its key here.
    Where nothing outlives a restart (most containers), read the secret with another identity.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> list[Key]:
        """Return the keys; none if nothing was saved yet, or if the file is damaged."""
        try:
            saved = json.loads(self._path.read_text(encoding="utf-8"))
            return [Key.from_json(json.dumps(value)) for value in saved]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError):  # not quoted: it may hold half a key
            print(f"{self._path} is damaged, so no key is kept in it", file=sys.stderr)
            return []

    def save(self, key: Key) -> None:
        """Put a key first; nothing is written when it is there already."""
        saved = self.load()
        if saved[:1] == [key]:
            return
        kept = [key, *(other for other in saved if other.access_key_id != key.access_key_id)]
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # mkstemp creates the file with mode 0600. Replacing it is atomic: a reader finds the old
        # content or the new one, also when we are killed half-way.
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=self._path.name)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(
                [
                    {
                        "AccessKeyId": one.access_key_id,
                        "SecretAccessKey": one.secret_access_key,
                    }
                    for one in kept[:_KEPT]
                ],
                file,
            )
        Path(name).replace(self._path)

    def remember(self, key: Key) -> None:
        """As `save`, but a full or read-only disk is no reason not to use a good key."""
        try:
            self.save(key)
        except OSError as error:
            print(f"could not keep the key for the next start: {error}", file=sys.stderr)
