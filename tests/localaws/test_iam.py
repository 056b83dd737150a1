"""Access keys, identities and policies in the embedded AWS."""

from __future__ import annotations

from typing import Any

import pytest

from tests.localaws.support import Key, Toy, refused

pytestmark = pytest.mark.emulator


def test_a_user_has_at_most_two_access_keys(toy: Toy, name: str) -> None:
    toy.user(name)
    toy.key(name)
    iam = toy.aws.client("iam")
    with pytest.raises(iam.exceptions.LimitExceededException) as failure:
        iam.create_access_key(UserName=name)
    error = failure.value.response
    assert error["Error"]["Message"] == "Cannot exceed quota for AccessKeysPerUser: 2"
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 409


@pytest.mark.parametrize("operation", ["delete_access_key", "update_access_key"])
def test_a_key_is_changed_only_under_its_owners_name(toy: Toy, name: str, operation: str) -> None:
    key = toy.user(name)
    toy.user(f"{name}-other")
    arguments = {"AccessKeyId": key.id, "UserName": f"{name}-other"}
    if operation == "update_access_key":
        arguments["Status"] = "Inactive"
    call = getattr(toy.aws.client("iam"), operation)
    assert refused(call, **arguments) == "NoSuchEntity"
    call(**{**arguments, "UserName": name})


def test_keys_of_an_unknown_user_cannot_be_listed(toy: Toy, name: str) -> None:
    assert refused(toy.aws.client("iam").list_access_keys, UserName=name) == "NoSuchEntity"


def test_a_user_without_a_name_in_the_call_acts_on_itself(toy: Toy, name: str) -> None:
    key = toy.user(name)
    toy.allow(name, {"Effect": "Allow", "Action": "iam:ListAccessKeys", "Resource": _own_arn(toy)})
    listed = toy.client("iam", key).list_access_keys()["AccessKeyMetadata"]
    assert [(item["UserName"], item["AccessKeyId"]) for item in listed] == [(name, key.id)]


def test_creation_dates_are_whole_seconds(toy: Toy, name: str) -> None:
    toy.user(name)
    (key,) = toy.aws.client("iam").list_access_keys(UserName=name)["AccessKeyMetadata"]
    assert key["CreateDate"].microsecond == 0


@pytest.mark.parametrize(
    "call",
    [
        ("sts", "get_caller_identity", "InvalidClientTokenId"),
        ("iam", "list_users", "InvalidClientTokenId"),
        ("s3", "list_buckets", "InvalidAccessKeyId"),
    ],
)
@pytest.mark.parametrize("state", ["inactive", "deleted"])
def test_only_active_keys_authenticate(
    toy: Toy, name: str, call: tuple[str, str, str], state: str
) -> None:
    service, operation, code = call
    key = toy.user(name)
    iam = toy.aws.client("iam")
    if state == "inactive":
        iam.update_access_key(UserName=name, AccessKeyId=key.id, Status="Inactive")
    else:
        iam.delete_access_key(UserName=name, AccessKeyId=key.id)
    assert refused(getattr(toy.client(service, key), operation)) == code
    if state == "inactive":
        iam.update_access_key(UserName=name, AccessKeyId=key.id, Status="Active")
        toy.client("sts", key).get_caller_identity()


def test_a_wrong_secret_does_not_authenticate(toy: Toy, name: str) -> None:
    key = toy.user(name)
    forged = Key(key.id, "x" * 40)
    assert refused(toy.client("sts", forged).get_caller_identity) == "SignatureDoesNotMatch"


def test_a_key_tells_who_it_is(toy: Toy, name: str) -> None:
    identity = toy.client("sts", toy.user(name)).get_caller_identity()
    assert identity["Arn"] == f"arn:aws:iam::{toy.aws.account_id}:user/machine/{name}"
    assert identity["Account"] == toy.aws.account_id
    assert identity["UserId"].startswith("AIDA")


def _own_arn(toy: Toy) -> str:
    return f"arn:aws:iam::{toy.aws.account_id}:user/machine/${{aws:username}}"


# Policies of a role: by path and by the tag of the user


def _list_keys(toy: Toy, user: str) -> Any:
    return toy.invoke(
        {
            "do": "call",
            "service": "iam",
            "operation": "list_access_keys",
            "arguments": {"UserName": user},
        }
    )


def test_a_role_reaches_a_tagged_user_under_its_path(toy: Toy, name: str) -> None:
    toy.user(name)
    assert "AccessKeyMetadata" in _list_keys(toy, name)["keys"]


def test_a_role_does_not_reach_an_untagged_user(toy: Toy, name: str) -> None:
    toy.user(name, managed=False)
    assert "AccessDenied" in _list_keys(toy, name)["errorMessage"]


