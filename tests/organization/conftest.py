"""An organisation on the embedded AWS: the account that collects, and two members."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import localaws
from localaws import Account
from proofs.stack.support import PARAMETERS, Stack
from tools import stackset

ROOT = Path(__file__).parent.parent.parent
REGION = "eu-west-1"
# What StackSets name a stack: 36 characters after the name of the set.
STACK = "StackSet-keyturn-0f4b6a4e-9a53-4bb3-a9e4-2d2e4c1c3b0a"


@dataclass(frozen=True)
class Organization:
    """The deployed organisation. `central` is the collecting account; `outputs` are its stack's."""

    id: str
    central: Account
    outputs: dict[str, str]
    members: tuple[Stack, ...]
    expanded: stackset.Template


def made(aws: Account, name: str, template: str, parameters: dict[str, str]) -> dict[str, str]:
    """Create a stack of a plain template (its URL) by the API, and return its outputs."""
    cloudformation = aws.client("cloudformation")
    cloudformation.create_stack(
        StackName=name,
        TemplateURL=template,
        Parameters=[
            {"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()
        ],
        Capabilities=["CAPABILITY_IAM"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    (stack,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def put(aws: Account, bucket: str, path: Path) -> str:
    """Upload a template and return its URL."""
    aws.client("s3").put_object(Bucket=bucket, Key=f"keyturn/{path.name}", Body=path.read_bytes())
    return f"{aws.endpoint_url}/{bucket}/keyturn/{path.name}"


def packaged(aws: Account, bucket: str) -> str:
    """Run `sam package` as `make stackset` does, without a build: the sources are shipped."""
    output = aws.work_dir / "packaged.yaml"
    subprocess.run(
        [
            str(Path(sys.executable).with_name("sam")), "package",
            "--template-file", "template.yaml",
            "--s3-bucket", bucket, "--s3-prefix", "keyturn",
            "--output-template-file", str(output),
        ],
        cwd=ROOT,
        env={**os.environ, **aws.environment()},
        capture_output=True,
        check=True,
    )  # fmt: skip
    return output.read_text()


@pytest.fixture(scope="session")
def organization() -> Iterator[Organization]:
    """Deployed as docs/many-accounts.md says, step by step."""
    with localaws.start(region=REGION) as aws:
        organizations = aws.client("organizations")
        numbers = [
            organizations.create_account(Email=f"{name}@example.com", AccountName=name)[
                "CreateAccountStatus"
            ]["AccountId"]
            for name in ("payments", "shop")
        ]
        organization_id = organizations.describe_organization()["Organization"]["Id"]
        outputs = localaws.deploy(
            aws,
            stack_name="keyturn-organization",
            template=ROOT / "organization" / "template.yaml",
            parameters={
                "OrganizationId": organization_id,
                "ListOrganizationAccounts": "true",
                "FunctionArchitecture": "x86_64",
            },
        )
        aws.client("s3").create_bucket(
            Bucket="templates", CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        code = made(
            aws,
            "keyturn-code",
            put(aws, "templates", ROOT / "organization" / "code-bucket.yaml"),
            {"OrganizationId": organization_id, "BucketPrefix": "keyturn-code"},
        )["CodeBucketName"]
        expanded, bucket = stackset.expand(packaged(aws, code))
        assert bucket == code
        path = aws.work_dir / "stackset.json"
        path.write_bytes(stackset.text_of(expanded))
        url = put(aws, code, path)
        members = []
        for number in numbers:
            member = aws.account(number)
            central = {
                name: outputs[name] for name in ("CentralEventBusArn", "CentralReportBucketName")
            }
            members.append(Stack(member, made(member, STACK, url, PARAMETERS | central)))
        yield Organization(organization_id, aws, outputs, tuple(members), expanded)
        for stack in members:
            stack.assert_nothing_leaked()
            stack.assert_nothing_denied()
