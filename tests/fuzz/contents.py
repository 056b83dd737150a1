"""What a user's secret may hold when somebody else wrote it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.support import json_values, mutated, texts

# Forty characters, as long as a secret access key; it is in every content and may show up nowhere.
CANARY = "canary0SECRET1canary2SECRET3canary4SECRE"
LONGEST = 65_536


@dataclass(frozen=True)
class Content:
    """A version's text or bytes; `{key}` and `{other}` stand for key ids (see `of`)."""

    name: str
    value: str | bytes

    def of(self, key_id: str, other_id: str) -> str | bytes:
        """The content for a user with this key; the other key is of another user."""
        if isinstance(self.value, bytes):
            return self.value
        return self.value.replace("{key}", key_id).replace("{other}", other_id)


def _keyed(key_id: Any, secret: Any = CANARY, **more: Any) -> str:
    return json.dumps({"AccessKeyId": key_id, "SecretAccessKey": secret} | more)


def _texts(named: dict[str, str]) -> list[Content]:
    return [Content(name, text) for name, text in named.items()]


CONTENTS = [
    *_texts(
        {
            "the_users_key": _keyed("{key}"),
            "the_users_key_and_more": _keyed("{key}", nested={"a": [CANARY]}, Version="2"),
            "another_users_key": _keyed("{other}"),
            "a_key_of_nobody": _keyed("AKIAIOSFODNN7EXAMPLE"),
            "only_the_id": json.dumps({"AccessKeyId": "{key}", "password": CANARY}),
            "only_the_secret": json.dumps({"SecretAccessKey": CANARY}),
            "no_secret": _keyed("{key}", None, note=CANARY),
            "an_empty_secret": _keyed("{key}", "", note=CANARY),
            "a_secret_of_the_wrong_type": _keyed("{key}", [CANARY]),
            "a_database_password": json.dumps({"username": "ci", "password": CANARY}),
            "an_id_that_is_a_number": _keyed(12345678901234567890),
            "an_id_that_is_a_list": _keyed(["{key}"]),
            "an_id_that_is_an_object": _keyed({"id": "{key}"}),
            "an_id_that_is_null": _keyed(None),
            "an_id_with_a_newline": _keyed("{key}\n"),
            "an_id_with_spaces": _keyed(" {key} "),
            "an_id_in_unicode": _keyed("АКIАIOSFODNN7EXAMPLE"),  # noqa: RUF001 - Cyrillic
            "an_id_with_a_surrogate": _keyed("{key}\ud800"),
            "an_id_that_is_empty": _keyed(""),
            "id_and_secret_mixed_up": _keyed(CANARY, "{key}"),
            "duplicate_keys": '{"AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "AccessKeyId": "{key}", '
            f'"SecretAccessKey": "{CANARY}", "SecretAccessKey": "{CANARY}"}}',
            "lower_case_names": json.dumps({"accessKeyId": "{key}", "secretAccessKey": CANARY}),
            "a_credentials_file": f"[default]\naws_access_key_id={{key}}\naws_secret={CANARY}\n",
            "an_array": json.dumps([{"AccessKeyId": "{key}", "SecretAccessKey": CANARY}]),
            "a_number": "42",
            "a_huge_number": "1" * 5000,
            "null": "null",
            "not_a_number": "NaN",
            "a_json_text": json.dumps(CANARY),
            "a_broken_object": '{"AccessKeyId": "{key}", "SecretAccessKey": "' + CANARY,
            "nested_deeply": "[" * 20_000 + "]" * 20_000,
            "objects_nested_deeply": '{"a":' * 5_000 + "1" + "}" * 5_000,
            "nested_below_a_key": _keyed("{key}", more=1)[:-1]
            + ',"x":'
            + "[" * 900
            + "]" * 900
            + "}",
            "a_byte_order_mark": "\ufeff" + _keyed("{key}"),
            "white_space": " \n\t ",
            "a_nul": "\x00",
            "the_longest_text": (CANARY + " ") * (LONGEST // (len(CANARY) + 1)),
            "the_longest_object": _keyed("{key}", padding="x" * (LONGEST - 200)),
            "an_expression": "{% $states.input %}" + CANARY,
        }
    ),
    Content("bytes", bytes(range(256)) + CANARY.encode()),
    Content("a_key_in_bytes", json.dumps({"SecretAccessKey": CANARY}).encode()),
    Content("base64_in_bytes", base64.b64encode(CANARY.encode())),
]

contents = st.one_of(
    st.sampled_from(CONTENTS),
    mutated(st.just({"AccessKeyId": "{key}", "SecretAccessKey": CANARY, "UserName": "ci"})).map(
        lambda value: Content("mutated", json.dumps(value))
    ),
    json_values.map(lambda value: Content("json", json.dumps(value))),
    texts.filter(str.isprintable).filter(bool).map(lambda text: Content("text", text)),
    st.binary(min_size=1, max_size=100).map(lambda data: Content("binary", data)),
)
