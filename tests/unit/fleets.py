"""Fleets for the tests: users, settings and moments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from keyturn.fleet.choosing import Clock
from keyturn.fleet.facts import FleetUser
from keyturn.fleet.run import FleetRun
from keyturn.fleet.settings import FleetSettings
from tools import template

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)
CLOCK = Clock(now=NOW, report_at=NOW - timedelta(hours=3), due_after_seconds=78 * 86_400)
ACCOUNT = "123456789012"
RUN = FleetRun.of(
    {
        "Execution": {
            "Id": f"arn:aws:states:eu-west-1:{ACCOUNT}:execution:keyturn-RotateFleet:daily",
            "StartTime": "2026-11-21T10:00:00.000Z",
        }
    }
)
ENVIRONMENT = template.environment(
    REPORT_BUCKET="reports",
    MAX_KEY_AGE_DAYS=90,
    MAX_ROTATIONS_PER_RUN=50,
    MANAGED_TAG_VALUE="eu-west-1",
)


def settings(**changed: object) -> FleetSettings:
    """The defaults of the template, some of them changed."""
    return FleetSettings.from_env(
        ENVIRONMENT | {name: str(value) for name, value in changed.items()}
    )


def user(name: str = "ci", *ages: float, **changed: Any) -> FleetUser:
    """A managed user with active keys that are so many days old (100 unless told)."""
    facts: dict[str, Any] = {
        "name": name,
        "arn": f"arn:aws:iam::{ACCOUNT}:user/{name}",
        "created_at": NOW - 400 * DAY,
        "active_keys": tuple(NOW - age * DAY for age in ages or (100,)),
        "managed": True,
    }
    return FleetUser(**facts | changed)
