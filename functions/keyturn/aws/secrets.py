"""Secrets Manager: versions, staging labels, and the record in the secret's tags.

Moving a label is a compare-and-swap: UpdateSecretVersionStage refuses when the label is on
another version than the one named. Every such refusal is followed by a new look, and a label that
is already where it should be counts as success.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError
from pydantic import SecretStr

from keyturn.aws import calls, fence
from keyturn.model.errors import AwsRefused, WorldContradictory
from keyturn.model.identifiers import key_of_version
from keyturn.model.world import Label, SecretState, Tag

_REPLICA_SYNCED = "InSync"

# IAM API reference, AccessKeyId; the longest one in use has 20 characters, a secret has 40.
_KEY_ID = re.compile(r"[A-Za-z0-9_]{16,31}")


class StoredKey:
    """The key that a version holds; its secret does not print itself."""

    def __init__(self, access_key_id: str, secret: SecretStr) -> None:
        self.access_key_id = access_key_id
        self.secret = secret

    def __repr__(self) -> str:
        return f"StoredKey({self.access_key_id!r}, secret=**********)"


def describe(secret_id: str) -> SecretState | None:
    """Return the secret's state from DescribeSecret alone, or None when there is no secret.

    Key ids come from our own version ids; other versions' keys are left out of `key_ids`.
    """
    with calls.translated("secretsmanager:DescribeSecret"):
        try:
            found = calls.secretsmanager().describe_secret(SecretId=secret_id)
        except ClientError as error:
            if calls.error_code(error) == "ResourceNotFoundException":
                return None
            raise
    return _state(found, found.get("VersionIdsToStages", {}))


def listed(prefix: str) -> list[SecretState]:
    """Return the secrets whose names begin with a prefix, 100 a call, without their replication.

    Secrets Manager leaves out those that are scheduled for deletion. The list is eventually
    consistent: good for choosing, never for a decision about one user.
    """
    with calls.translated("secretsmanager:ListSecrets"):
        pages = (
            calls.secretsmanager()
            .get_paginator("list_secrets")
            .paginate(
                Filters=[{"Key": "name", "Values": [prefix]}], PaginationConfig={"PageSize": 100}
            )
        )
        found = [secret for page in pages for secret in page["SecretList"]]
    return [
        _state(secret, secret.get("SecretVersionsToStages", {}))
        for secret in found
        if secret["Name"].startswith(prefix)
    ]


def _state(found: Mapping[str, Any], versions: Mapping[str, list[str]]) -> SecretState:
    return SecretState(
        arn=found["ARN"],
        name=found["Name"],
        labels={label: version for version, labels in versions.items() for label in labels},
        key_ids={version: key_of_version(version) for version in versions},
        tags={tag["Key"]: tag["Value"] for tag in found.get("Tags", [])},
        rotation_enabled=bool(found.get("RotationEnabled")),
        scheduled_for_deletion=found.get("DeletedDate") is not None,
        owning_service=found.get("OwningService"),
        replicas_out_of_sync=tuple(
            f"{replica['Region']} ({replica.get('Status')})"
            for replica in found.get("ReplicationStatus", [])
            if replica.get("Status") != _REPLICA_SYNCED
        ),
    )


def require(secret_id: str) -> SecretState:
    """Return the secret's state.

    Raises:
        WorldContradictory: the secret is gone.
    """
    state = describe(secret_id)
    if state is None:
        raise WorldContradictory(f"the secret {secret_id} does not exist any more")
    return state


def create(name: str, tags: Mapping[str, str]) -> None:
    """Create an empty secret; one that exists already (a race, a lost answer) is as good."""
    fence.may_change()
    with calls.translated("secretsmanager:CreateSecret"):
        try:
            calls.secretsmanager().create_secret(
                Name=name,
                Description="Access key of an IAM machine user, rotated by Keyturn",
                Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
            )
        except ClientError as error:
            if calls.error_code(error) != "ResourceExistsException":
                raise


def put(secret_id: str, version_id: str, value: SecretStr, label: str) -> None:
    """Store a version under an id of our choice with one label.

    A version id that is taken counts as success only for the caller who reads it back: the
    first value stays.
    """
    fence.may_change()
    with calls.translated("secretsmanager:PutSecretValue"):
        try:
            calls.secretsmanager().put_secret_value(
                SecretId=secret_id,
                ClientRequestToken=version_id,
                SecretString=value.get_secret_value(),
                VersionStages=[label],
            )
        except ClientError as error:
            if calls.error_code(error) != "ResourceExistsException":
                raise


def read(secret_id: str, version_id: str) -> tuple[SecretStr, datetime] | None:
    """Return a version's text and creation time, or None when there is no such (text) version."""
    with calls.translated("secretsmanager:GetSecretValue"):
        try:
            found = calls.secretsmanager().get_secret_value(
                SecretId=secret_id, VersionId=version_id
            )
        except ClientError as error:
            if calls.error_code(error) == "ResourceNotFoundException":
                return None
            raise
    answer: Mapping[str, Any] = found  # the stubs say that SecretString is always there
    text = answer.get("SecretString")
    return None if text is None else (SecretStr(text), found["CreatedDate"].astimezone(UTC))


