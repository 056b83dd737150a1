"""Sending an account's report away, and judging the reports of many accounts together."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from keyturn.audit.model import AccountSource, SecretFacts, Thresholds
from keyturn.aws import calls, organizations, s3
from keyturn.fleet import central, organization
from keyturn.fleet.organization import CannotBeJudged, CentralSettings
from keyturn.model.errors import AwsRefused, AwsThrottled, SettingMissing
from tests.integration.account import Account

ENVIRONMENT = {
    "REPORT_BUCKET_NAME": "all",
    "LIST_ORGANIZATION_ACCOUNTS": "false",
    "MAX_KEY_AGE_DAYS": "60",
    "UNUSED_AFTER_DAYS": "45",
}
SETTINGS = CentralSettings("all", False, Thresholds())
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HEADER = (
    "user,arn,user_creation_time,password_enabled,password_last_used,password_last_changed,"
    "password_next_rotation,mfa_active,access_key_1_active,access_key_1_last_rotated,"
    "access_key_1_last_used_date,access_key_1_last_used_region,access_key_1_last_used_service,"
    "access_key_2_active,access_key_2_last_rotated,access_key_2_last_used_date,"
    "access_key_2_last_used_region,access_key_2_last_used_service,cert_1_active,"
    "cert_1_last_rotated,cert_2_active,cert_2_last_rotated"
)


def report_of(account_id: str, *users: str) -> str:
    """A credential report whose users each have a key of 2024."""
    rows = [
        f"{user},arn:aws:iam::{account_id}:user/{user},2024-01-01T00:00:00Z,false,N/A,N/A,N/A,false,"
        "true,2024-01-02T00:00:00Z,2026-11-20T00:00:00Z,us-east-1,s3,"
        "false,N/A,N/A,N/A,N/A,false,N/A,false,N/A"
        for user in users
    ]
    return "\n".join([HEADER, *rows])


@pytest.fixture
def bucket(account: Account) -> str:
    boto3.client("s3").create_bucket(Bucket="all")
    return "all"


def sent(
    tmp_path: Path, account_id: str, *users: str, at: datetime = NOW, text: str | None = None
) -> None:
    """Send an account's report as its audit does."""
    path = tmp_path / central.REPORT
    path.write_text(report_of(account_id, *users) if text is None else text)
    managed = {user: SecretFacts(user, f"arn:{user}", in_flight=False) for user in users}
    source = AccountSource(lines=(), at=at, account_id=account_id, managed=managed)
    central.send("all", source, path)


def put(key: str, body: str, at: str) -> None:
    boto3.client("s3").put_object(Bucket="all", Key=key, Body=body, Metadata={"report-at": at})


def refusing(code: str, status: int) -> Any:
    def refuse(**_: Any) -> None:
        answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise ClientError(answer, "PutObject")

    return refuse


# Sending


def test_what_is_sent_is_what_the_other_end_reads(bucket: str, tmp_path: Path) -> None:
    sent(tmp_path, "111122223333", "ci", "backup")
    fetched = organization.fetch(bucket, "111122223333", tmp_path)
    source = fetched.source()
    assert (source.account_id, source.at) == ("111122223333", NOW)
    assert isinstance(source.managed, dict)
    assert set(source.managed) == {"ci", "backup"}
    assert "".join(source.lines) == report_of("111122223333", "ci", "backup")
    # Read again: the lines come from the disk each time.
    assert len([*fetched.source().lines]) == 3


def test_nothing_is_sent_without_a_bucket(account: Account, tmp_path: Path) -> None:
    central.send("", AccountSource(lines=(), at=NOW), tmp_path / central.REPORT)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize(("code", "status"), [("AccessDenied", 403), ("SlowDown", 503)])
def test_what_cannot_be_sent_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: io.StringIO, code: str, status: int
) -> None:
    monkeypatch.setattr(calls.s3(), "put_object", refusing(code, status))
    sent(tmp_path, "111122223333", "ci")
    assert f"s3:PutObject: {code}" in logged.getvalue()


@pytest.mark.usefixtures("bucket")
def test_what_cannot_be_sent_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(calls.s3(), "put_object", refusing("AccessDenied", 403))
    sent(tmp_path, "111122223333", "ci")
    counted = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["ReportsNotSent"] for line in counted if "ReportsNotSent" in line] == [[1.0]]


@pytest.mark.parametrize("missing", [central.REPORT, central.CONTEXT])
def test_what_was_not_sent_is_named(bucket: str, tmp_path: Path, missing: str) -> None:
    sent(tmp_path, "111122223333", "ci")
    boto3.client("s3").delete_object(Bucket=bucket, Key=f"accounts/111122223333/{missing}")
    with pytest.raises(organization.CannotBeJudged, match=f"sent no {missing}"):
        organization.fetch(bucket, "111122223333", tmp_path)


# Judging


