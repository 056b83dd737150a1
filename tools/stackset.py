"""Expands the packaged SAM template into plain CloudFormation, for AWS CloudFormation StackSets.

`make stackset BUCKET=<bucket>` runs it. StackSets with service-managed permissions refuse
templates with transforms [CloudFormation API, CreateStackSet, Capabilities], so the transform
happens here, by the translator that CloudFormation itself uses. Two more things change:

- StackSets name the stack of an account `StackSet-<name>-<36 characters>`. The names of functions
  begin with the stack's name and may have 64 characters, so they begin with the parameter
  InstallationName instead.
- A function's code must lie in a bucket of its own Region. When the bucket's name ends in its
  Region, the template names the bucket of the Region that it is deployed to.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

Template = dict[str, Any]
Change = Callable[[Any], Any]

# CloudFormation quotas.
LARGEST_IN_S3 = 1_000_000  # bytes
LARGEST_INLINE = 51_200  # bytes
MOST = {"Resources": 500, "Parameters": 200, "Outputs": 200}

NAME = "InstallationName"
NAME_PARAMETER = {
    "Type": "String",
    "Default": "keyturn",
    "AllowedPattern": "^[A-Za-z][A-Za-z0-9-]{0,39}$",
    "ConstraintDescription": "at most 40 letters, digits and hyphens, beginning with a letter",
    "Description": "What the names of functions, state machines and log groups begin with.",
}
REGION_AT_THE_END = re.compile(r"(?P<prefix>.+)-(?P<region>[a-z]{2}(?:-[a-z]+)+-\d)")
PREFIX = "keyturn"


class StackSetError(Exception):
    """The template cannot be used with StackSets; the message says why and what to do."""


def expand(packaged: str) -> tuple[Template, str]:
    """The plain template of a packaged SAM template (YAML), and the bucket that holds the code.

    Raises:
        StackSetError: something of the transform is left or depends on a parameter's value, the
            code lies in several buckets, or the result is larger than CloudFormation takes.
    """
    template = _translated(packaged, {})
    # The translator looks into parameters for a few properties; a value that it wrote into the
    # template would be the same in every account, whatever the stack set says.
    if template != _translated(packaged, _other_values(template["Parameters"])):
        raise StackSetError(
            "The expanded template depends on the values of parameters; write the property "
            "concerned in a plain CloudFormation resource instead of an AWS::Serverless one."
        )
    bucket = _bucket(template)
    if found := REGION_AT_THE_END.fullmatch(bucket):
        here = {"Fn::Sub": f"{found['prefix']}-${{AWS::Region}}"}
        template["Resources"] = _mapped(
            template["Resources"],
            lambda part: part | dict.fromkeys(_places(part), here) if _places(part) else part,
        )
    template = _mapped(template, _named)
    template["Parameters"] = {NAME: NAME_PARAMETER} | template["Parameters"]
    _check(template)
    return template, bucket


def _translated(packaged: str, values: Mapping[str, Any]) -> Template:
    logging.getLogger("samtranslator").setLevel(logging.ERROR)  # it warns of metrics it never sends
    session = boto3.Session(region_name="us-east-1")  # the translator asks for one; nothing is sent
    translated: Template = Translator({}, Parser(), boto_session=session).translate(
        yaml_parse(packaged), dict(values)
    )
    return translated


def _other_values(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A value for every parameter that differs from its default."""
    return {
        name: 4_242 if spec["Type"] == "Number" else f"other-{spec.get('Default', '')}"
        for name, spec in parameters.items()
    }


def _mapped(value: Any, change: Change) -> Any:
    """The value with `change` applied to every part of it, from the inside out."""
    if isinstance(value, dict):
        return change({key: _mapped(item, change) for key, item in value.items()})
    if isinstance(value, list):
        return change([_mapped(item, change) for item in value])
    return change(value)


def _named(value: Any) -> Any:
    """`AWS::StackName`, by itself or in a text, becomes the parameter."""
    if value == {"Ref": "AWS::StackName"}:
        return {"Ref": NAME}
    if isinstance(value, str):
        return value.replace("${AWS::StackName}", f"${{{NAME}}}")
    return value


