"""GetAccessKeyLastUsed in the embedded AWS, as good and as bad as the real thing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localaws import LastUsedModel
from tests.localaws.support import Toy, eventually, refused

pytestmark = pytest.mark.emulator


def last_used(toy: Toy, key_id: str) -> dict[str, Any]:
    answer = toy.aws.client("iam").get_access_key_last_used(AccessKeyId=key_id)
    return dict(answer["AccessKeyLastUsed"])


NEVER = {"ServiceName": "N/A", "Region": "N/A"}


def test_a_key_that_was_never_used_has_no_date(toy: Toy, name: str) -> None:
    assert last_used(toy, toy.user(name).id) == NEVER


def test_a_use_tells_service_region_and_whole_second(toy: Toy, name: str) -> None:
    key = toy.user(name)
    before = datetime.now(UTC).replace(microsecond=0)
    toy.client("sts", key).get_caller_identity()
    shown = last_used(toy, key.id)
    assert (shown["ServiceName"], shown["Region"]) == ("sts", toy.aws.region)
    assert before <= shown["LastUsedDate"] <= datetime.now(UTC)
    assert shown["LastUsedDate"].microsecond == 0


def test_the_owner_is_told(toy: Toy, name: str) -> None:
    key = toy.user(name)
    answer = toy.aws.client("iam").get_access_key_last_used(AccessKeyId=key.id)
    assert answer["UserName"] == name


def test_a_denied_call_is_a_use(toy: Toy, name: str) -> None:
    key = toy.user(name)
    assert refused(toy.client("iam", key).list_users) == "AccessDenied"
    assert last_used(toy, key.id)["ServiceName"] == "iam"


def test_a_call_that_does_not_authenticate_is_no_use(toy: Toy, name: str) -> None:
    key = toy.user(name)
    toy.aws.client("iam").update_access_key(UserName=name, AccessKeyId=key.id, Status="Inactive")
    for service, operation in (("sts", "get_caller_identity"), ("s3", "list_buckets")):
        refused(getattr(toy.client(service, key), operation))
    refused(toy.client("secretsmanager", key).list_secrets)
    assert last_used(toy, key.id) == NEVER


def test_an_unknown_key_is_denied_not_missing(toy: Toy) -> None:
    iam = toy.aws.client("iam")
    with pytest.raises(ClientError) as failure:
        iam.get_access_key_last_used(AccessKeyId="AKIAIOSFODNN7EXAMPLE")
    error = failure.value.response
    assert error["Error"]["Code"] == "AccessDenied"
    assert "access key AKIAIOSFODNN7EXAMPLE" in error["Error"]["Message"]
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_the_action_is_evaluated_on_the_owner(toy: Toy, name: str) -> None:
    mine, theirs = toy.user(name), toy.user(f"{name}-other")
    own = f"arn:aws:iam::{toy.aws.account_id}:user/machine/{name}"
    toy.allow(name, {"Effect": "Allow", "Action": "iam:GetAccessKeyLastUsed", "Resource": own})
    reader = toy.client("iam", mine)
    reader.get_access_key_last_used(AccessKeyId=mine.id)
    assert refused(reader.get_access_key_last_used, AccessKeyId=theirs.id) == "AccessDenied"


def test_later_uses_within_the_span_are_coalesced(toy: Toy, name: str) -> None:
    key = toy.user(name)
    toy.aws.control.set_last_used(LastUsedModel(coalesce_seconds=900), user=name)
    toy.client("sts", key).get_caller_identity()
    refused(toy.client("iam", key).list_users)
    assert last_used(toy, key.id)["ServiceName"] == "sts"


def test_dates_can_lose_their_seconds(toy: Toy, name: str) -> None:
    key = toy.user(name)
    toy.aws.control.set_last_used(LastUsedModel(truncate_to_minute=True), user=name)
    when = datetime(2026, 3, 1, 12, 30, 59, tzinfo=UTC)
    toy.aws.control.set_last_used_date(key.id, when)
    assert last_used(toy, key.id)["LastUsedDate"] == when.replace(second=0)


def test_a_use_can_be_published_late(toy: Toy, name: str) -> None:
    key = toy.user(name)
    toy.aws.control.set_last_used(LastUsedModel(lag_seconds=(1.0, 1.5), seed=7), user=name)
    toy.client("sts", key).get_caller_identity()
    assert last_used(toy, key.id) == NEVER
    assert eventually(lambda: "LastUsedDate" in last_used(toy, key.id))


def test_an_earlier_use_shows_until_the_later_one_is_published(toy: Toy, name: str) -> None:
    key = toy.user(name)
    toy.client("sts", key).get_caller_identity()
    toy.aws.control.set_last_used(LastUsedModel(lag_seconds=3600), user=name)
    refused(toy.client("iam", key).list_users)
    assert last_used(toy, key.id)["ServiceName"] == "sts"


def test_a_model_can_be_for_keys_with_a_prefix(toy: Toy, name: str) -> None:
    key = toy.user(name)
    toy.aws.control.set_last_used(LastUsedModel(lag_seconds=3600), access_key_prefix=key.id)
    toy.client("sts", key).get_caller_identity()
    assert last_used(toy, key.id) == NEVER


def test_any_last_use_can_be_put(toy: Toy, name: str) -> None:
    key = toy.user(name)
    toy.client("sts", key).get_caller_identity()
    when = datetime.now(UTC).replace(microsecond=0) - timedelta(days=100)
    toy.aws.control.set_last_used_date(key.id, when, "ec2", "eu-west-1")
    assert last_used(toy, key.id) == {
        "LastUsedDate": when,
        "ServiceName": "ec2",
        "Region": "eu-west-1",
    }
    toy.aws.control.set_last_used_date(key.id, None)
    assert last_used(toy, key.id) == NEVER


def test_a_key_can_be_backdated(toy: Toy, name: str) -> None:
    key = toy.user(name)
    created = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
    toy.aws.control.backdate_key(key.id, created)
    (listed,) = toy.aws.client("iam").list_access_keys(UserName=name)["AccessKeyMetadata"]
    assert listed["CreateDate"] == created


def test_calls_are_recorded_with_caller_and_answer(toy: Toy, name: str) -> None:
    key = toy.user(name)
    refused(toy.client("iam", key).list_access_keys, UserName=name)
    (call,) = toy.aws.control.calls(access_key_id=key.id)
    assert (call.service, call.action, call.status) == ("iam", "ListAccessKeys", 403)
    assert (call.error, call.region, call.source) == ("AccessDenied", toy.aws.region, "http")
    assert call.principal.endswith(f":user/machine/{name}")
    assert "Boto3" in call.user_agent
    assert call in toy.aws.control.calls(about=name, action="iam:ListAccessKeys")
    assert not toy.aws.control.calls(about=name, since=call.time + 1)
