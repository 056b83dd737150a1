"""The kit's consumers that are more than one program: a container, the AWS CLI, a CI job."""

from __future__ import annotations

import configparser
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from proofs.consumers.cluster import FOLDER as CLUSTER
from proofs.consumers.cluster import Pod
from proofs.consumers.commands import Repeated, aws_cli, let_list_topics
from proofs.consumers.crew import Begin, Crew
from proofs.consumers.health import HealthServer
from proofs.consumers.job import FOLDER as ACTIONS
from proofs.consumers.job import Issuer, Repository, Stepped, github_actions
from proofs.consumers.programs import Report
from proofs.consumers.readers import add_reader_profile, add_reader_role
from proofs.consumers.rounds import back_out_after_rotated
from proofs.stack.support import MachineUser, Stack

pytestmark = [pytest.mark.emulator, pytest.mark.xdist_group("consumers")]

SUBJECT = "repo:example@1234567/app@7654321:environment:production"


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """GitHub's identity provider."""
    made = Issuer(SUBJECT)
    yield made
    made.stop()


def through(stack: Stack, user: MachineUser, begin: Begin) -> Report:
    """A whole rotation of one consumer's user, then a back-out; returns what it came to."""
    crew = Crew(stack, user, {}, begin=begin)
    health = HealthServer()
    try:
        crew.wait_until_working()
        back_out_after_rotated(crew, health)
    except AssertionError as error:
        error.add_note(crew.programs[0].errors.read_text(encoding="utf-8")[-2000:])
        raise
    finally:
        crew.stop()
        health.stop()
    (report,) = crew.reports()
    for key in stack.keys(user.name):
        # What it says of itself, and what AWS saw of its keys.
        assert not [call for call in stack.aws.control.calls(access_key_id=key) if call.error]
    return report


def secrets_of(stack: Stack, user: MachineUser) -> list[str]:
    """Every secret access key that the user's secret has held."""
    listed = stack.secrets.list_secret_version_ids(
        SecretId=user.secret_name, IncludeDeprecated=True
    )
    values = [
        json.loads(
            stack.secrets.get_secret_value(
                SecretId=user.secret_name, VersionId=version["VersionId"]
            )["SecretString"]
        )
        for version in listed["Versions"]
    ]
    return [value["SecretAccessKey"] for value in values if "SecretAccessKey" in value]


@pytest.mark.slow
def test_no_call_of_the_kit_fails_in_a_rotation_and_its_back_out(
    stack: Stack, issuer: Issuer
) -> None:
    """Each has a machine user of its own, so that its calls are the only evidence."""
    pod, cli, job = stack.user(), stack.user(), stack.user()
    repositories: list[Repository] = []

    def begin_job(directory: Path) -> Repeated:
        repeated, repository = github_actions(stack, job, directory, issuer)
        repositories.append(repository)
        return repeated

    add_reader_role(stack, pod, CLUSTER)
    add_reader_role(stack, job, ACTIONS)
    kinds: list[tuple[MachineUser, Begin]] = [
        (pod, lambda directory: Pod(stack, pod, directory)),
        (cli, lambda directory: aws_cli(stack, cli, directory)),
        (job, begin_job),
    ]
    with ThreadPoolExecutor(len(kinds)) as threads:
        running = [threads.submit(through, stack, user, begin) for user, begin in kinds]
        reports = [one.result() for one in running]
    for report in reports:
        assert report.failed_calls == 0, report
        assert report.key_changes == 2, report
        assert report.calls >= 5, report
    secrets = secrets_of(stack, job)
    assert len(secrets) == 2
    (repository,) = repositories
    assert '"Topics"' in repository.log  # the steps' output was seen
    assert not [secret for secret in secrets if secret in repository.log]


def test_what_a_step_prints_of_the_key_is_masked(
    stack: Stack, user: MachineUser, issuer: Issuer, tmp_path: Path
) -> None:
    add_reader_role(stack, user, ACTIONS)
    let_list_topics(stack, user)
    job = Repository(stack, user, tmp_path, issuer).job()
    prepare, _, variables = job.steps
    careless = variables | {"run": variables["run"] + 'echo "it is $AWS_SECRET_ACCESS_KEY"\n'}
    assert job.run(prepare) == Stepped(0, "")
    done = job.run(careless)
    assert done.status == 0, done.log
    assert "it is ***" in done.log
    (secret,) = secrets_of(stack, user)
    assert secret not in done.log
    # Nothing is left for the next step, or on the runner's disk.
    assert "AWS_ACCESS_KEY_ID" not in job.variables
    for file in job.directory.iterdir():
        assert secret not in file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("subject", "folder"),
    [("repo:example@1234567/app@1111111:environment:production", ACTIONS), (SUBJECT, CLUSTER)],
    ids=["another repository", "another identity provider"],
)
def test_a_job_that_is_somebody_else_gets_no_key(
    stack: Stack, user: MachineUser, tmp_path: Path, subject: str, folder: str
) -> None:
    """The trust policies of the kit are what keeps the key: without them this would succeed."""
    add_reader_role(stack, user, folder)
    stranger = Issuer(subject)
    try:
        job = Repository(stack, user, tmp_path, stranger).job()
        prepare, _, variables = job.steps
        job.run(prepare)
        done = job.run(variables)
    finally:
        stranger.stop()
    assert done.status != 0
    assert "AssumeRoleWithWebIdentity" in done.log
    assert job.masked == []


def test_the_reader_can_read_one_secret_and_do_nothing_else(
    stack: Stack, user: MachineUser, tmp_path: Path
) -> None:
    other = stack.user()
    add_reader_profile(stack, user, tmp_path / "config")
    profile = configparser.ConfigParser()
    profile.read(tmp_path / "config")
    reader = stack.aws.client(
        "secretsmanager",
        access_key_id=profile["profile reader"]["aws_access_key_id"],
        secret_access_key=profile["profile reader"]["aws_secret_access_key"],
    )
    assert reader.get_secret_value(SecretId=user.secret_name)["SecretString"]
    with pytest.raises(ClientError, match="AccessDenied"):
        reader.get_secret_value(SecretId=other.secret_name)
    with pytest.raises(ClientError, match="AccessDenied"):
        reader.put_secret_value(SecretId=user.secret_name, SecretString="{}")
