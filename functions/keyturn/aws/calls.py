"""Clients, timeouts, retries, and the translation of AWS errors into ours."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    LoginError,
    NoAuthTokenError,
    NoCredentialsError,
    PartialCredentialsError,
    RefreshWithMFAUnsupportedError,
    SSOError,
    TokenRetrievalError,
    UnknownCredentialError,
)

from keyturn.model.errors import AwsRefused, AwsThrottled

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_stepfunctions import SFNClient

_TIMEOUTS: dict[str, Any] = {"connect_timeout": 3, "read_timeout": 8}

# botocore's `standard` mode: 3 attempts in all, back-off with jitter. Stated, because the default
# mode depends on the botocore version (it changed in 1.44).
_RETRYING = Config(**_TIMEOUTS, retries={"total_max_attempts": 3, "mode": "standard"})

# For CreateAccessKey: it has no idempotency token, and a retry after a lost answer would create a
# second key. For probes: they count their own attempts.
_ONCE = Config(**_TIMEOUTS, retries={"total_max_attempts": 1, "mode": "standard"})

_WORTH_ANOTHER_TRY = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "LimitExceededException",
        "ServiceFailure",
        "InternalServiceError",
        "InternalFailure",
        "InternalError",
        "ServiceUnavailable",
        "RequestTimeout",
        "ConcurrentModification",
        "SlowDown",
    }
)


NO_CREDENTIALS = (
    CredentialRetrievalError,
    LoginError,
    NoAuthTokenError,
    NoCredentialsError,
    PartialCredentialsError,
    RefreshWithMFAUnsupportedError,
    SSOError,
    TokenRetrievalError,
    UnknownCredentialError,
)
"""botocore's errors of a call that was never sent, because there was nothing to sign it with."""


@functools.cache
def iam() -> IAMClient:
    """Return the IAM client (retrying)."""
    return boto3.client("iam", config=_RETRYING)


@functools.cache
def iam_once() -> IAMClient:
    """Return the IAM client that never repeats a call."""
    return boto3.client("iam", config=_ONCE)


@functools.cache
def secretsmanager() -> SecretsManagerClient:
    """Return the Secrets Manager client (retrying)."""
    return boto3.client("secretsmanager", config=_RETRYING)


@functools.cache
def stepfunctions() -> SFNClient:
    """Return the Step Functions client (retrying)."""
    return boto3.client("stepfunctions", config=_RETRYING)


@functools.cache
def cloudwatch() -> CloudWatchClient:
    """Return the CloudWatch client (retrying)."""
    return boto3.client("cloudwatch", config=_RETRYING)


@functools.cache
def organizations() -> Any:
    """Return the Organizations client (retrying)."""
    return boto3.client("organizations", config=_RETRYING)


@functools.cache
def sns() -> SNSClient:
    """Return the SNS client (retrying)."""
    return boto3.client("sns", config=_RETRYING)


@functools.cache
def s3() -> S3Client:
    """Return the S3 client (retrying); a report of thousands of users takes more than a moment."""
    longer = _RETRYING.merge(Config(read_timeout=30))
    return boto3.client("s3", config=longer)


def once_config() -> Config:
    """Return the configuration of a client that never repeats a call."""
    return _ONCE


@contextmanager
def translated(operation: str) -> Iterator[None]:
    """Translate errors of one AWS call, named like `iam:CreateAccessKey`.

    Raises:
        AwsThrottled: throttled, 5xx, or no answer (the effect is then unknown).
        AwsRefused: any other error, or there are no credentials; AWS's code and message are kept.
    """
    try:
        yield
    except ClientError as error:
        code, message = error_code(error), error.response.get("Error", {}).get("Message", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        kind = AwsThrottled if code in _WORTH_ANOTHER_TRY or status >= 500 else AwsRefused
        raise kind(f"{operation}: {code}: {message}") from None
    except NO_CREDENTIALS as error:
        # Never its message: what a credential process says on standard error is in it.
        raise AwsRefused(f"{operation}: no usable credentials ({type(error).__name__})") from None
    except BotoCoreError as error:
        raise AwsThrottled(f"{operation}: no answer ({type(error).__name__})") from None


def error_code(error: ClientError) -> str:
    """Return AWS's error code."""
    return str(error.response.get("Error", {}).get("Code", "Unknown"))


def server_time(response: Mapping[str, Any]) -> datetime | None:
    """Return AWS's clock from an answer's Date header (whole seconds, rounded down)."""
    text = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    if not text:
        return None
    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except ValueError:
        return None
