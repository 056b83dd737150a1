"""The programs of examples/, each in the situations that it is made for."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
from botocore.credentials import RefreshableCredentials
from pydantic import SecretStr

from keyturn_cli.credentials import expiration
from localaws import FaultRule
from proofs.consumers.programs import (
    BOTO3_REREAD,
    CACHING_CLIENT,
    CREDENTIAL_PROCESS,
    KEYTURN,
    MOVING,
    STATIC,
    Program,
    Starter,
)
from proofs.consumers.readers import add_reader_profile
from proofs.stack.support import MachineUser, Stack, eventually

pytestmark = [pytest.mark.emulator, pytest.mark.xdist_group("consumers")]

Example = Callable[[str], ModuleType]

# A busy computer takes seconds to start an interpreter.
BUSY_SECONDS = 120.0
soon = partial(eventually, within_seconds=BUSY_SECONDS)


def key(user: MachineUser) -> dict[str, str]:
    """A key as the key file and the secret hold it."""
    return {
        "AccessKeyId": user.access_key_id,
        "SecretAccessKey": user.secret_access_key.get_secret_value(),
    }


def publish(stack: Stack, user: MachineUser) -> None:
    """Put a key into AWSCURRENT, as a person could."""
    stack.secrets.put_secret_value(SecretId=user.secret_name, SecretString=json.dumps(key(user)))


def set_status(stack: Stack, user: MachineUser, status: str) -> None:
    stack.iam.update_access_key(UserName=user.name, AccessKeyId=user.access_key_id, Status=status)


def works(program: Program) -> None:
    """Wait for one more call, or fail with what the program had to say."""
    calls = program.report.calls
    soon(
        lambda: program.report.calls > calls or not program.running,
        what=f"{program.kind} works: {program.report}",
    )
    assert program.running, program.errors.read_text()


# --- all of them ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*MOVING, STATIC])
def test_a_program_says_how_it_goes_and_never_a_secret(
    stack: Stack, user: MachineUser, start: Starter, tmp_path: Path, kind: str
) -> None:
    program = start(kind)
    works(program)
    other = stack.add_key(user.name, days_old=0)
    publish(stack, other)
    if kind != STATIC:
        soon(lambda: program.on(other.access_key_id), what="the new key is in use")
        saved = tmp_path / f"{kind}.json"
        assert json.loads(saved.read_text()) == [key(other), key(user)]
        assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    report = program.stop()
    assert not program.running
    assert (report.failed_calls, report.last_error, report.retried_after_reread) == (0, "", 0)
    assert report.key_changes == (0 if kind == STATIC else 1)
    said = "".join(program.said) + program.errors.read_text()
    for one in (user, other):
        assert one.access_key_id not in said
        assert one.secret_access_key.get_secret_value() not in said


@pytest.mark.parametrize("kind", MOVING)
def test_a_new_key_that_iam_does_not_know_everywhere_yet_is_not_used_yet(
    stack: Stack, user: MachineUser, start: Starter, kind: str
) -> None:
    program = start(kind)
    works(program)
    other = stack.add_key(user.name, days_old=0)
    rule = stack.aws.control.inject(
        FaultRule(
            action="secretsmanager:DescribeSecret",
            kind="error_before",
            user=user.name,
            status=400,
            code="UnrecognizedClientException",
            count=1000,
        )
    )
    publish(stack, other)
    # With the cache, DescribeSecret is also how it looks; the fault keeps it from seeing anything.
    soon(lambda: len(stack.aws.control.faults_fired(rule=rule)) >= 2, what="the key is tried")
    assert program.on(user.access_key_id)
    stack.aws.control.clear_faults(rule=rule)
    soon(lambda: program.on(other.access_key_id), what="the new key is in use")
    assert program.stop().failed_calls == 0


@pytest.mark.parametrize("kind", MOVING)
def test_a_secret_that_cannot_be_read_changes_nothing(
    stack: Stack, user: MachineUser, start: Starter, kind: str
) -> None:
    program = start(kind)
    works(program)
    rules = [
        stack.aws.control.inject(
            FaultRule(
                action=f"secretsmanager:{action}",
                kind="error_before",
                user=user.name,
                code="InternalServiceError",
                count=1000,
            )
        )
        for action in ("GetSecretValue", "DescribeSecret")
    ]
    soon(
        lambda: any(stack.aws.control.faults_fired(rule=rule) for rule in rules),
        what="the secret is asked for in vain",
    )
    works(program)
    for rule in rules:
        stack.aws.control.clear_faults(rule=rule)
    other = stack.add_key(user.name, days_old=0)
    publish(stack, other)
    soon(lambda: program.on(other.access_key_id), what="it looks again")
    assert program.stop().failed_calls == 0


@pytest.mark.parametrize("kind", [BOTO3_REREAD, CACHING_CLIENT])
def test_a_program_that_starts_again_after_a_rotation_finds_its_key(
    stack: Stack, user: MachineUser, start: Starter, kind: str
) -> None:
    program = start(kind)
    works(program)
    other = stack.add_key(user.name, days_old=0)
    publish(stack, other)
    soon(lambda: program.on(other.access_key_id), what="the new key is in use")
    program.stop()
    set_status(stack, user, "Inactive")  # and that is the one in its environment
    again = start(kind)
    works(again)
    assert again.on(other.access_key_id)
    assert again.stop().failed_calls == 0


# --- a key that is refused ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [BOTO3_REREAD, CACHING_CLIENT])
def test_a_refused_key_is_read_again_and_the_call_succeeds(
    stack: Stack, user: MachineUser, start: Starter, kind: str
) -> None:
    program = start(kind, refresh_seconds=3600)
    works(program)
    other = stack.add_key(user.name, days_old=0)
    publish(stack, other)
    stack.aws.control.inject(
        FaultRule(
            action="sqs:ListQueues",
            kind="error_before",
            user=user.name,
            status=403,
            code="InvalidClientTokenId",
        )
    )
    soon(lambda: program.on(other.access_key_id), what="the new key is in use")
    report = program.stop()
    assert (report.failed_calls, report.retried_after_reread) == (0, 1)


@pytest.mark.parametrize("kind", [BOTO3_REREAD, CACHING_CLIENT])
def test_after_a_rotation_and_a_back_out_that_a_program_slept_through_it_still_gets_in(
    stack: Stack, user: MachineUser, start: Starter, tmp_path: Path, kind: str
) -> None:
    rejected = stack.add_key(user.name, days_old=0)
    set_status(stack, rejected, "Inactive")
    file = tmp_path / f"{kind}.json"
    file.write_text(json.dumps([key(rejected), key(user)]))
    program = start(kind, of=MachineUser(user.name, "AKIANEVEREXISTED0000", SecretStr("x")))
    works(program)
    assert program.on(user.access_key_id)
    assert program.stop().failed_calls == 0


@pytest.mark.parametrize("kind", [BOTO3_REREAD, CACHING_CLIENT])
def test_one_that_missed_its_time_is_locked_out_until_the_back_out(
    stack: Stack, user: MachineUser, start: Starter, kind: str
) -> None:
    """What happens to a program that is rarer than the quiet period and has no other reader."""
    program = start(kind, refresh_seconds=3600)
    works(program)
    publish(stack, stack.add_key(user.name, days_old=0))
    set_status(stack, user, "Inactive")
    soon(lambda: program.report.failed_calls > 0, what="it is hurt")
    assert program.report.last_error == "LockedOut"
    set_status(stack, user, "Active")
    works(program)


@pytest.mark.parametrize("kind", [BOTO3_REREAD, CACHING_CLIENT])
def test_one_with_another_reader_survives_the_loss_of_its_key(
    stack: Stack, user: MachineUser, start: Starter, tmp_path: Path, kind: str
) -> None:
    add_reader_profile(stack, user, tmp_path / "config")
    program = start(kind, refresh_seconds=3600, reader_profile="reader")
    works(program)
    other = stack.add_key(user.name, days_old=0)
    publish(stack, other)
    set_status(stack, user, "Inactive")
    soon(lambda: program.on(other.access_key_id), what="the new key is in use")
    report = program.stop()
    assert (report.failed_calls, report.retried_after_reread) == (0, 1)


def test_botocore_does_not_look_again_when_its_key_is_refused(
    stack: Stack, user: MachineUser, start: Starter
) -> None:
    """Why an application with a credential_process depends on the rotation's patience."""
    program = start(CREDENTIAL_PROCESS, refresh_seconds=3600)
    works(program)
    stack.aws.control.inject(
        FaultRule(
            action="sqs:ListQueues",
            kind="error_before",
            user=user.name,
            status=403,
            code="InvalidClientTokenId",
        )
    )
    soon(lambda: program.report.failed_calls == 1, what="a call fails")
    assert program.stop().last_error == "InvalidClientTokenId"


