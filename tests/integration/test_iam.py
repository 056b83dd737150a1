"""The IAM adapter: an unanswered question is an error, never "never used"."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError

from keyturn.aws import calls, fence, iam
from keyturn.model.errors import AwsRefused, AwsThrottled, RequestRejected
from keyturn.model.world import LastUse
from tests.integration.account import Account
from tests.integration.aws_like import refuses


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def open_fence() -> Any:
    with fence.opened(fence.Fence(datetime.now(UTC))):
        yield


def test_a_key_that_was_never_used_is_told_from_one_whose_use_is_known(account: Account) -> None:
    account.user()
    never, used = account.key(), account.key()
    at = now() - timedelta(days=3)
    account.used(used.id, at, "ec2")

    ring = iam.list_keys("ci")

    never_used, known = ring.find(never.id), ring.find(used.id)
    assert never_used is not None
    assert never_used.last_use is None
    assert known is not None
    assert known.last_use == LastUse(at=at, service="ec2", region="us-east-1")


def test_a_use_without_a_region_is_a_use(account: Account) -> None:
    account.user()
    key = account.key()

    def global_service(_: Any) -> Any:
        used = {"LastUsedDate": now(), "ServiceName": "s3", "Region": "N/A"}
        return {"UserName": "ci", "AccessKeyLastUsed": used}

    account.wire.next("GetAccessKeyLastUsed", global_service)
    found = iam.list_keys("ci").find(key.id)
    assert found is not None
    assert found.last_use is not None


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("AccessDenied", 403, AwsRefused),
        ("NoSuchEntity", 404, AwsRefused),
        ("ValidationError", 400, AwsRefused),
        ("Throttling", 400, AwsThrottled),
        ("ServiceFailure", 500, AwsThrottled),
        ("SomethingNew", 503, AwsThrottled),
        ("SomethingNew", 400, AwsRefused),
    ],
)
def test_an_unanswered_last_use_is_an_error_while_the_key_is_there(
    account: Account, code: str, status: int, kind: type[Exception]
) -> None:
    account.user()
    account.key()
    account.wire.next("GetAccessKeyLastUsed", refuses(code, status=status))
    with pytest.raises(kind, match=f"iam:GetAccessKeyLastUsed: {code}"):
        iam.list_keys("ci")


@pytest.mark.parametrize("code", ["AccessDenied", "NoSuchEntity"])
def test_a_key_that_vanishes_between_two_calls_was_never_there(account: Account, code: str) -> None:
    account.user()
    gone, stays = account.key(), account.key()

    def vanish(_: Any) -> Any:
        account.iam.delete_access_key(UserName="ci", AccessKeyId=gone.id)
        return refuses(code, status=403)(_)

    account.wire.next("GetAccessKeyLastUsed", vanish)
    assert [key.id for key in iam.list_keys("ci").keys] == [stays.id]


@pytest.mark.parametrize(
    "answer",
    [
        ConnectionClosedError(endpoint_url="https://iam.example"),
        ReadTimeoutError(endpoint_url="https://iam.example"),
    ],
)
def test_no_answer_is_worth_another_try(account: Account, answer: Exception) -> None:
    account.user()

    def silence(_: Any) -> Any:
        raise answer

    account.wire.next("ListAccessKeys", silence)
    with pytest.raises(AwsThrottled, match=f"no answer \\({type(answer).__name__}\\)"):
        iam.list_keys("ci")


def test_the_clock_is_that_of_the_first_answer(account: Account) -> None:
    account.user()
    account.key()

    def page(date: str, **fields: Any) -> Any:
        meta = {"ResponseMetadata": {"HTTPHeaders": {"date": date}}}
        return lambda _: {"AccessKeyMetadata": [], **fields, **meta}

    account.wire.next("ListAccessKeys", page("Sat, 21 Nov 2026 05:00:00 GMT", IsTruncated=False))
    assert iam.list_keys("ci").now == datetime(2026, 11, 21, 5, 0, tzinfo=UTC)


def test_the_clock_of_several_pages_is_the_first_one(account: Account) -> None:
    """A later clock would make a use that is published between two pages look older than it is."""
    account.user()

    def page(second: int, **fields: Any) -> Any:
        date = f"Sat, 21 Nov 2026 05:00:{second:02} GMT"
        meta = {"ResponseMetadata": {"HTTPHeaders": {"date": date}}}
        return lambda _: {"AccessKeyMetadata": [], **fields, **meta}

    account.wire.next(
        "ListAccessKeys", page(1, IsTruncated=True, Marker="more"), page(9, IsTruncated=False)
    )
    assert iam.list_keys("ci").now == datetime(2026, 11, 21, 5, 0, 1, tzinfo=UTC)


def test_keys_on_every_page_are_listed(account: Account) -> None:
    account.user()
    keys = [account.key(), account.key()]

    def page(key_id: str, **fields: Any) -> Any:
        item = {"UserName": "ci", "AccessKeyId": key_id, "Status": "Active", "CreateDate": now()}
        return lambda _: {"AccessKeyMetadata": [item], **fields}

    account.wire.next(
        "ListAccessKeys",
        page(keys[0].id, IsTruncated=True, Marker="more"),
        page(keys[1].id, IsTruncated=False),
    )
    assert [key.id for key in iam.list_keys("ci").keys] == [key.id for key in keys]


@pytest.mark.parametrize(
    "date", [None, "", "yesterday", "Sat, 99 Nov 2026 05:00:00 GMT", "2026-11-21T05:00:00Z"]
)
def test_without_a_date_header_there_is_no_server_time(date: str | None) -> None:
    headers = {} if date is None else {"date": date}
    assert calls.server_time({"ResponseMetadata": {"HTTPHeaders": headers}}) is None


@pytest.mark.parametrize(
    ("status", "active"), [("Active", True), ("Inactive", False), ("Expired", False)]
)
def test_only_active_keys_are_usable(account: Account, status: str, active: bool) -> None:
    account.user()
    key = account.key()
    account.moto_key(key.id).status = status
    found = iam.list_keys("ci").find(key.id)
    assert found is not None
    assert found.active is active


def test_the_owner_of_a_key(account: Account) -> None:
    account.user("someone")
    assert iam.owner_of(account.key("someone").id) == "someone"


@pytest.mark.parametrize("code", ["AccessDenied", "NoSuchEntity"])
def test_the_owner_of_an_unknown_key_is_a_rejection(account: Account, code: str) -> None:
    account.wire.next("GetAccessKeyLastUsed", refuses(code, status=403))
    with pytest.raises(RequestRejected, match=r"\.\.\.MPLE belongs to no user") as rejected:
        iam.owner_of("AKIAIOSFODNN7EXAMPLE")
    assert "AKIA" not in str(rejected.value)


def test_the_owner_is_not_guessed_when_aws_throttles(account: Account) -> None:
    account.wire.next("GetAccessKeyLastUsed", refuses("Throttling"))
    with pytest.raises(AwsThrottled):
        iam.owner_of("AKIAIOSFODNN7EXAMPLE")


def test_a_user_with_path_and_tags(account: Account) -> None:
    account.user("robot", path="/machine/")
    user = iam.get_user("robot")
    assert user is not None
    assert (user.name, user.path, user.tags) == ("robot", "/machine/", {"keyturn:managed": "test"})
    assert iam.get_user("nobody") is None


@pytest.mark.parametrize("function", [iam.get_user, iam.has_console_password])
def test_a_denied_look_at_a_user_is_not_an_answer(account: Account, function: Any) -> None:
    account.wire.next("GetUser", refuses("AccessDenied", status=403))
    account.wire.next("GetLoginProfile", refuses("AccessDenied", status=403))
    with pytest.raises(AwsRefused, match="AccessDenied"):
        function("ci")


def test_a_console_password(account: Account) -> None:
    account.user()
    assert not iam.has_console_password("ci")
    account.iam.create_login_profile(UserName="ci", Password="correct horse 1A!")
    assert iam.has_console_password("ci")


@pytest.mark.usefixtures("open_fence")
class TestChanges:
    def test_a_created_key_does_not_print_its_secret(self, account: Account) -> None:
        account.user()
        made = iam.create_key("ci")
        secret = made.secret.get_secret_value()
        assert account.moto_key(made.id).secret_access_key == secret
        assert secret not in f"{made!r} {made} {vars(made)}"

    def test_a_third_key_is_refused_for_want_of_room(self, account: Account) -> None:
        account.user()
        account.key()
        account.key()
        with pytest.raises(AwsRefused, match="LimitExceeded") as refused:
            iam.create_key("ci")
        assert "AccessKeysPerUser" in str(refused.value)

    @pytest.mark.usefixtures("fresh_clients")
    def test_creating_is_tried_once_and_reading_three_times(self, account: Account) -> None:
        """CreateAccessKey has no idempotency token: a retry after a lost answer makes two keys."""
        account.user()
        attempts: list[str] = []

        def cut(request: Any, **_: Any) -> None:
            attempts.append(request.url)
            raise ConnectionClosedError(endpoint_url=request.url)

        for client in (calls.iam(), calls.iam_once()):
            client.meta.events.register_first("before-send.iam", cut)
        with pytest.raises(AwsThrottled):
            iam.create_key("ci")
        assert len(attempts) == 1
        attempts.clear()
        with pytest.raises(AwsThrottled):
            iam.list_keys("ci")
        assert len(attempts) == 3

    def test_a_key_is_deactivated_and_activated_again(self, account: Account) -> None:
        account.user()
        key = account.key()
        assert iam.set_active("ci", key.id, active=False)
        assert account.statuses() == {key.id: "Inactive"}
        assert iam.set_active("ci", key.id, active=True)
        assert account.statuses() == {key.id: "Active"}

    def test_what_is_gone_is_deleted_and_cannot_be_switched(self, account: Account) -> None:
        account.user()
        key = account.key()
        iam.delete_key("ci", key.id)
        assert account.statuses() == {}
        iam.delete_key("ci", key.id)
        assert not iam.set_active("ci", key.id, active=True)

    @pytest.mark.parametrize(
        ("operation", "change"),
        [
            ("UpdateAccessKey", lambda key_id: iam.set_active("ci", key_id, active=False)),
            ("DeleteAccessKey", lambda key_id: iam.delete_key("ci", key_id)),
        ],
    )
    def test_a_denied_change_is_an_error(
        self, account: Account, operation: str, change: Any
    ) -> None:
        account.user()
        key = account.key()
        account.wire.next(operation, refuses("AccessDenied", status=403))
        with pytest.raises(AwsRefused, match="AccessDenied"):
            change(key.id)
        assert account.statuses() == {key.id: "Active"}
