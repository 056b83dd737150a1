"""What becomes of botocore's errors."""

from __future__ import annotations

import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
    SSOTokenLoadError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)

from keyturn.aws.calls import translated
from keyturn.model.errors import AwsRefused, AwsThrottled


@pytest.mark.parametrize(
    "error",
    [
        NoCredentialsError(),
        PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
        CredentialRetrievalError(provider="custom-process", error_msg="token=hush"),
        TokenRetrievalError(provider="sso", error_msg="token=hush"),
        SSOTokenLoadError(error_msg="token=hush"),
        UnauthorizedSSOTokenError(),
    ],
)
def test_without_credentials_another_try_is_of_no_use(error: BotoCoreError) -> None:
    """The message of such an error can hold whatever a credential process has said."""
    with pytest.raises(AwsRefused) as refused, translated("iam:GetUser"):
        raise error
    assert str(refused.value) == f"iam:GetUser: no usable credentials ({type(error).__name__})"


@pytest.mark.parametrize("kind", [EndpointConnectionError, ConnectTimeoutError])
def test_no_answer_is_worth_another_try(kind: type[BotoCoreError]) -> None:
    with pytest.raises(AwsThrottled, match="no answer"), translated("iam:GetUser"):
        raise kind(endpoint_url="https://iam.amazonaws.com")


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("Throttling", 400, AwsThrottled),
        ("Whatever", 503, AwsThrottled),
        ("AccessDenied", 403, AwsRefused),
        ("ExpiredToken", 403, AwsRefused),
    ],
)
def test_an_answer_keeps_its_code(code: str, status: int, kind: type[Exception]) -> None:
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    with pytest.raises(kind, match=f"iam:GetUser: {code}"), translated("iam:GetUser"):
        raise ClientError(answer, "GetUser")  # type: ignore[arg-type]
