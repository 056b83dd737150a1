"""Any event for Start Back-Out: a back-out of our own execution, a word to a person, or an error.

An error sends the event to the dead-letter queue, so it has to be one that says so: not a hang, not
a call to IAM or Secrets Manager, and not an execution for somebody else's ARN.
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

from keyturn.alerts.recovering import MAX_GENERATIONS
from keyturn.handlers.events.start_back_out import handler
from keyturn.model.errors import AwsRefused, UnexpectedFailure
from keyturn.model.identifiers import recovery_name
from keyturn.model.outcomes import DECIDED
from tests.fuzz.requests import inputs, rotate_requests
from tests.fuzz.support import (
    LEGAL_NAME,
    PASTED_SECRET,
    assert_nowhere,
    assert_only_looked,
    assert_rejection,
    assert_sendable,
    examples,
    json_values,
    mutated,
    nested,
    texts,
    world,
)
from tests.integration.account import CONTEXT, Account, Execution

SAMPLE = Path(__file__).parent.parent.parent / "events" / "execution_aborted.json"
OUR_PREFIX = "arn:aws:states:us-east-1:123456789012:execution:rotate:"
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:rotate"
FOREIGN = [
    "arn:aws:states:us-east-1:123456789012:execution:other:dead",
    "arn:aws:states:us-east-1:123456789012:execution:rotate2:dead",
    "arn:aws:states:eu-west-1:123456789012:execution:rotate:dead",
    "arn:aws:states:us-east-1:999999999999:execution:rotate:dead",
    "arn:aws-cn:states:us-east-1:123456789012:execution:rotate:dead",
    "arn:aws:states:us-east-1:123456789012:express:rotate:dead",
    "arn:aws:iam::123456789012:user/ci",
    MACHINE,
]
# What the design lets an event end in: delivered again, and then the dead-letter queue.
TO_THE_DEAD_LETTERS = (UnexpectedFailure, AwsRefused)


def aborted(**detail: Any) -> dict[str, Any]:
    """The event that EventBridge sends, about an execution of ours."""
    event: dict[str, Any] = json.loads(SAMPLE.read_text())
    arn = OUR_PREFIX + "dead"
    event["detail"] |= {"executionArn": arn, "stateMachineArn": MACHINE, "name": "dead"} | detail
    return event


def as_text(value: Any) -> str:
    """An execution's input, as the event carries it."""
    return json.dumps(value)


input_texts = st.one_of(
    st.none(),
    texts,
    inputs(("ci", "nobody")).map(as_text),
    rotate_requests().map(as_text),
    st.sampled_from(
        [
            "[" * 5000,
            "[" * 900 + "]" * 900,
            '{"userName": "a", "userName": "ci"}',
            '{"userName": ' + "1" * 5000 + "}",
            as_text({"userName": "x" * 200_000}),
            as_text({"userName": "ci", "recovery": {"executionArn": "x" * 100_000}}),
            as_text({"userName": "ci", "recovery": {"generation": 10**400}}),
            '{"userName": "ci", "recovery": {"generation": NaN}}',
        ]
    ),
)
arns = st.one_of(
    st.just(OUR_PREFIX + "dead"),
    st.text(min_size=1, max_size=20).map(OUR_PREFIX.__add__),
    st.sampled_from(FOREIGN),
    texts,
    json_values,
)
details = st.fixed_dictionaries(
    {
        "executionArn": arns,
        "input": input_texts,
        "status": st.sampled_from(["ABORTED", "TIMED_OUT", "FAILED", "RUNNING", "", None]),
        "error": st.one_of(st.none(), st.sampled_from(sorted(DECIDED)), json_values),
    }
)
events = st.one_of(
    details.map(lambda detail: aborted(**detail)),
    mutated(details.map(lambda detail: aborted(**detail))),
    mutated(st.just(aborted(input='{"userName": "ci"}'))),
    json_values,
)


