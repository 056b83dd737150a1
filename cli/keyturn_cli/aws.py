"""Which account, Region and stack a command works on, and clients for what only it calls.

Everything goes through boto3's default session, so that `keyturn.aws` (the adapters that the
functions use, with their timeouts and retries) works with the operator's credentials, too.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from keyturn.aws import calls

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_stepfunctions import SFNClient
    from mypy_boto3_sts import STSClient

# As `keyturn.aws.calls`; more attempts, because a person waits and status asks about many users.
_CONFIG = Config(
    connect_timeout=5,
    read_timeout=20,
    retries={"total_max_attempts": 6, "mode": "standard"},
    max_pool_connections=16,
    user_agent_extra="keyturn",
)


@dataclass(frozen=True)
class Target:
    """The stack to work on, and how to get there; None leaves it to the AWS settings."""

    stack_name: str = "keyturn"
    profile: str | None = None
    region: str | None = None
    endpoint_url: str | None = None


def connect(target: Target) -> None:
    """Make the default session that of the target.

    Raises:
        botocore's ProfileNotFound: there is no such profile.
    """
    if target.endpoint_url:  # botocore reads it for every client, those of keyturn.aws included
        os.environ["AWS_ENDPOINT_URL"] = target.endpoint_url
    region = target.region or os.environ.get("AWS_REGION") or None
    boto3.setup_default_session(profile_name=target.profile, region_name=region)
    forget_clients()


def forget_clients() -> None:
    """Drop the clients of an earlier session (tests connect more than once)."""
    for made in (*vars(calls).values(), *globals().values()):
        if isinstance(made, functools._lru_cache_wrapper):
            made.cache_clear()


@functools.cache
def cloudformation() -> CloudFormationClient:
    """Return the CloudFormation client."""
    return boto3.client("cloudformation", config=_CONFIG)


@functools.cache
def functions() -> LambdaClient:
    """Return the Lambda client."""
    return boto3.client("lambda", config=_CONFIG)


@functools.cache
def iam() -> IAMClient:
    """Return the IAM client."""
    return boto3.client("iam", config=_CONFIG)


@functools.cache
def secretsmanager() -> SecretsManagerClient:
    """Return the Secrets Manager client."""
    return boto3.client("secretsmanager", config=_CONFIG)


@functools.cache
def stepfunctions() -> SFNClient:
    """Return the Step Functions client."""
    return boto3.client("stepfunctions", config=_CONFIG)


def sts_of(access_key_id: str, secret_access_key: str) -> STSClient:
    """Return an STS client that signs with this key and with no other."""
    return boto3.client(
        "sts",
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret_access_key,
        aws_session_token="",
        config=_CONFIG,
    )
