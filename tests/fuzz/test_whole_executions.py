"""A sample of the hostile inputs and contents, through whole executions of the deployed stack."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest

from proofs.stack.outcomes import FIELDS, At
from proofs.stack.support import Ended, MachineUser, Stack
from proofs.stack.sweep import search, texts_of
from tests.fuzz.contents import CANARY, CONTENTS, Content
from tests.fuzz.requests import inputs
from tests.fuzz.support import LEGAL_NAME, PASTED_SECRET, assert_readable, sample

pytestmark = [pytest.mark.emulator, pytest.mark.slow, pytest.mark.xdist_group("fuzz")]

INPUTS = 60
# Nobody uses these users' secrets: the rotation backs itself out soon.
IMPATIENT = {"pickupTimeoutSeconds": 5}
# Beside the sample: what a sample of this size could miss.
ALWAYS: list[Any] = [
    None,
    [],
    5,
    "nobody",
    {"userName": "\ud800"},
    {"userName": "\x00"},
    {"userName": PASTED_SECRET},
    {"userName": "{% $states.context.Execution.Id %}"},
    {"userName": "nobody", "recovery": {"executionArn": "\ud800"}},
    {"userName": "nobody", "\ud800\n": 1},
]
THROUGH_EXECUTIONS = [
    "the_users_key",
    "another_users_key",
    "a_database_password",
    "an_id_that_is_a_list",
    "an_id_with_a_newline",
    "an_id_with_a_surrogate",
    "id_and_secret_mixed_up",
    "duplicate_keys",
    "an_array",
    "null",
    "nested_below_a_key",
    "nested_deeply",
    "the_longest_text",
    "an_expression",
    "bytes",
]
# How a rotation may end that starts from a content which it cannot go back to.
ENDS = {
    "RequestRejected": "REJECTED",
    "RotationBackedOut": "BACKED_OUT",
    "AttentionNeeded": "NEEDS_ATTENTION",
    "BackoutIncomplete": "NEEDS_ATTENTION",
}


def standard_json(value: Any) -> bool:
    """Whether AWS takes it as an input at all: no NaN, no Infinity."""
    if isinstance(value, dict):
        return all(standard_json(item) for item in value.values())
    if isinstance(value, list):
        return all(standard_json(item) for item in value)
    return not isinstance(value, float) or math.isfinite(value)


def everything(stack: Stack, users: list[str]) -> dict[str, Any]:
    """Users' keys and labels, and the names of all users and secrets."""
    secrets = stack.secrets.get_paginator("list_secrets").paginate(IncludePlannedDeletion=True)
    people = stack.iam.get_paginator("list_users").paginate()
    return {
        "users": sorted(user["UserName"] for page in people for user in page["Users"]),
        "secrets": sorted(item["Name"] for page in secrets for item in page["SecretList"]),
        "at": [At.now(stack, user) for user in users],
    }


def assert_contract(ended: Ended) -> None:
    """The result has the contract's shape, in words that a person can read."""
    told = f"{ended.arn} {ended.status} {ended.error} {ascii(ended.result)[:2000]}"
    assert ended.result.keys() >= FIELDS, told
    assert_readable(ended.result["reason"])
    name = ended.result["userName"]
    assert name is None or LEGAL_NAME.fullmatch(name), told


def start(stack: Stack, data: Any) -> str:
    started = stack.machines.start_execution(
        stateMachineArn=stack.rotate_arn, input=json.dumps(data)
    )
    return str(started["executionArn"])


class Hostile:
    """The users whose secrets hold what Keyturn did not write, each being rotated.

    The contents have the users' real secret access keys in them.
    """

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.other = stack.user()
        known = {content.name: content for content in CONTENTS}
        self.contents = [known[name] for name in THROUGH_EXECUTIONS]
        self.users = [self._user(content) for content in self.contents]
        self.arns = [stack.start(user.name, force=True, timing=IMPATIENT) for user in self.users]

    def _user(self, content: Content) -> MachineUser:
        user = self.stack.user(secret=False)
        value = content.of(user.access_key_id, self.other.access_key_id)
        secret = user.secret_access_key.get_secret_value()
        if isinstance(value, str):
            value = value.replace(CANARY, secret)
        else:
            value = value.replace(CANARY.encode(), secret.encode())
        kind = {"SecretString": value} if isinstance(value, str) else {"SecretBinary": value}
        self.stack.secrets.create_secret(Name=user.secret_name, **kind)
        return user

    def forget(self) -> None:
        """Delete these secrets: what searches all secrets understands Keyturn's own."""
        for user in self.users:
            self.stack.secrets.delete_secret(
                SecretId=user.secret_name, ForceDeleteWithoutRecovery=True
            )


@pytest.fixture(scope="module")
def hostile(stack: Stack) -> Iterator[Hostile]:
    """Started first, because they wait for consumers that never come."""
    hostile = Hostile(stack)
    yield hostile
    for arn in hostile.arns:
        stack.ended(arn)
    hostile.forget()


def test_any_input_ends_as_the_contract_says_and_changes_nothing(
    stack: Stack, hostile: Hostile
) -> None:
    plain = stack.user(managed=False)
    doomed = stack.user()
    stack.secrets.delete_secret(SecretId=doomed.secret_name, RecoveryWindowInDays=7)
    names = [plain.name, doomed.name, "nobody", "A_z+=,.@-9"]
    strategy = inputs(names, [plain.access_key_id, "AKIA0000000000EXAMPLE"])
    drawn = [data for data in sample(strategy, 2 * INPUTS) if standard_json(data)][:INPUTS]
    assert len(drawn) == INPUTS
    drawn += ALWAYS
    before = everything(stack, [plain.name])
    arns = [start(stack, data) for data in drawn]
    ends = []
    for arn, data in zip(arns, drawn, strict=True):
        ended = stack.ended(arn)
        try:
            assert_contract(ended)
            if ended.status == "SUCCEEDED":
                assert ended.result["outcome"] == "SKIPPED"
            else:
                assert (ended.error, ended.result["outcome"]) == ("RequestRejected", "REJECTED"), (
                    ended.result["reason"]
                )
        except AssertionError as error:
            error.add_note(f"with the input {ascii(data)[:500]}")
            raise
        ends.append(ended.error)
    assert everything(stack, [plain.name]) == before
    assert ends.count("RequestRejected") > INPUTS / 2
    stack.secrets.restore_secret(SecretId=doomed.secret_name)


def test_any_content_ends_as_the_contract_says_and_is_told_to_nobody(
    stack: Stack, hostile: Hostile
) -> None:
    for content, user, arn in zip(hostile.contents, hostile.users, hostile.arns, strict=True):
        ended = stack.ended(arn)
        try:
            assert_contract(ended)
            assert ended.status == "FAILED"
            assert ENDS.get(str(ended.error)) == ended.result["outcome"]
            # Whatever became of the secret: the key that the user had still works.
            assert stack.keys(user.name)[user.access_key_id] == "Active"
        except AssertionError as error:
            error.add_note(f"with the content {content.name}: {ascii(ended.result)[:1000]}")
            raise
    # What it understood it goes back to.
    first = hostile.users[THROUGH_EXECUTIONS.index("the_users_key")]
    assert stack.current_key(first.name) == first.access_key_id
    secrets = [user.secret_access_key.get_secret_value() for user in hostile.users]
    assert not search(texts_of(stack.aws, stack.inbox), secrets).finds
