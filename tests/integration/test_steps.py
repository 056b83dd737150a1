"""The states after Issue New Key: each looks again, converges, and can run twice."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyturn.model.errors import AwsRefused, AwsThrottled
from tests.integration.account import PREFIX, Account, Execution, assert_refused
from tests.integration.aws_like import after, echoes, loses_answer, refuses

NAME = PREFIX + "ci"
FAILURE = {"Error": "KeyNotProven", "Cause": json.dumps({"errorMessage": "it does not work"})}


def tags(account: Account) -> dict[str, str]:
    found = account.secrets.describe_secret(SecretId=NAME).get("Tags", [])
    return {tag["Key"]: tag["Value"] for tag in found}


def old_key(execution: Execution) -> str:
    assert execution.rotation is not None
    return str(execution.rotation["oldAccessKeyId"])


def new_key(execution: Execution) -> str:
    assert execution.rotation is not None
    return str(execution.rotation["newAccessKeyId"])


@pytest.fixture
def issued(account: Account) -> Execution:
    """An execution that has issued and proven its key."""
    account.rotatable()
    execution = account.execution()
    execution.until("check_request", "issue_new_key", "prove_new_key")
    account.wire.forget()
    return execution


@pytest.fixture
def published(account: Account, issued: Execution) -> Execution:
    """One that has published it."""
    assert issued.call("publish_new_key")["next"] == "WAIT"
    account.wire.forget()
    return issued


@pytest.fixture
def quiet(account: Account, published: Execution) -> Execution:
    """One whose consumers have moved: the old key is quiet, the new one in use."""
    account.used(old_key(published), datetime.now(UTC) - timedelta(days=3))
    account.used(new_key(published), datetime.now(UTC) - timedelta(minutes=1))
    assert published.call("check_pickup")["next"] == "GO_ON"
    account.wire.forget()
    return published


@pytest.fixture
def deactivated(account: Account, quiet: Execution) -> Execution:
    """One that has deactivated the old key."""
    assert quiet.call("deactivate_key", which="OLD")["next"] == "DEACTIVATED"
    account.wire.forget()
    return quiet


class TestProve:
    def test_a_version_without_a_key_is_not_proven(
        self, account: Account, issued: Execution
    ) -> None:
        assert issued.rotation is not None
        issued.rotation["newVersionId"] = "f" * 32
        assert_refused(issued.call("prove_new_key"), "BLOCKED", "holds no key")

    def test_only_the_holder_of_the_claim_may_use_a_key(
        self, account: Account, issued: Execution
    ) -> None:
        stranger = account.execution()
        stranger.rotation = issued.rotation
        assert_refused(stranger.call("prove_new_key"), "CLAIM_LOST")
        assert "GetSecretValue" not in account.wire.operations


class TestPublish:
    def test_the_way_back_is_marked_before_the_way_forward(
        self, account: Account, issued: Execution
    ) -> None:
        old = account.labels()["AWSCURRENT"]
        issued.call("publish_new_key")
        labels = account.labels()
        assert labels["BACKOUT"] == old
        assert labels["AWSCURRENT"].startswith(new_key(issued))
        assert "AWSPENDING" not in labels
        moved = [
            params["VersionStage"]
            for name, params in account.wire.calls
            if name == "UpdateSecretVersionStage"
        ]
        assert moved == ["BACKOUT", "AWSCURRENT", "AWSPENDING"]

    def test_twice_is_once(self, account: Account, issued: Execution) -> None:
        issued.call("publish_new_key")
        labels = account.labels()
        issued.call("publish_new_key")
        assert account.labels() == labels

    def test_a_lost_answer_is_settled_by_the_next_try(
        self, account: Account, issued: Execution
    ) -> None:
        account.wire.next("UpdateSecretVersionStage", lambda act: act(), loses_answer)
        with pytest.raises(AwsThrottled):
            issued.call("publish_new_key")
        assert issued.call("publish_new_key")["next"] == "WAIT"
        assert account.labels()["AWSCURRENT"].startswith(new_key(issued))

    def test_an_echo_is_success(self, account: Account, issued: Execution) -> None:
        echo = echoes("InvalidParameterException")
        account.wire.next("UpdateSecretVersionStage", echo, echo, echo)
        assert issued.call("publish_new_key")["next"] == "WAIT"

    @pytest.mark.parametrize("moment", ["before", "between"])
    def test_a_secret_that_others_changed_is_left_alone(
        self, account: Account, issued: Execution, moment: str
    ) -> None:
        def interfere() -> None:
            account.secrets.update_secret_version_stage(
                SecretId=NAME,
                VersionStage="AWSCURRENT",
                RemoveFromVersionId=account.labels()["AWSCURRENT"],
                MoveToVersionId=account.labels()["INTENT"],
            )

        if moment == "before":
            interfere()
        else:
            account.wire.next("UpdateSecretVersionStage", after(interfere))
        assert_refused(issued.call("publish_new_key"), "BLOCKED")
        assert account.labels()["AWSCURRENT"].startswith("intent-")


class TestDeactivate:
    def test_the_record_comes_before_the_act(self, account: Account, quiet: Execution) -> None:
        account.wire.next("UpdateAccessKey", refuses("ServiceFailure", status=500))
        with pytest.raises(AwsThrottled):
            quiet.call("deactivate_key", which="OLD")
        assert tags(account)["keyturn:deactivated-key"] == old_key(quiet)
        assert account.statuses()[old_key(quiet)] == "Active"
        quiet.call("deactivate_key", which="OLD")
        assert account.statuses()[old_key(quiet)] == "Inactive"

    def test_twice_is_once(self, account: Account, deactivated: Execution) -> None:
        deactivated.call("deactivate_key", which="OLD")
        assert "UpdateAccessKey" not in account.wire.operations
        assert deactivated.rotation is not None
        assert deactivated.rotation["seen"]["notes"] == []

    def test_a_key_that_came_back_in_between_stays_recorded(
        self, account: Account, quiet: Execution
    ) -> None:
        """An EMERGENCY for the new key goes back first, then rotates the old key after all."""
        assert quiet.rotation is not None
        quiet.rotation["reactivatedAt"] = datetime.now(UTC).isoformat()
        answer = quiet.call("deactivate_key", which="OLD")
        assert answer["rotation"]["reactivatedAt"] is None
        assert quiet.rotation is not None
        quiet.rotation["outcome"] = "ROTATED"
        quiet.call("close_rotation")
        assert tags(account)["keyturn:deactivated-key"] == old_key(quiet)

    def test_a_use_just_now_postpones_it(self, account: Account, quiet: Execution) -> None:
        account.used(old_key(quiet), datetime.now(UTC))
        assert_refused(quiet.call("deactivate_key", which="OLD"), "POSTPONED", "used too recently")
        assert account.statuses()[old_key(quiet)] == "Active"

    @pytest.mark.parametrize("state", ["ALARM", "INSUFFICIENT_DATA"])
    def test_an_alarm_that_went_off_just_now_postpones_it(
        self, account: Account, quiet: Execution, state: str
    ) -> None:
        def answer(_: Any) -> Any:
            return {"MetricAlarms": [{"AlarmName": "errors", "StateValue": state}]}

        assert quiet.rotation is not None
        quiet.rotation["policy"]["signals"] = {"alarm": ["errors"]}
        account.wire.next("DescribeAlarms", answer)
        says = f"the alarm errors is not good: in {state}"
        assert_refused(quiet.call("deactivate_key", which="OLD"), "POSTPONED", says)
        assert account.statuses()[old_key(quiet)] == "Active"

    @pytest.mark.parametrize("days", [0, 8])
    def test_replicas_behind_postpone_it_and_end_it_at_the_timeout(
        self, account: Account, quiet: Execution, days: int
    ) -> None:
        assert quiet.rotation is not None
        pickup = quiet.rotation["loops"]["PICKUP"]
        began = datetime.fromisoformat(pickup["beganAt"]) - timedelta(days=days)
        pickup["beganAt"] = began.isoformat()

        def late(act: Any) -> Any:
            behind = [{"Region": "eu-west-1", "Status": "InProgress"}]
            return {**act(), "ReplicationStatus": behind}

        account.wire.next("DescribeSecret", late)
        answer = quiet.call("deactivate_key", which="OLD")
        assert_refused(answer, "BLOCKED" if days else "POSTPONED", "eu-west-1")
        assert account.statuses()[old_key(quiet)] == "Active"

    @pytest.mark.parametrize("what", ["deleted", "inactive", "label"])
    def test_without_the_new_key_the_old_one_stays(
        self, account: Account, quiet: Execution, what: str
    ) -> None:
        if what == "deleted":
            account.iam.delete_access_key(UserName="ci", AccessKeyId=new_key(quiet))
        elif what == "inactive":
            account.moto_key(new_key(quiet)).status = "Inactive"
        else:
            account.version(NAME, "{}", version_id="f" * 32, label="AWSCURRENT")
        assert_refused(quiet.call("deactivate_key", which="OLD"), "BLOCKED")
        assert account.statuses()[old_key(quiet)] == "Active"

    def test_what_a_person_did_is_noted_and_not_recorded_as_ours(
        self, account: Account, quiet: Execution
    ) -> None:
        account.moto_key(old_key(quiet)).status = "Inactive"
        answer = quiet.call("deactivate_key", which="OLD")
        assert "by somebody else" in answer["rotation"]["seen"]["notes"][0]
        assert "keyturn:deactivated-key" not in tags(account)

    def test_who_lost_the_claim_deactivates_nothing(
        self, account: Account, quiet: Execution
    ) -> None:
        account.version(NAME, "{}", version_id="f" * 32, label="CLAIM")
        assert_refused(quiet.call("deactivate_key", which="OLD"), "CLAIM_LOST")
        assert account.statuses()[old_key(quiet)] == "Active"


class TestWatch:
    def test_a_secret_that_others_changed_is_no_success(
        self, account: Account, deactivated: Execution
    ) -> None:
        """What the consumers read now is not what was watched."""
        assert deactivated.rotation is not None
        past = datetime.now(UTC) - timedelta(days=2)
        deactivated.rotation["loops"]["WATCH"]["beganAt"] = past.isoformat()
        account.used(new_key(deactivated), datetime.now(UTC) - timedelta(minutes=1))
        account.version(NAME, "{}", version_id="f" * 32)
        answer = deactivated.call("check_watch")
        assert answer["next"] == "SILENT"
        assert "somebody else changed the secret" in answer["result"]["reason"]
        assert deactivated.call("reactivate_old_key")["next"] == "STAY"
        assert account.labels()["AWSCURRENT"] == "f" * 32


class TestWayBack:
    def test_the_old_key_is_reactivated_and_put_back(
        self, account: Account, deactivated: Execution
    ) -> None:
        way_back = account.labels()["BACKOUT"]
        assert deactivated.call("reactivate_old_key")["next"] == "RESTORE"
        assert deactivated.call("prove_old_key")["next"] == "PROVEN"
        assert deactivated.call("restore_old_version")["next"] == "WAIT"
        assert account.labels()["AWSCURRENT"] == way_back
        assert account.statuses()[old_key(deactivated)] == "Active"
        # AWSPREVIOUS has moved onto the rejected version: it is no way back.
        assert account.labels()["AWSPREVIOUS"].startswith(new_key(deactivated))

    def test_twice_is_once(self, account: Account, deactivated: Execution) -> None:
        for _ in range(2):
            deactivated.call("reactivate_old_key")
        for _ in range(2):
            deactivated.call("restore_old_version")
        assert account.statuses()[old_key(deactivated)] == "Active"

    def test_a_lost_answer_to_the_reactivation_is_remembered_as_one(
        self, account: Account, deactivated: Execution
    ) -> None:
        account.wire.next("UpdateAccessKey", loses_answer)
        with pytest.raises(AwsThrottled):
            deactivated.call("reactivate_old_key")
        answer = deactivated.call("reactivate_old_key")
        assert answer["rotation"]["reactivatedAt"] is not None

    def test_what_a_person_deactivated_stays_inactive(
        self, account: Account, published: Execution
    ) -> None:
        account.moto_key(old_key(published)).status = "Inactive"
        assert_refused(published.call("reactivate_old_key"), "BLOCKED", "not by Keyturn's doing")
        assert account.statuses()[old_key(published)] == "Inactive"

    @pytest.mark.parametrize("moment", ["before", "between"])
    def test_a_deleted_old_key_is_no_way_back(
        self, account: Account, deactivated: Execution, moment: str
    ) -> None:
        def delete() -> None:
            account.iam.delete_access_key(UserName="ci", AccessKeyId=old_key(deactivated))

        if moment == "before":
            delete()
        else:
            account.wire.next("UpdateAccessKey", after(delete))
        assert_refused(deactivated.call("reactivate_old_key"), "BLOCKED", "deleted")

    def test_an_exposed_key_never_comes_back(
        self, account: Account, deactivated: Execution
    ) -> None:
        account.secrets.tag_resource(
            SecretId=NAME, Tags=[{"Key": "keyturn:exposed-keys", "Value": old_key(deactivated)}]
        )
        assert deactivated.call("reactivate_old_key")["next"] == "DEACTIVATE"
        assert account.statuses()[old_key(deactivated)] == "Inactive"

    def test_a_secret_on_neither_key_is_left_alone(
        self, account: Account, deactivated: Execution
    ) -> None:
        account.version(NAME, "{}", version_id="f" * 32, label="AWSCURRENT")
        assert_refused(deactivated.call("restore_old_version"), "BLOCKED", "neither key")
        assert account.labels()["AWSCURRENT"] == "f" * 32


class TestReturn:
    """A consumer has stayed on the new key, although the old one is in charge again."""

    @pytest.fixture
    def stayed(self, account: Account, deactivated: Execution) -> Execution:
        deactivated.until("reactivate_old_key", "prove_old_key", "restore_old_version")
        assert deactivated.rotation is not None
        long_ago = datetime.now(UTC) - timedelta(days=10)
        deactivated.rotation["loops"]["RETURN"]["beganAt"] = long_ago.isoformat()
        account.used(new_key(deactivated), datetime.now(UTC) - timedelta(minutes=1))
        assert deactivated.call("check_return")["next"] == "ATTENTION"
        return deactivated

    def test_both_keys_stay_and_a_person_is_told(self, account: Account, stayed: Execution) -> None:
        way_back = account.labels()["BACKOUT"]
        answer = stayed.call("close_rotation")
        assert answer["ending"] == "BackoutIncomplete"
        assert answer["result"]["outcome"] == "NEEDS_ATTENTION"
        assert "start BACK_OUT again" in answer["result"]["reason"]
        assert set(account.statuses().values()) == {"Active"}
        assert account.labels()["AWSCURRENT"] == account.labels()["BACKOUT"] == way_back
        assert "CLAIM" not in account.labels()

    def test_a_later_back_out_finishes(self, account: Account, stayed: Execution) -> None:
        stayed.call("close_rotation")
        account.dies(stayed)
        later = account.execution(userName="ci", action="BACK_OUT")
        assert later.until("check_request", "take_over")["next"] == "FINISH_BACK_OUT"
        assert new_key(later) == new_key(stayed)
        account.used(new_key(later), datetime.now(UTC) - timedelta(days=9))
        assert later.rotation is not None
        long_ago = datetime.now(UTC) - timedelta(days=9)
        later.rotation["loops"]["RETURN"]["beganAt"] = long_ago.isoformat()
        assert later.call("check_return")["next"] == "GO_ON"
        later.call("deactivate_key", which="NEW")
        assert later.call("close_rotation")["ending"] == "BACKED_OUT"
        assert account.statuses() == {old_key(later): "Active", new_key(later): "Inactive"}
        assert "BACKOUT" not in account.labels()


class TestDiscard:
    def test_the_unpublished_key_goes_and_the_claim_with_it(
        self, account: Account, issued: Execution
    ) -> None:
        answer = issued.call("discard_new_key", failure=FAILURE)
        assert answer["result"]["outcome"] == "FAILED"
        assert "KeyNotProven: it does not work; deleted" in answer["result"]["reason"]
        assert list(account.statuses()) == [old_key(issued)]
        assert set(account.labels()) == {"AWSCURRENT", "INTENT"}

    def test_it_finds_what_was_stored_by_an_answer_that_never_came(self, account: Account) -> None:
        account.rotatable()
        execution = account.execution()
        execution.call("check_request")
        before = json.loads(json.dumps(execution.rotation))
        execution.call("issue_new_key")
        execution.rotation = before
        answer = execution.call("discard_new_key", failure={"Error": "Lambda.Unknown"})
        assert answer["ending"] == "RotationFailed"
        assert len(account.statuses()) == 1

    def test_it_looks_again_and_deletes_nothing_that_was_published(
        self, account: Account, issued: Execution
    ) -> None:
        before = json.loads(json.dumps(issued.rotation))
        issued.call("publish_new_key")
        issued.rotation = before
        answer = issued.call("discard_new_key", failure={"Error": "States.Timeout"})
        assert answer["next"] == "PUBLISHED"
        assert len(account.statuses()) == 2
        assert "CLAIM" in account.labels()

    def test_an_orphan_goes_too(self, account: Account) -> None:
        account.rotatable()
        execution = account.execution()
        execution.call("check_request")
        account.wire.next("CreateAccessKey", loses_answer)
        with pytest.raises(AwsThrottled):
            execution.call("issue_new_key")
        assert len(account.statuses()) == 2
        execution.call("discard_new_key", failure={"Error": "AwsThrottled"})
        assert len(account.statuses()) == 1

    def test_what_a_dead_execution_had_stored_goes_too(
        self, account: Account, issued: Execution
    ) -> None:
        """Without its label it would be an active key that nobody ever looks at."""
        account.dies(issued)
        heir = account.execution(accessKeyId=new_key(issued), mode="EMERGENCY")
        assert heir.call("check_request")["next"] == "ISSUE"
        account.wire.next("DeleteAccessKey", refuses("ServiceFailure", status=500))
        with pytest.raises(AwsThrottled):
            heir.call("issue_new_key")
        heir.call("discard_new_key", failure={"Error": "AwsThrottled"})
        assert list(account.statuses()) == [old_key(issued)]
        assert "AWSPENDING" not in account.labels()

    def test_without_the_claim_it_touches_nothing(
        self, account: Account, issued: Execution
    ) -> None:
        account.version(NAME, "{}", version_id="f" * 32, label="CLAIM")
        labels = account.labels()
        account.wire.forget()
        answer = issued.call("discard_new_key", failure={"Error": "ClaimLost"})
        assert answer["result"]["outcome"] == "FAILED"
        assert len(account.statuses()) == 2
        assert account.labels() == labels

    def test_a_second_run_after_a_lost_answer_ends_alike(
        self, account: Account, issued: Execution
    ) -> None:
        before = json.loads(json.dumps(issued.rotation))
        first = issued.call("discard_new_key", failure=FAILURE)
        issued.rotation = before
        second = issued.call("discard_new_key", failure=FAILURE)
        assert second["next"] == first["next"]
        assert len(account.statuses()) == 1

    def test_a_key_that_cannot_be_deleted_keeps_the_claim(
        self, account: Account, issued: Execution
    ) -> None:
        account.wire.next("DeleteAccessKey", refuses("AccessDenied", status=403))
        with pytest.raises(AwsRefused):
            issued.call("discard_new_key", failure=FAILURE)
        assert "CLAIM" in account.labels()


class TestCloseRotation:
    @pytest.fixture
    def watched(self, account: Account, deactivated: Execution) -> Execution:
        assert deactivated.rotation is not None
        past = datetime.now(UTC) - timedelta(days=2)
        deactivated.rotation["loops"]["WATCH"]["beganAt"] = past.isoformat()
        account.used(new_key(deactivated), datetime.now(UTC) - timedelta(minutes=1))
        assert deactivated.call("check_watch")["next"] == "GO_ON"
        account.wire.forget()
        return deactivated

    def test_the_claim_is_taken_off_last(self, account: Account, watched: Execution) -> None:
        answer = watched.call("close_rotation")
        assert answer["ending"] == "ROTATED"
        assert "CLAIM" not in account.labels()
        # The retirement needs the way back until the old key is gone.
        assert "BACKOUT" in account.labels()
        last = account.wire.calls[-1]
        assert (last[0], last[1]["VersionStage"]) == ("UpdateSecretVersionStage", "CLAIM")
        assert tags(account)["keyturn:last-result"].startswith("ROTATED ")

    def test_twice_is_once_and_answers_the_same(self, account: Account, watched: Execution) -> None:
        first = watched.call("close_rotation")
        recorded = tags(account)
        account.wire.forget()
        second = watched.call("close_rotation")
        assert not {"TagResource", "UpdateSecretVersionStage"} & set(account.wire.operations)
        assert tags(account) == recorded
        for answer in (first, second):
            answer["result"].pop("endedAt")
        assert first == second

    def test_the_second_time_touches_nothing_of_the_next_rotation(
        self, account: Account, watched: Execution
    ) -> None:
        watched.call("close_rotation")
        account.version(NAME, "{}", version_id="f" * 32, label="CLAIM")
        labels = account.labels()
        assert watched.call("close_rotation")["ending"] == "ROTATED"
        assert account.labels() == labels

    def test_a_claim_that_was_taken_over_is_not_decided(
        self, account: Account, watched: Execution
    ) -> None:
        account.version(NAME, "{}", version_id="f" * 32, label="CLAIM")
        assert_refused(watched.call("close_rotation"), "CLAIM_LOST")
        assert "keyturn:last-result" not in tags(account)

    def test_a_lost_answer_to_the_release_ends_alike(
        self, account: Account, watched: Execution
    ) -> None:
        account.wire.next("UpdateSecretVersionStage", loses_answer)
        with pytest.raises(AwsThrottled):
            watched.call("close_rotation")
        assert watched.call("close_rotation")["ending"] == "ROTATED"
        assert "CLAIM" not in account.labels()

    def test_what_is_left_to_do_is_said(self, account: Account, watched: Execution) -> None:
        answer = watched.call("close_rotation", closing="BackoutIncomplete", failure=FAILURE)
        assert answer["ending"] == "BackoutIncomplete"
        reason = answer["result"]["reason"]
        assert "it does not work" in reason
        assert "reactivate the old key" in reason
        assert "put AWSCURRENT back" in reason
