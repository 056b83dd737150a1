"""The Secrets Manager adapter: the compare-and-swap, and values that others wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from keyturn.aws import fence, secrets
from keyturn.model.errors import AwsRefused, AwsThrottled, WorldContradictory
from keyturn.model.world import Label, Tag
from keyturn.rotate import snapshot
from tests.integration.account import Account
from tests.integration.aws_like import echoes, refuses

NAME = "machine-user/ci"
A = "AKIAAAAAAAAAAAAAAAAA-" + "a" * 32
B = "AKIABBBBBBBBBBBBBBBB-" + "b" * 32
C = "AKIACCCCCCCCCCCCCCCC-" + "c" * 32


@pytest.fixture(autouse=True)
def open_fence() -> Iterator[None]:
    with fence.opened(fence.Fence(datetime.now(UTC))):
        yield


@pytest.fixture
def three(account: Account) -> Account:
    """A secret with the versions A (AWSCURRENT), B (BACKOUT) and C (EXPOSED)."""
    account.secret()
    for version, label in ((A, "AWSCURRENT"), (B, "BACKOUT"), (C, "EXPOSED")):
        account.version(NAME, "{}", version_id=version, label=label)
    account.wire.forget()
    return account


class TestCompareAndSwap:
    def test_a_label_moves_from_where_it_is_expected(self, three: Account) -> None:
        assert secrets.move(NAME, Label.CURRENT, to=B, expected=A)
        assert three.labels()["AWSCURRENT"] == B
        assert three.labels()["AWSPREVIOUS"] == A

    def test_a_new_label_is_put_where_there_was_none(self, three: Account) -> None:
        assert secrets.move(NAME, Label.CLAIM, to=B, expected=None)
        assert three.labels()["CLAIM"] == B

    @pytest.mark.parametrize("expected", [A, C, None])
    def test_a_label_that_is_elsewhere_stays(self, three: Account, expected: str | None) -> None:
        assert not secrets.move(
            NAME, Label.BACKOUT, to=A if expected == C else C, expected=expected
        )
        assert three.labels()["BACKOUT"] == B

    @pytest.mark.parametrize("code", ["InvalidParameterException", "ResourceNotFoundException"])
    def test_a_refusal_that_echoes_our_own_call_is_success(self, three: Account, code: str) -> None:
        three.wire.next("UpdateSecretVersionStage", echoes(code), echoes(code))
        assert secrets.move(NAME, Label.CURRENT, to=B, expected=A)
        assert secrets.remove(NAME, Label.EXPOSED, expected=C)
        assert "EXPOSED" not in three.labels()

    def test_nothing_is_called_when_the_label_is_there_already(self, three: Account) -> None:
        assert secrets.move(NAME, Label.CURRENT, to=A, expected=A)
        assert secrets.remove(NAME, Label.CLAIM, expected=None)
        assert three.wire.operations == []

    def test_a_label_is_removed_only_from_where_it_is_expected(self, three: Account) -> None:
        assert not secrets.remove(NAME, Label.BACKOUT, expected=A)
        assert three.labels()["BACKOUT"] == B
        assert secrets.remove(NAME, Label.BACKOUT, expected=B)
        assert "BACKOUT" not in three.labels()

    @pytest.mark.parametrize(
        ("code", "kind"),
        [("AccessDeniedException", AwsRefused), ("ThrottlingException", AwsThrottled)],
    )
    def test_other_refusals_are_no_answer(
        self, three: Account, code: str, kind: type[Exception]
    ) -> None:
        three.wire.next("UpdateSecretVersionStage", refuses(code))
        with pytest.raises(kind, match=code):
            secrets.move(NAME, Label.CURRENT, to=B, expected=A)

    def test_a_secret_that_is_gone_contradicts_everything(self, account: Account) -> None:
        with pytest.raises(WorldContradictory, match="does not exist any more"):
            secrets.move(NAME, Label.CURRENT, to=B, expected=A)


class TestStoring:
    def test_the_first_value_under_an_id_stays(self, three: Account) -> None:
        secrets.put(NAME, A, SecretStr('{"other": "value"}'), "AWSPENDING")
        assert three.value(A) == {}
        assert "AWSPENDING" not in three.labels()

    def test_creating_twice_is_creating_once(self, account: Account) -> None:
        secrets.create(NAME, {"keyturn:user-name": "ci"})
        secrets.create(NAME, {"keyturn:user-name": "somebody else"})
        found = secrets.require(NAME)
        assert found.tags == {"keyturn:user-name": "ci"}
        assert found.labels == {}

    def test_a_secret_in_deletion_is_not_created_again(self, three: Account) -> None:
        three.wire.next("CreateSecret", refuses("InvalidRequestException"))
        with pytest.raises(AwsRefused, match="InvalidRequestException"):
            secrets.create(NAME, {})

    def test_the_record_is_written_and_removed(self, three: Account) -> None:
        secrets.tag(NAME, {Tag.DEACTIVATED_KEY: "AKIAX", Tag.DEACTIVATED_AT: "now"})
        assert secrets.require(NAME).deactivated_key == "AKIAX"
        secrets.untag(NAME, Tag.DEACTIVATED_KEY, Tag.DEACTIVATED_AT)
        secrets.untag(NAME, Tag.DEACTIVATED_KEY)
        assert secrets.require(NAME).tags == {}

    @pytest.mark.parametrize(
        ("operation", "write"),
        [
            (
                "PutSecretValue",
                lambda: secrets.put(NAME, "x" * 32, SecretStr("wJalrXUtnFEMI"), "AWSPENDING"),
            ),
            ("CreateSecret", lambda: secrets.create("machine-user/other", {})),
            ("TagResource", lambda: secrets.tag(NAME, {Tag.LAST_RESULT: "x"})),
            ("UntagResource", lambda: secrets.untag(NAME, Tag.LAST_RESULT)),
        ],
    )
    def test_a_refused_write_is_an_error_without_the_value(
        self, three: Account, operation: str, write: Any
    ) -> None:
        three.wire.next(operation, refuses("EncryptionFailure"))
        with pytest.raises(AwsRefused, match="EncryptionFailure") as refused:
            write()
        assert "wJalr" not in str(refused.value)


class TestForeignValues:
    def test_a_version_that_others_made_is_understood_by_reading_it(self, account: Account) -> None:
        key = account.rotatable()
        world = account.look()
        assert world.secret is not None
        assert world.secret.key(Label.CURRENT) == key.id
        assert account.wire.operations.count("GetSecretValue") == 1

    def test_our_own_versions_are_known_without_reading(self, three: Account) -> None:
        three.user()
        world = three.look()
        assert world.secret is not None
        assert world.secret.key(Label.CURRENT) == A.split("-", maxsplit=1)[0]
        assert "GetSecretValue" not in three.wire.operations

    @pytest.mark.parametrize(
        "value",
        [
            b"\x00\x01binary",
            b'{"AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "SecretAccessKey": "x"}',
            "garbage",
            " ",
            "null",
            "42",
            '"AKIAIOSFODNN7EXAMPLE"',
            "[]",
            '[{"AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "SecretAccessKey": "x"}]',
            "{}",
            '{"AccessKeyId": "AKIAIOSFODNN7EXAMPLE"}',
            '{"AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "SecretAccessKey": ""}',
            '{"AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "SecretAccessKey": null}',
            '{"AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "SecretAccessKey": ["x"]}',
            '{"AccessKeyId": 7, "SecretAccessKey": "x"}',
            '{"AccessKeyId": "", "SecretAccessKey": "x"}',
            '{"AccessKeyId": "AKIAIOSFODNN7EXAMPLE\\n", "SecretAccessKey": "x"}',
            '{"AccessKeyId": "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEYxx", "SecretAccessKey": "x"}',
            '{"accesskeyid": "AKIAIOSFODNN7EXAMPLE", "SecretAccessKey": "x"}',
            "[" * 65_536,
            '{"a":' * 13_000,
            "9" * 65_536,
            "\u0000",
            "\ufffd\U0001f511" * 1000,
        ],
        ids=lambda value: repr(value)[:30],
    )
    def test_what_is_no_key_is_no_key(self, account: Account, value: str | bytes) -> None:
        account.user()
        account.secret("ci", value)
        world = account.look()
        assert world.secret is not None
        assert world.secret.key(Label.CURRENT) is None
        assert "AWSCURRENT" in world.secret.labels

    def test_a_key_beside_64_kib_of_other_fields_is_a_key(self, account: Account) -> None:
        name = account.secret()
        fields = {
            "AccessKeyId": "AKIAIOSFODNN7EXAMPLE",
            "SecretAccessKey": "s",
            "pad": "x" * 65_000,
        }
        version = account.version(name, json.dumps(fields))
        stored = secrets.read_key(name, version)
        assert stored is not None
        assert stored.access_key_id == "AKIAIOSFODNN7EXAMPLE"

    def test_a_stored_key_hides_its_secret(self, account: Account) -> None:
        key = account.rotatable()
        stored = secrets.read_key(NAME, account.labels()["AWSCURRENT"])
        assert stored is not None
        assert stored.secret.get_secret_value() == key.secret
        assert key.secret not in f"{stored} {stored!r} {vars(stored)}"
        assert key.id in repr(stored)

    def test_a_version_that_does_not_exist_holds_nothing(self, three: Account) -> None:
        assert secrets.read_key(NAME, "f" * 32) is None
        assert snapshot.read_intent(NAME, "f" * 32) is None

    def test_a_denied_read_is_not_an_empty_version(self, three: Account) -> None:
        three.wire.next("GetSecretValue", refuses("AccessDeniedException"))
        with pytest.raises(AwsRefused):
            secrets.read_key(NAME, A)

    @pytest.mark.parametrize("text", ["{}", "no JSON", '{"userName": "ci"}', "[" * 60_000])
    def test_an_intent_that_others_wrote_is_no_intent(self, account: Account, text: str) -> None:
        name = account.secret()
        version = account.version(name, text, version_id="intent-" + "0" * 32, label="CLAIM")
        assert snapshot.read_intent(name, version) is None


class TestDescribing:
    def test_a_secret_that_does_not_exist_is_none(self, account: Account) -> None:
        assert secrets.describe(NAME) is None

    def test_a_denied_look_is_not_an_absent_secret(self, account: Account) -> None:
        account.wire.next("DescribeSecret", refuses("AccessDeniedException"))
        with pytest.raises(AwsRefused):
            secrets.describe(NAME)

    def test_what_stands_in_the_way_is_seen(self, three: Account) -> None:
        def answer(act: object) -> dict[str, object]:
            return {
                "ARN": "arn",
                "Name": NAME,
                "RotationEnabled": True,
                "DeletedDate": datetime.now(UTC),
                "OwningService": "rds",
                "ReplicationStatus": [
                    {"Region": "eu-west-1", "Status": "InSync"},
                    {"Region": "eu-west-2", "Status": "InProgress"},
                    {"Region": "eu-west-3", "Status": "Failed"},
                ],
            }

        three.wire.next("DescribeSecret", answer)
        state = secrets.require(NAME)
        assert state.rotation_enabled
        assert state.scheduled_for_deletion
        assert state.owning_service == "rds"
        assert state.replicas_out_of_sync == ("eu-west-2 (InProgress)", "eu-west-3 (Failed)")
        assert state.labels == {}

    def test_a_secret_in_deletion_is_not_read(self, account: Account) -> None:
        account.rotatable()
        account.secrets.delete_secret(SecretId=NAME)
        account.wire.forget()
        world = account.look()
        assert world.secret is not None
        assert world.secret.scheduled_for_deletion
        assert "GetSecretValue" not in account.wire.operations
