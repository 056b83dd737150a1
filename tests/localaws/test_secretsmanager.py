"""Versions and staging labels in the embedded AWS."""

from __future__ import annotations

from typing import Any

import pytest

from tests.localaws.support import Toy, refused

pytestmark = pytest.mark.emulator


@pytest.fixture
def secrets(toy: Toy) -> Any:
    return toy.aws.client("secretsmanager")


def token(letter: str) -> str:
    return letter * 32


def put(secrets: Any, name: str, letter: str, *labels: str, value: str | None = None) -> list[str]:
    """PutSecretValue with the version id letter*32; returns the version's labels."""
    answer = secrets.put_secret_value(
        SecretId=name,
        ClientRequestToken=token(letter),
        SecretString=value or letter,
        **({"VersionStages": list(labels)} if labels else {}),
    )
    return sorted(answer["VersionStages"])


def labels(secrets: Any, name: str) -> dict[str, list[str]]:
    """The labels of each version, versions by their letter."""
    stages = secrets.describe_secret(SecretId=name).get("VersionIdsToStages", {})
    return {version[0]: sorted(its) for version, its in stages.items()}


@pytest.mark.parametrize("wrong", ["with space", "comma,name", "x" * 513, "hash#"])
def test_names_are_checked(secrets: Any, wrong: str) -> None:
    assert refused(secrets.create_secret, Name=wrong) == "ValidationException"


def test_names_may_hold_what_user_names_may(secrets: Any, name: str) -> None:
    secrets.create_secret(Name=f"toy/{name}+=.@-_")


def test_a_name_may_end_like_an_arn_but_is_then_not_found_by_part_of_its_arn(
    secrets: Any, name: str
) -> None:
    """AWS advises against such names, and takes them: part of the ARN passes for a whole one."""
    arn = secrets.create_secret(Name=f"{name}-worker", SecretString="a")["ARN"]
    for whole in (f"{name}-worker", arn):
        assert secrets.get_secret_value(SecretId=whole)["SecretString"] == "a"
    assert refused(secrets.get_secret_value, SecretId=arn[:-7]) == "ResourceNotFoundException"


def test_a_name_scheduled_for_deletion_cannot_be_taken(secrets: Any, name: str) -> None:
    secrets.create_secret(Name=name, SecretString="a")
    secrets.delete_secret(SecretId=name)
    assert refused(secrets.create_secret, Name=name) == "InvalidRequestException"


def test_a_secret_without_a_value_has_no_version(secrets: Any, name: str) -> None:
    assert "VersionId" not in secrets.create_secret(Name=name)
    assert labels(secrets, name) == {}
    code = refused(secrets.get_secret_value, SecretId=name)
    assert code == "ResourceNotFoundException"


def test_the_first_value_becomes_current_in_addition(secrets: Any, name: str) -> None:
    secrets.create_secret(Name=name)
    assert put(secrets, name, "a", "CLAIM") == ["AWSCURRENT", "CLAIM"]
    assert put(secrets, name, "b", "AWSPENDING") == ["AWSPENDING"]


def test_the_token_of_create_is_the_version(secrets: Any, name: str) -> None:
    secrets.create_secret(Name=name, SecretString="a", ClientRequestToken=token("a"))
    assert labels(secrets, name) == {"a": ["AWSCURRENT"]}


def test_a_used_token_with_another_value_is_refused(secrets: Any, name: str) -> None:
    secrets.create_secret(Name=name, SecretString="a", ClientRequestToken=token("a"))
    put(secrets, name, "b", "AWSPENDING")
    code = refused(
        secrets.put_secret_value,
        SecretId=name,
        ClientRequestToken=token("b"),
        SecretString="other",
        VersionStages=["AWSPENDING"],
    )
    assert code == "ResourceExistsException"
    stored = secrets.get_secret_value(SecretId=name, VersionId=token("b"))
    assert stored["SecretString"] == "b"


def test_a_replay_with_the_same_value_adds_labels(secrets: Any, name: str) -> None:
    secrets.create_secret(Name=name, SecretString="a", ClientRequestToken=token("a"))
    put(secrets, name, "b", "INTENT")
    assert put(secrets, name, "b", "AWSPENDING") == ["AWSPENDING", "INTENT"]


def test_put_moves_a_label_without_asking(secrets: Any, name: str) -> None:
    secrets.create_secret(Name=name, SecretString="a", ClientRequestToken=token("a"))
    put(secrets, name, "b", "AWSPENDING", "X")
    put(secrets, name, "c", "AWSPENDING")
    assert labels(secrets, name) == {"a": ["AWSCURRENT"], "b": ["X"], "c": ["AWSPENDING"]}


def test_current_pulls_previous_behind_it_in_both_directions(secrets: Any, name: str) -> None:
    secrets.create_secret(Name=name, SecretString="a", ClientRequestToken=token("a"))
    put(secrets, name, "b")
    assert labels(secrets, name) == {"a": ["AWSPREVIOUS"], "b": ["AWSCURRENT"]}
    move(secrets, name, "AWSCURRENT", "a", "b")
    assert labels(secrets, name) == {"a": ["AWSCURRENT"], "b": ["AWSPREVIOUS"]}


def move(secrets: Any, name: str, label: str, to: str | None, source: str | None) -> None:
    """UpdateSecretVersionStage between the versions of these letters."""
    secrets.update_secret_version_stage(**move_arguments(name, label, to, source))