@pytest.mark.parametrize("kind", [BOTO3_REREAD, CACHING_CLIENT])
def test_a_first_key_can_come_from_another_reader(
    stack: Stack, user: MachineUser, start: Starter, tmp_path: Path, kind: str
) -> None:
    """Containers: nothing outlives a restart, and no key is in their environment."""
    add_reader_profile(stack, user, tmp_path / "config")
    nobody = MachineUser(user.name, "", SecretStr(""))
    program = start(kind, of=nobody, reader_profile="reader")
    works(program)
    assert program.on(user.access_key_id)
    assert program.stop().failed_calls == 0


def test_a_disk_that_is_full_does_not_keep_a_good_key_from_being_used(
    example: Example,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    machine_key = example("machine_key")

    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(machine_key.tempfile, "mkstemp", full)
    file = machine_key.KeyFile(tmp_path / "key.json")
    file.remember(machine_key.Key("AKIA", "hush"))
    told = capsys.readouterr().err
    assert "No space left" in told
    assert "hush" not in told
    assert "hush" not in repr(machine_key.Key("AKIA", "hush"))
    with pytest.raises(OSError, match="No space left"):
        file.save(machine_key.Key("AKIA", "hush"))


# --- the credential process by itself -------------------------------------------------------------


def test_the_expiration_makes_botocore_ask_again_after_the_interval() -> None:
    now = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
    printed = expiration(now, 300)
    assert printed == "2026-11-21T12:20:00Z"
    clock = [now]
    credentials = RefreshableCredentials(
        "AKIA",
        "secret",
        "",
        datetime.fromisoformat(printed),
        refresh_using=dict,
        method="custom-process",
        time_fetcher=lambda: clock[0],
    )
    asks = []
    for seconds in (299, 301):
        clock[0] = now + timedelta(seconds=seconds)
        asks.append(credentials.refresh_needed())
    assert asks == [False, True]


class Process:
    """Runs `keyturn credentials` for a user with a key file."""

    def __init__(self, stack: Stack, user: MachineUser, file: Path) -> None:
        self.file = file
        self._command = [
            *KEYTURN, "credentials", user.name, "--key-file", str(file),
        ]  # fmt: skip
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("AWS_")
        }
        self._environment = inherited | {
            "AWS_ENDPOINT_URL": stack.aws.endpoint_url,
            "AWS_DEFAULT_REGION": stack.aws.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(file.with_name("config")),
            "AWS_SHARED_CREDENTIALS_FILE": str(file.with_name("none")),
        }

    def __call__(
        self, *arguments: str, given: str = "", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._command, *arguments],
            env=self._environment | variables,
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def process(stack: Stack, user: MachineUser, tmp_path: Path) -> Process:
    """The process of a user whose key file holds its key."""
    made = Process(stack, user, tmp_path / "keys" / "key.json")
    done = made("--first-key", given=json.dumps(key(user)))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return made


