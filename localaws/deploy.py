"""Deploys a SAM template to the emulator: packages it as `sam deploy` does, and creates the stack.

The emulator expands and provisions the template. The SAM CLI itself would take seven seconds of
computing for each deployment, most of them for reading the template again and again.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from botocore.exceptions import ClientError

from localaws.errors import LocalAwsError
from localaws.launcher import Account

POLL_SECONDS = 0.1
# Properties of AWS::Serverless resources and of Globals that name a file or folder to upload.
UPLOADED = ("CodeUri", "ContentUri", "DefinitionUri")


def deploy(
    aws: Account,
    *,
    stack_name: str,
    template: Path,
    parameters: Mapping[str, str],
    timeout_seconds: float = 120,
) -> dict[str, str]:
    """Deploy a template (without `sam build`: the sources are shipped) and return the outputs.

    The stack, new or not, lands in the account and Region of `aws`, which may be
    `aws.account(...)`. The Lambda workers import dependencies from the environment of this
    interpreter. Raises LocalAwsError when the stack does not come to be.
    """
    artifacts = _Artifacts(aws)
    packaged = json.dumps(_packaged(template.resolve(), artifacts))
    cloudformation = aws.client("cloudformation")
    request = {
        "StackName": stack_name,
        "TemplateURL": "/".join((aws.endpoint_url, *artifacts.put(packaged.encode()))),
        "Parameters": [
            {"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()
        ],
        "Capabilities": ["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
    }
    try:
        try:
            cloudformation.create_stack(**request)
        except cloudformation.exceptions.AlreadyExistsException:
            _update(cloudformation, request)
    except ClientError as error:
        raise LocalAwsError(f"The deployment of {stack_name} failed: {error}") from error
    return _outputs(cloudformation, stack_name, timeout_seconds)


def _update(cloudformation: Any, request: Mapping[str, Any]) -> None:
    try:
        cloudformation.update_stack(**request)
    except ClientError as error:
        if "No updates are to be performed" not in str(error):
            raise


def _outputs(cloudformation: Any, stack_name: str, timeout_seconds: float) -> dict[str, str]:
    ends = time.monotonic() + timeout_seconds
    while True:
        (stack,) = cloudformation.describe_stacks(StackName=stack_name)["Stacks"]
        if not stack["StackStatus"].endswith("_IN_PROGRESS"):
            break
        if time.monotonic() > ends:
            raise LocalAwsError(f"{stack_name} took longer than {timeout_seconds:g} s")
        time.sleep(POLL_SECONDS)
    if stack["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        events = cloudformation.describe_stack_events(StackName=stack_name)["StackEvents"]
        reasons = [
            f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason')}"
            for event in reversed(events)
            if event["ResourceStatus"].endswith("_FAILED")
        ]
        raise LocalAwsError(f"The deployment of {stack_name} failed: {'; '.join(reasons)}")
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


class _Artifacts:
    """A bucket for what a deployment uploads, as the SAM CLI has one in each Region."""

    def __init__(self, aws: Account) -> None:
        self._s3 = aws.client("s3")
        self._bucket = f"localaws-artifacts-{aws.account_id}-{aws.region}"
        where = {"CreateBucketConfiguration": {"LocationConstraint": aws.region}}
        options = {} if aws.region == "us-east-1" else where
        with suppress(self._s3.exceptions.BucketAlreadyOwnedByYou):
            self._s3.create_bucket(Bucket=self._bucket, **options)

    def put(self, content: bytes) -> tuple[str, str]:
        """Upload a content; returns bucket and key."""
        key = hashlib.sha256(content).hexdigest()
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=content)
        return self._bucket, key


def _packaged(template: Path, artifacts: _Artifacts) -> dict[str, Any]:
    """The template with the files and folders that it names uploaded, each once."""
    content: dict[str, Any] = yaml.load(template.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    uploaded: dict[Path, tuple[str, str]] = {}
    for properties in _holders(content):
        for name in UPLOADED:
            named = properties.get(name)
            if not isinstance(named, str) or named.startswith("s3://"):
                continue
            path = (template.parent / named).resolve()
            if path not in uploaded:
                if not path.exists():
                    raise LocalAwsError(f"{template} names {named}, which does not exist")
                body = _zipped(path) if path.is_dir() else path.read_bytes()
                uploaded[path] = artifacts.put(body)
            bucket, key = uploaded[path]
            # As the SAM CLI packages them; its `sam delete` understands nothing else.
            of_a_machine = name == "DefinitionUri"
            properties[name] = (
                {"Bucket": bucket, "Key": key} if of_a_machine else f"s3://{bucket}/{key}"
            )
    return content


def _holders(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from content.get("Globals", {}).values()
    for resource in content.get("Resources", {}).values():
        if resource.get("Type", "").startswith("AWS::Serverless::"):
            yield resource.get("Properties", {})


def _zipped(folder: Path) -> bytes:
    """A folder's files without what the interpreter left there; the same files, the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                entry = zipfile.ZipInfo(path.relative_to(folder).as_posix())
                entry.external_attr = path.stat().st_mode << 16
                archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED, 1)
    return buffer.getvalue()


# libyaml's parser, where it is there, is ten times as quick.
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML with CloudFormation's short forms, and dates as the texts that they are."""


def _short_form(loader: _Loader, name: str, node: yaml.Node) -> dict[str, Any]:
    """Read `!Sub x` as `{"Fn::Sub": "x"}`, and others alike."""
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if name == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": value}


_Loader.add_multi_constructor("!", _short_form)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", lambda loader, node: node.value)
