"""What goes wrong, in one line with what to do next."""

from __future__ import annotations

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ProfileNotFound,
)

from keyturn.aws import calls
from keyturn.model.errors import AwsThrottled, KeyturnError

_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_REFUSED = frozenset(
    {"InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch"}
)
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})

_SIGN_IN = (
    "sign in again, or choose others with --profile (`aws sts get-caller-identity` says what is "
    "wrong)"
)


class CliError(Exception):
    """One line for a person: what is wrong, and what to do next."""

    status = 2


class Declined(CliError):
    """The person said no: nothing was changed."""

    status = 1


def explain(error: Exception) -> str | None:
    """Return one line for an error that a person can do something about; None for a defect."""
    if isinstance(error, CliError):
        return str(error)
    if isinstance(error, ClientError):
        return _client_error(error)
    if isinstance(error, BotoCoreError):
        return _core_error(error)
    if isinstance(error, AwsThrottled):
        return f"{error}; try again in a moment"
    if isinstance(error, KeyturnError):
        return _hinted(str(error))
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, ValueError) and str(error).startswith("Invalid endpoint"):  # botocore's
        return f"{error}; mend --endpoint-url or AWS_ENDPOINT_URL"
    return None


def _client_error(error: ClientError) -> str:
    details = error.response.get("Error", {})
    code, message = details.get("Code", "Unknown"), details.get("Message", "")
    return _hinted(f"{error.operation_name}: {code}: {message}")


def _hinted(text: str) -> str:
    """Add what to do about the codes that every AWS service shares."""
    if ": no usable credentials (" in text:
        return f"{text}; {_SIGN_IN}"
    words = set(text.replace(":", " ").split())
    if words & _EXPIRED:
        return f"{text}; your credentials have expired: sign in again"
    if words & _REFUSED:
        return f"{text}; AWS does not accept your credentials: choose others with --profile"
    if words & _DENIED:
        return f"{text}; your credentials may not do this (docs/cli.md has what is needed)"
    return text


def _core_error(error: BotoCoreError) -> str:
    if isinstance(error, NoRegionError):
        return "no Region is set; name the stack's with --region or AWS_REGION"
    if isinstance(error, NoCredentialsError):
        return "no AWS credentials were found; set AWS_PROFILE or use --profile"
    if isinstance(error, calls.NO_CREDENTIALS):
        return f"no usable credentials ({type(error).__name__}); {_SIGN_IN}"
    if isinstance(error, ProfileNotFound):
        return f"{error}; `aws configure list-profiles` names those that there are"
    if isinstance(error, EndpointConnectionError):
        return f"{error}; is the network up, and --region (or --endpoint-url) right?"
    return str(error)