def read_json(secret_id: str, version_id: str) -> tuple[dict[str, Any], datetime] | None:
    """Return a version's JSON object and creation time, or None when it holds no such thing."""
    found = read(secret_id, version_id)
    if found is None:
        return None
    text, created_at = found
    try:
        fields: object = json.loads(text.get_secret_value())
    except (ValueError, RecursionError):  # not JSON, or nested to bring the parser down
        return None
    return (fields, created_at) if isinstance(fields, dict) else None


def read_key(secret_id: str, version_id: str) -> StoredKey | None:
    """Return the key that a version holds, ours or foreign, or None when it holds none."""
    found = read_json(secret_id, version_id)
    if found is None:
        return None
    key_id, secret = found[0].get("AccessKeyId"), found[0].get("SecretAccessKey")
    if not (isinstance(key_id, str) and isinstance(secret, str) and secret):
        return None
    if not _KEY_ID.fullmatch(key_id):  # two mixed-up fields would make a secret look like an id
        return None
    return StoredKey(key_id, SecretStr(secret))


def move(secret_id: str, label: Label, *, to: str, expected: str | None) -> bool:
    """Move a label onto a version if it is where we expect it: the compare-and-swap.

    Args:
        secret_id: name or ARN of the secret.
        label: the staging label.
        to: the VersionId that gets it.
        expected: the VersionId that has it now, or None when no version has it.

    Returns:
        True when the label is on `to` (now, or already); False when it is somewhere else.
    """
    if expected == to:
        return True
    swap: dict[str, str] = {"RemoveFromVersionId": expected} if expected else {}
    return _swap(secret_id, label, goal=to, MoveToVersionId=to, **swap)


def remove(secret_id: str, label: Label, *, expected: str | None) -> bool:
    """Take a label off the version that we expect it on; True when no version has it then."""
    if expected is None:
        return True
    return _swap(secret_id, label, goal=None, RemoveFromVersionId=expected)


def _swap(secret_id: str, label: Label, *, goal: str | None, **call: str) -> bool:
    fence.may_change()
    try:
        with calls.translated("secretsmanager:UpdateSecretVersionStage"):
            calls.secretsmanager().update_secret_version_stage(
                SecretId=secret_id, VersionStage=label, **call
            )
    except AwsRefused as refused:
        # InvalidParameterException: the label is elsewhere. ResourceNotFoundException: it (or
        # the version) is gone. Both may also be the echo of our own call whose answer was lost.
        if not any(
            code in str(refused)
            for code in ("InvalidParameterException", "ResourceNotFoundException")
        ):
            raise
        return require(secret_id).version(label) == goal
    return True


def tag(secret_id: str, tags: Mapping[Tag, str]) -> None:
    """Write our record onto the secret; repeating it changes nothing."""
    fence.may_change()
    with calls.translated("secretsmanager:TagResource"):
        calls.secretsmanager().tag_resource(
            SecretId=secret_id,
            Tags=[{"Key": str(key), "Value": value} for key, value in tags.items()],
        )


def untag(secret_id: str, *keys: Tag) -> None:
    """Remove parts of our record; what is not there counts as removed."""
    fence.may_change()
    with calls.translated("secretsmanager:UntagResource"):
        calls.secretsmanager().untag_resource(
            SecretId=secret_id, TagKeys=[str(key) for key in keys]
        )