def test_every_account_is_in_the_one_report(bucket: str, tmp_path: Path) -> None:
    sent(tmp_path, "111122223333", "ci")
    sent(tmp_path, "444455556666", "backup", "deploy")
    made = organization.make_report(SETTINGS, NOW)
    assert made == {"judged": 2, "notJudged": []}
    for folder in ("organization/latest/", "organization/2026-11-21/"):
        report = s3.read_json(bucket, folder + "report.json")
        assert [one["accountId"] for one in report["accounts"]] == ["111122223333", "444455556666"]
        assert report["totals"]["users"] == 3
        assert report["totals"]["managedUsers"] == 3
        assert s3.read_json(bucket, folder + "not-judged.json") == []


def test_a_report_that_breaks_off_leaves_nothing_in_the_findings(
    bucket: str, tmp_path: Path
) -> None:
    sent(tmp_path, "111122223333", "ci")
    # A good row, then a field larger than the CSV reader takes.
    broken = report_of("444455556666", "early") + '\n"' + "x" * 200_000
    sent(tmp_path, "444455556666", "early", text=broken)
    made = organization.make_report(SETTINGS, NOW)
    assert (made["judged"], [one["accountId"] for one in made["notJudged"]]) == (
        1,
        ["444455556666"],
    )
    report = s3.read_json(bucket, "organization/latest/report.json")
    assert "early" not in json.dumps(report["findings"])
    assert "ci" in json.dumps(report["findings"])


def test_without_any_account_there_is_an_empty_report(bucket: str) -> None:
    assert organization.make_report(SETTINGS, NOW) == {"judged": 0, "notJudged": []}
    assert s3.read_json(bucket, "organization/latest/report.json")["totals"]["accounts"] == 0


def test_a_larger_report_than_any_account_has_is_not_fetched(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent(tmp_path, "111122223333", "ci")
    monkeypatch.setattr(organization, "LARGEST_BYTES", 100)
    made = organization.make_report(SETTINGS, NOW)
    (entry,) = made["notJudged"]
    assert "more than 100" in entry["why"]


def test_a_throttled_bucket_is_nobodys_fault_and_fails_the_run(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent(tmp_path, "111122223333", "ci")
    monkeypatch.setattr(calls.s3(), "get_object", refusing("SlowDown", 503))
    with pytest.raises(AwsThrottled):
        organization.make_report(SETTINGS, NOW)


def test_two_files_of_different_audits_are_not_judged_together(bucket: str, tmp_path: Path) -> None:
    sent(tmp_path, "111122223333", "ci")
    put("accounts/111122223333/credential-report.csv", report_of("111122223333"), "yesterday")
    with pytest.raises(CannotBeJudged, match="different audits"):
        organization.fetch(bucket, "111122223333", tmp_path)


@pytest.mark.parametrize(
    ("age", "why"),
    [
        (timedelta(days=2), None),
        (timedelta(days=2, seconds=1), "older than 2 days"),
        (timedelta(hours=-1), None),
        (timedelta(hours=-1, seconds=-1), "in the future"),
    ],
)
def test_only_a_recent_report_tells_how_an_account_stands(age: timedelta, why: str | None) -> None:
    if why is None:
        organization.assert_recent(NOW - age, NOW)
        return
    with pytest.raises(CannotBeJudged, match=why):
        organization.assert_recent(NOW - age, NOW)


def test_accounts_are_those_that_report_and_those_that_are_known() -> None:
    reporting = ["444455556666", "x", "1234", "111122223333", "٣" * 12]
    assert organization.accounts(reporting, ["777788889999", "111122223333"]) == [
        "111122223333",
        "444455556666",
        "777788889999",
    ]


def test_closed_accounts_are_not_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [
        {"Id": "111122223333", "Status": "ACTIVE"},
        {"Id": "444455556666", "Status": "SUSPENDED"},
        {"Id": "777788889999", "Status": "PENDING_CLOSURE"},
    ]

    class Pages:
        def paginate(self) -> Any:
            return iter([{"Accounts": listed[:2]}, {"Accounts": listed[2:]}])

    monkeypatch.setattr(calls.organizations(), "get_paginator", lambda _: Pages())
    assert organizations.accounts() == ["111122223333", "777788889999"]


def test_who_may_not_list_accounts_is_told_so(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Pages:
        def paginate(self) -> Any:
            refusing("AccessDeniedException", 400)()

    monkeypatch.setattr(calls.organizations(), "get_paginator", lambda _: Pages())
    with pytest.raises(AwsRefused, match="organizations:ListAccounts: AccessDenied"):
        organization.make_report(CentralSettings("all", True, Thresholds()), NOW)


def test_the_settings_come_from_the_environment() -> None:
    settings = CentralSettings.from_env(ENVIRONMENT)
    assert settings == CentralSettings("all", False, Thresholds(60, 45))


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_a_missing_setting_is_named(name: str) -> None:
    with pytest.raises(SettingMissing, match=name):
        CentralSettings.from_env({**ENVIRONMENT, name: ""})
    if name.endswith("DAYS"):
        with pytest.raises(SettingMissing, match=name):
            CentralSettings.from_env({**ENVIRONMENT, name: "ninety"})
