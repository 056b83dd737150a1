"""Start Rotation: what is looked up for an alert, what is started, who is told, what fails."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.iam.models import iam_backends

from keyturn.handlers.events.start_rotation import handler
from keyturn.model.errors import AwsRefused, AwsThrottled, SettingMissing
from keyturn.model.request import parse_rotate_request
from tests.integration.account import CONTEXT, Account
from tests.integration.aws_like import ACCOUNT, refuses

EVENTS = Path(__file__).parent.parent.parent / "events"
SAMPLE_KEY = "AKIAIOSFODNN7EXAMPLE"


@pytest.fixture(autouse=True)
def targets(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    topic = boto3.client("sns").create_topic(Name="people")["TopicArn"]
    monkeypatch.setenv("NOTIFICATION_TOPIC_ARN", topic)
    monkeypatch.setenv("ROTATE_KEY_STATE_MACHINE_ARN", account.machine_arn)
    monkeypatch.setenv("GUARD_DUTY_ACTION", "NOTIFY")
    account.wire.forget()


def event(name: str, **replaced: str) -> Any:
    """A sample, with texts replaced: `user`, `key`, `id`, `account`."""
    text = (EVENTS / f"{name}.json").read_text()
    placeholders = {
        "user": "ci-deployer",
        "key": SAMPLE_KEY,
        "id": "AIDACKCEVSQ6C2EXAMPLE",
        "account": ACCOUNT,
    }
    for what, value in replaced.items():
        text = text.replace(placeholders[what], value)
    return json.loads(text)


def started(account: Account) -> list[dict[str, Any]]:
    return [params for name, params in account.wire.calls if name == "StartExecution"]


def told(account: Account) -> list[dict[str, Any]]:
    return [params for name, params in account.wire.calls if name == "Publish"]


USER_ID = "AIDAI44QH8DHBEXAMPLE"


def identified(account: Account) -> None:
    """A user that can be rotated, with a unique id as AWS gives them (moto's look otherwise)."""
    account.rotatable()
    iam_backends[ACCOUNT]["aws"].users["ci"].id = USER_ID
    account.wire.forget()


def test_a_finding_of_security_hub_starts_a_rotation(account: Account) -> None:
    account.rotatable()
    assert handler(event("security_hub_iam3", user="ci"), CONTEXT)["started"] == 1
    (start,) = started(account)
    assert parse_rotate_request(json.loads(start["input"])).user_name == "ci"
    assert told(account) == []


def test_a_user_is_found_by_its_unique_id_on_whatever_page(account: Account) -> None:
    identified(account)
    first: dict[str, Any] = {"Users": [], "IsTruncated": True, "Marker": "x"}
    account.wire.next("ListUsers", lambda _: first)
    handler(event("config_access_keys_rotated", id=USER_ID), CONTEXT)
    pages = [params for name, params in account.wire.calls if name == "ListUsers"]
    assert [page.get("Marker") for page in pages] == [None, "x"]
    assert json.loads(started(account)[0]["input"])["userName"] == "ci"


def test_only_users_below_the_path_are_listed(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANAGED_USER_PATH", "/machine/")
    identified(account)
    handler(event("config_access_keys_rotated", id=USER_ID), CONTEXT)
    assert started(account) == []
    assert "no IAM user below /machine/" in told(account)[0]["Message"]


def test_config_may_name_the_user_by_name(account: Account) -> None:
    account.rotatable()
    handler(event("config_access_keys_rotated", id="ci"), CONTEXT)
    assert len(started(account)) == 1
    assert "ListUsers" not in account.wire.operations


def test_a_finding_about_somebody_who_is_gone_is_told_and_starts_nothing(account: Account) -> None:
    handler(event("security_hub_iam3", user="ci"), CONTEXT)
    assert started(account) == []
    assert "does not exist in this account" in told(account)[0]["Message"]


def test_an_exposed_key_starts_an_emergency_for_its_owner(account: Account) -> None:
    key = account.rotatable()
    account.wire.forget()
    handler(event("health_exposed_key", key=key.id), CONTEXT)
    request = parse_rotate_request(json.loads(started(account)[0]["input"]))
    assert (request.user_name, request.access_key_id, request.mode) == ("ci", key.id, "EMERGENCY")
    assert "DescribeSecret" not in account.wire.operations  # nothing that could hold it up
    assert len(told(account)) == 1


def test_a_key_of_nobody_knows_whom_is_told_by_its_last_characters(account: Account) -> None:
    """IAM denies the look-up of a key that does not exist, is foreign, or is not managed."""
    assert handler(event("health_exposed_key"), CONTEXT)["started"] == 0
    (message,) = told(account)
    assert "...MPLE" in message["Message"]
    assert SAMPLE_KEY not in message["Subject"] + message["Message"]


def test_another_accounts_key_is_not_even_looked_up(account: Account) -> None:
    account.rotatable()
    account.wire.forget()
    handler(event("security_hub_iam3", user="ci", account="999999999999"), CONTEXT)
    assert account.wire.operations == ["Publish"]


@pytest.mark.parametrize(
    ("action", "mode"), [("NOTIFY", None), ("ROTATE", "STANDARD"), ("EMERGENCY", "EMERGENCY")]
)
def test_guard_duty_does_what_the_parameter_says(
    account: Account, monkeypatch: pytest.MonkeyPatch, action: str, mode: str | None
) -> None:
    monkeypatch.setenv("GUARD_DUTY_ACTION", action)
    key = account.rotatable()
    handler(event("guardduty_iam_user", user="ci", key=key.id), CONTEXT)
    modes = [parse_rotate_request(json.loads(start["input"])).mode for start in started(account)]
    assert modes == ([mode] if mode else [])
    assert len(told(account)) == 1


def test_the_same_event_twice_starts_once_and_tells_once(account: Account) -> None:
    key = account.rotatable()
    found = event("health_exposed_key", key=key.id)
    assert handler(found, CONTEXT)["started"] == 1
    account.wire.next("StartExecution", refuses("ExecutionAlreadyExists"))
    assert handler(found, CONTEXT)["started"] == 0
    assert len({start["name"] for start in started(account)}) == 1
    assert len(told(account)) == 1


def test_what_fails_for_one_key_stops_no_other_and_comes_again(account: Account) -> None:
    key = account.rotatable()
    found = event("health_exposed_key")
    found["detail"]["affectedEntities"].append({"entityValue": key.id})
    account.wire.next("GetAccessKeyLastUsed", refuses("Throttling"))
    with pytest.raises(AwsThrottled):
        handler(found, CONTEXT)
    assert [json.loads(start["input"])["accessKeyId"] for start in started(account)] == [key.id]


def test_a_denied_look_is_an_error_and_not_an_answer(account: Account) -> None:
    account.rotatable()
    account.wire.next("GetUser", refuses("AccessDenied"))
    with pytest.raises(AwsRefused):
        handler(event("security_hub_iam3", user="ci"), CONTEXT)
    assert started(account) == []


def test_a_health_event_without_keys_calls_a_person_and_others_are_logged(
    account: Account, logged: io.StringIO
) -> None:
    health, hub = event("health_exposed_key"), event("security_hub_iam3")
    del health["detail"]["affectedEntities"], hub["detail"]["findings"]
    assert handler(health, CONTEXT) == {"alerts": 0, "started": 0, "problems": 1}
    assert "could not be understood" in told(account)[0]["Message"]
    account.wire.forget()
    assert handler(hub, CONTEXT)["problems"] == 1
    assert account.wire.operations == []
    assert logged.getvalue().count("not understood") == 2


@pytest.mark.parametrize("malformed", [None, [], "x", 5, {}, {"detail": {}}, {"source": ["a"]}])
def test_what_is_no_event_does_nothing(account: Account, malformed: Any) -> None:
    assert handler(malformed, CONTEXT)["alerts"] == 0
    assert account.wire.operations == []


def test_no_key_id_and_no_event_is_logged(account: Account, logged: io.StringIO) -> None:
    key = account.rotatable()
    handler(event("health_exposed_key", key=key.id), CONTEXT)
    handler(event("health_exposed_key"), CONTEXT)
    assert key.id not in logged.getvalue()
    assert SAMPLE_KEY not in logged.getvalue()


@pytest.mark.parametrize("name", ["ROTATE_KEY_STATE_MACHINE_ARN", "NOTIFICATION_TOPIC_ARN"])
def test_a_missing_setting_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(name)
    with pytest.raises(SettingMissing, match=name):
        handler(event("health_exposed_key"), CONTEXT)
