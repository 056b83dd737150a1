"""keyturn credentials: what SDKs run. (tests/consumers has whole rotations of programs that do.)"""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from keyturn_cli import credentials
from keyturn_cli.app import app
from localaws import FaultRule
from proofs.stack.support import MachineUser, Stack
from tests.cli.support import KEYTURN

ROOT = Path(__file__).parent.parent.parent


def call(
    home: Path, *arguments: str, given: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the command with nothing of this person's settings."""
    return subprocess.run(
        [*KEYTURN, "credentials", *arguments],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home / "cache"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_REGION": "us-east-1",
        }
        | variables,
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def value(user: MachineUser) -> dict[str, str]:
    return {
        "AccessKeyId": user.access_key_id,
        "SecretAccessKey": user.secret_access_key.get_secret_value(),
    }


def seconds_left(printed: str) -> float:
    expires = datetime.fromisoformat(json.loads(printed)["Expiration"])
    return (expires - datetime.now(UTC)).total_seconds() - 15 * 60


@pytest.mark.emulator
@pytest.mark.xdist_group("cli")
def test_the_last_good_key_is_served_for_a_short_time_while_secrets_manager_fails(
    stack: Stack, tmp_path: Path
) -> None:
    user = stack.user()
    endpoint = {"AWS_ENDPOINT_URL": stack.aws.endpoint_url}
    first = call(tmp_path, user.name, "--first-key", given=json.dumps(value(user)), **endpoint)
    assert (first.returncode, first.stdout, first.stderr) == (0, "", "")
    kept = tmp_path / "cache" / "keyturn" / f"{user.name}.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700

    good = call(tmp_path, user.name, "--interval", "600", **endpoint)
    assert (good.returncode, good.stderr) == (0, "")
    assert {name: json.loads(good.stdout)[name] for name in value(user)} == value(user)
    assert 540 < seconds_left(good.stdout) <= 600

    rule = stack.aws.control.inject(
        FaultRule(
            action="secretsmanager:GetSecretValue",
            kind="error_before",
            user=user.name,
            code="InternalServiceError",
            count=1000,
        )
    )
    try:
        bad = call(tmp_path, user.name, "--interval", "600", **endpoint)
    finally:
        stack.aws.control.clear_faults(rule=rule)
    assert bad.returncode == 0
    assert json.loads(bad.stdout)["AccessKeyId"] == user.access_key_id
    assert 0 < seconds_left(bad.stdout) <= credentials.SOON_SECONDS
    assert "serving the last good key" in bad.stderr
    assert user.secret_access_key.get_secret_value() not in bad.stderr


def test_without_any_key_it_fails_and_prints_nothing_to_the_sdk(tmp_path: Path) -> None:
    done = call(tmp_path, "ci", AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "no key that is known here can read machine-user/ci any more; hand the present key out: "
        "keyturn credentials ci --first-key < present-key.json\n"
    )


DAMAGED = ["", "5", "null", "[{}]", "\x00", '[{"AccessKeyId": "A"}]']


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_cache_is_named_and_a_first_key_mends_it(tmp_path: Path, content: str) -> None:
    kept = tmp_path / "key.json"
    kept.write_text(content)
    done = call(tmp_path, "ci", "--key-file", str(kept), AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (1, "")
    damaged, locked_out = done.stderr.splitlines()
    assert damaged == f"{kept} is damaged, so no key is kept in it"
    assert "--first-key" in locked_out
    key = {"AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "SecretAccessKey": "not-a-secret"}
    given = call(tmp_path, "ci", "--key-file", str(kept), "--first-key", given=json.dumps(key))
    assert (given.returncode, given.stdout) == (0, "")
    assert json.loads(kept.read_text()) == [key]


@pytest.mark.parametrize("given", ["", "{}", '{"AccessKeyId": null, "SecretAccessKey": null}'])
def test_what_is_no_key_is_not_kept(tmp_path: Path, given: str) -> None:
    done = call(tmp_path, "ci", "--first-key", given=given)
    assert (done.returncode, done.stderr) == (1, "the value holds no access key\n")
    assert not (tmp_path / "cache").exists()


def example(number: int) -> dict[str, str]:
    return {
        "AccessKeyId": f"AKIAIOSFODNN7EXAMPL{number}",
        "SecretAccessKey": f"not-a-secret-{number}",
    }


def test_users_of_the_same_name_in_two_accounts_can_have_a_file_each(tmp_path: Path) -> None:
    accounts = {"111122223333": example(1), "444455556666": example(2)}
    for account, key in accounts.items():
        done = call(tmp_path, "ci", "--account", account, "--first-key", given=json.dumps(key))
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    offline = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    for account, key in accounts.items():
        served = call(tmp_path, "ci", "--account", account, **offline)
        assert json.loads(served.stdout)["AccessKeyId"] == key["AccessKeyId"]
        assert (tmp_path / "cache" / "keyturn" / account / "ci.json").is_file()
    lost = call(tmp_path, "ci", "--account", "999988887777", **offline)
    assert (lost.returncode, lost.stdout) == (1, "")
    assert "keyturn credentials ci --account 999988887777 --first-key <" in lost.stderr


def test_a_first_key_that_meets_another_one_says_so(tmp_path: Path) -> None:
    """It may be that of another account's user, whom this profile would then act as."""
    for number, said in ((1, ""), (1, ""), (2, "--account ID")):
        done = call(tmp_path, "ci", "--first-key", given=json.dumps(example(number)))
        assert (done.returncode, done.stdout) == (0, "")
        assert bool(said) == bool(done.stderr)
        assert said in done.stderr
    kept = tmp_path / "cache" / "keyturn" / "ci.json"
    assert json.loads(kept.read_text()) == [example(2), example(1)]
    assert done.stderr.startswith(f"{kept} held another key, which stays in it as the second")
    assert len(done.stderr.splitlines()) == 1
    assert "not-a-secret" not in done.stderr


def test_a_user_name_may_begin_with_a_dot(tmp_path: Path) -> None:
    done = call(tmp_path, ".ci", AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert done.stderr.startswith("no key that is known here can read machine-user/.ci any more")


@pytest.mark.parametrize(
    "words",
    [
        ["../../etc/passwd"],
        [".."],
        ["a/b"],
        ["ci", "--interval", "0"],
        ["ci", "--interval", "x"],
        ["ci", "--account", "../../etc"],
        ["ci", "--account", "1234"],
        ["ci", "--what"],
        [],
    ],
)
def test_a_wrong_word_is_one_line_on_standard_error(tmp_path: Path, words: list[str]) -> None:
    done = call(tmp_path, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("keyturn: ")
    assert len(done.stderr.splitlines()) == 1
    assert "_seconds" not in done.stderr


def test_the_short_way_and_the_help_have_the_same_options() -> None:
    """The parser is the short way's; Typer shows the help and completes the words."""
    own = {
        option
        for action in credentials.parser()._actions
        for option in action.option_strings
        if option.startswith("--")
    }
    shown = CliRunner().invoke(app, ["credentials", "--help"]).stdout
    helped = set(re.findall(r"^  (?:-\w, )?(--[\w-]+)", shown, re.MULTILINE))
    assert helped - {"--help"} == own


def test_an_sdk_does_not_wait_for_what_this_needs_not() -> None:
    """Typer, Rich, pydantic and boto3 together take longer to import than all the rest."""
    script = (
        "import sys; import keyturn_cli.__main__, keyturn_cli.credentials; "
        "print(sorted({'boto3', 'pydantic', 'rich', 'typer', 'keyturn'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "cli")},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "[]\n"


def test_the_examples_copy_of_the_key_file_is_the_commands_own() -> None:
    """examples/machine_key.py is there to be copied, so it cannot import the command."""
    ours = (ROOT / "cli" / "keyturn_cli" / "machine_key.py").read_text(encoding="utf-8")
    copy = (ROOT / "examples" / "machine_key.py").read_text(encoding="utf-8")
    assert copy == ours, "cp cli/keyturn_cli/machine_key.py examples/"
