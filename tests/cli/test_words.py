"""Doctests of the command's words, and how errors become one line."""

from __future__ import annotations

import doctest
import importlib
import json
import os
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    UnauthorizedSSOTokenError,
)
from typer.testing import CliRunner

from keyturn.aws import calls
from keyturn.model.errors import AwsRefused, AwsThrottled
from keyturn_cli import app as wiring
from keyturn_cli import aws, options, output, stack
from keyturn_cli.errors import CliError, explain
from keyturn_cli.words import STATES, WAITS
from tools import template

DOCUMENTED = ["words", "local"]


@pytest.mark.parametrize("module", DOCUMENTED)
def test_the_examples_in_docstrings_are_true(module: str) -> None:
    done = doctest.testmod(importlib.import_module(f"keyturn_cli.{module}"))
    assert done.attempted > 0
    assert done.failed == 0


def test_every_state_that_is_worded_exists() -> None:
    path = template.ROOT / "statemachine" / "rotate_key.asl.json"
    states = json.loads(path.read_text(encoding="utf-8"))["States"]
    assert {*STATES, *WAITS} <= {*states}
    assert {name for name, state in states.items() if state["Type"] == "Wait"} == {*WAITS}


def client_error(code: str, message: str = "no") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "GetUser")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (CliError("do this"), "do this"),
        (client_error("ExpiredToken"), "GetUser: ExpiredToken: no; your credentials have expired"),
        (client_error("InvalidClientTokenId"), "choose others with --profile"),
        (client_error("AccessDenied"), "may not do this (docs/cli.md"),
        (AwsRefused("iam:GetUser: AccessDenied: no"), "may not do this (docs/cli.md"),
        (AwsThrottled("iam:GetUser: Throttling: no"), "try again in a moment"),
        (IsADirectoryError(21, "Is a directory", "reports"), "reports: Is a directory"),
        (NoRegionError(), "name the stack's with --region"),
        (NoCredentialsError(), "set AWS_PROFILE or use --profile"),
        (UnauthorizedSSOTokenError(), "no usable credentials (UnauthorizedSSOTokenError); sign in"),
        (
            AwsRefused("iam:GetUser: no usable credentials (SSOTokenLoadError)"),
            "(SSOTokenLoadError); sign in again",
        ),
        (EndpointConnectionError(endpoint_url="http://x"), "is the network up"),
    ],
)
def test_an_error_says_what_to_do_next(error: Exception, words: str) -> None:
    said = explain(error)
    assert said is not None
    assert words in said
    assert "\n" not in said


