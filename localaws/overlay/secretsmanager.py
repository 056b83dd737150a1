"""Secrets Manager as AWS keeps versions and labels.

Gaps in MiniStack 1.5.33 that this closes:
- names of secrets are not checked, and a name that is scheduled for deletion can be taken;
- CreateSecret without a value makes an empty version, and ignores ClientRequestToken;
- PutSecretValue with a used token overwrites the value (here: ResourceExistsException, or, for
  the same value, success that adds the labels), leaves a label on two versions (here: it moves),
  and does not make the first value AWSCURRENT;
- promotion to AWSCURRENT takes AWSPENDING away and forgets the version that loses its last label;
- GetSecretValue does not notice that VersionId and VersionStage disagree;
- an ARN without its suffix finds any secret whose name merely begins alike, or ends like a suffix;
- ListSecretVersionIds shows unlabelled versions unasked;
- UpdateSecret ignores ClientRequestToken.

All of it runs on the server's one loop thread: each call is atomic.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

from ministack.core.responses import error_response_json, json_response
from ministack.services import secretsmanager

Response = tuple[int, dict[str, str], bytes]
Data = dict[str, Any]
Secret = dict[str, Any]

NAME = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}")
ENDS_LIKE_AN_ARN = re.compile(r"-[A-Za-z0-9]{6}$")
TOKEN_LENGTHS = range(32, 65)
LARGEST_VALUE = 65_536
MOST_LABELS = 20
NOT_FOUND = "Secrets Manager can't find the specified secret."
MARKED = "You can't perform this operation on the secret because it was marked for deletion."


def install() -> None:
    """Replace the functions concerned."""
    secretsmanager._create_secret = create_secret
    secretsmanager._put_secret_value = put_secret_value
    secretsmanager._update_secret = _with_token(secretsmanager._update_secret)
    secretsmanager._update_secret_version_stage = update_secret_version_stage
    secretsmanager._get_secret_value = _agreeing(secretsmanager._get_secret_value)
    secretsmanager._list_secret_version_ids = _labelled(secretsmanager._list_secret_version_ids)
    secretsmanager._apply_current_promotion = promote
    secretsmanager._resolve = _exact(secretsmanager._resolve)


class _RefusedError(Exception):
    """The call is refused; the arguments are error code and message."""


def _answer(document: Data) -> Response:
    answer: Response = json_response(document)
    return answer


def _refusing(handler: Callable[[Data], Response]) -> Callable[[Data], Response]:
    def handle(data: Data) -> Response:
        try:
            return handler(data)
        except _RefusedError as refused:
            answer: Response = error_response_json(*refused.args, 400)
            return answer

    return handle


def _exact(original: Callable[..., Any]) -> Callable[..., Any]:
    def resolve(secret_id: str, **options: Any) -> Any:
        key, secret = original(secret_id, **options)
        # AWS takes a partial ARN that ends like a whole one for a whole one, and finds nothing.
        looks_whole = secret_id.startswith("arn:") and ENDS_LIKE_AN_ARN.search(secret_id)
        if looks_whole and (secret is None or secret["ARN"] != secret_id):
            return None, None
        if secret is not None and secret_id not in (key, secret["ARN"], secret["ARN"][:-7]):
            exact = secretsmanager._secrets.get(secret_id.rsplit(":secret:", maxsplit=1)[-1])
            return (exact["Name"], exact) if exact is not None else (None, None)
        return key, secret

    return resolve


# Labels


def move_label(secret: Secret, label: str, version_id: str) -> None:
    """Put a label on a version; it leaves the version that had it. AWSCURRENT pulls AWSPREVIOUS."""
    holder = holder_of(secret, label)
    if holder == version_id:
        return
    if holder is not None:
        secret["Versions"][holder]["Stages"].remove(label)
        if label == "AWSCURRENT":
            move_label(secret, "AWSPREVIOUS", holder)
    secret["Versions"][version_id]["Stages"].append(label)
    if label not in ("AWSPENDING", "AWSPREVIOUS"):
        secretsmanager._emit_secret_label_updated(secret, label, version_id)


def holder_of(secret: Secret, label: str) -> str | None:
    """The version that a label is on."""
    for version_id, version in secret["Versions"].items():
        if label in version["Stages"]:
            return str(version_id)
    return None


def promote(secret: Secret, version_id: str) -> None:
    """Make a version AWSCURRENT; no other label than AWSPREVIOUS is touched."""
    move_label(secret, "AWSCURRENT", version_id)


def _changed(secret: Secret) -> None:
    secret["LastChangedDate"] = int(time.time())
    secretsmanager._sync_replicas(secret)


# Values


@_refusing
def create_secret(data: Data) -> Response:
    """CreateSecret."""
    name = data.get("Name", "")
    if not NAME.fullmatch(name):
        raise _RefusedError(
            "ValidationException",
            "Invalid name. Must be a valid name containing alphanumeric characters, or any of the "
            "following: -/_+=.@!",
        )
    existing = secretsmanager._secrets.get(name)
    if existing is not None and existing.get("DeletedDate"):
        raise _RefusedError(
            "InvalidRequestException",
            "You can't create this secret because a secret with this name is already scheduled "
            "for deletion.",
        )
    if existing is not None:
        raise _RefusedError(
            "ResourceExistsException",
            f"The operation failed because the secret {name} already exists.",
        )
    version_id = _token(data)
    value = _value(data)
    arn, made_up_id = secretsmanager._store_new_secret(
        name,
        secret_string=data.get("SecretString"),
        secret_binary=data.get("SecretBinary"),
        description=data.get("Description", ""),
        tags=data.get("Tags"),
        kms_key_id=data.get("KmsKeyId"),
    )
    versions = secretsmanager._secrets[name]["Versions"]
    first = versions.pop(made_up_id)
    answer = {"ARN": arn, "Name": name}
    if value is not None:
        versions[version_id] = first
        answer["VersionId"] = version_id
    return _answer(answer)


@_refusing
def put_secret_value(data: Data) -> Response:
    """PutSecretValue."""
    secret = _writable(data)
    version_id = _token(data)
    labels = data.get("VersionStages") or ["AWSCURRENT"]
    if len(labels) > MOST_LABELS:
        raise _RefusedError("LimitExceededException", f"At most {MOST_LABELS} staging labels.")
    value = _value(data)
    if value is None:
        raise _RefusedError(
            "InvalidParameterException", "You must provide either SecretString or SecretBinary."
        )
    existing = secret["Versions"].get(version_id)
    if existing is None:
        secret["Versions"][version_id] = {
            "SecretString": data.get("SecretString"),
            "SecretBinary": data.get("SecretBinary"),
            "CreatedDate": int(time.time()),
            "Stages": [],
        }
    elif value != (existing.get("SecretString"), existing.get("SecretBinary")):
        raise _RefusedError(
            "ResourceExistsException",
            f"You can't use ClientRequestToken {version_id} because that value is already in use "
            "for a version of this secret.",
        )
    if holder_of(secret, "AWSCURRENT") is None:
        move_label(secret, "AWSCURRENT", version_id)
    for label in labels:
        move_label(secret, label, version_id)
    _changed(secret)
    return _answer(
        {
            "ARN": secret["ARN"],
            "Name": secret["Name"],
            "VersionId": version_id,
            "VersionStages": list(secret["Versions"][version_id]["Stages"]),
        }
    )


@_refusing
def update_secret_version_stage(data: Data) -> Response:
    """UpdateSecretVersionStage: a compare-and-swap for every label."""
    secret = _writable(data)
    label, target = data.get("VersionStage"), data.get("MoveToVersionId")
    source = data.get("RemoveFromVersionId")
    if not label or not (target or source):
        raise _RefusedError(
            "InvalidParameterException",
            "You must specify VersionStage, and MoveToVersionId or RemoveFromVersionId.",
        )
    for version_id in filter(None, (target, source)):
        if version_id not in secret["Versions"]:
            raise _RefusedError(
                "ResourceNotFoundException",
                f"Secrets Manager can't find the specified secret version: {version_id}.",
            )
    holder = holder_of(secret, label)
    if holder is not None and holder not in (target, source):
        raise _RefusedError(
            "InvalidParameterException",
            f"The parameter RemoveFromVersionId can't be empty or different. Staging label {label} "
            f"is currently attached to version {holder}, so you must explicitly reference that "
            "version in RemoveFromVersionId.",
        )
    if source is not None and source not in (holder, target):
        raise _RefusedError(
            "InvalidParameterException",
            f"Staging label {label} is not attached to version {source}.",
        )
    if target:
        move_label(secret, label, target)
    elif label == "AWSCURRENT":
        raise _RefusedError(
            "InvalidParameterException",
            "You can't remove the staging label AWSCURRENT; move it to another version.",
        )
    else:
        secret["Versions"][source]["Stages"].remove(label)
    _changed(secret)
    return _answer({"ARN": secret["ARN"], "Name": secret["Name"]})


def _with_token(original: Callable[[Data], Response]) -> Callable[[Data], Response]:
    """UpdateSecret with a value is a PutSecretValue to AWSCURRENT, with its token."""

    @_refusing
    def update(data: Data) -> Response:
        settings = {
            name: value for name, value in data.items() if not name.startswith("Secret")
        } | {"SecretId": data.get("SecretId")}
        answer = original(settings)
        if answer[0] != 200 or _value(data) is None:
            return answer
        put = put_secret_value({**data, "VersionStages": ["AWSCURRENT"]})
        if put[0] != 200:
            return put
        written = json.loads(put[2])
        written.pop("VersionStages")
        return _answer(written)

    return update


def _agreeing(original: Callable[[Data], Response]) -> Callable[[Data], Response]:
    def get(data: Data) -> Response:
        version_id, label = data.get("VersionId"), data.get("VersionStage")
        _, secret = secretsmanager._resolve(data.get("SecretId"))
        version = (secret or {"Versions": {}})["Versions"].get(version_id)
        if version is not None and label is not None and label not in version["Stages"]:
            answer: Response = error_response_json(
                "InvalidRequestException",
                "You provided a VersionStage that is not associated to the provided VersionId.",
                400,
            )
            return answer
        return original(data)

    return get


def _labelled(original: Callable[[Data], Response]) -> Callable[[Data], Response]:
    def list_versions(data: Data) -> Response:
        status, headers, body = original(data)
        if status != 200 or data.get("IncludeDeprecated"):
            return status, headers, body
        listed = json.loads(body)
        listed["Versions"] = [version for version in listed["Versions"] if version["VersionStages"]]
        return _answer(listed)

    return list_versions


# Checks


def _writable(data: Data) -> Secret:
    _, secret = secretsmanager._resolve(data.get("SecretId"))
    if secret is None:
        raise _RefusedError("ResourceNotFoundException", NOT_FOUND)
    if secret.get("DeletedDate"):
        raise _RefusedError("InvalidRequestException", MARKED)
    if secretsmanager._is_replica(secret):
        raise _RefusedError(
            "InvalidRequestException", "You can't perform this operation on a replica secret."
        )
    found: Secret = secret
    return found


def _token(data: Data) -> str:
    token = data.get("ClientRequestToken") or str(uuid.uuid4())
    if len(token) not in TOKEN_LENGTHS:
        raise _RefusedError(
            "InvalidParameterException", "ClientRequestToken must be 32-64 characters long."
        )
    return str(token)


def _value(data: Data) -> tuple[str | None, str | None] | None:
    """The value as (text, base64), None when there is none."""
    text, binary = data.get("SecretString"), data.get("SecretBinary")
    if text is None and binary is None:
        return None
    if text is not None and binary is not None:
        raise _RefusedError(
            "InvalidParameterException", "You can't specify both SecretString and SecretBinary."
        )
    if len((text or binary or "").encode()) > LARGEST_VALUE:
        raise _RefusedError("InvalidParameterException", "The secret value is too large.")
    return text, binary
