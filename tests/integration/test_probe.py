"""The probe: three spaced successes in a row, of the right user, within its time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from keyturn.aws import probe
from keyturn.aws.secrets import StoredKey
from keyturn.model.errors import AwsRefused, AwsThrottled, KeyNotProven
from tests.integration.account import Account, MadeKey
from tests.integration.aws_like import ACCOUNT, Fault, refuses

BEGAN = datetime(2026, 11, 21, 5, 0, tzinfo=UTC)
NOT_YET = refuses("InvalidClientTokenId", status=403)


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = BEGAN
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)


def prove(key: MadeKey, time: Time, user: str = "ci", account_id: str = ACCOUNT) -> datetime:
    stored = StoredKey(key.id, SecretStr(key.secret))
    return probe.prove(
        stored,
        user_name=user,
        account_id=account_id,
        give_up_after_seconds=10,
        sleep=time.sleep,
        clock=lambda: time.now,
    ).ended_at


@pytest.fixture
def key(account: Account) -> MadeKey:
    account.user()
    made = account.key()
    account.wire.forget()
    return made


@pytest.fixture
def time() -> Time:
    return Time()


def passes(act: Any) -> Any:
    return act()


def test_three_spaced_calls_prove_a_key(account: Account, key: MadeKey, time: Time) -> None:
    ended_at = prove(key, time)
    assert account.wire.operations == ["GetCallerIdentity"] * 3
    assert time.slept == [probe.SPACING_SECONDS] * 2
    assert ended_at == BEGAN + timedelta(seconds=2 * probe.SPACING_SECONDS)


@pytest.mark.parametrize(
    ("faults", "calls"),
    [
        ([NOT_YET, NOT_YET], 5),
        ([passes, passes, NOT_YET], 6),
        ([passes, NOT_YET, passes, NOT_YET], 7),
        ([refuses("SignatureDoesNotMatch", status=403)], 4),
        ([refuses("Throttling")], 4),
        ([passes, refuses("InternalFailure", status=500)], 5),
    ],
)
def test_only_three_in_a_row_count_while_iam_propagates(
    account: Account, key: MadeKey, time: Time, faults: list[Fault], calls: int
) -> None:
    account.wire.next("GetCallerIdentity", *faults)
    prove(key, time)
    assert len(account.wire.calls) == calls


@pytest.mark.parametrize("status", ["Inactive", None])
def test_a_key_that_never_authenticates_is_given_up(
    account: Account, key: MadeKey, time: Time, status: str | None
) -> None:
    if status:
        account.moto_key(key.id).status = status
    else:
        account.iam.delete_access_key(UserName="ci", AccessKeyId=key.id)
    with pytest.raises(KeyNotProven, match="InvalidClientTokenId") as given_up:
        prove(key, time)
    assert timedelta(seconds=10) <= time.now - BEGAN < timedelta(seconds=11)
    assert key.id not in str(given_up.value)
    assert key.secret not in str(given_up.value)


def test_a_service_that_never_answers_is_not_a_bad_key(
    account: Account, key: MadeKey, time: Time
) -> None:
    account.wire.next("GetCallerIdentity", *[refuses("Throttling")] * 50)
    with pytest.raises(AwsThrottled):
        prove(key, time)


def test_a_row_that_has_begun_is_finished_after_the_time_is_up(
    account: Account, key: MadeKey, time: Time
) -> None:
    account.wire.next("GetCallerIdentity", *[NOT_YET] * 13)
    prove(key, time)
    assert time.now - BEGAN > timedelta(seconds=10)


def test_another_refusal_ends_it_at_once(account: Account, key: MadeKey, time: Time) -> None:
    account.wire.next("GetCallerIdentity", refuses("RegionDisabledException", status=403))
    with pytest.raises(AwsRefused, match="RegionDisabledException"):
        prove(key, time)
    assert time.slept == []


@pytest.mark.parametrize(
    "arn",
    [
        f"arn:aws:iam::{ACCOUNT}:user/somebody-else",
        f"arn:aws:iam::{ACCOUNT}:user/ci/somebody-else",
        f"arn:aws:iam::{ACCOUNT}:user/not-ci",
        f"arn:aws:sts::{ACCOUNT}:assumed-role/role/ci",
        f"arn:aws:iam::{ACCOUNT}:root",
    ],
)
def test_somebody_elses_key_is_not_proven(
    account: Account, key: MadeKey, time: Time, arn: str
) -> None:
    account.wire.next("GetCallerIdentity", lambda _: {"Arn": arn, "Account": ACCOUNT})
    with pytest.raises(KeyNotProven, match="does not belong to the user ci"):
        prove(key, time)
    assert time.slept == []


def test_a_key_of_another_account_is_not_proven(key: MadeKey, time: Time) -> None:
    with pytest.raises(KeyNotProven):
        prove(key, time, account_id="999999999999")


def test_a_user_below_a_path_is_recognised(account: Account, time: Time) -> None:
    account.user("robot", path="/machine/build/")
    prove(account.key("robot"), time, user="robot")
