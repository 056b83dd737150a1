"""The claim: one winner, an owner that survives crashes, and a take-over only from the dead."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from keyturn.aws import fence, secrets
from keyturn.model.errors import ClaimLost, RequestRejected
from keyturn.model.identifiers import is_intent_of
from keyturn.model.world import ClaimantState, Label, World
from keyturn.rotate import claim
from keyturn.rotate.decision import Ask, Decision, Step, orphans
from tests.integration.account import Account, Execution
from tests.integration.aws_like import after, echoes, loses_answer

NAME = "machine-user/ci"
ISSUE = Decision(Step.ISSUE, "rotating")
CHANGES = {"DeleteAccessKey", "UpdateSecretVersionStage"}


@pytest.fixture(autouse=True)
def open_fence() -> Iterator[None]:
    with fence.opened(fence.Fence(datetime.now(UTC))):
        yield


def take(world: World, execution: Execution, decision: Decision = ISSUE) -> None:
    claim.take(execution.known, world, Ask(), decision, name=NAME)


def version(execution: Execution) -> str:
    """The version of the one intent that an execution has put."""
    (found,) = (one for one in secrets.require(NAME).key_ids if is_intent_of(one, execution.mark))
    return found


class TestTaking:
    def test_the_claim_names_its_owner_and_what_was_there_before(self, account: Account) -> None:
        key = account.rotatable()
        execution = account.execution()
        take(account.look(), execution)

        labels = account.labels()
        assert labels["CLAIM"] == labels["INTENT"] == version(execution)
        written = account.value(labels["CLAIM"])
        assert written["executionArn"] == execution.arn
        assert written["keysBefore"] == [{"id": key.id, "status": "Active"}]
        assert not written["tookOver"]

    def test_without_a_secret_one_is_made(self, account: Account) -> None:
        account.user()
        execution = account.execution()
        take(account.look(), execution)
        state = secrets.require(NAME)
        assert state.version(Label.CLAIM) == version(execution)
        # The first version of a secret becomes AWSCURRENT by itself: it must not count as a key.
        assert state.version(Label.CURRENT) == version(execution)
        assert state.key(Label.CURRENT) is None

    def test_of_two_at_the_same_moment_one_wins(self, account: Account) -> None:
        account.rotatable()
        first, second = account.execution(), account.execution()
        seen_by_both = account.look()
        # The second comes between the first one's intent and its compare-and-swap.
        account.wire.next("UpdateSecretVersionStage", after(lambda: take(seen_by_both, second)))
        with pytest.raises(RequestRejected, match="at the same moment"):
            take(seen_by_both, first)
        assert account.labels()["CLAIM"] == version(second)

    @pytest.mark.parametrize("first_wins", [True, False])
    def test_the_order_of_the_intents_does_not_decide(
        self, account: Account, first_wins: bool
    ) -> None:
        account.rotatable()
        executions = [account.execution(), account.execution()]
        winner, loser = executions if first_wins else reversed(executions)
        seen_by_both = account.look()
        take(seen_by_both, winner)
        with pytest.raises(RequestRejected):
            take(seen_by_both, loser)
        assert account.labels()["CLAIM"] == version(winner)
        world = account.look()
        assert world.claim is not None
        assert world.claim.execution_arn == winner.arn

    def test_taking_twice_is_taking_once(self, account: Account) -> None:
        account.rotatable()
        execution = account.execution()
        before = account.look()
        take(before, execution)
        labels, written = account.labels(), account.value(version(execution))
        take(before, execution)
        assert account.labels() == labels
        assert account.value(version(execution)) == written

    @pytest.mark.parametrize(
        ("operation", "fault"),
        [
            ("PutSecretValue", echoes("ResourceExistsException")),
            ("UpdateSecretVersionStage", echoes("InvalidParameterException")),
        ],
    )
    def test_an_echo_of_our_own_call_is_success(
        self, account: Account, operation: str, fault: object
    ) -> None:
        account.rotatable()
        execution = account.execution()
        account.wire.next(operation, fault)  # type: ignore[arg-type]
        take(account.look(), execution)
        assert account.labels()["CLAIM"] == version(execution)

    def test_an_intent_has_no_clock_so_that_a_replay_is_identical(self, account: Account) -> None:
        account.rotatable()
        execution = account.execution()
        world = account.look()
        texts = {
            claim._record(world, Ask(), ISSUE, execution.arn, None).text().get_secret_value()
            for _ in range(2)
        }
        assert len(texts) == 1
        assert str(world.now.year) not in texts.pop().replace(execution.arn, "")


class TestTakingOver:
    def test_a_dead_owner_is_replaced_and_its_first_look_inherited(self, account: Account) -> None:
        first_key = account.rotatable()
        dead, heir = account.execution(), account.execution()
        take(account.look(), dead)
        orphan = account.iam.create_access_key(UserName="ci")["AccessKey"]["AccessKeyId"]
        account.dies(dead)

        world = account.look(heir.mark)
        assert world.claim is not None
        assert world.claim.state is ClaimantState.DEAD
        take(world, heir)

        written = account.value(version(heir))
        assert account.labels()["CLAIM"] == version(heir)
        assert written["tookOver"]
        # The orphan was there before the heir, but not before the dead one.
        assert [key["id"] for key in written["keysBefore"]] == [first_key.id]
        assert orphan in account.statuses()
        assert written["inheritedSince"] is not None
        assert written["inheritedUntil"] is not None

    def test_who_looks_again_after_a_lost_race_takes_over_with_what_it_finds_then(
        self, account: Account
    ) -> None:
        """Its first intent knows nothing of the dead owner, whose key would be nobody's."""
        first_key = account.rotatable()
        dead, heir = account.execution(), account.execution()
        before = account.look(heir.mark)
        take(account.look(), dead)
        with pytest.raises(RequestRejected):
            take(before, heir)  # puts its intent, and finds the claim taken
        account.iam.create_access_key(UserName="ci")
        account.dies(dead)
        take(account.look(heir.mark), heir)
        world = account.look(heir.mark)
        assert world.holding
        assert world.claim is not None
        assert world.claim.intent is not None
        assert world.claim.intent.took_over
        assert world.claim.intent.keys_before == (first_key.id,)
        assert world.claim.intent.inherited_since is not None

    def test_a_key_that_somebody_made_between_two_looks_is_no_orphan(
        self, account: Account
    ) -> None:
        account.rotatable()
        fast, slow = account.execution(), account.execution()
        before = account.look(slow.mark)
        take(account.look(), fast)
        with pytest.raises(RequestRejected):
            take(before, slow)
        claim.release(secrets.require(NAME), fast.mark)
        account.iam.create_access_key(UserName="ci")
        take(account.look(slow.mark), slow)
        world = account.look(slow.mark)
        assert world.holding
        assert orphans(world) == []

    def test_the_claim_of_an_earlier_try_with_another_intent_is_ones_own(
        self, account: Account
    ) -> None:
        account.rotatable()
        execution = account.execution()
        early = account.look(execution.mark)
        account.key()
        late = account.look(execution.mark)
        account.wire.next("UpdateSecretVersionStage", after(lambda: take(early, execution)))
        take(late, execution)
        assert account.look(execution.mark).holding

    def test_of_two_heirs_one_wins(self, account: Account) -> None:
        account.rotatable()
        dead, first, second = account.execution(), account.execution(), account.execution()
        take(account.look(), dead)
        account.dies(dead)
        seen_by_both = account.look()
        take(seen_by_both, first)
        with pytest.raises(RequestRejected):
            take(seen_by_both, second)
        assert account.labels()["CLAIM"] == version(first)

    def test_the_fence_of_a_dead_owner_is_told(self, account: Account) -> None:
        account.rotatable()
        dead = account.execution()
        take(account.look(), dead)
        account.dies(dead, ago=timedelta(seconds=10))
        found = account.look().claim
        assert found is not None
        assert found.free_at is not None
        wait = found.free_at - datetime.now(UTC)
        assert timedelta(seconds=130) < wait < timedelta(seconds=150)

    def test_an_owner_that_nobody_knows_is_not_dead(self, account: Account) -> None:
        account.rotatable()
        ghost = Execution("arn:aws:states:us-east-1:123456789012:execution:rotate:ghost", {})
        take(account.look(), ghost)
        found = account.look().claim
        assert found is not None
        assert found.state is ClaimantState.UNKNOWN

    @pytest.mark.parametrize("owner", ["running", "within its fence", "unknown"])
    def test_a_living_owner_is_not_replaced_whatever_led_here(
        self, account: Account, owner: str
    ) -> None:
        """The compare-and-swap would do it: the look has found that very claim."""
        account.rotatable()
        holder, heir = account.execution(), account.execution()
        if owner == "unknown":
            holder = Execution(holder.arn.replace(":rotate:", ":rotate:ghost-"), {})
        take(account.look(), holder)
        if owner == "within its fence":
            account.dies(holder, ago=timedelta(seconds=10))
        labels = account.labels()
        with pytest.raises(RequestRejected, match="start again when it is over"):
            take(account.look(heir.mark), heir)
        assert account.labels() == labels

    @pytest.mark.parametrize("inherited", [True, False])
    def test_the_key_that_was_issued_was_never_there_before(
        self, account: Account, inherited: bool
    ) -> None:
        """Else whoever finishes the back-out would take it for somebody's and leave it."""
        old, new = account.rotatable(), account.key()
        if inherited:  # of a retirement, say, which has seen both
            dead = account.execution()
            take(account.look(), dead)
            account.dies(dead)
        heir = account.execution()
        back_out = Decision(Step.BACK_OUT, "going back", old_key_id=old.id, new_key_id=new.id)
        take(account.look(heir.mark), heir, back_out)
        written = account.value(version(heir))
        assert [key["id"] for key in written["keysBefore"]] == [old.id]

    def test_a_label_that_others_put_there_has_no_owner(self, account: Account) -> None:
        account.rotatable()
        account.version(NAME, "{}", version_id="f" * 32, label="CLAIM")
        found = account.look().claim
        assert found is not None
        assert (found.state, found.intent) == (ClaimantState.UNKNOWN, None)


