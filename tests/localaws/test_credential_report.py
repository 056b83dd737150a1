"""The credential report of the embedded AWS."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from localaws.model import CredentialReportModel, LastUsedModel
from tests.localaws.support import Toy, eventually, refused

# One group: the account has one report, and every test asks for its own.
pytestmark = [pytest.mark.emulator, pytest.mark.xdist_group("credential-report")]

AT_ONCE = CredentialReportModel(generation_seconds=0)


@pytest.fixture(autouse=True)
def own_report(toy: Toy) -> Iterator[None]:
    toy.aws.control.set_credential_report(AT_ONCE)
    yield
    toy.aws.control.set_credential_report(CredentialReportModel())


def text_of(toy: Toy) -> str:
    iam = toy.aws.client("iam")
    iam.generate_credential_report()
    return str(iam.get_credential_report()["Content"].decode())


def rows_of(toy: Toy) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text_of(toy))))


def row_of(toy: Toy, name: str) -> dict[str, str]:
    return next(row for row in rows_of(toy) if row["user"] == name)


def test_the_columns_are_those_of_aws_and_the_root_user_comes_first(toy: Toy, name: str) -> None:
    toy.user(name)
    text = text_of(toy)
    header = text.splitlines()[0].split(",")
    assert len(header) == 22
    assert header[:4] == ["user", "arn", "user_creation_time", "password_enabled"]
    assert "\r" not in text
    assert not text.endswith("\n")
    first, *others = [row["user"] for row in rows_of(toy)]
    assert first == "<root_account>"
    assert others == sorted(others, key=str.lower)


def test_a_user_without_a_password_and_a_key_that_was_never_used(toy: Toy, name: str) -> None:
    toy.user(name)
    row = row_of(toy, name)
    assert row["arn"] == f"arn:aws:iam::{toy.aws.account_id}:user/machine/{name}"
    assert (row["password_enabled"], row["password_last_used"]) == ("false", "N/A")
    assert (row["access_key_1_active"], row["access_key_1_last_used_date"]) == ("true", "N/A")
    assert (row["access_key_2_active"], row["access_key_2_last_rotated"]) == ("false", "N/A")
    assert datetime.fromisoformat(row["access_key_1_last_rotated"]).tzinfo is not None


def test_slots_go_by_ascending_key_id_and_not_by_age(toy: Toy, name: str) -> None:
    first, second = toy.user(name), toy.key(name)
    old = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
    toy.aws.control.backdate_key(max(first.id, second.id), old)
    row = row_of(toy, name)
    assert row["access_key_2_last_rotated"] == "2025-01-02T03:04:05Z"
    assert row["access_key_1_last_rotated"] != row["access_key_2_last_rotated"]


def test_an_inactive_key_keeps_its_dates(toy: Toy, name: str) -> None:
    key = toy.user(name)
    toy.aws.client("iam").update_access_key(UserName=name, AccessKeyId=key.id, Status="Inactive")
    row = row_of(toy, name)
    assert row["access_key_1_active"] == "false"
    assert row["access_key_1_last_rotated"] != "N/A"


def test_a_use_is_in_the_report_as_the_model_lets_it_be_known(toy: Toy, name: str) -> None:
    key = toy.user(name)
    toy.client("sts", key).get_caller_identity()
    row = row_of(toy, name)
    used = datetime.fromisoformat(row["access_key_1_last_used_date"])
    assert abs(datetime.now(UTC) - used) < timedelta(minutes=1)
    assert row["access_key_1_last_used_service"] == "sts"
    late = f"{name}-late"
    key = toy.user(late)
    toy.aws.control.set_last_used(LastUsedModel(lag_seconds=3_600), user=late)
    toy.client("sts", key).get_caller_identity()
    assert row_of(toy, late)["access_key_1_last_used_date"] == "N/A"


def test_a_password_has_dates_and_mfa_is_told(toy: Toy, name: str) -> None:
    toy.user(name)
    toy.aws.client("iam").create_login_profile(UserName=name, Password="not-a-secret-1")
    row = row_of(toy, name)
    assert (row["password_enabled"], row["password_last_used"]) == ("true", "no_information")
    assert datetime.fromisoformat(row["password_last_changed"]).tzinfo is not None
    assert row["mfa_active"] == "false"


def test_a_name_with_a_comma_stays_one_column(toy: Toy, name: str) -> None:
    toy.user(f"{name},b")
    assert row_of(toy, f"{name},b")["arn"].endswith(f"{name},b")


def test_a_report_takes_its_time(toy: Toy) -> None:
    iam = toy.aws.client("iam")
    toy.aws.control.set_credential_report(CredentialReportModel(generation_seconds=1))
    assert refused(iam.get_credential_report) == "ReportNotPresent"
    assert iam.generate_credential_report()["State"] == "STARTED"
    assert refused(iam.get_credential_report) == "ReportInProgress"
    assert iam.generate_credential_report()["State"] == "INPROGRESS"

    def there() -> bool:
        try:
            return bool(iam.get_credential_report()["Content"])
        except iam.exceptions.CredentialReportNotReadyException:
            return False

    assert eventually(there)


def test_a_young_report_is_not_made_anew(toy: Toy, name: str) -> None:
    iam = toy.aws.client("iam")
    toy.aws.control.set_credential_report(
        CredentialReportModel(generation_seconds=0, reuse_seconds=14_400)
    )
    rows_of(toy)
    toy.user(name)
    assert iam.generate_credential_report()["State"] == "COMPLETE"
    assert name not in {row["user"] for row in rows_of(toy)}


def test_an_old_report_is_not_given_out(toy: Toy) -> None:
    iam = toy.aws.client("iam")
    toy.aws.control.set_credential_report(
        CredentialReportModel(generation_seconds=0, lifetime_seconds=0)
    )
    iam.generate_credential_report()
    assert refused(iam.get_credential_report) == "ReportExpired"
