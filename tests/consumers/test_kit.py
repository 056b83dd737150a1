"""The kit's consumers that are more than one program: a container, the AWS CLI, a CI job."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.consumers.cluster import FOLDER as CLUSTER
from tests.consumers.cluster import Pod
from tests.consumers.commands import Repeated, aws_cli
from tests.consumers.crew import Begin, Crew
from tests.consumers.health import HealthServer
from tests.consumers.job import FOLDER as ACTIONS
from tests.consumers.job import Issuer, Repository, github_actions
from tests.consumers.programs import Report
from tests.consumers.readers import add_reader_role
from tests.consumers.rounds import back_out_after_rotated
from tests.support import MachineUser, Stack

pytestmark = [pytest.mark.emulator, pytest.mark.xdist_group("consumers")]

SUBJECT = "repo:example/app:environment:production"


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
    return report


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