@pytest.fixture
def topic(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack's topic and state machine, and a user that could be rotated."""
    account.rotatable()
    arn = boto3.client("sns").create_topic(Name="people")["TopicArn"]
    monkeypatch.setenv("NOTIFICATION_TOPIC_ARN", arn)
    monkeypatch.setenv("ROTATE_KEY_STATE_MACHINE_ARN", account.machine_arn)
    assert account.machine_arn == MACHINE


def started(account: Account) -> list[dict[str, Any]]:
    return [params for name, params in account.wire.calls if name == "StartExecution"]


def deliver(account: Account, event: Any) -> dict[str, Any] | None:
    """What the handler answers, or None when the event goes to the dead-letter queue."""
    account.wire.forget()
    answer: dict[str, Any] | None = None
    problem = ""
    try:
        answer = handler(json.loads(json.dumps(event)), CONTEXT)
    except TO_THE_DEAD_LETTERS as error:
        problem = str(error)
    assert PASTED_SECRET not in problem
    assert len(problem) < 2000
    return answer


def test_no_event_starts_more_than_one_back_out_of_our_own_execution(
    account: Account, topic: None, logged: io.StringIO
) -> None:
    before = world(account)
    ends: set[str] = set()

    @examples(250)
    @given(events)
    @example({"detail": {"executionArn": ["a"], "input": '{"userName": "ci"}'}})
    @example({"detail": {"executionArn": OUR_PREFIX + "dead", "input": {"userName": "ci"}}})
    @example({"detail": {"executionArn": OUR_PREFIX + "dead", "input": nested(50)}})
    @example(aborted(error=["RotationFailed"], input='{"userName": "ci"}'))
    @example(aborted(input="[" * 5000))
    def check(event: Any) -> None:
        answer = deliver(account, event)
        assert set(account.wire.operations) <= {"StartExecution", "Publish"}
        assert len(account.wire.operations) <= 1
        for start in started(account):
            dead = event["detail"]["executionArn"]
            assert dead.startswith(OUR_PREFIX), ascii(dead)[:200]
            assert start["stateMachineArn"] == MACHINE
            assert start["name"] == recovery_name(dead)
            given_back = json.loads(start["input"])
            assert given_back["action"] == "BACK_OUT"
            assert given_back["recovery"]["executionArn"] == dead
            assert given_back["recovery"]["generation"] <= MAX_GENERATIONS
        if answer is None:
            ends.add("dead letter")
        else:
            assert answer.keys() == {"started", "why"}
            assert answer["started"] in (True, False)
            assert answer["started"] <= bool(started(account))
            ends.add("Publish" if "Publish" in account.wire.operations else str(answer["started"]))
        assert_nowhere([PASTED_SECRET], logged.getvalue())

    check()
    assert world(account) == before
    assert ends == {"dead letter", "Publish", "True", "False"}


@pytest.mark.parametrize("foreign", FOREIGN)
def test_nothing_is_started_for_an_execution_of_another_machine(
    account: Account, topic: None, foreign: str
) -> None:
    given_input = '{"userName": "ci"}'
    for machine in (MACHINE, foreign.replace(":execution:", ":stateMachine:").rsplit(":", 1)[0]):
        deliver(account, aborted(executionArn=foreign, stateMachineArn=machine, input=given_input))
        assert started(account) == []


def test_whatever_is_started_is_a_request_that_check_request_answers(
    account: Account, topic: None
) -> None:
    """The chain's next link: what the rule hands on from a hostile input is decided or refused."""
    before = world(account)
    checked = 0

    @examples(120)
    @given(input_texts)
    def check(text: str | None) -> None:
        nonlocal checked
        deliver(account, aborted(input=text))
        for start in started(account):
            execution = Execution(OUR_PREFIX + start["name"], json.loads(start["input"]))
            account.wire.forget()
            answer = execution.call("check_request")
            checked += 1
            assert_only_looked(account)
            assert_sendable(answer)
            if answer["next"] == "REJECTED":
                assert_rejection(answer)
                assert answer["announcement"], "nobody waits for a recovery: somebody must be told"
            else:
                assert answer["next"] == "SKIP", answer["next"]
                assert LEGAL_NAME.fullmatch(answer["rotation"]["userName"])

    check()
    assert world(account) == before
    assert checked > 20