def move_arguments(name: str, label: str, to: str | None, source: str | None) -> dict[str, str]:
    arguments = {"SecretId": name, "VersionStage": label}
    if to:
        arguments["MoveToVersionId"] = token(to)
    if source:
        arguments["RemoveFromVersionId"] = token(source)
    return arguments


def test_promotion_leaves_pending_where_it_is(secrets: Any, name: str) -> None:
    secrets.create_secret(Name=name, SecretString="a", ClientRequestToken=token("a"))
    put(secrets, name, "b", "AWSPENDING")
    move(secrets, name, "AWSCURRENT", "b", "a")
    assert labels(secrets, name)["b"] == ["AWSCURRENT", "AWSPENDING"]


@pytest.mark.parametrize("label", ["CLAIM", "AWSPENDING", "AWSCURRENT"])
@pytest.mark.parametrize("source", [None, "c"])
def test_a_held_label_moves_only_from_the_version_that_is_named(
    secrets: Any, name: str, label: str, source: str | None
) -> None:
    secrets.create_secret(Name=name, SecretString="a", ClientRequestToken=token("a"))
    if label != "AWSCURRENT":
        put(secrets, name, "a", label)
    put(secrets, name, "b", "B")
    put(secrets, name, "c", "C")
    arguments = move_arguments(name, label, "b", source)
    with pytest.raises(secrets.exceptions.InvalidParameterException, match=token("a")):
        secrets.update_secret_version_stage(**arguments)
    move(secrets, name, label, "b", "a")
    assert label in labels(secrets, name)["b"]


def test_a_free_label_is_taken_without_a_source(secrets: Any, name: str) -> None:
    secrets.create_secret(Name=name, SecretString="a", ClientRequestToken=token("a"))
    move(secrets, name, "CLAIM", "a", None)
    move(secrets, name, "CLAIM", "a", None)
    assert labels(secrets, name) == {"a": ["AWSCURRENT", "CLAIM"]}


def test_a_label_is_removed_only_from_the_version_that_has_it(secrets: Any, name: str) -> None:
    secrets.create_secret(Name=name, SecretString="a", ClientRequestToken=token("a"))
    put(secrets, name, "b", "CLAIM")
    wrong = move_arguments(name, "CLAIM", None, "a")
    code = refused(secrets.update_secret_version_stage, **wrong)
    assert code == "InvalidParameterException"
    move(secrets, name, "CLAIM", None, "b")
    code = refused(secrets.update_secret_version_stage, **move_arguments(name, "CLAIM", None, "b"))
    assert code == "InvalidParameterException"


def test_a_version_without_labels_can_be_read_by_id_but_is_not_listed(
    secrets: Any, name: str
) -> None:
    secrets.create_secret(Name=name, SecretString="a", ClientRequestToken=token("a"))
    put(secrets, name, "b", "CLAIM")
    move(secrets, name, "CLAIM", None, "b")
    assert labels(secrets, name) == {"a": ["AWSCURRENT"]}
    listed = secrets.list_secret_version_ids(SecretId=name)["Versions"]
    assert [version["VersionId"] for version in listed] == [token("a")]
    listed = secrets.list_secret_version_ids(SecretId=name, IncludeDeprecated=True)["Versions"]
    assert {version["VersionId"] for version in listed} == {token("a"), token("b")}
    stored = secrets.get_secret_value(SecretId=name, VersionId=token("b"))
    assert stored["SecretString"] == "b"


def test_the_version_that_falls_behind_previous_stays_readable(secrets: Any, name: str) -> None:
    secrets.create_secret(Name=name, SecretString="a", ClientRequestToken=token("a"))
    put(secrets, name, "b")
    put(secrets, name, "c")
    assert labels(secrets, name) == {"b": ["AWSPREVIOUS"], "c": ["AWSCURRENT"]}
    stored = secrets.get_secret_value(SecretId=name, VersionId=token("a"))
    assert stored["SecretString"] == "a"


def test_version_and_label_must_agree(secrets: Any, name: str) -> None:
    secrets.create_secret(Name=name, SecretString="a", ClientRequestToken=token("a"))
    put(secrets, name, "b", "AWSPENDING")
    code = refused(
        secrets.get_secret_value,
        SecretId=name,
        VersionId=token("b"),
        VersionStage="AWSCURRENT",
    )
    assert code == "InvalidRequestException"


def test_update_with_a_value_obeys_the_token(secrets: Any, name: str) -> None:
    secrets.create_secret(Name=name, SecretString="a", ClientRequestToken=token("a"))
    secrets.update_secret(SecretId=name, SecretString="b", ClientRequestToken=token("b"))
    assert labels(secrets, name) == {"a": ["AWSPREVIOUS"], "b": ["AWSCURRENT"]}
    code = refused(
        secrets.update_secret, SecretId=name, SecretString="z", ClientRequestToken=token("b")
    )
    assert code == "ResourceExistsException"


def test_a_partial_arn_finds_the_very_secret(secrets: Any, name: str) -> None:
    longer = secrets.create_secret(Name=f"{name}-longer1", SecretString="longer")["ARN"]
    prefix = longer[: -len("-longer1-AbCdEf")]
    assert refused(secrets.get_secret_value, SecretId=prefix) == "ResourceNotFoundException"
    assert secrets.get_secret_value(SecretId=longer[:-7])["SecretString"] == "longer"
    secrets.create_secret(Name=name, SecretString="exact")
    assert secrets.get_secret_value(SecretId=prefix)["SecretString"] == "exact"
