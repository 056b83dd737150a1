"""Ways that a rotation takes rarely: retirement, resuming, labels that others move, cleaning up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyturn.model.errors import AwsThrottled
from tests.integration.account import PREFIX, Account, Execution, assert_refused
from tests.integration.aws_like import after, refuses

NAME = PREFIX + "ci"
FAILURE = {"Error": "KeyNotProven", "Cause": "it does not work"}


def then(interfere: Callable[[], None]) -> Callable[[Callable[[], Any]], Any]:
    """A fault: the call is made as usual, and something else happens right after it."""

    def fault(act: Callable[[], Any]) -> Any:
        answer = act()
        interfere()
        return answer

    return fault


def past(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


def key(execution: Execution, which: str) -> str:
    assert execution.rotation is not None
    return str(execution.rotation[f"{which}AccessKeyId"])


@pytest.fixture
def issued(account: Account) -> Execution:
    account.rotatable()
    execution = account.execution()
    execution.until("check_request", "issue_new_key")
    return execution


@pytest.fixture
def published(issued: Execution) -> Execution:
    issued.until("prove_new_key", "publish_new_key")
    return issued


@pytest.fixture
def deactivated(account: Account, published: Execution) -> Execution:
    account.used(key(published, "old"), past(3))
    account.used(key(published, "new"), past(0.001))
    assert published.call("check_pickup")["next"] == "GO_ON"
    published.call("deactivate_key", which="OLD")
    return published


@pytest.fixture
def rotated(account: Account, deactivated: Execution) -> Execution:
    assert deactivated.rotation is not None
    deactivated.rotation["loops"]["WATCH"]["beganAt"] = past(2).isoformat()
    account.used(key(deactivated, "new"), datetime.now(UTC) + timedelta(seconds=5))
    assert deactivated.call("check_watch")["next"] == "GO_ON"
    deactivated.call("close_rotation")
    account.dies(deactivated)
    return deactivated


class TestRetirement:
    @pytest.fixture
    def retirement(self, account: Account, rotated: Execution) -> Execution:
        assert rotated.rotation is not None
        return account.execution(
            userName="ci",
            oldAccessKeyId=key(rotated, "old"),
            versionId=rotated.rotation["newVersionId"],
            retentionSeconds=0,
        )

    def test_the_old_key_goes_with_all_that_led_back_to_it(
        self, account: Account, retirement: Execution
    ) -> None:
        answer = retirement.call("retire_old_key", phase="RETIRE")
        assert answer["ending"] == "DELETED"
        assert retirement.input["oldAccessKeyId"] not in account.statuses()
        assert not {"BACKOUT", "CLAIM"} & set(account.labels())

    def test_a_second_try_only_releases_the_claim(
        self, account: Account, retirement: Execution
    ) -> None:
        """The first one deleted the key and could not end."""
        fails = refuses("InternalServiceError", status=500)
        account.wire.next("UpdateSecretVersionStage", lambda act: act(), lambda act: act(), fails)
        with pytest.raises(AwsThrottled):
            retirement.call("retire_old_key", phase="RETIRE")
        assert retirement.call("retire_old_key", phase="RETIRE")["ending"] == "DELETED"
        assert "CLAIM" not in account.labels()

    def test_who_was_faster_is_waited_for_and_not_for_ever(
        self, account: Account, retirement: Execution
    ) -> None:
        def claims() -> None:
            account.version(NAME, "{}", version_id="f" * 32, label="CLAIM")

        account.wire.next("UpdateSecretVersionStage", after(claims))
        assert retirement.call("retire_old_key", phase="RETIRE", tries=1)["next"] == "TRY_AGAIN"
        answer = retirement.call("retire_old_key", phase="RETIRE", tries=1_000)
        assert (answer["next"], answer["ending"]) == ("END", "KEPT")
        assert retirement.input["oldAccessKeyId"] in account.statuses()

    def test_the_claim_goes_when_the_key_stays(
        self, account: Account, retirement: Execution
    ) -> None:
        def reactivates() -> None:
            account.moto_key(retirement.input["oldAccessKeyId"]).status = "Active"

        account.wire.next("UpdateSecretVersionStage", then(reactivates))
        answer = retirement.call("retire_old_key", phase="RETIRE")
        assert answer["ending"] == "KEPT"
        assert "CLAIM" not in account.labels()


class TestResuming:
    def test_a_pickup_is_waited_for_anew(self, account: Account, published: Execution) -> None:
        account.dies(published)
        next_one = account.execution()
        assert next_one.until("check_request", "take_over")["next"] == "RESUME_PICKUP"
        assert next_one.rotation is not None
        assert next_one.rotation["loops"]["PICKUP"]["polls"] == 0

    @pytest.mark.parametrize("recorded", [True, False])
    def test_a_watch_goes_on_from_the_recorded_deactivation(
        self, account: Account, deactivated: Execution, recorded: bool
    ) -> None:
        if not recorded:
            account.secrets.untag_resource(SecretId=NAME, TagKeys=["keyturn:deactivated-key"])
        account.dies(deactivated)
        next_one = account.execution()
        answer = next_one.until("check_request", "take_over")
        assert answer["next"] == "RESUME_WATCH"
        assert answer["waitSeconds"] <= 300

    def test_a_skip_under_the_claim_releases_it(
        self, account: Account, published: Execution
    ) -> None:
        account.dies(published)
        old = key(published, "old")
        emergency = account.execution(userName="ci", accessKeyId=old, mode="EMERGENCY")
        assert emergency.call("check_request")["next"] == "DEACTIVATE"

        def deletes() -> None:
            if "CLAIM" in account.labels() and old in account.statuses():
                account.iam.delete_access_key(UserName="ci", AccessKeyId=old)

        account.wire.next("UpdateSecretVersionStage", lambda act: act(), then(deletes))
        assert emergency.call("take_over")["ending"] == "SKIPPED"
        assert "CLAIM" not in account.labels()

    def test_what_changed_before_the_claim_is_rejected(
        self, account: Account, published: Execution
    ) -> None:
        account.dies(published)
        next_one = account.execution()
        next_one.call("check_request")
        account.moto_key(key(published, "new")).status = "Inactive"
        assert_refused(next_one.call("take_over"), "REJECTED", "start action BACK_OUT")

    def test_whoever_is_kept_waiting_for_long_gives_up(
        self, account: Account, published: Execution
    ) -> None:
        account.dies(published, ago=timedelta(seconds=10))
        waiting = account.execution(userName="ci", action="BACK_OUT")
        waiting.started_at = past(1)
        answer = waiting.call("check_request")
        assert answer["next"] == "REJECTED"
        assert "kept taking the claim" in answer["result"]["reason"]


class TestLabels:
    def test_an_exposed_old_key_is_not_waited_for(
        self, account: Account, issued: Execution
    ) -> None:
        assert issued.rotation is not None
        issued.rotation["oldExposed"] = True
        assert issued.call("publish_new_key")["next"] == "DEACTIVATE"

    @pytest.mark.parametrize("label", ["BACKOUT", "AWSCURRENT"])
    def test_a_label_that_is_moved_in_between_is_left_where_it_is(
        self, account: Account, issued: Execution, label: str
    ) -> None:
        def moved() -> None:
            account.version(NAME, "{}", version_id="f" * 32, label=label)

        faults = [after(moved)] if label == "BACKOUT" else [lambda act: act(), after(moved)]
        account.wire.next("UpdateSecretVersionStage", *faults)
        assert_refused(issued.call("publish_new_key"), "BLOCKED", "somebody else")

    def test_nor_is_it_restored_over_somebody_elses(
        self, account: Account, published: Execution
    ) -> None:
        def moved() -> None:
            account.version(NAME, "{}", version_id="f" * 32)

        account.wire.next("UpdateSecretVersionStage", after(moved))
        assert_refused(published.call("restore_old_version"), "BLOCKED", "somebody else")

    def test_a_second_issue_tells_of_a_key_that_is_published_by_now(
        self, account: Account, published: Execution
    ) -> None:
        """Its answer was lost, and it is asked again late."""
        first = key(published, "new")
        account.moto_key(key(published, "old")).status = "Inactive"
        assert published.call("issue_new_key")["next"] == "ISSUED"
        assert key(published, "new") == first

    def test_closing_takes_pending_off_and_leaves_the_own_intent_newest(
        self, account: Account, issued: Execution
    ) -> None:
        own = account.labels()["CLAIM"]
        account.version(NAME, "{}", version_id="intent-" + "e" * 32, label="INTENT")
        assert issued.rotation is not None
        issued.rotation["outcome"] = "FAILED"
        issued.call("close_rotation")
        assert "AWSPENDING" not in account.labels()
        assert account.labels()["INTENT"] == own


class TestWayBack:
    def test_a_key_that_somebody_deleted_is_noted(
        self, account: Account, published: Execution
    ) -> None:
        account.iam.delete_access_key(UserName="ci", AccessKeyId=key(published, "old"))
        answer = published.call("deactivate_key", which="EXPOSED")
        assert "had been deleted" in answer["rotation"]["seen"]["notes"][0]

    def test_without_a_version_of_the_old_key_awscurrent_stays(
        self, account: Account, deactivated: Execution
    ) -> None:
        assert deactivated.rotation is not None
        deactivated.rotation["oldVersionId"] = None
        answer = deactivated.call("reactivate_old_key")
        assert (answer["next"], answer["ending"]) == ("STAY", "BackoutIncomplete")
        assert account.statuses()[key(deactivated, "old")] == "Active"


class TestDiscarding:
    def test_an_exposed_key_is_deactivated_without_a_successor(
        self, account: Account, issued: Execution
    ) -> None:
        assert issued.rotation is not None
        issued.rotation["oldExposed"] = True
        answer = issued.call("discard_new_key", failure=FAILURE)
        assert (answer["next"], answer["ending"]) == ("EXPOSED_ONLY", "AttentionNeeded")
        assert list(account.statuses()) == [key(issued, "old")]

    def test_a_back_out_that_only_cleans_up_ends_as_one(
        self, account: Account, issued: Execution
    ) -> None:
        account.dies(issued)
        by_hand = account.execution(userName="ci", action="BACK_OUT")
        assert by_hand.until("check_request", "take_over")["next"] == "DISCARD"
        assert by_hand.call("discard_new_key")["ending"] == "BACKED_OUT"

    def test_a_first_key_that_was_published_after_all_is_issued(self, account: Account) -> None:
        account.user()
        first = account.execution()
        first.until("check_request", "issue_new_key", "prove_new_key")
        before = first.rotation
        first.call("publish_new_key")
        first.rotation = before
        assert first.call("discard_new_key", failure=FAILURE)["ending"] == "ISSUED"
        assert "CLAIM" not in account.labels()
