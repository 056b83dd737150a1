"""An EMERGENCY or a back-out that does not get the claim decides anew, with what it finds then."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from keyturn.model.errors import AwsThrottled
from keyturn.model.identifiers import is_intent_of
from keyturn.rotate import claim
from keyturn.rotate.decision import Ask, Decision, Step
from tests.integration.account import PREFIX, Account, Execution, MadeKey, assert_refused
from tests.integration.aws_like import after, refuses

NAME = PREFIX + "ci"
THROTTLED = {"Error": "AwsThrottled", "Cause": '{"errorMessage": "no answer"}'}


def emergency(account: Account, key: MadeKey) -> Execution:
    return account.execution(accessKeyId=key.id, mode="EMERGENCY")


def looks_again(execution: Execution) -> dict[str, Any]:
    """Check Request as it is reached from Wait Out The Claimant."""
    assert execution.rotation is not None
    return execution.call("check_request", exposedKeyId=execution.rotation["exposedKeyId"])


def lose_at_the_claim(account: Account, loser: Execution) -> Execution:
    """Let a STANDARD rotation that looked before the mark take the claim; return it."""
    winner = account.execution()
    seen = account.look(winner.mark)

    def wins() -> None:
        claim.take(winner.known, seen, Ask(), Decision(Step.ISSUE, "rotating"), name=NAME)

    # The first move is that of the label EXPOSED.
    account.wire.next("UpdateSecretVersionStage", lambda act: act(), after(wins))
    assert_refused(loser.call("issue_new_key"), "LOOK_AGAIN", "at the same moment")
    assert is_intent_of(account.labels()["CLAIM"], winner.mark)
    return winner


def test_an_emergency_stops_the_rotation_that_was_faster_and_takes_over(account: Account) -> None:
    key = account.rotatable()
    execution = emergency(account, key)
    assert execution.call("check_request")["next"] == "ISSUE"
    winner = lose_at_the_claim(account, execution)

    assert looks_again(execution)["next"] == "STOP_CLAIMANT"
    account.dies(winner)
    assert looks_again(execution)["next"] == "ISSUE"
    assert execution.call("issue_new_key")["next"] == "ISSUED"
    assert account.look(execution.mark).holding
    assert len(account.statuses()) == 2


def test_the_key_of_the_rotation_that_was_faster_is_its_own_and_goes(account: Account) -> None:
    """It was not there before the claim, whatever the first look of the loser said."""
    key = account.rotatable()
    execution = emergency(account, key)
    execution.call("check_request")
    winner = lose_at_the_claim(account, execution)
    account.backdate_version(account.labels()["CLAIM"], timedelta(minutes=61))
    orphan = account.key(days_old=1 / 24).id
    account.dies(winner)
    looks_again(execution)
    assert execution.call("issue_new_key")["next"] == "ISSUED"
    assert orphan not in account.statuses()


def test_a_key_that_a_person_made_meanwhile_stays(account: Account) -> None:
    key = account.rotatable()
    execution = emergency(account, key)
    execution.call("check_request")
    winner = lose_at_the_claim(account, execution)
    claim_of_winner = account.labels()["CLAIM"]
    account.secrets.update_secret_version_stage(
        SecretId=NAME, VersionStage="CLAIM", RemoveFromVersionId=claim_of_winner
    )
    account.dies(winner)
    made = account.iam.create_access_key(UserName="ci")["AccessKey"]["AccessKeyId"]
    assert looks_again(execution)["next"] == "EXPOSED_ONLY"
    assert execution.call("take_over")["next"] == "EXPOSED_ONLY"
    assert account.statuses() == {key.id: "Active", made: "Active"}


def test_a_second_look_goes_for_the_key_of_the_first(account: Account) -> None:
    """Two keys are active by then, and the input names none."""
    key = account.rotatable()
    execution = account.execution(userName="ci", mode="EMERGENCY")
    execution.call("check_request")
    other = account.execution()
    other.until("check_request", "issue_new_key")
    assert execution.rotation is not None
    assert execution.rotation["exposedKeyId"] == key.id
    answer = looks_again(execution)
    assert answer["next"] == "STOP_CLAIMANT"
    assert answer["rotation"]["exposedKeyId"] == key.id


def test_the_exposed_key_is_remembered_while_a_dead_claimant_is_waited_out(
    account: Account,
) -> None:
    key = account.rotatable()
    execution = account.execution(userName="ci", mode="EMERGENCY")
    execution.call("check_request")
    other = account.execution()
    other.until("check_request", "issue_new_key")
    account.dies(other, ago=timedelta(seconds=1))
    answer = looks_again(execution)
    assert answer["next"] == "WAIT"
    assert answer["rotation"]["exposedKeyId"] == key.id


def test_of_two_emergencies_for_one_key_the_second_does_not_stop_the_first(
    account: Account,
) -> None:
    key = account.rotatable()
    first, second = emergency(account, key), emergency(account, key)
    first.call("check_request")
    account.wire.next("CreateAccessKey", refuses("Throttling"))
    with pytest.raises(AwsThrottled):
        first.call("issue_new_key")  # has the claim, and will try again
    answer = second.call("check_request")
    assert answer["next"] == "REJECTED"
    assert answer["announcement"]
    assert "already replacing" in answer["result"]["reason"]


def test_an_emergency_for_another_key_does_stop_it(account: Account) -> None:
    key, other = account.rotatable(), account.key()
    first, second = emergency(account, key), emergency(account, other)
    first.until("check_request", "take_over")
    assert account.look(first.mark).holding
    assert second.call("check_request")["next"] == "STOP_CLAIMANT"


@pytest.mark.parametrize("operation", ["PutSecretValue", "CreateSecret", "GetUser"])
def test_an_emergency_that_fails_before_it_has_the_claim_looks_again(
    account: Account, operation: str
) -> None:
    account.user()
    key = account.key()
    execution = emergency(account, key)
    execution.call("check_request")
    account.wire.next(operation, refuses("Throttling"))
    with pytest.raises(AwsThrottled):
        execution.call("issue_new_key")
    assert execution.call("discard_new_key", failure=THROTTLED)["next"] == "LOOK_AGAIN"
    assert looks_again(execution)["next"] == "ISSUE"
    assert execution.call("issue_new_key")["next"] == "ISSUED"


def test_a_rotation_that_fails_before_it_has_the_claim_ends_and_says_what_stays(
    account: Account,
) -> None:
    key = account.rotatable()
    claim_free = account.look()
    execution = account.execution()
    account.secrets.update_secret_version_stage(
        SecretId=NAME,
        VersionStage="EXPOSED",
        MoveToVersionId=claim_free.secret.labels["AWSCURRENT"] if claim_free.secret else "",
    )
    execution.call("check_request")
    account.wire.next("PutSecretValue", refuses("Throttling"))
    with pytest.raises(AwsThrottled):
        execution.call("issue_new_key")
    answer = execution.call("discard_new_key", failure=THROTTLED)
    assert answer["ending"] == "RotationFailed"
    assert (
        "start the EMERGENCY again: the exposed key is still active"
        in (answer["announcement"]["message"])
    )
    assert account.statuses() == {key.id: "Active"}


def test_an_end_that_was_written_down_stays_the_end(account: Account) -> None:
    """The answer of the first Discard New Key was lost: nothing is begun anew."""
    key = account.rotatable()
    dead = account.execution()
    dead.until("check_request", "issue_new_key")
    account.dies(dead)
    execution = account.execution(accessKeyId=str((dead.rotation or {})["newAccessKeyId"]))
    execution.input["mode"] = "EMERGENCY"
    execution.call("check_request")
    account.wire.next("CreateAccessKey", refuses("Throttling"))
    with pytest.raises(AwsThrottled):
        execution.call("issue_new_key")
    for _ in range(2):
        answer = execution.call("discard_new_key", failure=THROTTLED)
        assert answer["ending"] == "RotationFailed"
    assert account.statuses() == {key.id: "Active"}


def test_a_way_back_after_which_the_old_key_cannot_be_rotated_is_no_green_end(
    account: Account,
) -> None:
    old = account.rotatable()
    published = account.execution()
    published.until("check_request", "issue_new_key", "prove_new_key", "publish_new_key")
    account.dies(published)
    new = str((published.rotation or {})["newAccessKeyId"])
    account.iam.update_access_key(UserName="ci", AccessKeyId=new, Status="Inactive")
    execution = account.execution(accessKeyId=new, mode="EMERGENCY")
    assert execution.until("check_request", "take_over")["next"] == "BACK_OUT"
    execution.until("reactivate_old_key", "restore_old_version")
    execution.call("deactivate_key", which="NEW")

    assert_refused(execution.call("issue_new_key"), "BLOCKED", "no room for a new key")
    assert account.look(execution.mark).holding
    answer = execution.call(
        "discard_new_key",
        failure={"Error": "WorldContradictory", "Cause": '{"errorMessage": "no room"}'},
    )
    assert answer["ending"] == "AttentionNeeded"
    assert answer["result"]["outcome"] == "NEEDS_ATTENTION"
    assert "could not be rotated then" in answer["result"]["reason"]
    assert "no room" in answer["result"]["reason"]
    assert account.statuses() == {old.id: "Active", new: "Inactive"}
    assert not {"CLAIM", "BACKOUT"} & set(account.labels())


def test_who_lost_the_claim_on_the_way_back_does_not_begin_anew(account: Account) -> None:
    account.rotatable()
    published = account.execution()
    published.until("check_request", "issue_new_key", "prove_new_key", "publish_new_key")
    account.dies(published, ago=timedelta(hours=1))
    new = str((published.rotation or {})["newAccessKeyId"])
    execution = account.execution(accessKeyId=new, mode="EMERGENCY")
    execution.until("check_request", "take_over", "reactivate_old_key", "restore_old_version")
    execution.call("deactivate_key", which="NEW")
    labels = account.labels()
    account.secrets.update_secret_version_stage(
        SecretId=NAME, VersionStage="CLAIM", RemoveFromVersionId=labels["CLAIM"]
    )
    keys = account.statuses()
    assert_refused(execution.call("issue_new_key"), "CLAIM_LOST", "gone")
    assert account.statuses() == keys
