"""docs/consumers.md names every example, and what it says of settings is true of the examples."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from keyturn_cli.credentials import parser
from proofs.consumers.cluster import FOLDER, KUBELET_MINUTES, Deployment, ExternalSecret
from proofs.consumers.job import JOB, WORKFLOW
from proofs.consumers.programs import EXAMPLES
from proofs.consumers.report import PAGE
from tools.template import load

ADVISORY_SECONDS = 15 * 60  # how long before an Expiration botocore asks again
# The kubelet's look at its pods, and as much again for what it caches.
KUBELET_SECONDS = 2 * 60 * KUBELET_MINUTES
MINUTE = 60
TEXT = PAGE.read_text(encoding="utf-8")


def default(parameter: str) -> int:
    """The template's default of a duration, in seconds."""
    return int(load()["Parameters"][parameter]["Default"])


QUIET = default("QuietPeriodSeconds")
PICKUP_ROOM = default("PickupTimeoutSeconds") - sum(
    default(f"{name}Seconds")
    for name in ("QuietPeriod", "LastUsedCoarseness", "LastUsedLag", "PollMax")
)
BACK_OUT_ROOM = default("BackoutGraceSeconds") + default("PollMaxSeconds")


def source(file: str) -> str:
    return (EXAMPLES / file).read_text(encoding="utf-8")


def refresh_default(file: str) -> float:
    """The default of `--refresh-seconds` in a program's source."""
    found = re.findall(r'"--refresh-seconds",[^)]*?default=(\d+)', source(file))
    assert len(found) == 1, file
    return float(found[0])


def external_secret() -> float:
    external = ExternalSecret.model_validate(
        yaml.safe_load(source(f"{FOLDER}/external-secret.yaml"))
    )
    return external.refresh_minutes * MINUTE + KUBELET_SECONDS


def job() -> float:
    found = re.findall(r"now \+ (\d+) \| todate", source(WORKFLOW))
    assert len(found) == 1
    return float(found[0]) - ADVISORY_SECONDS


SLOWEST = {
    "boto3_reread.py": lambda: refresh_default("application.py"),
    "caching_client.py": lambda: refresh_default("application.py"),
    "with_credential_process.py": lambda: parser().parse_args(["ci-deployer"]).interval,
    "mounted_key.py": external_secret,
    "rotate-safe-job.yml": job,
}
"""How long each of the examples takes at most to pick a key up, in seconds."""


def row(of: str) -> list[str]:
    """The cells of the first row of the table of settings that begins with an example."""
    (_, table) = TEXT.split("| consumer | restart |")
    line = next(line for line in table.splitlines() if line.startswith(f"| [{of}]"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_every_example_is_named() -> None:
    for file in EXAMPLES.iterdir():
        if file.name == "__pycache__":
            continue
        link = f"(../examples/{file.name})"
        assert link in TEXT, file.name
    for linked in re.findall(r"\(\.\./(examples/[^)]*)\)", TEXT):
        assert (EXAMPLES.parent / linked).exists(), linked


@pytest.mark.parametrize("example", SLOWEST)
def test_an_example_fits_the_defaults_and_the_page_says_how_long_it_takes(example: str) -> None:
    slowest = SLOWEST[example]()
    assert 0 < slowest <= PICKUP_ROOM
    assert slowest <= BACK_OUT_ROOM
    assert slowest < QUIET  # nothing that looks rarer could be told from one that pauses
    restart, longest = row(example)[1], row(example)[3]
    assert restart == "no"
    assert re.match(rf"{slowest / MINUTE:.0f} min\b", longest), longest


def test_external_secrets_own_default_fits_too() -> None:
    assert min(BACK_OUT_ROOM, PICKUP_ROOM) >= 60 * MINUTE + KUBELET_SECONDS


def test_the_page_knows_the_templates_defaults() -> None:
    for seconds in (PICKUP_ROOM, BACK_OUT_ROOM, QUIET):
        assert f"{seconds:,} seconds" in TEXT


def test_the_container_is_never_restarted_for_a_key_and_its_file_can_be_replaced() -> None:
    deployment = Deployment.model_validate(yaml.safe_load(source(f"{FOLDER}/deployment.yaml")))
    (container,) = deployment.pod.containers
    assert not {one.name for one in container.env} & {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


def test_no_job_takes_a_key_from_the_repositorys_secrets() -> None:
    workflow: dict[str, Any] = yaml.safe_load(source(WORKFLOW))
    assert "${{ secrets" not in source(WORKFLOW)
    assert {job["permissions"]["id-token"] for job in workflow["jobs"].values()} == {"write"}
    assert next(iter(workflow["jobs"])) != JOB  # the better one, without a key, comes first