class TestHolding:
    @pytest.fixture
    def holder(self, account: Account) -> Execution:
        account.rotatable()
        execution = account.execution()
        take(account.look(), execution)
        return execution

    def test_the_owner_may_go_on(self, holder: Execution) -> None:
        assert claim.required(NAME, holder.mark).version(Label.CLAIM) == version(holder)

    def test_somebody_elses_claim_ends_everything(
        self, account: Account, holder: Execution
    ) -> None:
        with pytest.raises(ClaimLost, match=f"held by {version(holder)}"):
            claim.required(NAME, account.execution().mark)

    def test_a_claim_that_is_gone_ends_everything(self, holder: Execution) -> None:
        claim.release(secrets.require(NAME), holder.mark)
        with pytest.raises(ClaimLost, match="gone"):
            claim.required(NAME, holder.mark)

    def test_releasing_twice_is_releasing_once(self, account: Account, holder: Execution) -> None:
        state = secrets.require(NAME)
        claim.release(state, holder.mark)
        claim.release(state, holder.mark)
        claim.release(secrets.require(NAME), holder.mark)
        assert "CLAIM" not in account.labels()

    def test_an_echo_of_the_release_is_success(self, account: Account, holder: Execution) -> None:
        account.wire.next("UpdateSecretVersionStage", echoes("InvalidParameterException"))
        claim.release(secrets.require(NAME), holder.mark)
        assert "CLAIM" not in account.labels()

    def test_somebody_elses_claim_is_never_released(
        self, account: Account, holder: Execution
    ) -> None:
        state = secrets.require(NAME)
        account.dies(holder)
        heir = account.execution()
        take(account.look(), heir)
        with pytest.raises(ClaimLost, match="taken over"):
            claim.release(state, holder.mark)
        claim.release(secrets.require(NAME), holder.mark)
        assert account.labels()["CLAIM"] == version(heir)

    def test_what_nobody_stored_goes_before_the_claim_is_given_back(
        self, account: Account, holder: Execution
    ) -> None:
        """Afterwards nobody could tell it from somebody's key."""
        keys = account.statuses()
        account.iam.create_access_key(UserName="ci")
        account.wire.forget()
        claim.give_back(account.look(holder.mark), secrets.require(NAME), holder.mark)
        assert account.statuses() == keys
        assert "CLAIM" not in account.labels()
        changes = [name for name in account.wire.operations if name in CHANGES]
        assert changes == ["DeleteAccessKey", "UpdateSecretVersionStage"]

    def test_a_lost_answer_to_the_release_is_raised_and_repeatable(
        self, account: Account, holder: Execution
    ) -> None:
        state = secrets.require(NAME)
        account.wire.next("UpdateSecretVersionStage", loses_answer)
        with pytest.raises(Exception, match="no answer"):
            claim.release(state, holder.mark)
        claim.release(secrets.require(NAME), holder.mark)
        assert "CLAIM" not in account.labels()


