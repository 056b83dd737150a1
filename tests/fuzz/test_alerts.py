"""Any event for Start Rotation: no error, no look at what it should not see, no harm.

An error would deliver the event again, and then keep it in a queue with an alarm: whoever can put
an odd name into a finding could call people out of bed with it.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import boto3
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keyturn.alerts.reading import MOST_ALERTS
from keyturn.handlers.events.start_rotation import handler
from keyturn.model.request import parse_rotate_request
from proofs.stack.sweep import KEY_ID
from tests.fuzz.support import (
    PASTED_SECRET,
    assert_nowhere,
    examples,
    json_values,
    mutated,
    nested,
    texts,
    world,
)
from tests.integration.account import CONTEXT, Account

EVENTS = Path(__file__).parent.parent.parent / "events"
SAMPLES = [
    "security_hub_iam3",
    "config_access_keys_rotated",
    "health_exposed_key",
    "guardduty_iam_user",
]
# What may be called: looks without plaintext, a start, a word to people.
ALLOWED = {
    "DescribeSecret",
    "GetAccessKeyLastUsed",
    "GetUser",
    "ListUsers",
    "Publish",
    "StartExecution",
}


def load(name: str, user: str, key_id: str) -> dict[str, Any]:
    """A sample about a user and a key."""
    text = (EVENTS / f"{name}.json").read_text()
    text = text.replace("ci-deployer", user).replace("AKIAIOSFODNN7EXAMPLE", key_id)
    if user == "ci":  # AWS Config may name a user by its name; all others by their ids
        text = text.replace("AIDACKCEVSQ6C2EXAMPLE", user)
    found: dict[str, Any] = json.loads(text)
    return found


def deep(value: Any) -> st.SearchStrategy[Any]:
    """A sample with any one place in it replaced by anything."""
    places = list(_places(value))

    def put(place: tuple[str | int, ...], other: Any) -> Any:
        found = json.loads(json.dumps(value))
        inner = found
        for step in place[:-1]:
            inner = inner[step]
        inner[place[-1]] = other
        return found

    return st.builds(put, st.sampled_from(places), st.one_of(json_values, texts))


def _places(value: Any, path: tuple[str | int, ...] = ()) -> Any:
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for name, inner in items:
        yield (*path, name)
        yield from _places(inner, (*path, name))


@pytest.fixture(params=["NOTIFY", "ROTATE", "EMERGENCY"])
def action(
    account: Account, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> str:
    """A stack's topic and state machine, and what GuardDutyAction says."""
    arn = boto3.client("sns").create_topic(Name="people")["TopicArn"]
    monkeypatch.setenv("NOTIFICATION_TOPIC_ARN", arn)
    monkeypatch.setenv("ROTATE_KEY_STATE_MACHINE_ARN", account.machine_arn)
    monkeypatch.setenv("GUARD_DUTY_ACTION", request.param)
    return str(request.param)


def test_no_event_does_harm(account: Account, action: str, logged: io.StringIO) -> None:
    """A managed user `ci` and an unmanaged one `person` are there to be hurt."""
    key = account.rotatable()
    account.user("person", managed=False)
    foreign = account.key("person")
    before = world(account)
    named = [
        load(name, *subject)
        for name in SAMPLES
        for subject in (("ci", key.id), ("person", foreign.id), ("nobody", "AKIA" + "X" * 16))
    ]
    events = st.one_of(
        st.sampled_from(named),
        st.sampled_from(named).flatmap(deep),
        mutated(st.sampled_from(named)),
        json_values,
    )
    seen: set[str] = set()

    @examples(200)
    @given(events)
    @example({"source": "aws.health", "detail-type": "AWS Health Event", "detail": nested(50)})
    @example({**named[6], "time": "9999-12-31T23:59:59-23:59"})
    @example({**named[6], "time": "0001-01-01T00:00:00+23:59"})
    @example({**named[6], "detail": {**named[6]["detail"], "affectedEntities": ["x" * 999] * 999}})
    @example({**named[9], "detail": {**named[9]["detail"], "severity": 10**400}})
    @example({**named[9], "detail": {**named[9]["detail"], "severity": float("nan")}})
    @example({**named[9], "detail": {**named[9]["detail"], "title": PASTED_SECRET}})
    def check(event: Any) -> None:
        account.wire.forget()
        answer = handler(json.loads(json.dumps(event)), CONTEXT)
        assert answer.keys() == {"alerts", "started", "problems"}
        assert set(account.wire.operations) <= ALLOWED
        assert len(account.wire.operations) <= 5 * MOST_ALERTS
        for name, params in account.wire.calls:
            if name == "StartExecution":
                assert_is_for_ci(params, key.id, emergency=event["source"] == "aws.health")
            elif name == "Publish":
                assert_is_a_message(params)
            seen.add(name)
        assert_nowhere([PASTED_SECRET, key.secret], logged.getvalue())
        assert not KEY_ID.search(logged.getvalue())
        logged.truncate(0)

    def assert_is_for_ci(start: dict[str, Any], key_id: str, *, emergency: bool) -> None:
        request = parse_rotate_request(json.loads(start["input"]))
        assert request.user_name == "ci"
        assert (request.action, request.force) == ("ROTATE", False)
        if request.mode == "EMERGENCY":
            assert emergency or action == "EMERGENCY"
        if emergency:
            assert request.access_key_id == key_id
        assert len(start["name"]) <= 80
        assert start["name"].replace("-", "").isalnum()

    check()
    assert world(account) == before
    assert seen == ALLOWED


def assert_is_a_message(sent: dict[str, Any]) -> None:
    """SNS accepts it, and it shows people no whole key id and nothing unprintable."""
    subject, message = sent["Subject"], sent["Message"]
    assert subject.isascii()
    assert subject.isprintable()
    assert 0 < len(subject) <= 100
    assert len(message.encode()) < 10_000
    assert message.replace("\n", "").isprintable()
    assert not KEY_ID.search(subject + message)
    assert "\nNext: " in message
    assert_nowhere([PASTED_SECRET], subject, message)