def test_a_defect_is_one_line_and_a_traceback_only_with_debug(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(name: str) -> None:
        raise ZeroDivisionError("a value that nobody should see")

    monkeypatch.setattr(stack, "find", broken)
    done = CliRunner().invoke(wiring.app, ["status"])
    assert (done.exit_code, done.stdout) == (options.DEFECT, "")
    assert (
        done.stderr
        == "keyturn: ZeroDivisionError; this is a defect of keyturn, --debug shows where\n"
    )
    traced = CliRunner().invoke(wiring.app, ["status", "--debug"])
    assert "Traceback" in traced.stderr


@pytest.mark.parametrize(
    ("words", "partner"),
    [
        (["rotate", "ci", "--access-key-id", "AKIAIOSFODNN7EXAMPLE"], "--emergency"),
        (["plan", "ci", "--access-key-id", "AKIAIOSFODNN7EXAMPLE"], "--emergency"),
        (["onboard", "ci", "--access-key-id", "AKIA"], "--existing-secret-stdin"),
        (["audit", "--fail-on-unknown"], "--fail-on"),
        (["audit", "--at", "2026-11-20"], "--report"),
        (["offboard", "ci", "--recovery-days", "7"], "--delete-secret"),
    ],
)
def test_an_option_that_means_nothing_alone_is_not_passed_over(
    words: list[str], partner: str
) -> None:
    """Who forgets --emergency must not get a rotation that takes days."""
    done = CliRunner().invoke(wiring.app, [*words, "--region", "eu-west-1"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"means nothing without {partner}; nothing was done" in done.stderr


def test_of_a_wrong_stack_name_and_a_wrong_user_the_first_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is looked up in IAM for a stack that is not there."""

    def none(name: str) -> None:
        raise stack.NoStack(f"there is no stack {name}")

    monkeypatch.setattr(stack, "find", none)
    words = ["ci", "--emergency", "--region", "eu-west-1", "--stack-name", "none"]
    for command in ("plan", "rotate"):
        done = CliRunner().invoke(wiring.app, [command, *words])
        assert (done.exit_code, done.stderr) == (2, "keyturn: there is no stack none\n")


def test_an_unknown_option_is_a_usage_error() -> None:
    assert CliRunner().invoke(wiring.app, ["status", "--nonsense"]).exit_code == 2


def test_key_ids_in_errors_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(name: str) -> None:
        raise CliError("the key AKIAIOSFODNN7EXAMPLE is in use")

    monkeypatch.setattr(stack, "find", refused)
    done = CliRunner().invoke(wiring.app, ["status"])
    assert done.stderr == "keyturn: the key ...MPLE is in use\n"


class Terminal:
    """Standard input with a person at it."""

    def __init__(self, answer: str) -> None:
        self._answer = answer

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        return self._answer


@pytest.mark.parametrize(
    ("answer", "goes_on"),
    [("y\n", True), ("YES\n", True), ("\n", False), ("n\n", False), ("", False)],
)
def test_only_a_clear_yes_goes_on(
    monkeypatch: pytest.MonkeyPatch, answer: str, goes_on: bool
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    if goes_on:
        output.confirm("Go on?", yes=False)
    else:
        with pytest.raises(CliError, match="nothing was changed") as declined:
            output.confirm("Go on?", yes=False)
        assert declined.value.status == 1


def test_every_command_says_what_it_does_and_every_option_what_it_means() -> None:
    for path in wiring.paths():
        done = CliRunner().invoke(wiring.app, [*path, "--help"])
        assert done.exit_code == 0
        lines = done.stdout.splitlines()
        assert any(line.startswith("  ") and line.rstrip().endswith(".") for line in lines), path
        for line in lines:
            if line.startswith("  -"):
                assert len(line.split()) > 1, (path, line)


def test_no_colours_leave_the_command_under_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    console = output.console()
    with console.capture() as captured:
        console.print("red", style="red")
    assert "\x1b[31" not in captured.get()


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment without any AWS settings."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "KEYTURN_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["status"], "no Region is set; name the stack's with --region or AWS_REGION"),
        (["status", "--region", "eu-west-1"], "no AWS credentials were found"),
        (["status", "--profile", "none"], "`aws configure list-profiles` names those"),
        (["status", "--region", "eu-west-1", "--endpoint-url", "x"], "Invalid endpoint: x; "),
    ],
)
def test_what_is_missing_in_the_aws_settings_is_named(words: list[str], said: str) -> None:
    done = CliRunner().invoke(wiring.app, words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.usefixtures("nobody")
def test_the_profiles_region_and_the_endpoint_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text(
        "[profile ops]\nregion = eu-central-1\naws_access_key_id = AKIA\n"
        "aws_secret_access_key = x\n"
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL", "unset-by-the-test")
    target = aws.Target(profile="ops", endpoint_url="http://127.0.0.1:9")
    aws.connect(target)
    client = aws.stepfunctions()
    assert (client.meta.region_name, client.meta.endpoint_url) == (
        "eu-central-1",
        "http://127.0.0.1:9",
    )
    assert calls.iam().meta.endpoint_url == "http://127.0.0.1:9"
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    aws.connect(target)
    assert aws.stepfunctions().meta.region_name == "eu-north-1"
    aws.forget_clients()
    boto3.DEFAULT_SESSION = None


def test_another_stack_is_not_taken_for_keyturns(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clouds:
        def describe_stacks(self, StackName: str) -> dict[str, object]:
            if StackName == "other":
                return {"Stacks": [{"Outputs": [{"OutputKey": "Url", "OutputValue": "x"}]}]}
            raise client_error("ValidationError", f"Stack with id {StackName} does not exist")

    monkeypatch.setattr(aws, "cloudformation", Clouds)
    with pytest.raises(stack.NoStack, match="the stack other is not a Keyturn stack"):
        stack.find("other")
    with pytest.raises(stack.NoStack, match="there is no stack none"):
        stack.find("none")
