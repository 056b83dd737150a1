"""`sam deploy` itself, against the embedded AWS: the same stack as tests and demo deploy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import localaws
from localaws import Account
from proofs.stack.support import PARAMETERS
from tools.template import ROOT


@pytest.mark.emulator
@pytest.mark.slow
def test_the_sam_cli_deploys_the_same_stack(tmp_path: Path) -> None:
    with localaws.start() as aws:
        there = aws.account(region="eu-west-1")
        template = ROOT / "template.yaml"
        ours = localaws.deploy(
            there, stack_name="keyturn", template=template, parameters=PARAMETERS
        )
        theirs = sam_deploy(aws, tmp_path, template)
        assert theirs.keys() == ours.keys()
        assert processed(aws) == processed(there)
        assert resources(aws) == resources(there)


def sam_deploy(aws: Account, folder: Path, template: Path) -> dict[str, str]:
    """Deploy as `make deploy` does, without asking and without samconfig.toml."""
    settings = folder / "samconfig.toml"
    settings.write_text("version = 0.1\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    given = [f"ParameterKey={name},ParameterValue={value}" for name, value in PARAMETERS.items()]
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("sam")), "deploy",
            "--template-file", str(template),
            "--stack-name", "keyturn",
            "--region", aws.region,
            "--resolve-s3",
            "--capabilities", "CAPABILITY_IAM", "CAPABILITY_NAMED_IAM",
            "--no-confirm-changeset",
            "--no-progressbar",
            "--config-file", str(settings),
            "--parameter-overrides", *given,
        ],
        # __SAM_CLI_APP_DIR: or it writes into the person's home.
        env=kept | aws.environment() | {"__SAM_CLI_APP_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (stack,) = aws.client("cloudformation").describe_stacks(StackName="keyturn")["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def processed(aws: Account) -> Any:
    """The resources that the template's transform has made, whatever the uploads are called."""
    found = aws.client("cloudformation").get_template(
        StackName="keyturn", TemplateStage="Processed"
    )["TemplateBody"]["Resources"]
    for resource in found.values():
        # A note of the SAM CLI for itself: which resource of the source this one was made from.
        if resource.get("Metadata", {}).keys() == {"SamResourceId"}:
            del resource["Metadata"]
    return without_uploads(found)


def without_uploads(value: Any) -> Any:
    if isinstance(value, dict) and value.keys() in ({"S3Bucket", "S3Key"}, {"Bucket", "Key"}):
        return "an upload"
    if isinstance(value, dict):
        return {name: without_uploads(item) for name, item in value.items()}
    return [without_uploads(item) for item in value] if isinstance(value, list) else value


def resources(aws: Account) -> dict[str, str]:
    """The type of each resource that was made, by its logical id."""
    pages = aws.client("cloudformation").get_paginator("list_stack_resources")
    return {
        item["LogicalResourceId"]: item["ResourceType"]
        for page in pages.paginate(StackName="keyturn")
        for item in page["StackResourceSummaries"]
    }