def _places(part: Any) -> list[str]:
    """The properties of this part of the template that name the bucket of a piece of code."""
    if not isinstance(part, dict):
        return []
    return [
        bucket
        for bucket, key in (("S3Bucket", "S3Key"), ("Bucket", "Key"))
        if key in part and bucket in part
    ]


def _bucket(template: Template) -> str:
    found: set[str] = set()

    def look(part: Any) -> Any:
        found.update(part[name] for name in _places(part))
        return part

    _mapped(template["Resources"], look)
    if len(found) != 1:
        raise StackSetError(f"The code lies in {len(found)} buckets; package it into one.")
    return found.pop()


def _check(template: Template) -> None:
    left = [
        name
        for name, resource in template["Resources"].items()
        if resource["Type"].startswith("AWS::Serverless::")
    ]
    text = json.dumps(template)
    if left or "Transform" in template or "Globals" in template or '"Fn::Transform"' in text:
        raise StackSetError(f"Something of the transform is left: {', '.join(left) or 'a macro'}.")
    if "AWS::StackName" in text:
        raise StackSetError("AWS::StackName is left where it cannot be replaced.")
    if "AWS::CloudFormation::Stack" in text:
        raise StackSetError("Service-managed StackSets do not take nested stacks.")
    for section, most in MOST.items():
        if len(template.get(section, {})) > most:
            raise StackSetError(f"CloudFormation takes at most {most} {section.lower()}.")
    if len(text_of(template)) > LARGEST_IN_S3:
        raise StackSetError(f"The template is larger than {LARGEST_IN_S3:,} bytes.")


def text_of(template: Template) -> bytes:
    """The template as CloudFormation gets it."""
    return json.dumps(template, separators=(",", ":"), ensure_ascii=False).encode()


def next_steps(output: Path, template: Template, bucket: str) -> str:
    """The commands that make the stack set, for a person to complete and run."""
    size = len(text_of(template))
    found = REGION_AT_THE_END.fullmatch(bucket)
    region = found["region"] if found else "REGION"
    elsewhere = (
        f"for every further Region:\n"
        f"  aws s3 sync s3://{bucket}/{PREFIX} s3://{found['prefix']}-REGION/{PREFIX}\n"
        if found
        else f"only in the Region of {bucket}: its name does not end in a Region's.\n"
    )
    inline = "fits inline, too" if size <= LARGEST_INLINE else "too large to be passed inline"
    return f"""\
{output}: {size:,} bytes ({inline}), {len(template["Resources"])} resources.

Upload it, with the credentials that you have now:

  aws s3 cp {output} s3://{bucket}/{PREFIX}/{output.name}

Then create the stack set in the management account, or in a delegated administrator with
--call-as DELEGATED_ADMIN (see docs/many-accounts.md):

  aws cloudformation create-stack-set --stack-set-name keyturn \\
    --template-url https://{bucket}.s3.{region}.amazonaws.com/{PREFIX}/{output.name} \\
    --permission-model SERVICE_MANAGED \\
    --auto-deployment Enabled=true,RetainStacksOnAccountRemoval=true \\
    --capabilities CAPABILITY_IAM \\
    --parameters ParameterKey=CentralEventBusArn,ParameterValue=ARN \\
                 ParameterKey=CentralReportBucketName,ParameterValue=NAME

  aws cloudformation create-stack-instances --stack-set-name keyturn \\
    --deployment-targets OrganizationalUnitIds=OU --regions {region} \\
    --operation-preferences MaxConcurrentPercentage=25,FailureTolerancePercentage=10

The code lies in the bucket; {elsewhere}"""


def main(arguments: list[str] | None = None) -> int:
    """Expand the packaged template and say what to do with the result."""
    parser = argparse.ArgumentParser(prog="tools.stackset", description=__doc__)
    parser.add_argument("packaged", type=Path, help="what `sam package` wrote")
    parser.add_argument("--output", type=Path, default=Path("build/stackset.json"))
    options = parser.parse_args(arguments)
    try:
        template, bucket = expand(options.packaged.read_text(encoding="utf-8"))
    except (OSError, StackSetError) as error:
        print(f"stackset: {error}", file=sys.stderr)
        return 1
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_bytes(text_of(template))
    print(next_steps(options.output, template, bucket))
    return 0


if __name__ == "__main__":
    sys.exit(main())