class TestExposed:
    def test_the_version_of_an_exposed_key_is_labelled(self, account: Account) -> None:
        key = account.rotatable()
        claim.mark_exposed(account.look(), name=NAME, key_id=key.id)
        assert account.labels()["EXPOSED"] == account.labels()["AWSCURRENT"]
        assert account.look().exposed_keys == {key.id}

    def test_marking_twice_is_marking_once(self, account: Account) -> None:
        key = account.rotatable()
        for _ in range(2):
            claim.mark_exposed(account.look(), name=NAME, key_id=key.id)
        assert account.wire.operations.count("UpdateSecretVersionStage") == 1

    def test_a_key_in_no_version_is_marked_by_a_tag(self, account: Account) -> None:
        account.rotatable()
        other = account.key()
        claim.mark_exposed(account.look(), name=NAME, key_id=other.id)
        assert account.look().exposed_keys == {other.id}
        assert "EXPOSED" not in account.labels()

    def test_a_user_without_a_secret_gets_one(self, account: Account) -> None:
        account.user()
        key = account.key()
        claim.mark_exposed(account.look(), name=NAME, key_id=key.id)
        assert account.look().exposed_keys == {key.id}

    def test_a_second_exposed_key_does_not_unmark_the_first(self, account: Account) -> None:
        first, second = account.rotatable(), account.key()
        held = "x" * 8 + "-0000-4000-8000-" + "a" * 12
        value = f'{{"AccessKeyId": "{second.id}", "SecretAccessKey": "s"}}'
        account.version(NAME, value, version_id=held, label="BACKOUT")
        for key in (first, second):
            claim.mark_exposed(account.look(), name=NAME, key_id=key.id)
        assert account.look().exposed_keys == {first.id, second.id}

    def test_the_mark_of_a_deleted_key_makes_room(self, account: Account) -> None:
        first, second = account.rotatable(), account.key()
        held = "x" * 8 + "-0000-4000-8000-" + "a" * 12
        value = f'{{"AccessKeyId": "{second.id}", "SecretAccessKey": "s"}}'
        account.version(NAME, value, version_id=held, label="BACKOUT")
        claim.mark_exposed(account.look(), name=NAME, key_id=first.id)
        account.iam.delete_access_key(UserName="ci", AccessKeyId=first.id)
        claim.mark_exposed(account.look(), name=NAME, key_id=second.id)
        assert account.labels()["EXPOSED"] == held

    def test_an_unmanaged_users_secret_is_not_written(self, account: Account) -> None:
        account.user(managed=False)
        with pytest.raises(RequestRejected):
            claim.mark_exposed(account.look(), name=NAME, key_id="AKIAIOSFODNN7EXAMPLE")
        assert not {"CreateSecret", "TagResource"} & set(account.wire.operations)
