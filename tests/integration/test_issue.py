"""Check Request and Issue New Key: whatever is lost or repeated, one key is issued or none."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from keyturn.model.errors import AwsThrottled
from tests.integration.account import PREFIX, Account, Execution, assert_refused
from tests.integration.aws_like import Fault, after, echoes, loses_answer, refuses


@pytest.fixture
def checked(account: Account) -> Execution:
    """An execution whose request was checked."""
    account.rotatable()
    execution = account.execution()
    assert execution.call("check_request")["next"] == "ISSUE"
    account.wire.forget()
    return execution


def changes(account: Account) -> list[str]:
    return [
        name for name in account.wire.operations if not name.startswith(("Get", "List", "Describe"))
    ]


class TestCheckRequest:
    def test_it_changes_nothing(self, account: Account) -> None:
        account.rotatable()
        account.wire.forget()
        account.execution().call("check_request")
        assert changes(account) == ["StartExecution"]

    def test_a_rejection_is_an_answer_and_writes_nothing(self, account: Account) -> None:
        account.user(managed=False)
        answer = account.execution().call("check_request")
        assert answer["next"] == "REJECTED"
        assert answer["result"]["outcome"] == "REJECTED"
        assert "not managed" in answer["result"]["reason"]
        assert changes(account)[-1] == "StartExecution"

    @pytest.mark.parametrize(
        "given", [[], "ci", None, {}, {"userName": 7}, {"userName": "ci", "colour": "red"}]
    )
    def test_any_input_is_answered(self, account: Account, given: Any) -> None:
        execution = account.execution()
        execution.input = given
        answer = execution.call("check_request")
        assert answer["next"] == "REJECTED"
        assert answer["result"]["reason"]

    @pytest.mark.parametrize(
        "name",
        ["\ud800", "\x00", "wJalrXUtnFEMI/K7MDENG", "x" * 65],
        ids=["no text", "a control character", "a pasted secret", "too long"],
    )
    def test_what_is_no_user_name_is_not_repeated(self, account: Account, name: str) -> None:
        """Lambda cannot send every text, and a cut name may be another user's."""
        execution = account.execution()
        execution.input = {"userName": name}
        answer = execution.call("check_request")
        assert answer["result"]["outcome"] == "REJECTED"
        assert answer["result"]["userName"] is None
        sent = json.dumps(answer, ensure_ascii=False)
        assert sent.encode()
        assert name[:64] not in sent

    @pytest.mark.parametrize(
        "arn", ["\ud800", "two\nlines", "x" * 2049], ids=["no text", "two lines", "too long"]
    )
    def test_what_is_no_arn_is_not_repeated(self, account: Account, arn: str) -> None:
        execution = account.execution()
        recovery = {"executionArn": arn, "generation": 0}  # which no generation is
        execution.input = {"userName": "ci", "action": "BACK_OUT", "recovery": recovery}
        answer = execution.call("check_request")
        assert answer["next"] == "REJECTED"
        assert answer["announcement"]
        sent = json.dumps(answer, ensure_ascii=False)
        assert sent.encode()
        assert arn not in answer["announcement"]["message"]
        assert "an unreadable ARN" in sent

    def test_a_redriven_execution_is_rejected_before_it_looks(self, account: Account) -> None:
        account.rotatable()
        execution = account.execution()
        account.wire.forget()
        answer = execution.call("check_request", redrives=1)
        assert answer["next"] == "REJECTED"
        assert "redriven" in answer["result"]["reason"]
        assert account.wire.operations == []

    def test_the_owner_of_a_key_is_looked_up(self, account: Account) -> None:
        key = account.rotatable("robot")
        answer = account.execution(accessKeyId=key.id).call("check_request")
        assert answer["rotation"]["userName"] == "robot"

    def test_the_users_name_is_taken_from_iam(self, account: Account) -> None:
        """Names are unique regardless of case, and the secret is named as IAM spells it."""
        account.user("ci", path="/machine/")
        account.key()
        answer = account.execution().call("check_request")
        assert answer["rotation"]["secretName"] == PREFIX + "ci"

    def test_a_path_outside_of_the_managed_one_is_rejected(
        self, account: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        account.rotatable()
        monkeypatch.setenv("MANAGED_USER_PATH", "/machine/")
        assert account.execution().call("check_request")["next"] == "REJECTED"

    def test_alarms_that_do_not_exist_are_named(self, account: Account) -> None:
        account.rotatable()
        account.secrets.tag_resource(
            SecretId=PREFIX + "ci", Tags=[{"Key": "keyturn:alarm-1", "Value": "gone"}]
        )
        answer = account.execution().call("check_request")
        assert answer["next"] == "REJECTED"
        assert "gone" in answer["result"]["reason"]

    def test_aws_not_answering_is_an_error_and_no_decision(self, account: Account) -> None:
        account.rotatable()
        account.wire.next("GetAccessKeyLastUsed", refuses("Throttling"))
        with pytest.raises(AwsThrottled):
            account.execution().call("check_request")


class TestIssuing:
    def test_a_key_is_stored_and_only_its_ids_leave(
        self, account: Account, checked: Execution
    ) -> None:
        old = account.labels()["AWSCURRENT"]
        answer = checked.call("issue_new_key")

        new, version = answer["rotation"]["newAccessKeyId"], answer["rotation"]["newVersionId"]
        assert answer["next"] == "ISSUED"
        assert version == f"{new}-{checked.mark}"
        labels = account.labels()
        assert (labels["AWSCURRENT"], labels["AWSPENDING"]) == (old, version)
        value = account.value(version)
        assert value["Version"] == 1
        assert value["AccessKeyId"] == new
        assert value["UserName"] == "ci"
        assert value["ExecutionArn"] == checked.arn
        assert value["Replaces"] == answer["rotation"]["oldAccessKeyId"]
        assert value["SecretAccessKey"] not in json.dumps(answer)
        assert set(account.statuses().values()) == {"Active"}

    def test_run_twice_it_changes_nothing_the_second_time(
        self, account: Account, checked: Execution
    ) -> None:
        before = json.loads(json.dumps(checked.rotation))
        first = checked.call("issue_new_key")
        labels, keys = account.labels(), account.statuses()
        account.wire.forget()
        checked.rotation = before
        second = checked.call("issue_new_key")
        assert changes(account) == []
        assert (account.labels(), account.statuses()) == (labels, keys)
        assert second["rotation"]["newVersionId"] == first["rotation"]["newVersionId"]

    def test_a_second_run_goes_by_what_the_first_one_found_under_the_claim(
        self, account: Account
    ) -> None:
        """Between Check Request and the claim another execution issued a first key."""
        account.user()
        early, late = account.execution(), account.execution(userName="ci", force=True)
        late.call("check_request")
        early.until(
            "check_request", "issue_new_key", "prove_new_key", "publish_new_key", "close_rotation"
        )
        before = json.loads(json.dumps(late.rotation))
        first = late.call("issue_new_key")["rotation"]
        late.rotation = before
        second = late.call("issue_new_key")["rotation"]
        (found,) = set(account.statuses()) - {second["newAccessKeyId"]}
        for answer in (first, second):
            assert answer["oldAccessKeyId"] == found
            assert answer["oldVersionId"] == account.labels()["AWSCURRENT"]

    def test_a_first_key_for_a_user_without_one(self, account: Account) -> None:
        account.user()
        execution = account.execution()
        answer = execution.until("check_request", "issue_new_key")
        assert answer["rotation"]["oldAccessKeyId"] is None
        assert list(account.statuses()) == [answer["rotation"]["newAccessKeyId"]]
        # The intent was the secret's first version; it is not what consumers are given.
        assert account.labels()["AWSPENDING"] == answer["rotation"]["newVersionId"]

    def test_a_key_that_must_not_be_stored_is_deleted(
        self, account: Account, checked: Execution
    ) -> None:
        keys = account.statuses()
        account.wire.next("PutSecretValue", lambda act: act(), refuses("EncryptionFailure"))
        answer = checked.call("issue_new_key")
        assert_refused(answer, "BLOCKED", "^AwsRefused: .*PutSecretValue")
        assert account.statuses() == keys
        assert "AWSPENDING" not in account.labels()

    @pytest.mark.parametrize(
        "fault", [refuses("ThrottlingException"), refuses("InternalServiceError", status=500)]
    )
    def test_a_key_whose_storing_is_not_answered_is_deleted(
        self, account: Account, checked: Execution, fault: Fault
    ) -> None:
        keys = account.statuses()
        account.wire.next("PutSecretValue", lambda act: act(), fault)
        with pytest.raises(AwsThrottled, match="PutSecretValue"):
            checked.call("issue_new_key")
        assert account.statuses() == keys
        assert "AWSPENDING" not in account.labels()

    @pytest.mark.parametrize("fault", [loses_answer, echoes("ResourceExistsException")])
    def test_a_lost_answer_to_the_store_is_settled_by_looking(
        self, account: Account, checked: Execution, fault: Fault
    ) -> None:
        account.wire.next("PutSecretValue", lambda act: act(), fault)
        answer = checked.call("issue_new_key")
        assert account.labels()["AWSPENDING"] == answer["rotation"]["newVersionId"]
        assert account.wire.operations.count("PutSecretValue") == 2

    @pytest.mark.parametrize("with_key", [True, False])
    def test_a_lost_answer_to_create_access_key_leaves_no_orphan(
        self, account: Account, with_key: bool
    ) -> None:
        if with_key:
            account.rotatable()
        else:
            account.user()
        keys = account.statuses()
        execution = account.execution()
        execution.call("check_request")
        account.wire.next("CreateAccessKey", loses_answer)
        with pytest.raises(AwsThrottled, match="CreateAccessKey: no answer"):
            execution.call("issue_new_key")
        (orphan,) = set(account.statuses()) - set(keys)

        answer = execution.call("issue_new_key")
        assert orphan not in account.statuses()
        assert set(account.statuses()) == {*keys, answer["rotation"]["newAccessKeyId"]}

    def test_a_rejection_after_a_lost_answer_leaves_no_orphan(
        self, account: Account, checked: Execution
    ) -> None:
        """Once the claim is released nobody can tell the orphan from somebody's key."""
        keys = account.statuses()
        account.wire.next("CreateAccessKey", loses_answer)
        with pytest.raises(AwsThrottled):
            checked.call("issue_new_key")
        account.version(PREFIX + "ci", "{}", version_id="f" * 32, label="AWSPENDING")
        assert_refused(checked.call("issue_new_key"), "REJECTED", "AWSPENDING")
        assert account.statuses() == keys
        assert "CLAIM" not in account.labels()

    def test_an_exposed_key_that_the_first_try_deleted_is_replaced_by_the_second(
        self, account: Account, checked: Execution
    ) -> None:
        exposed = checked.call("issue_new_key")["rotation"]["newAccessKeyId"]
        account.dies(checked)
        heir = account.execution(accessKeyId=exposed, mode="EMERGENCY")
        assert heir.call("check_request")["next"] == "ISSUE"
        account.wire.next("DeleteAccessKey", loses_answer)
        with pytest.raises(AwsThrottled):
            heir.call("issue_new_key")
        assert exposed not in account.statuses()
        new = heir.call("issue_new_key")["rotation"]["newAccessKeyId"]
        assert new in account.statuses()

    def test_a_key_that_was_there_before_is_never_taken_for_an_orphan(
        self, account: Account
    ) -> None:
        account.rotatable()
        stranger = account.key(days_old=1)
        answer = account.execution().call("check_request")
        assert answer["next"] == "REJECTED"
        assert stranger.id[-4:] in answer["result"]["reason"]
        assert stranger.id in account.statuses()

    def test_who_loses_the_race_changes_nothing(self, account: Account) -> None:
        account.rotatable()
        first, second = account.execution(), account.execution()
        for execution in (first, second):
            execution.call("check_request")
        # The second one issues between the first one's intent and its compare-and-swap.
        account.wire.next(
            "UpdateSecretVersionStage", after(lambda: second.call("issue_new_key") and None)
        )
        assert_refused(first.call("issue_new_key"), "REJECTED")
        assert len(account.statuses()) == 2
        assert second.mark in account.labels()["AWSPENDING"]

    def test_who_comes_later_is_rejected(self, account: Account, checked: Execution) -> None:
        checked.call("issue_new_key")
        later = account.execution()
        answer = later.call("check_request")
        assert answer["next"] == "REJECTED"
        assert checked.arn in answer["result"]["reason"]
        later.rotation = checked.rotation
        assert_refused(later.call("issue_new_key"), "REJECTED")

    def test_the_key_of_an_earlier_rotation_makes_room(self, account: Account) -> None:
        account.rotatable()
        retained = account.key()
        account.iam.update_access_key(UserName="ci", AccessKeyId=retained.id, Status="Inactive")
        account.secrets.tag_resource(
            SecretId=PREFIX + "ci",
            Tags=[
                {"Key": "keyturn:deactivated-key", "Value": retained.id},
                {"Key": "keyturn:deactivated-at", "Value": "2026-01-01T00:00:00.000Z"},
            ],
        )
        answer = account.execution().until("check_request", "issue_new_key")
        assert retained.id not in account.statuses()
        assert retained.id not in json.dumps(answer["rotation"]["seen"]["notes"])
        tags = account.secrets.describe_secret(SecretId=PREFIX + "ci").get("Tags", [])
        assert tags == []

    @pytest.mark.parametrize("ours", [True, False])
    def test_a_dead_executions_orphan_goes_with_the_take_over(
        self, account: Account, ours: bool
    ) -> None:
        """Only what was created while the dead one could still create is its orphan."""
        account.rotatable()
        dead = account.execution()
        dead.call("check_request")
        account.wire.next("CreateAccessKey", loses_answer)
        before = set(account.statuses())
        with pytest.raises(AwsThrottled):
            dead.call("issue_new_key")
        (orphan,) = set(account.statuses()) - before
        account.backdate_version(account.labels()["CLAIM"], timedelta(hours=1))
        if ours:
            account.moto_key(orphan).create_date -= timedelta(minutes=59)
        account.dies(dead, ago=timedelta(minutes=50))

        heir = account.execution()
        answer = heir.call("check_request")
        if ours:
            assert answer["next"] == "ISSUE"
            heir.call("issue_new_key")
            assert heir.mark in account.labels()["CLAIM"]
        else:
            assert answer["next"] == "REJECTED"
        assert (orphan in account.statuses()) is not ours
