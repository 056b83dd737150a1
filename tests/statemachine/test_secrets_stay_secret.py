"""The sweep for leaked secrets finds what there is to find; the `stack` fixture runs it at the end.

Every scenario of a test process shares one stack. When the process is done, the fixture searches
the histories, inputs and outputs of all executions, all logs, events, notifications, descriptions
and tags for every secret access key that there ever was.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from secrets import token_urlsafe
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proofs.stack.support import Stack, eventually
from proofs.stack.sweep import Swept, Text, search, secrets_of, texts_of

pytestmark = [pytest.mark.emulator, pytest.mark.xdist_group("secrets")]

MADE_UP = "kd/83+JDLKJlkjasd83hfsl/fsdkjhsdf83hls+4"


@pytest.mark.parametrize(
    "text",
    [
        MADE_UP,
        f"The key is {MADE_UP}.",
        json.dumps({"Cause": json.dumps({"errorMessage": f"bad value {MADE_UP}"})}),
        f"https://example.com/?key={quote(MADE_UP, safe='')}",
        base64.b64encode(MADE_UP.encode()).decode(),
    ],
)
def test_the_search_knows_a_secret_when_it_sees_one(text: str) -> None:
    texts = [Text("log:clean", "nothing"), Text("log:dirty", text)]
    assert search(texts, [MADE_UP]).finds == ("log:dirty",)


def test_the_search_does_not_cry_wolf() -> None:
    swept = search([Text("log:clean", MADE_UP[:-1]), Text("event:x", "{}")], [MADE_UP])
    assert swept.finds == ()
    assert swept.texts == {"log": 1, "event": 1}


@given(
    secrets=st.sets(st.text("ab/", max_size=6), max_size=8),
    text=st.text("ab/ c", max_size=40),
)
@example(secrets={"ab", "abb/"}, text="c abb/")
@example(secrets=set(), text="ab")
def test_the_search_finds_what_looking_for_each_secret_would_find(
    secrets: set[str], text: str
) -> None:
    """Secrets of different lengths that overlap, begin alike, and lie at the ends of a text."""
    texts = [Text("log:x", text)]
    found = bool(search(texts, secrets).finds)
    assert found == any(search(texts, [secret]).finds for secret in secrets)
    assert found or not any(secret and secret in text for secret in secrets)


def test_keys_of_every_version_are_searched_for(stack: Stack) -> None:
    """Also of versions without any label, and of keys that IAM has forgotten."""
    user = stack.user()
    first = user.secret_access_key.get_secret_value()
    for number in range(3):
        stack.secrets.put_secret_value(
            SecretId=user.secret_name,
            SecretString=json.dumps({"AccessKeyId": "A", "SecretAccessKey": f"{number}" * 40}),
        )
    wanted = secrets_of(stack.aws)
    assert {first, "0" * 40, "1" * 40, "2" * 40} <= wanted


def in_a_log(stack: Stack, planted: str) -> str:
    logs = stack.aws.client("logs")
    name = f"/aws/lambda/planted-{token_urlsafe(6)}"
    logs.create_log_group(logGroupName=name)
    logs.create_log_stream(logGroupName=name, logStreamName="s")
    logs.put_log_events(
        logGroupName=name,
        logStreamName="s",
        logEvents=[{"timestamp": 1_800_000_000_000, "message": f"oops: {planted}"}],
    )
    return f"log:{name}"


def in_an_execution(stack: Stack, planted: str) -> str:
    arn = stack.start("u-nobody", reason=planted)
    stack.ended(arn)
    return f"execution:{arn}"


def in_a_history(stack: Stack, planted: str) -> str:
    arn = stack.start("u-nobody", reason=planted)
    stack.ended(arn)
    return f"history:{arn}"


def in_an_event(stack: Stack, planted: str) -> str:
    detail = json.dumps({"reason": planted, "executionArn": ""})
    entry = {"Source": "keyturn", "DetailType": "Planted", "Detail": detail}
    stack.aws.client("events").put_events(Entries=[entry])
    eventually(lambda: any(planted in json.dumps(event) for event in stack.inbox.events()))
    return "event:Planted"


def in_a_notification(stack: Stack, planted: str) -> str:
    stack.aws.client("sns").publish(
        TopicArn=stack.outputs["NotificationTopicArn"], Subject="Planted", Message=planted
    )
    eventually(lambda: any(planted in item["Message"] for item in stack.inbox.notifications()))
    return "notification:Planted"


def in_a_tag(stack: Stack, planted: str) -> str:
    user = stack.user()
    stack.secrets.tag_resource(SecretId=user.secret_name, Tags=[{"Key": "note", "Value": planted}])
    return f"secret:{user.secret_name}"


PLANTS = [in_a_log, in_an_execution, in_a_history, in_an_event, in_a_notification, in_a_tag]


@dataclass(frozen=True)
class Found:
    """Where made-up secrets were put, and what one sweep found of them and of the real ones."""

    places: dict[str, str]
    planted: Swept
    real: Swept


@pytest.fixture(scope="module")
def found(stack: Stack) -> Found:
    """One sweep, which is dear, that has seen something of every kind."""
    user = stack.user(key=False)
    ended = stack.rotate(user.name, reason="for the sweep")
    assert ended.result["outcome"] == "ISSUED"
    assert stack.inbox.told(ended.arn)
    value = json.loads(stack.secrets.get_secret_value(SecretId=user.secret_name)["SecretString"])
    made_up = {plant.__name__: token_urlsafe(40) for plant in PLANTS}
    places = {plant.__name__: plant(stack, made_up[plant.__name__]) for plant in PLANTS}
    texts = [*texts_of(stack.aws, stack.inbox)]
    real = secrets_of(stack.aws)
    assert value["SecretAccessKey"] in real
    return Found(places, search(texts, made_up.values()), search(texts, real))


def test_nothing_leaks(found: Found) -> None:
    """What Keyturn made itself is in Secrets Manager alone."""
    kinds = {"execution", "history", "log", "event", "notification", "secret"}
    assert kinds <= set(found.real.texts)
    assert found.real.finds == ()


@pytest.mark.parametrize("plant", [plant.__name__ for plant in PLANTS])
def test_a_planted_secret_is_found(found: Found, plant: str) -> None:
    """The sweep can fail, in every place that it looks at."""
    assert found.places[plant] in found.planted.finds
