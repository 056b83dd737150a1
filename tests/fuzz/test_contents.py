"""Anything in the user's secret: a decision in words, and its content is told to nobody."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.model.errors import KeyturnError, UnexpectedFailure
from tests.fuzz.contents import CANARY, CONTENTS, Content, contents
from tests.fuzz.support import (
    assert_nowhere,
    assert_only_looked,
    assert_rejection,
    assert_sendable,
    examples,
)
from tests.integration.account import PREFIX, Account, Execution, MadeKey

# The steps that a start goes through before it waits.
ISSUE = ("issue_new_key", "prove_new_key", "publish_new_key", "check_pickup")
USERS_KEY = Content("key", json.dumps({"AccessKeyId": "{key}", "SecretAccessKey": CANARY}))
# What is current, what is pending, and what is asked for.
WAYS: list[tuple[str, str, dict[str, str]]] = [
    ("content", "", {}),
    ("content", "content", {}),
    ("key", "content", {"action": "BACK_OUT"}),
]


class Bench:
    """An account in which every example has a user of its own."""

    def __init__(self, account: Account, logged: io.StringIO) -> None:
        self.account = account
        self.logged = logged
        self.numbers = itertools.count()
        account.user("other")
        self.other = account.key("other")

    def user(self, current: Content, pending: Content | None = None) -> tuple[str, MadeKey]:
        """A managed user with an old key, whose secret holds these contents."""
        name = f"u{next(self.numbers)}"
        self.account.user(name)
        key = self.account.key(name)
        self.account.used(key.id, datetime.now(UTC) - timedelta(hours=1))
        secret = self.account.secret(name)
        for content, label in ((current, "AWSCURRENT"), (pending, "AWSPENDING")):
            if content is not None:
                version = f"{name}-{label}".ljust(40, "0")
                value = content.of(key.id, self.other.id)
                self.account.version(secret, value, version_id=version, label=label)
        return name, key

    def state(self, user: str) -> Any:
        """Keys, labels and tags of a user."""
        described = self.account.secrets.describe_secret(SecretId=PREFIX + user)
        return (
            self.account.statuses(user),
            self.account.labels(PREFIX + user),
            described.get("Tags"),
        )

    def way(self, content: Content, current: str, pending: str, fields: dict[str, str]) -> str:
        """Go one of `WAYS` with a content; returns the first following."""
        known = {"content": content, "key": USERS_KEY}
        user, key = self.user(known[current], known.get(pending))
        return self.goes_through(user, key, **fields)

    def goes_through(self, user: str, key: MadeKey, **fields: Any) -> str:
        """Run a request as far as it goes without waiting; returns the first following."""
        before = self.state(user)
        execution = self.account.execution(userName=user, **fields)
        self.account.wire.forget()
        said = [execution.call("check_request")]
        assert_only_looked(self.account)
        assert_sendable(said[0])
        following = str(said[0]["next"])
        if following == "REJECTED":
            assert_rejection(said[0])
        if following in ("REJECTED", "SKIP"):
            assert self.state(user) == before
        else:
            said += self._steps(execution, ISSUE if following == "ISSUE" else ("take_over",))
            self._nothing_is_lost(user, key, before)
        secrets = (CANARY, key.secret, self.other.secret)
        assert_nowhere(secrets, json.dumps(said), self.logged.getvalue())
        return following

    def _steps(self, execution: Execution, steps: Sequence[str]) -> list[dict[str, Any]]:
        """What each step answered; the last one may refuse, but never by a defect."""
        said: list[dict[str, Any]] = []
        refused: KeyturnError | None = None
        for step in steps:
            if step == "check_pickup" and said[-1]["next"] != "WAIT":
                break  # a first key, or an exposed one: nobody to wait for
            try:
                said.append(execution.call(step))
            except KeyturnError as error:
                refused = error
                break
        assert not isinstance(refused, UnexpectedFailure), str(refused)
        return [*said, {"refused": str(refused)}]

    def _nothing_is_lost(self, user: str, key: MadeKey, before: Any) -> None:
        """What was in AWSCURRENT is still labelled, the user's key is active."""
        statuses, labels, _ = self.state(user)
        assert statuses[key.id] == "Active"
        assert before[1]["AWSCURRENT"] in (
            labels.get("AWSCURRENT"),
            labels.get("BACKOUT"),
            labels.get("AWSPREVIOUS"),
        )


@pytest.fixture
def bench(account: Account, logged: io.StringIO) -> Bench:
    return Bench(account, logged)


def test_every_known_content_is_decided(bench: Bench) -> None:
    """Current and pending; to rotate, and to back out."""
    for content in CONTENTS:
        try:
            answers = [bench.way(content, *way) for way in WAYS]
            assert set(answers) <= {"ISSUE", "REJECTED", "SKIP"}
            if content.name.startswith("the_users_key"):
                assert answers[0] == "ISSUE"
        except BaseException as error:
            error.add_note(f"with the content {content.name}")
            raise


def test_any_content_is_decided(bench: Bench) -> None:
    answers: set[str] = set()

    @examples(60)
    @given(contents, st.none() | contents, st.sampled_from(["", "force", "emergency"]))
    def check(current: Content, pending: Content | None, how: str) -> None:
        user, key = bench.user(current, pending)
        fields: dict[str, dict[str, Any]] = {
            "": {},
            "force": {"force": True},
            "emergency": {"mode": "EMERGENCY", "accessKeyId": key.id},
        }
        answers.add(bench.goes_through(user, key, **fields[how]))

    check()
    assert {"ISSUE", "REJECTED"} <= answers
