"""What the alerts of other services lead to: reading them, and deciding on looked-up facts."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn.alerts.deciding import Facts, Response, Stack, decide, problems_in_words
from keyturn.alerts.reading import MOST_ALERTS, Alert, Wish, read
from keyturn.model.identifiers import emergency_name, rotation_name
from keyturn.model.request import parse_rotate_request
from keyturn.model.world import SecretState, User
from tests.unit import worlds

EVENTS = Path(__file__).parent.parent.parent / "events"
NOW = datetime(2026, 11, 19, 15, tzinfo=UTC)  # a Thursday
DAY = NOW.date()
KEY = "AKIAIOSFODNN7EXAMPLE"
ARN = "arn:aws:iam::123456789012:user/ci-deployer"
CREATED = datetime(2025, 1, 1, tzinfo=UTC)
MACHINE = "arn:aws:states:eu-west-1:123456789012:stateMachine:keyturn-RotateKey"
SETTINGS = replace(worlds.SETTINGS, managed_user_path="/machine/")
SAMPLES = [
    "security_hub_iam3",
    "config_access_keys_rotated",
    "health_exposed_key",
    "guardduty_iam_user",
]


def event(name: str) -> Any:
    return json.loads((EVENTS / f"{name}.json").read_text())


def changed(name: str, value: Any, *path: str | int) -> Any:
    """A sample with another value at a path; `...` takes the place away."""
    found = event(name)
    place = found
    for step in path[:-1]:
        place = place[step]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return found


def only(found: Any) -> Alert:
    (alert,) = read(found, NOW).alerts
    return alert


# Reading

ACCOUNT = "123456789012"


def test_the_samples_say_who_and_what() -> None:
    found = {name: only(event(name)) for name in SAMPLES}
    assert {
        name: (alert.wish, alert.user_name, alert.user_id, alert.key_id)
        for name, alert in found.items()
    } == {
        "security_hub_iam3": (Wish.ROTATE, "ci-deployer", None, None),
        "config_access_keys_rotated": (Wish.ROTATE, None, "AIDACKCEVSQ6C2EXAMPLE", None),
        "health_exposed_key": (Wish.EMERGENCY, None, None, KEY),
        "guardduty_iam_user": (Wish.ASK_SETTING, "ci-deployer", None, KEY),
    }
    assert {alert.account_id for alert in found.values()} == {ACCOUNT}
    assert not any(alert.told_before for alert in found.values())
    assert {read(event(name), NOW).day for name in SAMPLES} == {date(2026, 11, 19)}


FINDING = ("detail", "findings", 0)
KEY_DETAILS = ("detail", "resource", "accessKeyDetails")


@pytest.mark.parametrize(
    ("name", "value", "path"),
    [
        ("security_hub_iam3", "WARNING", (*FINDING, "Compliance", "Status")),
        ("security_hub_iam3", "SUPPRESSED", (*FINDING, "Workflow", "Status")),
        ("security_hub_iam3", "ARCHIVED", (*FINDING, "RecordState")),
        ("security_hub_iam3", "IAM.30", (*FINDING, "Compliance", "SecurityControlId")),
        (
            "config_access_keys_rotated",
            "COMPLIANT",
            ("detail", "newEvaluationResult", "complianceType"),
        ),
        ("config_access_keys_rotated", "AWS::IAM::Role", ("detail", "resourceType")),
        ("config_access_keys_rotated", "iam-user-mfa", ("detail", "configRuleName")),
        ("guardduty_iam_user", 6.9, ("detail", "severity")),
        ("guardduty_iam_user", "AssumedRole", (*KEY_DETAILS, "userType")),
        ("guardduty_iam_user", "Instance", ("detail", "resource", "resourceType")),
    ],
)
def test_what_is_somebody_elses_business_is_passed_over(
    name: str, value: Any, path: tuple[str | int, ...]
) -> None:
    reading = read(changed(name, value, *path), NOW)
    assert (reading.alerts, reading.problems) == ((), ())


@pytest.mark.parametrize(
    ("name", "value", "path"),
    [
        ("security_hub_iam3", ..., ("detail", "findings")),
        ("security_hub_iam3", [], ("detail", "findings")),
        ("security_hub_iam3", "x", (*FINDING, "Resources")),
        ("security_hub_iam3", "arn:aws:iam::123456789012:role/x", (*FINDING, "Resources", 0, "Id")),
        (
            "security_hub_iam3",
            "arn:aws:iam::123456789012:user/a b",
            (*FINDING, "Resources", 0, "Id"),
        ),
        ("config_access_keys_rotated", 7, ("detail", "resourceId")),
        ("config_access_keys_rotated", "a b", ("detail", "resourceId")),
        ("health_exposed_key", ..., ("detail", "affectedEntities")),
        ("health_exposed_key", ["AKIA"], ("detail", "affectedEntities")),
        ("health_exposed_key", "UNKNOWN", ("detail", "affectedEntities", 0, "entityValue")),
        ("guardduty_iam_user", "8", ("detail", "severity")),
        ("guardduty_iam_user", True, ("detail", "severity")),
        ("guardduty_iam_user", "a b", (*KEY_DETAILS, "userName")),
        ("guardduty_iam_user", "someone", ("source",)),
    ],
)
def test_what_cannot_be_understood_is_a_problem_in_words(
    name: str, value: Any, path: tuple[str | int, ...]
) -> None:
    reading = read(changed(name, value, *path), NOW)
    assert reading.alerts == ()
    assert len(reading.problems) == 1
    assert reading.serious is (name == "health_exposed_key")


def test_one_malformed_entity_does_not_hide_the_others() -> None:
    entities = [
        {"entityValue": None},
        {"entityValue": KEY},
        {"entityValue": "AKIAI44QH8DHBEXAMPLE"},
    ]
    reading = read(changed("health_exposed_key", entities, "detail", "affectedEntities"), NOW)
    assert [alert.key_id for alert in reading.alerts] == [KEY, "AKIAI44QH8DHBEXAMPLE"]
    assert len(reading.problems) == 1
    words = problems_in_words(reading)
    assert "AWS Health" in words["message"]
    assert "start an EMERGENCY" in words["message"]


def test_several_findings_and_users_of_one_event_are_told_apart() -> None:
    found = event("security_hub_iam3")
    finding = found["detail"]["findings"][0]
    other = json.loads(json.dumps(finding).replace("ci-deployer", "machine/reporter"))
    passed = json.loads(json.dumps(finding).replace("FAILED", "PASSED"))
    found["detail"]["findings"] = [finding, other, passed, finding]
    assert [alert.user_name for alert in read(found, NOW).alerts] == ["ci-deployer", "reporter"]


def test_what_an_event_names_beyond_measure_is_left_to_people() -> None:
    entities = [{"entityValue": f"AKIA{number:016}"} for number in range(MOST_ALERTS + 5)]
    reading = read(changed("health_exposed_key", entities, "detail", "affectedEntities"), NOW)
    assert len(reading.alerts) == MOST_ALERTS
    assert "more than 100" in reading.problems[0]
    assert reading.serious


@pytest.mark.parametrize(
    ("code", "status", "wish"),
    [
        ("AWS_RISK_CREDENTIALS_EXPOSED", "open", Wish.EMERGENCY),
        ("AWS_RISK_CREDENTIALS_COMPROMISED", "open", Wish.EMERGENCY),
        ("AWS_RISK_CREDENTIALS_EXPOSED", "closed", Wish.TELL),
        ("AWS_RISK_CREDENTIALS_EXPOSURE_SUSPECTED", "open", Wish.TELL),
        ("AWS_RISK_CREDENTIALS_COMPROMISE_SUSPECTED", "open", Wish.TELL),
        ("AWS_RISK_IAM_QUARANTINE", "open", Wish.TELL),
        ("AWS_RISK_CREDENTIALS_NEW", "open", Wish.TELL),
    ],
)
def test_only_a_certain_exposure_is_an_emergency(code: str, status: str, wish: Wish) -> None:
    found = changed("health_exposed_key", code, "detail", "eventTypeCode")
    found["detail"]["statusCode"] = status
    assert only(found).wish is wish


def test_temporary_credentials_name_no_key() -> None:
    found = changed("guardduty_iam_user", "ASIAIOSFODNN7EXAMPLE", *KEY_DETAILS, "accessKeyId")
    assert only(found).key_id is None


@pytest.mark.parametrize(
    ("count", "hour", "told"),
    [(1, 11, False), (2, 11, True), (2, 5, False), (None, 11, False), ("2", 11, False)],
)
def test_a_finding_that_guard_duty_repeats_is_told_once_a_day(
    count: Any, hour: int, told: bool
) -> None:
    found = changed("guardduty_iam_user", count, "detail", "service", "count")
    found["time"] = f"2026-11-19T{hour:02}:45:00Z"
    assert only(found).told_before is told


@pytest.mark.parametrize(
    ("created", "sent", "told"),
    [
        ("2026-11-18T15:00:00Z", "2026-11-19T14:08:00Z", False),
        ("2026-10-01T15:00:00Z", "2026-11-19T14:08:00Z", True),
        ("2026-10-01T15:00:00Z", "2026-11-16T14:08:00Z", False),  # a Monday
        ("yesterday", "2026-11-19T14:08:00Z", False),
    ],
)
def test_a_finding_that_goes_on_is_told_on_mondays(created: str, sent: str, told: bool) -> None:
    found = changed("security_hub_iam3", created, *FINDING, "CreatedAt")
    found["time"] = sent
    assert only(found).told_before is told


@pytest.mark.parametrize("time", [None, "", "yesterday", "2026-11-19T10:00:00", 5, "x" * 500])
def test_an_event_without_a_date_is_of_today(time: Any) -> None:
    assert read(changed("health_exposed_key", time, "time"), NOW).day == DAY


# Deciding


def user(name: str = "ci-deployer", *, path: str = "/machine/", tag: str = "eu-west-1") -> User:
    tags = {"keyturn:managed": tag} if tag else {}
    return User(name, f"arn:aws:iam::{ACCOUNT}:user{path}{name}", path, tags, CREATED)


def secret(*, claimed: bool = False, last_result: str = "", dying: bool = False) -> SecretState:
    return SecretState(
        arn="arn:aws:secretsmanager:eu-west-1:123456789012:secret:machine-user/ci-deployer-AbCdEf",
        name="machine-user/ci-deployer",
        labels={"CLAIM": "intent"} if claimed else {},
        key_ids={},
        tags={"keyturn:last-result": last_result} if last_result else {},
        scheduled_for_deletion=dying,
    )


def verdict(found: Any, facts: Facts, action: str = "NOTIFY") -> Response:
    reading = read(found, NOW)
    return decide(reading, reading.alerts[0], facts, Stack(ACCOUNT, MACHINE, SETTINGS, action), NOW)


def said(found: Response) -> str:
    assert found.tell is not None
    assert found.tell["subject"].isascii()
    assert len(found.tell["subject"]) <= 100
    message = found.tell["message"]
    assert message.startswith("What happened: ")
    assert "\nWhat is done: " in message
    assert "\nNext: " in message
    assert KEY not in message
    return f"{found.tell['subject']}\n{message}"


MANAGED = Facts(user(), secret=secret())


@pytest.mark.parametrize("name", ["security_hub_iam3", "config_access_keys_rotated"])
def test_an_old_key_of_a_managed_user_is_rotated_without_a_word(name: str) -> None:
    found = verdict(event(name), MANAGED)
    assert found.start is not None
    assert found.start.name == rotation_name(user().arn, CREATED, DAY)
    request = parse_rotate_request(found.start.data)
    assert (request.user_name, request.mode, request.force) == ("ci-deployer", "STANDARD", False)
    assert found.tell is None


def test_an_exposed_key_is_an_emergency_and_people_hear_of_it() -> None:
    found = verdict(event("health_exposed_key"), Facts(user()))
    assert found.start is not None
    assert found.start.name == emergency_name(KEY, DAY)
    request = parse_rotate_request(found.start.data)
    assert (request.user_name, request.access_key_id) == ("ci-deployer", KEY)
    assert request.mode == "EMERGENCY"
    assert "locked out" in said(found)


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (Facts(user(tag="")), "is not managed"),
        (Facts(user(tag="us-east-1")), "is not managed"),
        (Facts(user(path="/people/")), "is not managed"),
        (Facts(user("a,b")), "comma"),
        (Facts(None, "AWS does not tell whose it is"), "does not tell"),
    ],
    ids=["no tag", "another stack's", "another path", "comma", "unknown"],
)
def test_whoever_is_not_known_to_be_managed_is_told_and_never_touched(
    name: str, facts: Facts, words: str
) -> None:
    for action in ("NOTIFY", "ROTATE", "EMERGENCY"):
        found = verdict(event(name), facts, action)
        assert found.start is None
        message = said(found)
        assert words in message
        assert "nothing was started or changed" in message
        assert "aws iam " in message


def test_an_old_key_of_nobody_managed_says_how_keyturn_would_take_it() -> None:
    """By tag alone somebody who was offboarded would stay passed over."""
    found = verdict(event("security_hub_iam3"), Facts(user(tag="")))
    assert "let Keyturn do it: `keyturn onboard ci-deployer`, or " in said(found)


def test_another_accounts_key_is_for_whoever_may_act_there() -> None:
    found = changed("health_exposed_key", "999999999999", "detail", "affectedAccount")
    assert "credentials of the account 999999999999" in said(verdict(found, Facts(None, "x y")))


def test_a_managed_user_without_a_secret_is_rotated_and_people_hear_of_it() -> None:
    found = verdict(event("security_hub_iam3"), Facts(user()))
    assert found.start is not None
    assert "point the consumers at the secret machine-user/ci-deployer" in said(found)


def test_a_secret_that_is_scheduled_for_deletion_is_for_a_person() -> None:
    found = verdict(event("security_hub_iam3"), Facts(user(), secret=secret(dying=True)))
    assert found.start is None
    assert "restore-secret" in said(found)


@pytest.mark.parametrize(
    ("state", "starts"),
    [
        (secret(claimed=True), False),
        (secret(last_result=f"BACKED_OUT {(NOW - timedelta(days=6)).isoformat()} mark"), False),
        (secret(last_result=f"ROTATED {(NOW - timedelta(days=1)).isoformat()} mark"), False),
        (secret(last_result="NEEDS_ATTENTION 2026-11-18T10:00:00Z mark"), False),
        (secret(last_result=f"BACKED_OUT {(NOW - timedelta(days=8)).isoformat()} mark"), True),
        (secret(last_result="what a person wrote"), True),
        (secret(last_result="ROTATED 2026-11-18T10:00:00 mark"), False),
        (secret(last_result="ROTATED 9999-12-31T23:59:59Z mark"), True),
        (secret(last_result="ROTATED 0001-01-01T00:00:00+14:00 mark"), True),
    ],
)
def test_a_finding_does_not_start_what_runs_or_has_just_ended(
    state: SecretState, starts: bool
) -> None:
    found = verdict(event("security_hub_iam3"), Facts(user(), secret=state))
    assert (found.start is not None) is starts
    assert found.tell is None


@pytest.mark.parametrize(
    ("action", "mode"), [("NOTIFY", None), ("ROTATE", "STANDARD"), ("EMERGENCY", "EMERGENCY")]
)
def test_a_suspicion_is_told_and_acted_on_as_the_stack_says(action: str, mode: str | None) -> None:
    found = verdict(event("guardduty_iam_user"), MANAGED, action)
    assert "Exfiltration:IAMUser/AnomalousBehavior of severity 8" in said(found)
    assert (found.start and parse_rotate_request(found.start.data).mode) == mode


@pytest.mark.parametrize("action", ["NOTIFY", "ROTATE", "EMERGENCY"])
def test_a_repeated_suspicion_is_not_told_again(action: str) -> None:
    repeated = changed("guardduty_iam_user", 2, "detail", "service", "count")
    found = verdict(repeated, Facts(user(), secret=secret(claimed=True)), action)
    assert found.tell is None or found.start is not None
    assert (found.start is not None) is (action == "EMERGENCY")


def test_temporary_credentials_are_no_emergency_by_a_guess() -> None:
    found = changed("guardduty_iam_user", "ASIAIOSFODNN7EXAMPLE", *KEY_DETAILS, "accessKeyId")
    decided = verdict(found, MANAGED, "EMERGENCY")
    assert decided.start is None
    assert "temporary credentials" in said(decided)


def test_names_fit_into_an_execution_and_differ_by_subject_and_day() -> None:
    names = {
        emergency_name(KEY, DAY),
        emergency_name(KEY, DAY + timedelta(days=1)),
        emergency_name(KEY[:-1] + "X", DAY),
    }
    assert len(names) == 3
    assert all(len(name) <= 80 for name in names)
