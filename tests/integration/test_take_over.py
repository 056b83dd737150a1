"""Take Over: it claims only what is dead, acts only on what it decided, and strands no key."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from moto.secretsmanager.models import FakeSecret, secretsmanager_backends

from keyturn.aws import fence
from keyturn.model.errors import AwsThrottled
from keyturn.model.rotation import Outcome
from keyturn.rotate import claim
from keyturn.rotate.decision import Ask, Decision, Step
from tests.integration.account import PREFIX, Account, Execution, assert_refused
from tests.integration.aws_like import ACCOUNT, REGION, loses_answer, refuses

NAME = PREFIX + "ci"


def changes(account: Account) -> list[str]:
    reads = ("Get", "List", "Describe")
    return [name for name in account.wire.operations if not name.startswith(reads)]


def recovery(account: Account, dead: Execution) -> Execution:
    """The BACK_OUT that the rule starts for a dead execution."""
    return account.execution(
        userName="ci", action="BACK_OUT", recovery={"executionArn": dead.arn, "generation": 1}
    )


def then(interfere: Callable[[], Any]) -> Callable[[Callable[[], Any]], Any]:
    """A fault: the call is made as usual, and something else happens right after it."""

    def fault(act: Callable[[], Any]) -> Any:
        answer = act()
        interfere()
        return answer

    return fault


def enable_native_rotation() -> None:
    secret = secretsmanager_backends[ACCOUNT][REGION].secrets[NAME]
    assert isinstance(secret, FakeSecret)
    secret.rotation_requested = secret.rotation_enabled = True


@pytest.fixture
def dead(account: Account) -> Execution:
    """A rotation that died after publishing."""
    account.rotatable()
    execution = account.execution()
    execution.until("check_request", "issue_new_key", "prove_new_key", "publish_new_key")
    account.dies(execution)
    return execution


@pytest.fixture
def died_creating(account: Account) -> Execution:
    """A rotation that died before it stored the key that it had created."""
    account.rotatable()
    execution = account.execution()
    execution.call("check_request")
    account.wire.next("CreateAccessKey", loses_answer)
    with pytest.raises(AwsThrottled):
        execution.call("issue_new_key")
    account.backdate_version(account.labels()["CLAIM"], timedelta(hours=2))
    (orphan,) = orphans_of(account)
    account.moto_key(orphan).create_date -= timedelta(minutes=119)
    account.dies(execution)
    return execution


def orphans_of(account: Account) -> set[str]:
    current = account.value(account.labels()["AWSCURRENT"])["AccessKeyId"]
    return set(account.statuses()) - {current}


@pytest.fixture
def retained(account: Account) -> Execution:
    """A rotation that was decided, and whose old key is retained."""
    account.rotatable()
    execution = account.execution()
    execution.until("check_request", "issue_new_key", "prove_new_key", "publish_new_key")
    assert execution.rotation is not None
    execution.rotation["oldExposed"] = True  # nobody is waited for
    execution.call("deactivate_key", which="OLD")
    execution.rotation["oldExposed"] = False
    execution.rotation["outcome"] = Outcome.ROTATED
    assert execution.call("close_rotation")["ending"] == "ROTATED"
    account.dies(execution, ago=timedelta(days=1))
    return execution


def retire(account: Account, *, ended_ago: timedelta = timedelta(hours=1)) -> Execution:
    """A RetireKey that took the claim and died."""
    execution = account.execution(retire=True)
    with fence.opened(fence.Fence(execution.started_at)):
        claim.take(
            execution.known,
            account.look(),
            Ask(),
            Decision(Step.ISSUE, "retiring"),
            name=NAME,
            action="RETIRE",
        )
    account.dies(execution, ago=ended_ago)
    return execution


class TestSkip:
    def test_a_skip_does_not_take_the_claim_of_whoever_was_faster(
        self, account: Account, dead: Execution
    ) -> None:
        slow, fast = recovery(account, dead), account.execution(userName="ci", action="BACK_OUT")
        for execution in (slow, fast):
            assert execution.call("check_request")["next"] == "BACK_OUT"
        assert fast.call("take_over")["next"] == "BACK_OUT"
        labels = account.labels()
        account.wire.forget()
        answer = slow.call("take_over")
        assert answer["next"] == "SKIP"
        assert fast.arn in answer["result"]["reason"]
        assert changes(account) == []
        assert account.labels() == labels


class TestTidyUp:
    """An earlier retirement died with the claim; the one who tidies up after it does no more."""

    @pytest.fixture
    def tidying(self, account: Account, retained: Execution) -> Execution:
        retire(account)
        execution = recovery(account, retained)
        assert execution.call("check_request")["next"] == "TIDY_UP"
        account.wire.forget()
        return execution

    def test_a_decided_rotation_is_not_undone(self, account: Account, tidying: Execution) -> None:
        labels, keys = account.labels(), account.statuses()
        answer = tidying.call("take_over")
        assert answer["next"] == "SKIP"
        assert answer["result"]["outcome"] == "SKIPPED"
        assert "CLAIM" not in account.labels()
        assert account.statuses() == keys
        for label in ("AWSCURRENT", "BACKOUT"):
            assert account.labels()[label] == labels[label]

    def test_nor_by_a_second_run_under_the_own_claim(
        self, account: Account, tidying: Execution
    ) -> None:
        account.wire.next(
            "UpdateSecretVersionStage", lambda act: act(), refuses("ThrottlingException")
        )
        with pytest.raises(AwsThrottled):
            tidying.call("take_over")
        assert tidying.mark in account.labels()["CLAIM"]
        assert tidying.call("take_over")["next"] == "SKIP"
        assert "CLAIM" not in account.labels()

    def test_what_needs_more_than_tidying_is_decided_anew(
        self, account: Account, retained: Execution
    ) -> None:
        assert retained.rotation is not None
        old = retained.rotation["oldAccessKeyId"]
        execution = account.execution(accessKeyId=old, mode="EMERGENCY")
        assert execution.call("check_request")["next"] == "TIDY_UP"
        account.moto_key(old).status = "Active"
        assert_refused(execution.call("take_over"), "LOOK_AGAIN", "the world changed")
        assert "CLAIM" not in account.labels()
        assert account.look().exposed_keys == {old}

    def test_the_fence_of_the_retirement_is_waited_out(
        self, account: Account, retained: Execution
    ) -> None:
        """Its last call may still delete the key that is being tidied up around."""
        retire(account, ended_ago=timedelta(seconds=10))
        assert recovery(account, retained).call("check_request")["next"] == "SKIP"

    def test_the_claim_of_an_undecided_rotation_is_left_alone(
        self, account: Account, retained: Execution
    ) -> None:
        """Releasing it would lose what it had found, and that it was never decided."""
        assert retained.rotation is not None
        old = retained.rotation["oldAccessKeyId"]
        dead = account.execution(userName="ci", force=True)
        dead.call("check_request")
        account.wire.next("DeleteAccessKey", refuses("Throttling"))
        with pytest.raises(AwsThrottled):
            dead.call("issue_new_key")
        account.dies(dead)
        holder = account.labels()["CLAIM"]
        execution = account.execution(accessKeyId=old, mode="EMERGENCY")
        if execution.call("check_request")["next"] == "TIDY_UP":
            assert execution.call("take_over")["next"] == "SKIP"
        assert account.labels()["CLAIM"] == holder
        assert account.look().exposed_keys == {old}


class TestUnderTheClaim:
    """What is decided under a claim that was taken over may differ from what led to it."""

    def test_a_key_to_issue_is_issued_under_the_same_claim(
        self, account: Account, died_creating: Execution
    ) -> None:
        """Releasing it would lose the only record of which key nobody had stored."""
        (orphan,) = orphans_of(account)
        heir = recovery(account, died_creating)
        assert heir.call("check_request")["next"] == "DISCARD"
        current = account.value(account.labels()["AWSCURRENT"])["AccessKeyId"]

        def expose() -> None:
            account.secrets.tag_resource(
                SecretId=NAME, Tags=[{"Key": "keyturn:exposed-keys", "Value": current}]
            )

        account.wire.next("UpdateSecretVersionStage", then(expose))
        assert heir.call("take_over")["next"] == "ISSUE"
        assert heir.mark in account.labels()["CLAIM"]
        answer = heir.call("issue_new_key")
        assert answer["rotation"]["oldExposed"]
        assert set(account.statuses()) == {current, answer["rotation"]["newAccessKeyId"]}
        assert orphan not in account.statuses()

    def test_a_rejection_strands_no_key(self, account: Account, died_creating: Execution) -> None:
        (orphan,) = orphans_of(account)
        heir = recovery(account, died_creating)
        heir.call("check_request")
        account.wire.next("UpdateSecretVersionStage", then(enable_native_rotation))
        assert_refused(heir.call("take_over"), "LOOK_AGAIN", "native rotation")
        assert orphan not in account.statuses()
        assert "CLAIM" not in account.labels()


class TestUnfinishedReturn:
    """A back-out that began days after the rotation: its intent is younger than the new key."""

    @pytest.fixture
    def restored(self, account: Account, retained: Execution) -> Execution:
        by = timedelta(days=2)
        for key in account.statuses():
            account.moto_key(key).create_date -= by
        for version in set(account.labels().values()):
            account.backdate_version(version, by)
        execution = account.execution(userName="ci", action="BACK_OUT")
        execution.until("check_request", "take_over", "reactivate_old_key", "prove_old_key")
        execution.call("restore_old_version")
        assert execution.rotation is not None
        account.used(execution.rotation["newAccessKeyId"], datetime.now(UTC))
        return execution

    def finishes(self, heir: Execution, before: Execution) -> None:
        assert before.rotation is not None
        assert heir.until("check_request", "take_over")["next"] == "FINISH_BACK_OUT"
        assert heir.rotation is not None
        assert heir.rotation["newAccessKeyId"] == before.rotation["newAccessKeyId"]

    def test_the_automatic_back_out_finishes_it(
        self, account: Account, restored: Execution
    ) -> None:
        account.dies(restored)
        self.finishes(recovery(account, restored), restored)

    def test_so_does_a_person_when_it_had_called_for_attention(
        self, account: Account, restored: Execution
    ) -> None:
        assert restored.rotation is not None
        long_ago = datetime.now(UTC) - timedelta(days=10)
        restored.rotation["loops"]["RETURN"]["beganAt"] = long_ago.isoformat()
        restored.until("check_return", "close_rotation")
        account.dies(restored)
        self.finishes(account.execution(userName="ci", action="BACK_OUT"), restored)