def test_a_role_does_not_reach_a_tagged_user_elsewhere(toy: Toy, name: str) -> None:
    toy.user(name, path="/people/")
    assert "AccessDenied" in _list_keys(toy, name)["errorMessage"]


@pytest.mark.parametrize("prefix", ["aws", "iam"])
def test_tags_of_users_are_visible_to_conditions(toy: Toy, name: str, prefix: str) -> None:
    key = toy.user(name)
    toy.user(f"{name}-plain", managed=False)
    toy.allow(
        name,
        {
            "Effect": "Allow",
            "Action": "iam:GetUser",
            "Resource": "*",
            "Condition": {"StringEquals": {f"{prefix}:ResourceTag/toy:managed": toy.aws.region}},
        },
    )
    toy.client("iam", key).get_user(UserName=name)
    assert refused(toy.client("iam", key).get_user, UserName=f"{name}-plain") == "AccessDenied"


# Policies of a user: its own secret only


def _own_secret(toy: Toy) -> dict[str, str]:
    arn = f"arn:aws:secretsmanager:{toy.aws.region}:{toy.aws.account_id}:secret"
    return {
        "Effect": "Allow",
        "Action": "secretsmanager:GetSecretValue",
        "Resource": f"{arn}:toy/${{aws:username}}-??????",
    }


def test_a_user_reads_its_own_secret_and_no_other(toy: Toy, name: str) -> None:
    secrets = toy.aws.client("secretsmanager")
    arns = {
        suffix: secrets.create_secret(Name=f"toy/{name}{suffix}", SecretString="s")["ARN"]
        for suffix in ("", "-bobxyz1")
    }
    key = toy.user(name)
    toy.allow(name, _own_secret(toy))
    reader = toy.client("secretsmanager", key)
    for secret_id in (f"toy/{name}", arns[""]):
        assert reader.get_secret_value(SecretId=secret_id)["SecretString"] == "s"
    for secret_id in (f"toy/{name}-bobxyz1", arns["-bobxyz1"]):
        code = refused(reader.get_secret_value, SecretId=secret_id)
        assert code == "AccessDeniedException"


def test_a_secret_whose_name_begins_like_the_users_is_not_its_own(toy: Toy, name: str) -> None:
    """`alice-??????` must be matched against secret:alice-bobxyzz-AbCdEf, and by partial ARN."""
    secrets = toy.aws.client("secretsmanager")
    arn = secrets.create_secret(Name=f"toy/{name}-bobxyzz", SecretString="s")["ARN"]
    key = toy.user(name)
    toy.allow(name, _own_secret(toy))
    reader = toy.client("secretsmanager", key)
    for secret_id in (f"toy/{name}-bobxyzz", arn[:-7], arn[: -len("-bobxyzz-AbCdEf")]):
        assert refused(reader.get_secret_value, SecretId=secret_id) in (
            "AccessDeniedException",
            "ResourceNotFoundException",
        )


@pytest.mark.parametrize("prefix", ["aws", "secretsmanager"])
def test_tags_of_secrets_are_visible_to_conditions(toy: Toy, name: str, prefix: str) -> None:
    secrets = toy.aws.client("secretsmanager")
    tags = [{"Key": "team", "Value": "blue"}]
    secrets.create_secret(Name=f"toy/{name}-tagged1", SecretString="s", Tags=tags)
    secrets.create_secret(Name=f"toy/{name}-untagged", SecretString="s")
    key = toy.user(name)
    toy.allow(
        name,
        {
            "Effect": "Allow",
            "Action": "secretsmanager:GetSecretValue",
            "Resource": "*",
            "Condition": {"StringEquals": {f"{prefix}:ResourceTag/team": "blue"}},
        },
    )
    reader = toy.client("secretsmanager", key)
    reader.get_secret_value(SecretId=f"toy/{name}-tagged1")
    code = refused(reader.get_secret_value, SecretId=f"toy/{name}-untagged")
    assert code == "AccessDeniedException"


def test_a_variable_without_a_value_matches_nothing(toy: Toy, name: str) -> None:
    key = toy.user(name)
    toy.allow(
        name,
        {
            "Effect": "Allow",
            "Action": "iam:GetUser",
            "Resource": f"arn:aws:iam::{toy.aws.account_id}:user/${{aws:PrincipalTag/none}}*",
        },
    )
    assert refused(toy.client("iam", key).get_user, UserName=name) == "AccessDenied"


def test_a_policy_that_demands_tls_locks_nobody_out(toy: Toy, name: str) -> None:
    """The emulator's plain HTTP stands for the TLS that every SDK and service uses on AWS."""
    key = toy.user(name)
    plain = {"Bool": {"aws:SecureTransport": "false"}}
    toy.allow(
        name,
        {"Effect": "Allow", "Action": "iam:GetUser", "Resource": "*"},
        {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": plain},
    )
    toy.client("iam", key).get_user(UserName=name)
