"""The execution input: what fits, and one sentence for what does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from keyturn.model.errors import RequestRejected
from keyturn.model.request import parse_fleet_request, parse_retire_request, parse_rotate_request

EVENTS = Path(__file__).parent.parent.parent / "events"
KEY_ID = "AKIAIOSFODNN7EXAMPLE"
VERSION = f"{KEY_ID}-{'0' * 32}"


@pytest.mark.parametrize(
    "name", ["rotate", "rotate_force", "back_out", "emergency", "emergency_by_key_id", "timing"]
)
def test_the_sample_inputs_fit(name: str) -> None:
    parse_rotate_request(json.loads((EVENTS / f"{name}.json").read_text()))


def test_the_sample_of_a_retirement_fits() -> None:
    parse_retire_request(json.loads((EVENTS / "retire.json").read_text()))


def test_defaults() -> None:
    request = parse_rotate_request({"userName": "ci-deployer"})
    assert (request.action, request.mode, request.force) == ("ROTATE", "STANDARD", False)


@pytest.mark.parametrize("name", ["a", "x" * 64, "A_z+=,.@-9"])
def test_every_name_that_iam_allows_fits(name: str) -> None:
    assert parse_rotate_request({"userName": name}).user_name == name


BAD: list[tuple[Any, str]] = [
    ([], "JSON object"),
    ("ci-deployer", "JSON object"),
    (None, "JSON object"),
    ({}, "give userName or accessKeyId"),
    ({"userName": "u", "accessKeyId": KEY_ID}, "either userName or accessKeyId"),
    ({"userName": "u", "colour": "red"}, "'colour'"),
    ({"userName": "u", "user_name": "u"}, "'user_name'"),
    ({"userName": ""}, "userName must be an IAM user name"),
    ({"userName": "x" * 65}, "userName"),
    ({"userName": "a/b"}, "userName"),
    ({"userName": "ü"}, "userName"),
    ({"userName": 5}, "userName"),
    ({"accessKeyId": "short"}, "accessKeyId must be an access key id"),
    ({"userName": "u", "action": "DELETE"}, "action must be ROTATE or BACK_OUT"),
    ({"userName": "u", "mode": "FAST"}, "mode must be STANDARD or EMERGENCY"),
    ({"userName": "u", "force": "yes"}, "force must be true or false"),
    ({"userName": "u", "force": 1}, "force"),
    ({"userName": "u", "reason": "x" * 1025}, "reason"),
    ({"userName": "u", "timing": 5}, "timing"),
    ({"userName": "u", "timing": {"watchSeconds": "10"}}, "timing.watchSeconds"),
    ({"userName": "u", "timing": {"watchSeconds": True}}, "timing.watchSeconds"),
    ({"userName": "u", "timing": {"watchSeconds": 1.5}}, "timing.watchSeconds"),
    ({"userName": "u", "timing": {"watchSeconds": -1}}, "timing.watchSeconds"),
    ({"userName": "u", "timing": {"pickupTimeoutSeconds": 0}}, "timing.pickupTimeoutSeconds"),
    ({"userName": "u", "timing": {"watch": 1}}, "'timing.watch'"),
    ({"userName": "u", "action": "BACK_OUT", "mode": "EMERGENCY"}, "action ROTATE only"),
    (
        {"userName": "u", "recovery": {"executionArn": "arn:x", "generation": 1}},
        "action BACK_OUT only",
    ),
    (
        {
            "userName": "u",
            "action": "BACK_OUT",
            "recovery": {"executionArn": "arn:x", "generation": 4},
        },
        "recovery",
    ),
]


@pytest.mark.parametrize(("data", "says"), BAD, ids=lambda item: json.dumps(item)[:60])
def test_what_does_not_fit_is_refused_in_one_sentence_that_names_the_field(
    data: Any, says: str
) -> None:
    with pytest.raises(RequestRejected) as refused:
        parse_rotate_request(data)
    sentence = str(refused.value)
    assert says in sentence
    assert "\n" not in sentence


def test_a_value_is_never_quoted_back() -> None:
    for data in ({"userName": "wJalr/XUtnFEMI"}, {"userName": "u", "mode": "wJalr/XUtnFEMI"}):
        with pytest.raises(RequestRejected) as refused:
            parse_rotate_request(data)
        assert "wJalr" not in str(refused.value)


@pytest.mark.parametrize("pasted", ["wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "a b", "x" * 33])
def test_a_field_is_named_only_when_its_name_cannot_be_a_secret(pasted: str) -> None:
    for data in ({"userName": "u", pasted: 1}, {"userName": "u", "timing": {pasted: 1}}):
        with pytest.raises(RequestRejected, match="unknown field") as refused:
            parse_rotate_request(data)
        assert pasted not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"retentionSeconds": None}, "retentionSeconds"),
        ({"versionId": "short"}, "versionId"),
        ({"oldAccessKeyId": 7}, "oldAccessKeyId"),
        ({"more": 1}, "'more'"),
    ],
)
def test_a_retirement_is_checked_as_strictly(change: dict[str, Any], says: str) -> None:
    good = {
        "userName": "u",
        "oldAccessKeyId": KEY_ID,
        "versionId": VERSION,
        "retentionSeconds": 5,
    }
    assert parse_retire_request(good).retention_seconds == 5
    with pytest.raises(RequestRejected, match=says):
        parse_retire_request(good | change)


def test_a_missing_field_is_named() -> None:
    with pytest.raises(RequestRejected, match="oldAccessKeyId is missing"):
        parse_retire_request({"userName": "u", "versionId": VERSION, "retentionSeconds": 5})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, 'such as {"dryRun": true}'),
        ({"maxRotations": True}, "maxRotations must be a whole number from 1 to 5000"),
        ({"maxRotations": 0}, "maxRotations must be a whole number from 1 to 5000"),
        ({"maxRotations": 5001}, "maxRotations must be a whole number from 1 to 5000"),
        ({"maxRotations": "5"}, "maxRotations must be a whole number from 1 to 5000"),
        ({"dryRun": "true"}, "dryRun must be true or false"),
        ({"userNames": []}, "userNames must be a list of 1 to 5000 IAM user names"),
        ({"userNames": ["a"] * 5001}, "userNames must be a list of 1 to 5000 IAM user names"),
        ({"userNames": ["ci", "a b"]}, "userNames.1 must be an IAM user name"),
        ({"userName": "ci"}, "unknown field 'userName'"),
    ],
)
def test_a_wrong_input_of_the_fleet_run_is_refused_in_a_sentence_that_helps(
    data: object, words: str
) -> None:
    with pytest.raises(RequestRejected) as caught:
        parse_fleet_request(data)
    assert words in str(caught.value)
