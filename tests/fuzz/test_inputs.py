"""Any JSON as an execution's input: a decision or one readable sentence, and nothing changed."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import example, given
from pydantic import BaseModel

from keyturn.model.errors import RequestRejected
from keyturn.model.request import TimingRequest, parse_retire_request, parse_rotate_request
from tests.fuzz.requests import KEY_ID, SECONDS, inputs, retire_requests, rotate_requests
from tests.fuzz.support import (
    LEGAL_NAME,
    PASTED_SECRET,
    assert_nowhere,
    assert_only_looked,
    assert_readable,
    assert_rejection,
    assert_sendable,
    examples,
    json_values,
    mutated,
    nested,
    world,
)
from tests.integration.account import Account, MadeKey

USERS = ("ci", "A_z+=.@-9", "with,comma", "plain", "nobody", "x" * 64)


def numbers_in(model: BaseModel) -> list[Any]:
    """Every duration that a parsed request holds."""
    return [value for value in model.model_dump().values() if value is not None]


@examples(400)
@given(inputs(USERS))
@example(10**400)
@example(float("nan"))
@example({"userName": "ci\n"})
@example({"userName": "ci", "timing": {"watchSeconds": 10**400}})
@example({"userName": "ci", "timing": {"watchSeconds": float("nan")}})
@example({"userName": "ci", "reason": "\ud800"})
@example({"userName": "\ud800"})
@example({"userName": "ci", "\ud800": 1})
@example({"userName": "ci", "timing": nested(300)})
@example({"userName": PASTED_SECRET})
def test_an_input_is_parsed_strictly_or_refused_in_one_sentence(data: Any) -> None:
    try:
        request = parse_rotate_request(data)
    except RequestRejected as refused:
        assert_readable(str(refused))
        return
    assert isinstance(data, dict)
    assert request.user_name is None or LEGAL_NAME.fullmatch(request.user_name)
    assert request.user_name == data.get("userName")
    assert request.access_key_id == data.get("accessKeyId")
    assert request.user_name or request.access_key_id
    assert request.force is data.get("force", False)
    for seconds in numbers_in(request.timing):
        assert type(seconds) is int
        assert 0 <= seconds <= 31_536_000


@examples(150)
@given(rotate_requests(USERS[:4]))
def test_every_valid_input_is_accepted_as_it_is(data: dict[str, Any]) -> None:
    request = parse_rotate_request(data)
    back = request.model_dump(by_alias=True, exclude_unset=True, mode="json")
    assert back == data


@examples(200)
@given(mutated(retire_requests) | json_values)
@example({"userName": "ci", "oldAccessKeyId": KEY_ID, "versionId": "\n" * 32})
def test_the_input_of_a_retirement_is_parsed_as_strictly(data: Any) -> None:
    try:
        request = parse_retire_request(data)
    except RequestRejected as refused:
        assert_readable(str(refused))
        return
    assert request.model_dump(by_alias=True) == data
    assert LEGAL_NAME.fullmatch(request.user_name)


def test_every_duration_of_the_contract_is_fuzzed() -> None:
    """This module would otherwise pass without the fields that it is about."""
    fields = TimingRequest.model_fields.values()
    assert {field.alias for field in fields} == set(SECONDS)


@pytest.fixture
def peopled(account: Account) -> list[MadeKey]:
    """An account of users: two to rotate, one with a comma, one that is not managed."""
    keys = [account.rotatable("ci"), account.rotatable("A_z+=.@-9")]
    account.user("with,comma")
    keys.append(account.key("with,comma"))
    account.user("plain", managed=False)
    keys.append(account.key("plain"))
    return keys


def test_check_request_answers_any_input_and_changes_nothing(
    account: Account, peopled: list[MadeKey], logged: io.StringIO
) -> None:
    before = world(account)
    secrets = [key.secret for key in peopled]
    answers: set[str] = set()

    @examples(220)
    @given(inputs(USERS, [key.id for key in peopled] + [KEY_ID]))
    @example({"userName": "\ud800"})
    @example({"userName": "\x00"})
    @example({"userName": PASTED_SECRET})
    @example({"userName": "ci", "recovery": "\ud800"})
    @example({"recovery": {"executionArn": "\ud800\x00" * 20}})
    @example({"userName": "x" * 300, "recovery": {"executionArn": ["a"]}})
    def check(data: Any) -> None:
        execution = account.execution()
        execution.input = data
        account.wire.forget()
        answer = execution.call("check_request")
        assert_only_looked(account)
        assert_sendable(answer)
        if answer["next"] == "REJECTED":
            assert_rejection(answer)
        else:
            assert answer["next"] in ("ISSUE", "SKIP"), answer["next"]
            assert answer["rotation"]["userName"] in ("ci", "A_z+=.@-9")
        answers.add(answer["next"])
        assert_nowhere(secrets, repr(answer), logged.getvalue())
        assert_nowhere([PASTED_SECRET], logged.getvalue())

    check()
    assert world(account) == before
    assert answers == {"REJECTED", "ISSUE", "SKIP"}
