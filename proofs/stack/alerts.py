"""Alerts of other services for the deployed stack, made from the samples in `events/`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from proofs.stack.support import MachineUser, Stack

EVENTS = Path(__file__).parents[2] / "events"


def sample(stack: Stack, name: str, user: MachineUser) -> dict[str, Any]:
    """A sample, about a user of this test's account."""
    text = (EVENTS / f"{name}.json").read_text()
    user_id = stack.iam.get_user(UserName=user.name)["User"]["UserId"]
    for old, new in {
        "123456789012": stack.aws.account_id,
        "ci-deployer": user.name,
        "AKIAIOSFODNN7EXAMPLE": user.access_key_id,
        "AIDACKCEVSQ6C2EXAMPLE": user_id,
    }.items():
        text = text.replace(old, new)
    event: dict[str, Any] = json.loads(text)
    return event


def send(stack: Stack, event: dict[str, Any]) -> None:
    """Send an event as its service does; it is delivered with this moment as its time."""
    stack.aws.control.send_event(
        event["source"], event["detail-type"], event["detail"], event["resources"]
    )
