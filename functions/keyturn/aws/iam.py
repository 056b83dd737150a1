"""IAM: users and their access keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import SecretStr

from keyturn.aws import calls, fence
from keyturn.model.errors import AnswerLost, RequestRejected
from keyturn.model.identifiers import masked
from keyturn.model.world import Key, LastUse, User


@dataclass(frozen=True)
class NewKey:
    """A key just created; its secret does not print itself."""

    id: str
    secret: SecretStr
    created_at: datetime


@dataclass(frozen=True)
class KeyRing:
    """All access keys of a user with their last use, and AWS's clock when they were listed."""

    now: datetime
    keys: tuple[Key, ...]

    def find(self, key_id: str | None) -> Key | None:
        """Return the key with this id, or None when IAM lists no such key."""
        return next((key for key in self.keys if key.id == key_id), None)


def get_user(user_name: str) -> User | None:
    """Return the user, or None when IAM says that there is none."""
    with calls.translated("iam:GetUser"):
        try:
            found = calls.iam().get_user(UserName=user_name)["User"]
        except ClientError as error:
            if calls.error_code(error) == "NoSuchEntity":
                return None
            raise
    tags = {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])}
    return User(
        name=found["UserName"],
        arn=found["Arn"],
        path=found["Path"],
        tags=tags,
        created_at=found["CreateDate"].astimezone(UTC),
    )


def name_of(user_id: str, *, path: str) -> str | None:
    """Return the name of the user with a unique id (AIDA...) below a path, or None.

    IAM has no look-up by id: this asks for a page of up to 1,000 users until the id is found.
    """
    with calls.translated("iam:ListUsers"):
        pages = (
            calls.iam()
            .get_paginator("list_users")
            .paginate(PathPrefix=path, PaginationConfig={"PageSize": 1000})
        )
        for page in pages:
            for user in page["Users"]:
                if user["UserId"] == user_id:
                    return user["UserName"]
    return None


def owner_of(access_key_id: str) -> str:
    """Return the name of the user that owns a key.

    Raises:
        RequestRejected: AWS does not tell: it answers AccessDenied both for a key that does not
            exist (or is another account's) and for one of a user that this stack may not touch.
    """
    with calls.translated("iam:GetAccessKeyLastUsed"):
        try:
            found = calls.iam().get_access_key_last_used(AccessKeyId=access_key_id)
        except ClientError as error:
            if calls.error_code(error) in ("AccessDenied", "NoSuchEntity"):
                raise RequestRejected(
                    f"accessKeyId {masked(access_key_id)} belongs to no user that this stack "
                    f"manages (AWS: {calls.error_code(error)}); check the id and the user's "
                    "managed tag"
                ) from None
            raise
    return found["UserName"]


def has_console_password(user_name: str) -> bool:
    """Tell whether the user has a login profile."""
    with calls.translated("iam:GetLoginProfile"):
        try:
            calls.iam().get_login_profile(UserName=user_name)
        except ClientError as error:
            if calls.error_code(error) == "NoSuchEntity":
                return False
            raise
    return True


def list_keys(user_name: str) -> KeyRing:
    """Return the user's keys, each with its last use.

    A key that vanishes between the two calls is listed as if it had never been there.

    Raises:
        AwsThrottled, AwsRefused: an unanswered question is an error, never "never used".
    """
    keys: list[Key] = []
    clock: datetime | None = None
    with calls.translated("iam:ListAccessKeys"):
        for page in calls.iam().get_paginator("list_access_keys").paginate(UserName=user_name):
            clock = clock or calls.server_time(page)
            keys += [_key(item) for item in page["AccessKeyMetadata"]]
    # The clock of the first answer: a use that is published while we ask is never "in the past".
    return KeyRing(
        now=clock or datetime.now(UTC),
        keys=tuple(
            Key(key.id, key.active, key.created_at, use)
            for key in keys
            for use in _last_use(user_name, key.id)
        ),
    )


def _key(item: Mapping[str, Any]) -> Key:
    # `Expired` is in the model and undescribed: anything but Active is unusable.
    return Key(
        id=item["AccessKeyId"],
        active=item["Status"] == "Active",
        created_at=item["CreateDate"].astimezone(UTC),
        last_use=None,
    )


def _last_use(user_name: str, key_id: str) -> tuple[LastUse | None, ...]:
    """Return (last use,) or (None,) for never, or () when the key is gone."""
    with calls.translated("iam:GetAccessKeyLastUsed"):
        try:
            used = calls.iam().get_access_key_last_used(AccessKeyId=key_id)["AccessKeyLastUsed"]
        except ClientError as error:
            # AccessDenied stands for a missing permission or a missing key: ask which.
            if calls.error_code(error) in ("AccessDenied", "NoSuchEntity") and not _exists(
                user_name, key_id
            ):
                return ()
            raise
    at = used.get("LastUsedDate")
    if at is None:
        return (None,)
    return (LastUse(at=at.astimezone(UTC), service=used["ServiceName"], region=used["Region"]),)


def _exists(user_name: str, key_id: str) -> bool:
    pages = calls.iam().get_paginator("list_access_keys").paginate(UserName=user_name)
    return any(
        item["AccessKeyId"] == key_id for page in pages for item in page["AccessKeyMetadata"]
    )


def create_key(user_name: str) -> NewKey:
    """Create an access key; never repeated, because a lost answer leaves a key behind.

    Raises:
        AnswerLost: no answer; the key may be there, or come yet.
        AwsThrottled, AwsRefused: as any call.
    """
    fence.may_change()
    with calls.translated("iam:CreateAccessKey"):
        try:
            made = calls.iam_once().create_access_key(UserName=user_name)["AccessKey"]
        except BotoCoreError as error:
            raise AnswerLost(f"iam:CreateAccessKey: no answer ({type(error).__name__})") from None
    return NewKey(
        id=made["AccessKeyId"],
        secret=SecretStr(made["SecretAccessKey"]),
        created_at=made["CreateDate"].astimezone(UTC),
    )


def set_active(user_name: str, key_id: str, active: bool) -> bool:
    """Activate or deactivate a key; return False when there is no such key (any more)."""
    fence.may_change()
    with calls.translated("iam:UpdateAccessKey"):
        try:
            calls.iam().update_access_key(
                UserName=user_name, AccessKeyId=key_id, Status="Active" if active else "Inactive"
            )
        except ClientError as error:
            if calls.error_code(error) == "NoSuchEntity":
                return False
            raise
    return True


def delete_key(user_name: str, key_id: str) -> None:
    """Delete a key; one that is gone already counts as deleted."""
    fence.may_change()
    with calls.translated("iam:DeleteAccessKey"):
        try:
            calls.iam().delete_access_key(UserName=user_name, AccessKeyId=key_id)
        except ClientError as error:
            if calls.error_code(error) != "NoSuchEntity":
                raise
