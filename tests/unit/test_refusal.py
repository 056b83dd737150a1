"""Whoever may not go on: who looks again, for how long, and who is told in the end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from keyturn.model.rotation import Outcome, Policy, Rotation
from keyturn.rotate import refusal

FENCE_SECONDS = 20
PATIENCE = 600 + 6 * FENCE_SECONDS
ROTATION: dict[str, Any] = {}
EMERGENCY = {"mode": "EMERGENCY"}
BY_HAND = {"action": "BACK_OUT"}
AUTOMATIC = {"action": "BACK_OUT", "recovery_of": "arn:the-dead-one"}


def rotation(fields: dict[str, Any]) -> Rotation:
    durations = dict.fromkeys((name for name in Policy.model_fields if "seconds" in name), 1)
    policy = durations | {"fence_seconds": FENCE_SECONDS, "unused_after_days": 1}
    return Rotation(
        user_name="ci-deployer",
        secret_name="machine-user/ci-deployer",
        started_at=datetime(2026, 11, 21, tzinfo=UTC),
        policy=Policy.model_validate(policy),
        **fields,
    )


@pytest.mark.parametrize(
    ("fields", "waited", "again"),
    [
        (EMERGENCY, 0, True),
        (EMERGENCY, PATIENCE - 1, True),
        (EMERGENCY, PATIENCE, False),
        (BY_HAND, PATIENCE - 1, True),
        (AUTOMATIC, PATIENCE - 1, True),
        (AUTOMATIC, PATIENCE, False),
        (ROTATION, 0, False),
    ],
)
def test_what_cannot_wait_looks_again_as_long_as_check_request_has_patience(
    fields: dict[str, Any], waited: float, *, again: bool
) -> None:
    found = rotation(fields)
    assert refusal.patience_seconds(found.policy) == PATIENCE
    assert refusal.looks_again(found, waited) == again


@pytest.mark.parametrize(
    ("fields", "subject", "following"),
    [
        (EMERGENCY, "an exposed key", "start the EMERGENCY again"),
        (AUTOMATIC, "a dead execution", "start ROTATE or BACK_OUT"),
        (BY_HAND, None, None),
        (ROTATION, None, None),
    ],
)
def test_people_are_told_of_what_nobody_looks_at(
    fields: dict[str, Any], subject: str | None, following: str | None
) -> None:
    found = rotation(fields)
    told = refusal.rejected(found, "was faster", "arn:the-execution")
    assert (found.outcome, found.why) == (Outcome.REJECTED, "was faster")
    assert found.ending == "RequestRejected"
    if following is None:  # whoever started it reads its result
        assert told is None
        return
    assert told is not None
    assert told["subject"] == f"Rotation Needs Attention: {subject}"
    assert following in told["message"]
    assert "arn:the-execution has given up: was faster. It changed no key" in told["message"]


@pytest.mark.parametrize(
    ("redriven", "words"),
    [(False, "lost its claim on ci-deployer and stopped"), (True, "was redriven, which changes")],
)
def test_who_is_redriven_is_told_to_start_again_and_not_that_another_took_over(
    words: str, *, redriven: bool
) -> None:
    found = rotation(ROTATION)
    told = refusal.claim_lost(found, "gone", "arn:the-execution", redriven=redriven)
    assert words in told["message"]
    assert ("another execution took over" in told["message"]) != redriven
    assert (found.ending, found.outcome, found.why) == (
        "AttentionNeeded",
        Outcome.NEEDS_ATTENTION,
        "gone",
    )
