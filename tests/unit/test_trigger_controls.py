"""Which Security Hub findings are of control IAM.3: the id is where the finding's age put it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from keyturn.alerts.reading import read

SAMPLE = Path(__file__).parents[2] / "events" / "security_hub_iam3.json"
NOW = datetime(2026, 11, 19, 15, tzinfo=UTC)
STANDARD = "aws-foundational-security-best-practices/v/1.0.0"


@pytest.mark.parametrize(
    ("places", "alerts"),
    [
        ({"Compliance": "IAM.3"}, 1),
        ({"Compliance": "IAM.4", "ProductFields": "IAM.3"}, 0),
        ({"ProductFields": "IAM.3"}, 1),
        ({"ProductFields": "IAM.33"}, 0),
        ({"GeneratorId": f"{STANDARD}/IAM.3"}, 1),
        ({"GeneratorId": f"{STANDARD}/IAM.33"}, 0),
        ({"GeneratorId": f"{STANDARD}/XIAM.3"}, 0),
        ({}, 0),
    ],
)
def test_the_control_is_read_from_the_newest_field_that_there_is(
    places: dict[str, str], alerts: int
) -> None:
    event: Any = json.loads(SAMPLE.read_text())
    (finding,) = event["detail"]["findings"]
    finding["Compliance"] = {"Status": finding["Compliance"]["Status"]}
    finding["ProductFields"] = {}
    finding["GeneratorId"] = ""
    if "Compliance" in places:
        finding["Compliance"]["SecurityControlId"] = places["Compliance"]
    if "ProductFields" in places:
        finding["ProductFields"]["ControlId"] = places["ProductFields"]
    finding["GeneratorId"] = places.get("GeneratorId", "")
    assert len(read(event, NOW).alerts) == alerts
