"""Every command that the README and the runbook show is run, as it stands, in bash.

A block is named by a comment before it (`<!-- run: name -->`). Each is run here against a stack on
an embedded AWS, or is in ELSEWHERE with the reason; the same goes for commands in the running text.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import localaws
from proofs.stack.scenarios import consuming
from proofs.stack.support import PARAMETERS, MachineUser, Stack, eventually

ROOT = Path(__file__).parent.parent.parent
PAGES = {"README": ROOT / "README.md", "runbook": ROOT / "docs" / "runbook.md"}
BLOCK = re.compile(
    r"^(?P<indent> *)(?:<!-- run: (?P<name>[\w-]+) -->\n *)?```(?P<language>\w*)\n"
    r"(?P<text>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
NOT_COMMANDS = {"mermaid", "json", "text"}
INLINE = re.compile(r"`((?:aws|keyturn|make|sam|pipx|pip|python3?|\.venv/bin/\w+) [^`]+)`")

ELSEWHERE = {
    "README demo": "tests/demo runs `make demo`, in a terminal and without one",
    "README deploy": "`make deploy` builds for Python 3.13 and asks (tests/template/"
    "test_sam_build.py, test_sam_deploy.py); tests/cli/test_install.py installs the command",
    "runbook delete": "the same as the README's, with the stack's name in a variable",
}
INLINE_ELSEWHERE = {
    "make demo": "tests/demo",
    "make deploy DEPLOY_ARGS='--config-env prod'": "needs an account; `sam deploy` with the same "
    "options but the names is in tests/template/test_sam_deploy.py",
    "make deploy DEPLOY_ARGS='--parameter-overrides FleetScheduleState=DISABLED'": "the same; "
    "tests/template/test_sam_build.py",
    "make deploy DEPLOY_ARGS='--parameter-overrides FleetScheduleState=ENABLED "
    "MaxRotationsPerRun=5'": "the same",
    "aws events enable-rule": "not a whole command",
    "aws lambda invoke --invocation-type Event --function-name "
    "keyturn-organization-AuditOrganization answer.json": "tests/organization invokes it",
    "make bench": "measures for minutes; tests/unit/test_figures.py checks its figures' making",
    "make faults": "tests/faults runs a part of it",
    "make model": "tests/model runs it with smaller bounds",
    "make simulate": "tests/simulation runs it with fewer rotations",
    "make consumers": "tests/consumers runs it with fewer rounds",
    "make test": "it is what runs this test",
    "sam build": "tests/template/test_sam_build.py",
    "keyturn watch EXECUTION_ARN": "tests/cli/test_watching.py",
    "keyturn --help": "the help in docs/cli.md is generated from it (tests/template/test_docs.py)",
    "aws cloudwatch set-alarm-state": "not a whole command; tests/statemachine/test_evidence.py "
    "makes the call",
    "aws iam delete-access-key": "not a whole command",
}


QUARANTINE = "arn:aws:iam::aws:policy/AWSCompromisedKeyQuarantineV3"
"""What AWS attaches to the user of an exposed key."""

HANDS_ON = ("README hands-on-begin", "README hands-on", "README hands-on-end")
"""They need no stack; they make their own."""


@dataclass(frozen=True)
class Block:
    """A block of a page, such as `runbook rotate`, with its indentation taken away."""

    page: str
    name: str | None
    language: str
    text: str

    @property
    def title(self) -> str:
        return f"{self.page} {self.name}"


def blocks() -> Iterator[Block]:
    """Every fenced block that may hold commands."""
    for page, path in PAGES.items():
        for found in BLOCK.finditer(path.read_text(encoding="utf-8")):
            indent = len(found["indent"])
            text = "".join(line[indent:] or line for line in found["text"].splitlines(True))
            if found["language"] not in NOT_COMMANDS:
                yield Block(page, found["name"], found["language"], text)


BLOCKS = {block.title: block for block in blocks() if block.name}


@dataclass
class Shell:
    """Runs blocks in a directory of its own, for one machine user."""

    stack: Stack
    directory: Path
    user: MachineUser
    environment: Mapping[str, str]
    ran: dict[str, str] = field(default_factory=dict)
    """What each block wrote to standard output, by its title."""

    def run(self, title: str, *, given: str = "", **variables: str) -> str:
        """Run a block to its end and return its output; AssertionError if a command fails.

        Blocks of the runbook come after its set-up, with this user's name.
        """
        block = BLOCKS[title]
        text = block.text.replace("ci-deployer", self.user.name)
        if block.page == "runbook":
            text = BLOCKS["runbook setup"].text.replace("ci-deployer", self.user.name) + text
        done = subprocess.run(
            ["/bin/bash", "-euo", "pipefail", "-c", text],
            cwd=self.directory,
            env={**self.environment, **variables},
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        assert done.returncode == 0, (
            f"{title} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
        self.ran[title] = done.stdout
        return done.stdout

    def watched(self) -> str:
        """Follow the user's work to its end with `keyturn watch`, and return what it showed."""
        return subprocess.run(
            ["/bin/sh", "-c", f"keyturn watch {self.user.name}"],
            env=dict(self.environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        ).stdout


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What every block wrote, after all journeys; four at once, the deletion last."""
    # Not us-east-1: a command for that Region has to name it.
    with localaws.start(region="eu-west-1") as aws:
        parameters = PARAMETERS | {"ManagedTagValue": "", "MinKeyAgeSeconds": "0"}
        outputs = localaws.deploy(
            aws, stack_name="keyturn", template=ROOT / "template.yaml", parameters=parameters
        )
        stack = Stack(aws, outputs)
        directory = tmp_path_factory.mktemp("commands")
        environment = _environment(stack, directory)
        shells = {
            journey: Shell(stack, directory / name, _machine_user(stack, name), environment)
            for name, journey in JOURNEYS.items()
        }
        for shell in shells.values():
            shell.directory.mkdir()
            _write_keys(shell)
        with ThreadPoolExecutor(len(shells)) as pool:
            ends: list[Future[None]] = [
                pool.submit(journey, shell) for journey, shell in shells.items()
            ]
        for end in ends:
            end.result()
        _retirements_stopped(shells[readme])
        shells[readme].run("README delete", given="y\ny\ny\n")
        left = aws.client("cloudformation").list_stacks()["StackSummaries"]
        assert {found["StackStatus"] for found in left if found["StackName"] == "keyturn"} <= {
            "DELETE_COMPLETE"
        }
        return {title: out for shell in shells.values() for title, out in shell.ran.items()}


def _environment(stack: Stack, directory: Path) -> dict[str, str]:
    commands = directory / "bin"
    commands.mkdir()
    scripts = {
        "keyturn": f'"{sys.executable}" "{ROOT / "cli" / "keyturn_cli"}"',
        # Version 1 of the AWS CLI sends calls of SQS to the Region's own host, whatever
        # AWS_ENDPOINT_URL says; the option it obeys.
        "aws": f'"{Path(sys.executable).with_name("aws")}" --endpoint-url "$AWS_ENDPOINT_URL"',
    }
    for name, command in scripts.items():
        (commands / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (commands / name).chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    path = f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return kept | stack.aws.environment() | {"PATH": path, "COLUMNS": "200"}


def _machine_user(stack: Stack, name: str) -> MachineUser:
    """A user that works with a key of 100 days, and that nobody has onboarded."""
    stack.iam.create_user(UserName=name)
    work = {"Effect": "Allow", "Action": "sqs:ListQueues", "Resource": "*"}
    stack.iam.put_user_policy(
        UserName=name,
        PolicyName="work",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [work]}),
    )
    return stack.add_key(name)


def _write_keys(shell: Shell) -> None:
    secret = shell.user.secret_access_key.get_secret_value()
    present = {"AccessKeyId": shell.user.access_key_id, "SecretAccessKey": secret}
    (shell.directory / "present-key.json").write_text(json.dumps(present))
    (shell.directory / "present-secret-access-key.txt").write_text(secret + "\n")


def readme(shell: Shell) -> None:
    """The quick start, from the audit to the way back."""
    shell.run("README audit")
    assert (shell.directory / "audit.html").read_text(encoding="utf-8").startswith("<!")
    shell.run("README onboard")
    with consuming(shell.stack, shell.user) as consumer:
        assert "ROTATED: " in shell.run("README rotate")
        assert "BACKED_OUT: " in shell.run("README back-out")
    assert consumer.counts.errors == 0
    assert shell.stack.current_key(shell.user.name) == shell.user.access_key_id


def with_keyturn(shell: Shell) -> None:
    """The runbook's plans with `keyturn`, and an exposed key."""
    shell.run("runbook setup")
    shell.run("runbook onboard-keyturn")
    shell.run("runbook plan")
    with consuming(shell.stack, shell.user) as consumer:
        assert "ROTATED: " in shell.run("runbook rotate")
        assert "BACKED_OUT: " in shell.run("runbook backout")
        assert "ROTATED: " in shell.run("runbook emergency")
        shell.run("runbook exposed-after", EXPOSED=shell.user.access_key_id)
        policies = shell.stack.iam.list_user_policies(UserName=shell.user.name)["PolicyNames"]
        assert "end-older-sessions" in policies
        shell.stack.iam.attach_user_policy(UserName=shell.user.name, PolicyArn=QUARANTINE)
        assert QUARANTINE in shell.run("runbook quarantine")
        calls = consumer.counts.calls
        eventually(lambda: consumer.counts.calls > calls + 1, what="the new key works all the same")
    assert shell.stack.keys(shell.user.name)[shell.user.access_key_id] == "Inactive"
    shell.run("runbook offboard")


def with_aws(shell: Shell) -> None:
    """The same with the AWS CLI, and by hand."""
    shell.run("runbook onboard-aws")
    with consuming(shell.stack, shell.user):
        shell.run("runbook rotate-aws")
        _under_way(shell)
        assert "ROTATED: " in shell.run("runbook status")
        seen = json.loads(shell.run("runbook by-hand").split("\n}\n")[0] + "\n}")
        versions = {label: name for name, labels in seen["labels"].items() for label in labels}
        shell.run(
            "runbook by-hand-restore",
            OLD_KEY=shell.user.access_key_id,
            OLD_VERSION=versions["BACKOUT"],
            NEW_VERSION=versions["AWSCURRENT"],
        )
        assert shell.stack.current_key(shell.user.name) == shell.user.access_key_id
        shell.run("runbook backout-aws")
        _under_way(shell)
        shell.watched()
        assert shell.stack.keys(shell.user.name)[shell.user.access_key_id] == "Active"
    stack, name = shell.stack, shell.user.name
    labels = shell.run("runbook offboard-check").split()
    assert set(labels) == set(stack.labels(name))
    assert "CLAIM" not in labels
    shell.run("runbook offboard-aws")
    assert "keyturn:offboarded" in stack.tags(name)
    shell.run("runbook onboard-again")
    assert "keyturn:offboarded" not in stack.tags(name)
    stack.label(name, "CLAIM", stack.labels(name)["AWSCURRENT"])
    assert "CLAIM" in shell.run("runbook offboard-check").split()


def with_faults(shell: Shell) -> None:
    """An execution that is stopped, a queue that is read, a dry run and its report."""
    shell.run("runbook onboard-keyturn")
    shell.run("runbook fleet")
    with consuming(shell.stack, shell.user) as consumer:
        # A busy computer needs a while for the commands between the start and the stop.
        longer = {"Key": "keyturn:watch-seconds", "Value": "600"}
        shell.stack.secrets.tag_resource(SecretId=shell.user.secret_name, Tags=[longer])
        shell.run("runbook test-abort")
        shell.stack.secrets.untag_resource(SecretId=shell.user.secret_name, TagKeys=[longer["Key"]])
        eventually(
            lambda: "CLAIM" not in shell.stack.labels(shell.user.name),
            within_seconds=60,
            what="the stopped rotation is backed out by itself",
            every_seconds=0.5,
        )
        assert consumer.counts.errors == 0
        assert shell.stack.current_key(shell.user.name) == shell.user.access_key_id
        shell.run("runbook emergency-aws", EXPOSED=shell.user.access_key_id)
        _under_way(shell)
        assert "ROTATED: " in shell.watched()
    assert shell.stack.keys(shell.user.name)[shell.user.access_key_id] == "Inactive"
    eventually(
        lambda: any("/latest/" in key for key in shell.stack.reports.keys("audits/")),
        within_seconds=60,
        what="the dry run writes its report",
        every_seconds=0.5,
    )
    shell.run("runbook stop-starts")
    rules = shell.stack.aws.client("events").list_rules()["Rules"]
    disabled = {rule["Name"] for rule in rules if rule["State"] == "DISABLED"}
    assert disabled == {rule["Name"] for rule in rules if "StartRotation" in rule["Name"]}
    assert len(disabled) == 4
    shell.run("runbook fleet-report")
    assert (shell.directory / "audit" / "credential-report.csv").exists()
    shell.run("runbook queue")
    queue = shell.stack.aws.client("cloudformation").describe_stack_resource(
        StackName="keyturn", LogicalResourceId="LostBackOutQueue"
    )["StackResourceDetail"]["PhysicalResourceId"]
    shell.run("runbook queue-empty", QUEUE=queue)
    _what_was_not_forwarded(shell)
    shell.run("runbook offboard")


def _retirements_stopped(shell: Shell) -> None:
    """One that waits out its retention is stopped; nobody else needs theirs any more."""
    step_functions = shell.stack.aws.client("stepfunctions")
    request = {
        "userName": shell.user.name,
        "oldAccessKeyId": shell.user.access_key_id,
        "versionId": f"{shell.user.access_key_id}-{'0' * 32}",
        "retentionSeconds": 604800,
    }
    execution = step_functions.start_execution(
        stateMachineArn=shell.stack.outputs["RetireKeyStateMachineArn"], input=json.dumps(request)
    )["executionArn"]
    eventually(
        lambda: any(
            event["type"] == "WaitStateEntered"
            for event in step_functions.get_execution_history(executionArn=execution)["events"]
        ),
        what="the retirement waits",
    )
    shell.run("runbook stop-retirements")
    found = step_functions.describe_execution(executionArn=execution)
    assert found["status"] == "ABORTED"


def _what_was_not_forwarded(shell: Shell) -> None:
    """A message in the queue of the stack that a stack set has made in us-east-1."""
    there = shell.stack.aws.account(region="us-east-1")
    cloudformation, sqs = there.client("cloudformation"), there.client("sqs")
    name = "StackSet-keyturn-health-events-0f4b6a4e-9a53-4bb3-a9e4-2d2e4c1c3b0a"
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=(ROOT / "organization" / "health-events.yaml").read_text(encoding="utf-8"),
        Parameters=[{"ParameterKey": "TargetRegion", "ParameterValue": shell.stack.aws.region}],
        Capabilities=["CAPABILITY_IAM"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
    )
    queue = cloudformation.describe_stack_resource(
        StackName=name, LogicalResourceId="UndeliveredQueue"
    )["StackResourceDetail"]["PhysicalResourceId"]
    sqs.send_message(QueueUrl=queue, MessageBody="an exposed key")
    assert "an exposed key" in shell.run("runbook unforwarded")
    shell.run("runbook unforwarded-empty", UNFORWARDED=queue)
    number = "ApproximateNumberOfMessages"
    for attribute in (number, f"{number}NotVisible"):
        found = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=[attribute])
        assert found["Attributes"][attribute] == "0"


