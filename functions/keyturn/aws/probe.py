"""Proving a key: spaced sts:GetCallerIdentity calls signed with it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import boto3
from botocore.exceptions import ClientError

from keyturn.aws import calls
from keyturn.aws.secrets import StoredKey
from keyturn.model.errors import AwsThrottled, KeyNotProven
from keyturn.model.identifiers import masked

# IAM is eventually consistent: a key that works once may fail on the next endpoint, and a new one
# needs 5 to 15 seconds as a rule (aws-facts, IAM access keys). One success proves little.
PROBES = 3
SPACING_SECONDS = 0.75
_NOT_THERE_YET = frozenset({"InvalidClientTokenId", "InvalidAccessKeyId", "SignatureDoesNotMatch"})


@dataclass(frozen=True)
class Proof:
    """When the last probe ended (UTC). The service of the use is `sts`."""

    ended_at: datetime


def prove(
    key: StoredKey,
    *,
    user_name: str,
    account_id: str,
    give_up_after_seconds: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Proof:
    """Make three spaced, successful calls in a row with the key.

    Raises:
        KeyNotProven: the key still does not authenticate after `give_up_after_seconds`, or it
            is somebody else's.
        AwsThrottled: STS did not answer within that time.
    """
    client = boto3.client(
        "sts",
        aws_access_key_id=key.access_key_id,
        aws_secret_access_key=key.secret.get_secret_value(),
        region_name=os.environ["AWS_REGION"],
        config=calls.once_config(),
    )
    give_up_at = clock() + timedelta(seconds=give_up_after_seconds)
    in_a_row = 0
    while True:
        try:
            with calls.translated("sts:GetCallerIdentity"):
                try:
                    identity = client.get_caller_identity()
                except ClientError as error:
                    if calls.error_code(error) not in _NOT_THERE_YET:
                        raise
                    problem: Exception = KeyNotProven(
                        f"the key {masked(key.access_key_id)} of {user_name} does not "
                        f"authenticate (AWS: {calls.error_code(error)})"
                    )
                    in_a_row = 0
                else:
                    _assert_owner(identity["Arn"], identity["Account"], user_name, account_id)
                    in_a_row += 1
                    if in_a_row == PROBES:
                        return Proof(ended_at=clock())
        except AwsThrottled as throttled:
            problem, in_a_row = throttled, 0
        if in_a_row == 0 and clock() >= give_up_at:
            raise problem
        sleep(SPACING_SECONDS)


def _assert_owner(arn: str, account: str, user_name: str, account_id: str) -> None:
    is_user = ":user/" in arn and arn.rsplit("/", 1)[-1] == user_name
    if not is_user or account != account_id:
        raise KeyNotProven(
            f"the stored key does not belong to the user {user_name} of this account but to {arn}"
        )
