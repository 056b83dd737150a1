"""What the fuzz tests share: how many examples, values that hurt, and what an answer must be.

The examples are the same in every run. `FUZZ_FACTOR=20 pytest tests/fuzz` looks further: twenty
times as many, and other ones each time.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.integration.account import Account

T = TypeVar("T")

FACTOR = int(os.environ.get("FUZZ_FACTOR", "1"))
LEGAL_NAME = re.compile(r"[A-Za-z0-9_+=,.@-]{1,64}")
# Operations that only look.
LOOKS = re.compile(r"(Get|List|Describe)[A-Z]\w+")
# What a person could paste into the wrong field; it must come back nowhere.
PASTED_SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
LONGEST_REASON = 600

# The account is the same for all examples on purpose: none of them may change it.
_ON_PURPOSE = [
    HealthCheck.function_scoped_fixture,
    HealthCheck.too_slow,
    HealthCheck.data_too_large,
]


def examples(count: int) -> settings:
    """Settings for a number of examples, the same ones in every run."""
    return settings(
        max_examples=count * FACTOR,
        derandomize=FACTOR == 1,
        database=None,
        deadline=None,
        suppress_health_check=_ON_PURPOSE,
        print_blob=False,
    )


def sample(strategy: st.SearchStrategy[T], count: int) -> list[T]:
    """Draw values, for tests that use many at once."""
    drawn: list[T] = []

    @settings(examples(count), phases=[Phase.generate])
    @given(strategy)
    def draw(value: T) -> None:
        drawn.append(value)

    draw()
    return drawn


# Values

NASTY_TEXTS = [
    "",
    " ",
    "\n",
    "\x00",
    "\x1b[31m",
    "\u202e",
    "\ud800",
    "\udfff\ud800",
    "\U0001f511",
    "e\u0301",
    "ci\n",
    "ci ",
    "CI",
    "\u0441\u0456",  # Cyrillic
    "ci,",
    "ci/../other",
    "machine-user/ci",
    "arn:aws:iam::123456789012:user/ci",
    "123",
    "1e3",
    "NaN",
    "true",
    "null",
    "{}",
    "{% $states.context.Execution.Id %}",
    "{% $states.input %}",
    "{% $error('x') %}",
    "${RotateKeyStateMachineArn}",
    "$states.input",
    "AKIAIOSFODNN7EXAMPLE\n",
    "akiaiosfodnn7example",
    "ASIAIOSFODNN7EXAMPLE",
    PASTED_SECRET,
    "a" * 65,
    "x" * 5000,
    "A" * 129,
]

texts = st.one_of(
    st.sampled_from(NASTY_TEXTS),
    st.text(alphabet=st.characters(), max_size=80),  # with lone surrogates
    st.text(alphabet="Aa0_+=,.@-/ \n\x00{%}$", max_size=70),
)
numbers = st.one_of(
    st.integers(),
    st.sampled_from([-1, 0, 1, 31_536_000, 31_536_001, 2**31, 2**63, 2**64, -(2**63), 10**400]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -0.0, 1.0, 1.5, 1e300, float("nan"), float("inf")]),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)


def nested(depth: int) -> Any:
    """A list in a list in a list."""
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


json_values = st.one_of(
    st.recursive(
        scalars,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)
        ),
        max_leaves=12,
    ),
    st.sampled_from([nested(100), {"a": nested(50)}, ["x"] * 500, {"x" * 300: 1}]),
)


@st.composite
def mutated(draw: st.DrawFn, valid: st.SearchStrategy[dict[str, Any]]) -> Any:
    """An almost right object: one to three things about a valid one are wrong."""
    value = json.loads(json.dumps(draw(valid)))
    for _ in range(draw(st.integers(1, 3))):
        value = _mutation(draw, value)
    return value


def _mutation(draw: st.DrawFn, value: Any) -> Any:
    if not isinstance(value, dict) or not value:
        return draw(json_values)
    name = draw(st.sampled_from(sorted(value)))
    match draw(st.sampled_from(["replace", "delete", "add", "rename", "wrap", "text", "deeper"])):
        case "replace":
            return value | {name: draw(json_values)}
        case "delete":
            return {key: item for key, item in value.items() if key != name}
        case "add":
            return value | {draw(texts): draw(json_values)}
        case "rename":
            other = draw(st.sampled_from([name.upper(), name.lower(), f"{name} ", f"{name}\n"]))
            return {other if key == name else key: item for key, item in value.items()}
        case "wrap":
            return value | {name: draw(st.sampled_from([[value[name]], {name: value[name]}]))}
        case "text":
            return value | {name: str(value[name])}
        case _:
            return value | {name: _mutation(draw, value[name])}


# What an answer must be


def assert_readable(reason: object) -> None:
    """A reason is one line of text for people, of two words at least."""
    assert isinstance(reason, str)
    assert " " in reason.strip(), ascii(reason)
    assert len(reason) <= LONGEST_REASON, len(reason)
    assert reason.isprintable(), ascii(reason)
    assert PASTED_SECRET not in reason


def assert_sendable(answer: dict[str, Any]) -> None:
    """Lambda can send it (UTF-8, standard JSON), and SNS takes the announcement."""
    json.dumps(answer, ensure_ascii=False, allow_nan=False).encode()
    announcement = answer.get("announcement")
    if announcement:
        subject = announcement["subject"]
        assert subject.isascii() and subject.isprintable() and 0 < len(subject) <= 100  # noqa: PT018
        assert 0 < len(announcement["message"].encode()) < 200_000


def assert_rejection(answer: dict[str, Any]) -> None:
    """A rejection has the contract's result; of the input it repeats a legal user name at most."""
    result = answer["result"]
    assert result["outcome"] == "REJECTED"
    assert_readable(result["reason"])
    name = result["userName"]
    assert name is None or LEGAL_NAME.fullmatch(name), ascii(name)


def assert_only_looked(account: Account) -> None:
    """No call of the code under test could have changed anything."""
    changing = [name for name in account.wire.operations if not LOOKS.fullmatch(name)]
    assert changing == []


def assert_nowhere(needles: Iterable[str], *haystacks: str) -> None:
    """None of the secrets is in any of the texts; the message does not show them."""
    for number, needle in enumerate(needles):
        found = [place for place, text in enumerate(haystacks) if needle and needle in text]
        assert not found, f"secret {number} is in text {found}"


Look = Callable[[], dict[str, Any]]


def world(account: Account) -> dict[str, Any]:
    """Everything in the account that Keyturn could change: users, keys, secrets, versions, tags."""
    users = account.iam.list_users()["Users"]
    secrets = account.secrets.list_secrets(IncludePlannedDeletion=True)["SecretList"]
    return {
        "users": {
            user["UserName"]: (
                account.statuses(user["UserName"]),
                account.iam.list_user_tags(UserName=user["UserName"])["Tags"],
            )
            for user in users
        },
        "secrets": {
            secret["Name"]: (
                account.labels(secret["Name"]),
                sorted((tag["Key"], tag["Value"]) for tag in secret.get("Tags", [])),
            )
            for secret in secrets
        },
    }