def _under_way(shell: Shell) -> None:
    """Wait until what was started holds the claim: `keyturn watch` finds it by that."""
    eventually(
        lambda: "CLAIM" in shell.stack.labels(shell.user.name),
        within_seconds=60,
        what="the execution takes the claim",
    )


JOURNEYS: dict[str, Callable[[Shell], None]] = {
    "ci-deployer": readme,
    "weekly-numbers": with_keyturn,
    "billing-exporter": with_aws,
    "logs": with_faults,
}


@pytest.mark.emulator
@pytest.mark.slow
@pytest.mark.xdist_group("commands")
@pytest.mark.parametrize("title", sorted(BLOCKS.keys() - ELSEWHERE.keys() - {*HANDS_ON}))
def test_a_shown_block_runs_as_it_stands(title: str, ran: dict[str, str]) -> None:
    assert title in ran, f"nobody runs the block {title}: add it to a journey, or to ELSEWHERE"


@pytest.mark.emulator
@pytest.mark.slow
@pytest.mark.xdist_group("hands-on")
def test_the_hands_on_blocks_rotate_under_a_consumer_without_a_failed_call(tmp_path: Path) -> None:
    for name in ("cli", "template.yaml"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "home").mkdir()
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "XDG_"))
    }
    environment = kept | {"HOME": str(tmp_path / "home")}

    def run(*titles: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/bash", "-eu", "-c", "".join(BLOCKS[title].text for title in titles)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )

    *before, end = HANDS_ON
    try:
        done = run(*before)
    finally:
        subprocess.run(
            [sys.executable, str(ROOT / "cli" / "keyturn_cli"), "local", "down"],
            env=environment,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ROTATED: " in done.stdout
    assert "BACKED_OUT: " in done.stdout
    assert "FAILED" not in done.stdout
    assert (tmp_path / "build" / "hands-on" / "audit.html").stat().st_size > 10_000
    assert run(end).returncode == 0
    left = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert [*left, *(tmp_path / "build").iterdir()] == []


def test_no_block_is_left_out() -> None:
    assert [block.text for block in blocks() if not block.name] == []
    assert len(BLOCKS) == len([block for block in blocks() if block.name]), "two have one name"
    assert ELSEWHERE.keys() - BLOCKS.keys() == set()


def test_no_command_in_the_running_text_is_left_out() -> None:
    blocks_text = "\n".join(block.text for block in BLOCKS.values())
    found = {
        command
        for path in PAGES.values()
        for command in INLINE.findall(BLOCK.sub("", path.read_text(encoding="utf-8")))
    }
    left = {command for command in found if command not in blocks_text}
    assert left - INLINE_ELSEWHERE.keys() == set(), "show it in a block, or say who runs it"
    assert INLINE_ELSEWHERE.keys() - found == set(), "the pages do not show this any more"