def test_it_prints_what_sdks_want(process: Process, user: MachineUser) -> None:
    done = process("--interval", "60")
    printed = json.loads(done.stdout)
    expires = datetime.fromisoformat(printed.pop("Expiration"))
    assert printed == {"Version": 1, **key(user)}
    assert 0 < (expires - datetime.now(UTC)).total_seconds() - 15 * 60 <= 60
    assert done.stderr == ""
    assert stat.S_IMODE(process.file.stat().st_mode) == 0o600


def test_it_serves_the_last_good_key_when_secrets_manager_is_out_of_reach(
    process: Process, user: MachineUser
) -> None:
    done = process(AWS_ENDPOINT_URL="http://127.0.0.1:9")  # the discard port: nobody listens
    assert done.returncode == 0
    assert json.loads(done.stdout)["AccessKeyId"] == user.access_key_id
    assert "serving the last good key" in done.stderr
    assert user.secret_access_key.get_secret_value() not in done.stderr


def test_it_gets_in_with_the_key_before_the_last(
    stack: Stack, process: Process, user: MachineUser
) -> None:
    """A rotation was backed out while the machine was off: the newest key that it knows is dead."""
    rejected = stack.add_key(user.name, days_old=0)
    set_status(stack, rejected, "Inactive")
    process("--first-key", given=json.dumps(key(rejected)))
    done = process()
    assert json.loads(done.stdout)["AccessKeyId"] == user.access_key_id
    assert json.loads(process.file.read_text()) == [key(user), key(rejected)]


def test_it_fails_in_words_when_no_key_that_it_knows_works(
    stack: Stack, process: Process, user: MachineUser
) -> None:
    set_status(stack, user, "Inactive")
    done = process()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"no key that is known here can read {user.secret_name} any more; hand the present key "
        f"out: keyturn credentials {user.name} --key-file {process.file} --first-key < "
        "present-key.json\n"
    )


def test_the_process_can_read_with_another_identity(
    stack: Stack, process: Process, user: MachineUser
) -> None:
    add_reader_profile(stack, user, process.file.with_name("config"))
    other = stack.add_key(user.name, days_old=0)
    publish(stack, other)
    set_status(stack, user, "Inactive")  # as an EMERGENCY does, at once
    assert process().returncode == 1
    done = process("--reader-profile", "reader")
    assert json.loads(done.stdout)["AccessKeyId"] == other.access_key_id, done.stderr


def test_what_is_no_key_is_refused_without_quoting_it(process: Process) -> None:
    done = process("--first-key", given='{"AccessKeyId": "AKIA", "Secret": "hush"}')
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "the value holds no access key\n"
