"""What people are told: in words that SNS accepts, with masked key ids."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from keyturn.model.identifiers import masked_in
from keyturn.model.rotation import Outcome, Rotation
from keyturn.rotate.announce import announce, announcement, worded
from tests.unit.worlds import POLICY

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
ARN = "arn:aws:states:us-east-1:123456789012:execution:keyturn-RotateKey:x"
OLD, NEW = "AKIAOLDOLDOLDOLDOLDO", "AKIANEWNEWNEWNEWNEWN"


def rotation(outcome: Outcome, **fields: Any) -> Rotation:
    made = Rotation(
        user_name=fields.pop("user_name", "ci"),
        policy=POLICY,
        secret_name="machine-user/ci",
        started_at=NOW,
        old_access_key_id=OLD,
        new_access_key_id=NEW,
        **fields,
    )
    made.ends(outcome, fields.get("why", "because"))
    return made


@pytest.mark.parametrize("outcome", [Outcome.NEEDS_ATTENTION, Outcome.FAILED])
def test_an_exposed_key_that_is_still_active_is_what_people_read(outcome: Outcome) -> None:
    """A ROTATE would wait for consumers first, or find no room."""
    wanted = "start the EMERGENCY again: the exposed key is still active"
    assert wanted in announce(rotation(outcome, old_exposed=True), ARN)["message"]
    gone = rotation(outcome, old_exposed=True, deactivated_at=NOW)
    assert wanted not in announce(gone, ARN)["message"]
    assert wanted not in announce(rotation(outcome), ARN)["message"]


@pytest.mark.parametrize(
    ("outcome", "detail_type", "next_words"),
    [
        (Outcome.ROTATED, "Key Rotated", "Nothing is left to do"),
        (Outcome.ISSUED, "Key Rotated", "Point the consumers at the secret"),
        (Outcome.BACKED_OUT, "Rotation Backed Out", "Find out what went wrong"),
        (Outcome.NEEDS_ATTENTION, "Rotation Needs Attention", "Look at the evidence"),
        (Outcome.FAILED, "Rotation Failed", "Mend the cause"),
        (Outcome.SKIPPED, "Rotation Skipped", "Nothing was changed"),
    ],
)
def test_every_end_says_what_happened_why_and_what_is_next(
    outcome: Outcome, detail_type: str, next_words: str
) -> None:
    told = announce(rotation(outcome), ARN)
    assert told["detailType"] == detail_type
    assert told["subject"] == f"{detail_type}: ci"
    message = told["message"]
    for words in (f"ci: {outcome.value}", "Why: because", f"Next: {next_words}", ARN):
        assert words in message


def test_key_ids_are_masked_wherever_they_come_from() -> None:
    """AWS's own messages, and VersionIds, quote them in full."""
    told = rotation(Outcome.NEEDS_ATTENTION)
    told.why = f"AWSCURRENT is on {NEW}-{'0' * 32}; iam: The Access Key with id {OLD} is not found"
    told.seen.notes.append(f"deleted {OLD}")
    message = announce(told, ARN)["message"]
    assert OLD not in message
    assert NEW not in message
    assert message.count(f"...{OLD[-4:]}") == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("AKIAIOSFODNN7EXAMPLE", "...MPLE"),
        ("AKIAIOSFODNN7EXAMPLE-00ff", "...MPLE-00ff"),
        ("(AKIAIOSFODNN7EXAMPLE, ASIAIOSFODNN7EXAMPLE)", "(...MPLE, ...MPLE)"),
        ("no key in AKIA or akiaiosfodnn7example", "no key in AKIA or akiaiosfodnn7example"),
        ("", ""),
    ],
)
def test_masking_a_text(text: str, expected: str) -> None:
    assert masked_in(text) == expected


def test_the_old_keys_state_is_said() -> None:
    told = rotation(Outcome.ROTATED, deactivated_at=NOW)
    assert f"The old key ...{OLD[-4:]} is inactive." in announce(told, ARN)["message"]
    told.reactivated_at = NOW
    message = announce(told, ARN)["message"]
    assert "is active again" in message
    assert "is inactive." not in message


def test_notes_are_passed_on() -> None:
    told = rotation(Outcome.ROTATED)
    told.seen.notes.append("a key had been deactivated by somebody else")
    assert "Note: a key had been deactivated by somebody else" in announce(told, ARN)["message"]


@pytest.mark.parametrize(
    "name", ["x" * 64, "j\u00fcrgen", "a\nb", "a\tb", "\x00", "\U0001f511" * 64]
)
def test_a_subject_is_one_that_sns_takes(name: str) -> None:
    """At most 100 printable ASCII characters; a Publish with another one would be refused."""
    for told in (
        announcement(Outcome.NEEDS_ATTENTION, name, "message"),
        worded("Rotation Needs Attention", name, "message"),
    ):
        assert told["subject"].isascii()
        assert told["subject"].isprintable()
        assert 0 < len(told["subject"]) <= 100


def test_only_an_ended_rotation_is_announced() -> None:
    unfinished = rotation(Outcome.ROTATED)
    unfinished.outcome = None
    with pytest.raises(AssertionError):
        announce(unfinished, ARN)
