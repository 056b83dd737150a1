"""keyturn audit: of downloaded reports, and of the account that the stack is in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from keyturn_cli.app import app
from proofs.stack.support import Stack
from tests.cli.support import KEYTURN, run

COLUMNS = (
    "user,arn,user_creation_time,password_enabled,password_last_used,password_last_changed,"
    "password_next_rotation,mfa_active,access_key_1_active,access_key_1_last_rotated,"
    "access_key_1_last_used_date,access_key_1_last_used_region,access_key_1_last_used_service,"
    "access_key_2_active,access_key_2_last_rotated,access_key_2_last_used_date,"
    "access_key_2_last_used_region,access_key_2_last_used_service,cert_1_active,"
    "cert_1_last_rotated,cert_2_active,cert_2_last_rotated"
)
NO_KEY_2 = "false,N/A,N/A,N/A,N/A,false,N/A,false,N/A"


def report(path: Path, account: str, *, created: str, used: str = "2026-11-19") -> Path:
    """Write a report of an account with one machine user, whose key was made on a day."""
    root = (
        f"<root_account>,arn:aws:iam::{account}:root,2020-01-01T00:00:00+00:00,not_supported,"
        f"no_information,not_supported,not_supported,true,false,N/A,N/A,N/A,N/A,{NO_KEY_2}"
    )
    user = (
        f"ci,arn:aws:iam::{account}:user/ci,2020-01-01T00:00:00+00:00,false,N/A,N/A,N/A,false,"
        f"true,{created}T00:00:00+00:00,{used}T00:00:00+00:00,us-east-1,s3,{NO_KEY_2}"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join((COLUMNS, root, user)) + "\n", encoding="utf-8")
    return path


def audit(*arguments: str | Path) -> Result:
    words = ["audit", "--at", "2026-11-20", *(str(word) for word in arguments)]
    return CliRunner().invoke(app, words, env={"AWS_REGION": "eu-west-1"})


def test_reports_of_many_accounts_are_audited_together(tmp_path: Path) -> None:
    old = report(tmp_path / "a.csv", "111122223333", created="2026-07-01")
    fresh = report(tmp_path / "b.csv", "444455556666", created="2026-11-01")
    done = audit("--report", old, fresh)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "2 accounts, 2 users, 2 active access keys" in done.stdout
    assert "111122223333 ci: key-not-rotated" in done.stdout
    assert "444455556666 ci: key-not-rotated" not in done.stdout


@pytest.mark.parametrize(
    ("severity", "status"), [("critical", 0), ("HIGH", 0), ("MEDIUM", 1), ("low", 1)]
)
def test_the_exit_status_tells_of_findings_that_are_bad_enough(
    tmp_path: Path, severity: str, status: int
) -> None:
    path = report(tmp_path / "a.csv", "111122223333", created="2026-07-01")
    done = audit("--report", path, "--fail-on", severity)
    assert done.exit_code == status
    assert (done.stderr == "keyturn: findings that are MEDIUM or worse: 1\n") == (
        severity == "MEDIUM"
    )


def test_what_could_not_be_judged_fails_only_if_asked(tmp_path: Path) -> None:
    """Without the account nobody knows the password policy; that is no pass, and no finding."""
    path = report(tmp_path / "a.csv", "111122223333", created="2026-11-01")
    assert audit("--report", path, "--fail-on", "MEDIUM").exit_code == 0
    done = audit("--report", path, "--fail-on", "MEDIUM", "--fail-on-unknown")
    assert done.exit_code == 1
    assert "password-policy (not judged)" in done.stdout


def test_the_files_hold_the_same_findings(tmp_path: Path) -> None:
    path = report(tmp_path / "a.csv", "111122223333", created="2026-07-01")
    out, page, table = tmp_path / "out", tmp_path / "report.html", tmp_path / "findings.csv"
    done = audit("--report", path, "--out", out, "--html", page, "--csv", table, "--json")
    printed = json.loads(done.stdout)
    assert json.loads((out / "report.json").read_text()) == printed
    assert {file.name for file in out.iterdir()} == {
        "report.json", "findings.csv", "keys.csv", "report.html",
    }  # fmt: skip
    assert "key-not-rotated" in [finding["rule"] for finding in printed["findings"]]
    assert len(table.read_text().splitlines()) == 1 + len(printed["findings"])
    assert page.read_text().startswith("<!doctype html>")


def test_the_context_beside_a_report_says_who_is_managed_and_when_it_was_made(
    tmp_path: Path,
) -> None:
    path = report(
        tmp_path / "111122223333" / "r.csv",
        "111122223333",
        created="2026-07-01",
        used="2026-07-01",
    )
    context = {
        "format": "keyturn.audit.context/1",
        "accountId": "111122223333",
        "at": "2026-07-02T00:00:00+00:00",
        "managedPath": "/",
        "managed": [
            {
                "userName": "ci",
                "secretArn": "arn:aws:secretsmanager:eu-west-1:111122223333:secret:ci-abcdef",
                "inFlight": False,
                "lastResult": None,
                "lastResultAt": None,
            }
        ],
        "passwordPolicy": None,
    }
    path.with_name("context.json").write_text(json.dumps(context))
    printed = json.loads(audit("--report", path, "--json").stdout)
    assert printed["totals"]["managedUsers"] == 1
    assert [finding["rule"] for finding in printed["findings"]] == [
        "root-password-rotation", "password-policy",
    ]  # fmt: skip


def test_it_is_not_said_that_nobody_is_managed_where_that_is_not_known(tmp_path: Path) -> None:
    path = report(tmp_path / "a.csv", "111122223333", created="2026-07-01")
    context = {
        "format": "keyturn.audit.context/1",
        "accountId": "111122223333",
        "at": "2026-07-02T00:00:00+00:00",
        "managedPath": "/",
        "managed": {"unavailable": "ListSecrets was denied"},
        "passwordPolicy": None,
    }
    path.with_name("context.json").write_text(json.dumps(context))
    told = audit("--report", path).stdout
    assert "how many are managed by Keyturn is not known" in told
    assert "ListSecrets was denied" in told


def test_a_report_by_itself_does_not_tell_who_is_managed(tmp_path: Path) -> None:
    path = report(tmp_path / "a.csv", "111122223333", created="2026-07-01")
    assert "how many are managed by Keyturn is not known" in audit("--report", path).stdout
    printed = json.loads(audit("--report", path, "--json").stdout)
    assert {finding["managed"] for finding in printed["findings"] if finding["user"] == "ci"} == {
        None
    }
    (two,) = (found for found in printed["findings"] if found["rule"] == "two-active-keys")
    assert (two["status"], two["user"]) == ("UNKNOWN", None)
    assert two["next"] == (
        "Audit the account itself, where its stack is, with secretsmanager:ListSecrets allowed."
    )


def test_thresholds_can_be_given(tmp_path: Path) -> None:
    path = report(tmp_path / "a.csv", "111122223333", created="2026-11-01")
    done = audit("--report", path, "--max-key-age-days", "10", "--fail-on", "MEDIUM")
    assert done.exit_code == 1


@pytest.mark.parametrize("content", [None, "", "no,report\n"])
def test_a_report_that_is_none_is_one_line_and_no_file(tmp_path: Path, content: str | None) -> None:
    path, page = tmp_path / "a.csv", tmp_path / "report.html"
    if content is not None:
        path.write_text(content)
    done = audit("--report", path, "--html", page)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"keyturn: {path}")
    assert len(done.stderr.splitlines()) == 1
    assert not page.exists()


def test_two_reports_of_one_account_are_refused_because_users_would_count_twice(
    tmp_path: Path,
) -> None:
    one = report(tmp_path / "a.csv", "111122223333", created="2026-07-01")
    two = report(tmp_path / "b.csv", "111122223333", created="2026-07-01")
    done = audit("--report", one, two)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"keyturn: {two}, line 2: account 111122223333 is audited")
    assert str(one) in done.stderr


@pytest.mark.parametrize("context", [b"[]", b"{}", b"\xff"])
def test_a_damaged_context_is_named_by_the_report_that_it_lies_beside(
    tmp_path: Path, context: bytes
) -> None:
    path = report(tmp_path / "a.csv", "111122223333", created="2026-07-01")
    path.with_name("context.json").write_bytes(context)
    done = audit("--report", path)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"keyturn: the context of {path}: it is damaged")
    assert "generate-credential-report" not in done.stderr


def test_an_interruption_leaves_the_earlier_report_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = report(tmp_path / "a.csv", "111122223333", created="2026-07-01")
    assert audit("--report", path, "--out", tmp_path).exit_code == 0

    def interrupted(_: Path, target: Path) -> None:
        target.write_text("{")
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copyfile", interrupted)
    assert audit("--report", path, "--out", tmp_path).exit_code != 0
    assert json.loads((tmp_path / "report.json").read_text())["totals"]["users"] == 1


def test_files_that_cannot_be_read_or_written_are_named_in_one_line(tmp_path: Path) -> None:
    path = report(tmp_path / "a.csv", "111122223333", created="2026-07-01")
    for arguments, named in [
        ((tmp_path,), tmp_path),
        ((path, "--html", tmp_path / "none" / "a.html"), tmp_path / "none" / "a.html"),
        ((path, "--csv", tmp_path), tmp_path),
        ((path, "--out", path), path),
    ]:
        done = audit("--report", *arguments)
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr.startswith(f"keyturn: {named}: ")
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", [["audit", "--json"], ["audit"], ["local", "status"]])
def test_a_reader_that_leaves_early_is_no_defect(tmp_path: Path, words: list[str]) -> None:
    """As `keyturn audit --json | head -1`, be the output longer than a pipe or one line."""
    if words[0] == "audit":
        made = [
            report(tmp_path / f"{n}.csv", f"{n:012}", created="2026-07-01") for n in range(1, 101)
        ]
        words = [*words, "--report", *map(str, made)]
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        done = subprocess.run(
            [*KEYTURN, *words],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AWS_REGION": "eu-west-1"},
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.emulator
@pytest.mark.xdist_group("cli")
def test_the_account_is_audited_with_the_stacks_settings(stack: Stack) -> None:
    user = stack.user()
    done = run(stack, "audit", "--json", "--fail-on", "MEDIUM")
    assert (done.returncode, done.stderr.count("that are MEDIUM or worse: ")) == (1, 1)
    printed = json.loads(done.stdout)
    old = [
        finding
        for finding in printed["findings"]
        if (finding["user"], finding["rule"]) == (user.name, "key-not-rotated")
    ]
    assert [(finding["managed"], finding["ageDays"]) for finding in old] == [(True, 100)]


@pytest.mark.emulator
@pytest.mark.xdist_group("cli")
def test_without_its_stack_an_account_is_audited_and_who_is_managed_is_not_known(
    stack: Stack, tmp_path: Path
) -> None:
    """A wrong name or Region is no reason to state that nobody is managed."""
    stack.user()
    done = run(stack, "audit", "--stack-name", "none", "--out", str(tmp_path))
    assert done.returncode == 0
    assert "there is no stack none in us-east-1" in done.stderr
    assert "how many are managed by Keyturn is not known" in done.stdout
    printed = json.loads((tmp_path / "report.json").read_text())
    (unknown,) = (
        f for f in printed["findings"] if f["rule"] == "two-active-keys" and not f["user"]
    )
    assert unknown["status"] == "UNKNOWN"
    assert unknown["detail"].endswith(
        "managed users are not known: there is no stack none in us-east-1"
    )
