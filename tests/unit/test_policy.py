"""Where the durations of one execution come from."""

from __future__ import annotations

import pytest

from keyturn.model.errors import RequestRejected, SettingMissing
from keyturn.model.request import TimingRequest
from keyturn.model.settings import Settings
from keyturn.rotate.policy import settle
from tests.unit.worlds import ENVIRONMENT, SETTINGS

OTHERS = ("POWERTOOLS", "ALLOW", "MAX_")  # for the libraries, for one function, for the fleet
READ = [name for name in ENVIRONMENT if not name.startswith(OTHERS)]


def timing(**fields: int) -> TimingRequest:
    return TimingRequest.model_validate(fields)


def test_the_stack_settles_what_nobody_else_says() -> None:
    policy = settle(SETTINGS, {}, timing())
    assert policy.really_quiet_seconds == 93_600 + 900 + 14_400
    assert policy.health_url is None
    assert not any(policy.signals.values())


def test_a_tag_goes_before_the_stack_and_the_input_before_the_tag() -> None:
    tags = {"keyturn:watch-seconds": "200000", "keyturn:retention-seconds": "0"}
    policy = settle(SETTINGS, tags, timing(watchSeconds=300_000))
    assert (policy.watch_seconds, policy.retention_seconds) == (300_000, 0)


@pytest.mark.parametrize("name", ["quietPeriodSeconds", "watchSeconds", "backoutGraceSeconds"])
def test_what_protects_consumers_is_never_shortened_by_the_input(name: str) -> None:
    with pytest.raises(RequestRejected, match=f"{name} is 1 seconds"):
        settle(SETTINGS, {}, timing(**{name: 1}))


def test_nor_by_a_tag() -> None:
    with pytest.raises(RequestRejected, match="keyturn:quiet-period-seconds"):
        settle(SETTINGS, {"keyturn:quiet-period-seconds": "5"}, timing())


@pytest.mark.parametrize("text", ["", "soon", "-1", "1.5", "٣", "99999999999"])
def test_a_tag_that_is_no_number_of_seconds_is_refused_by_name(text: str) -> None:
    with pytest.raises(RequestRejected, match="keyturn:retention-seconds must be a whole number"):
        settle(SETTINGS, {"keyturn:retention-seconds": text}, timing())


def test_a_loop_needs_at_least_a_second() -> None:
    with pytest.raises(RequestRejected, match="from 1 to"):
        settle(SETTINGS, {"keyturn:poll-min-seconds": "0"}, timing())


def test_the_bounds_of_polling_must_not_contradict_each_other() -> None:
    with pytest.raises(RequestRejected, match="pollMinSeconds must not be more"):
        settle(SETTINGS, {}, timing(pollMinSeconds=4_000))


def test_health_url_and_alarms_come_from_tags() -> None:
    tags = {
        "keyturn:health-url": "https://example.com/health",
        "keyturn:health-url-of-ours": "https://example.com/else",
        "keyturn:alarm-2": "latency",
        "keyturn:alarm-1": "errors",
        "owner": "team",
    }
    policy = settle(SETTINGS, tags, timing())
    assert policy.health_url == "https://example.com/health"
    assert policy.signals == {"alarm": ["errors", "latency"]}


@pytest.mark.parametrize("name", READ)
def test_a_missing_setting_is_named(name: str) -> None:
    with pytest.raises(SettingMissing, match=name):
        Settings.from_env({key: value for key, value in ENVIRONMENT.items() if key != name})


def test_a_setting_that_is_no_number_is_named() -> None:
    with pytest.raises(SettingMissing, match="FENCE_SECONDS must be a whole number"):
        Settings.from_env(ENVIRONMENT | {"FENCE_SECONDS": "soon"})
