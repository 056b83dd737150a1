"""moto, made to answer as AWS does where it differs (aws-facts, section 9), with fault injection.

Everything goes through `botocore.client.BaseClient._make_api_call`, so that every call of the
code under test is recorded, whichever client made it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, ConnectionClosedError
from moto.iam.models import iam_backends
from moto.secretsmanager.models import secretsmanager_backends

ACCOUNT = "123456789012"
REGION = "us-east-1"

Params = dict[str, Any]
Fault = Callable[[Callable[[], Any]], Any]


def refusal(code: str, message: str = "injected", status: int = 400) -> ClientError:
    """Return an error as AWS sends it."""
    return ClientError(
        {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": status},  # type: ignore[typeddict-item]
        },
        "Operation",
    )


def refuses(code: str, message: str = "injected", status: int = 400) -> Fault:
    """A fault: AWS refuses, nothing happens."""

    def fault(_: Callable[[], Any]) -> Any:
        raise refusal(code, message, status)

    return fault


def loses_answer(act: Callable[[], Any]) -> Any:
    """A fault: the effect happens, and nobody hears of it."""
    act()
    raise ConnectionClosedError(endpoint_url="https://aws.example")


def after(before: Callable[[], Any]) -> Fault:
    """A fault: something else happens first, then the call is made as usual."""

    def fault(act: Callable[[], Any]) -> Any:
        before()
        return act()

    return fault


def echoes(code: str) -> Fault:
    """A fault: the effect happens, and a repeated call is refused (an SDK retry's echo)."""

    def fault(act: Callable[[], Any]) -> Any:
        act()
        raise refusal(code)

    return fault


@dataclass
class Wire:
    """Records every call of this process and injects faults into the next ones."""

    calls: list[tuple[str, Params]] = field(default_factory=list)
    faults: dict[str, list[Fault]] = field(default_factory=dict)

    @property
    def operations(self) -> list[str]:
        """The names of the calls so far."""
        return [name for name, _ in self.calls]

    def forget(self) -> None:
        """Forget the calls so far."""
        self.calls.clear()

    def next(self, operation: str, *faults: Fault) -> None:
        """Let these faults strike the next calls of an operation, one each."""
        self.faults.setdefault(operation, []).extend(faults)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Stand between every client and moto."""
        original = BaseClient._make_api_call  # type: ignore[attr-defined]
        wire = self

        def call(client: Any, operation: str, params: Params) -> Any:
            wire.calls.append((operation, params))

            def act() -> Any:
                return _as_aws(original, client, operation, params)

            waiting = wire.faults.get(operation)
            return waiting.pop(0)(act) if waiting else act()

        patch.setattr(BaseClient, "_make_api_call", call)


def _as_aws(original: Any, client: Any, operation: str, params: Params) -> Any:
    if operation == "PutSecretValue":
        held = _versions(params["SecretId"]).get(params["ClientRequestToken"])
        if held is not None:
            if held.get("secret_string") != params.get("SecretString"):
                raise refusal("ResourceExistsException", "You can't use ClientRequestToken")
            _take_off(params)
            held["version_stages"].extend(params["VersionStages"])  # a replay adds its labels
            return {"VersionId": params["ClientRequestToken"]}
        _take_off(params)
        params = {**params, "VersionStages": list(params["VersionStages"])}
    if operation == "UpdateSecretVersionStage":
        _compare(params)
    if operation == "GetCallerIdentity":
        return _identity(original, client, operation, params)
    try:
        answer = original(client, operation, params)
        if operation == "CreateAccessKey":  # IAM gives creation dates in whole seconds
            for key in iam_backends[ACCOUNT]["aws"].users[params["UserName"]].access_keys:
                key.create_date = key.create_date.replace(microsecond=0)
        return answer
    except ClientError as error:
        unknown_key = operation == "GetAccessKeyLastUsed"
        if unknown_key and error.response["Error"]["Code"] == "NoSuchEntity":
            raise refusal("AccessDenied", "not authorized to perform", 403) from None
        raise


def _versions(secret_id: str) -> dict[str, Any]:
    secrets = secretsmanager_backends[ACCOUNT][REGION].secrets
    return secrets[secret_id].versions if secret_id in secrets else {}


def _take_off(params: Params) -> None:
    """A label is on one version only: putting it moves it."""
    for version in _versions(params["SecretId"]).values():
        version["version_stages"] = [
            stage for stage in version["version_stages"] if stage not in params["VersionStages"]
        ]


def _compare(params: Params) -> None:
    holder = next(
        (
            version
            for version, content in _versions(params["SecretId"]).items()
            if params["VersionStage"] in content["version_stages"]
        ),
        None,
    )
    if holder != params.get("RemoveFromVersionId"):
        raise refusal("InvalidParameterException", f"the label is attached to version {holder}")


def _identity(original: Any, client: Any, operation: str, params: Params) -> Any:
    """AWS knows no inactive and no deleted key, and publishes a use only after a while."""
    key_id = client._request_signer._credentials.access_key
    users = iam_backends[ACCOUNT]["aws"].users.values()
    keys = {key.access_key_id: key for user in users for key in user.access_keys}
    if key_id not in keys or keys[key_id].status != "Active":
        raise refusal("InvalidClientTokenId", "The security token is invalid", 403)
    answer = original(client, operation, params)
    keys[key_id].last_used = None
    return answer
