"""The settings of fleet runs: what is missing is named, and when a key is due."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keyturn.fleet.settings import DAY_SECONDS
from keyturn.model.errors import SettingMissing
from tests.unit.fleets import settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REPORT_BUCKET", ""),
        ("MAX_KEY_AGE_DAYS", ""),
        ("MAX_KEY_AGE_DAYS", "ninety"),
        ("MAX_ROTATIONS_PER_RUN", "-1"),
    ],
)
def test_a_setting_that_is_missing_or_no_number_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingMissing, match=name):
        settings(**{name: value})


def test_a_key_is_due_so_early_that_its_rotation_ends_in_time() -> None:
    given = settings()
    durations = given.rotations.durations
    spare = given.max_key_age_days * DAY_SECONDS - given.due_after_seconds
    assert spare > durations.pickup_timeout_seconds + durations.watch_seconds


def test_a_key_is_never_due_before_rotations_would_take_it() -> None:
    given = replace(settings(), max_key_age_days=1)
    assert given.due_after_seconds == given.rotations.durations.min_key_age_seconds
