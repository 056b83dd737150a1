"""The template for StackSets: nothing of the transform is left, and nothing else is lost."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tools import stackset, template

BUCKET = "keyturn-code-eu-west-1"


def packaged(bucket: str = BUCKET) -> str:
    """The real template as `sam package` leaves it: local paths have become objects."""
    text = (template.ROOT / "template.yaml").read_text(encoding="utf-8")
    text, functions = re.subn(r"CodeUri: \S+", f"CodeUri: s3://{bucket}/keyturn/abc", text)
    text, machines = re.subn(r"DefinitionUri: \S+", f"DefinitionUri: s3://{bucket}/keyturn/d", text)
    assert functions == 1
    assert machines > 1
    return text


def small(resource: dict[str, Any], **sections: Any) -> str:
    """A packaged template of one function and one more resource, as JSON, which is YAML."""
    function = {
        "Type": "AWS::Serverless::Function",
        "Properties": {
            "CodeUri": f"s3://{BUCKET}/keyturn/abc",
            "Handler": "a.b",
            "Runtime": "python3.13",
            "Role": "arn:aws:iam::111122223333:role/r",
        },
    }
    return json.dumps(
        {
            "AWSTemplateFormatVersion": "2010-09-09",
            "Transform": "AWS::Serverless-2016-10-31",
            "Parameters": {},
            "Resources": {"Function": function, "More": resource},
            **sections,
        }
    )


@pytest.fixture(scope="module")
def expanded() -> stackset.Template:
    return stackset.expand(packaged())[0]


def test_nothing_of_the_transform_is_left(expanded: stackset.Template) -> None:
    assert "Transform" not in expanded
    assert "Globals" not in expanded
    kinds = {resource["Type"] for resource in expanded["Resources"].values()}
    assert not [kind for kind in kinds if kind.startswith("AWS::Serverless")]


def test_everything_of_the_template_is_there(expanded: stackset.Template) -> None:
    original = template.load()
    for section in ("Resources", "Parameters", "Conditions", "Outputs"):
        assert original[section].keys() <= expanded[section].keys(), section


def test_every_parameter_still_decides_something(expanded: stackset.Template) -> None:
    text = json.dumps({**expanded, "Parameters": {}, "Metadata": {}})
    for name in expanded["Parameters"]:
        assert f'{{"Ref": "{name}"}}' in text or f"${{{name}}}" in text, name


def test_the_names_of_functions_fit_whatever_the_stack_is_called(
    expanded: stackset.Template,
) -> None:
    longest = re.search(r"\{0,(\d+)\}", stackset.NAME_PARAMETER["AllowedPattern"])
    assert longest is not None
    name = "k" * (1 + int(longest[1]))
    functions = [
        resource["Properties"]["FunctionName"]["Fn::Sub"]
        for resource in expanded["Resources"].values()
        if resource["Type"] == "AWS::Lambda::Function"
    ]
    assert len(functions) > 10
    for function in functions:
        assert len(function.replace("${InstallationName}", name)) <= 64, function
    assert "AWS::StackName" not in json.dumps(expanded)


def test_the_code_is_read_from_the_bucket_of_each_region(expanded: stackset.Template) -> None:
    here = {"Fn::Sub": "keyturn-code-${AWS::Region}"}
    resources = expanded["Resources"]
    assert resources["CheckRequestFunction"]["Properties"]["Code"] == {
        "S3Bucket": here,
        "S3Key": "keyturn/abc",
    }
    machine = resources["RotateKeyStateMachine"]["Properties"]
    assert machine["DefinitionS3Location"] == {"Bucket": here, "Key": "keyturn/d"}
    assert BUCKET not in json.dumps(expanded)


def test_a_bucket_that_names_no_region_stays() -> None:
    expanded, bucket = stackset.expand(packaged("our-code"))
    code = expanded["Resources"]["CheckRequestFunction"]["Properties"]["Code"]
    assert (bucket, code["S3Bucket"]) == ("our-code", "our-code")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            small({"Fn::Transform": {"Name": "AWS::Include"}, "Type": "AWS::SNS::Topic"}),
            "Something of the transform is left",
        ),
        (
            small({"Type": "AWS::CloudFormation::Stack", "Properties": {"TemplateURL": "x"}}),
            "nested stacks",
        ),
        (
            small(
                {
                    "Type": "AWS::Serverless::StateMachine",
                    "Properties": {"DefinitionUri": "s3://other/d", "Role": "arn"},
                }
            ),
            "2 buckets",
        ),
    ],
    ids=["a macro", "a nested stack", "two buckets"],
)
def test_what_stack_sets_cannot_take_is_refused(text: str, why: str) -> None:
    with pytest.raises(stackset.StackSetError, match=why):
        stackset.expand(text)


def test_a_value_of_a_parameter_is_not_baked_in() -> None:
    function = json.loads(small({"Type": "AWS::SNS::Topic"}))
    function["Parameters"] = {"Alias": {"Type": "String", "Default": "live"}}
    properties = function["Resources"]["Function"]["Properties"]
    properties["AutoPublishAlias"] = {"Ref": "Alias"}
    with pytest.raises(stackset.StackSetError, match="depends on the values of parameters"):
        stackset.expand(json.dumps(function))


def test_a_template_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stackset, "LARGEST_IN_S3", 50_000)
    with pytest.raises(stackset.StackSetError, match="larger than 50,000 bytes"):
        stackset.expand(packaged())


def test_the_command_writes_the_template_and_says_what_is_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = tmp_path / "packaged.yaml", tmp_path / "build" / "stackset.json"
    source.write_text(packaged(), encoding="utf-8")
    assert stackset.main([str(source), "--output", str(output)]) == 0
    said = capsys.readouterr().out
    assert json.loads(output.read_bytes()) == stackset.expand(packaged())[0]
    for words in (
        f"aws s3 cp {output} s3://{BUCKET}/keyturn/stackset.json",
        f"--template-url https://{BUCKET}.s3.eu-west-1.amazonaws.com/keyturn/stackset.json",
        "--permission-model SERVICE_MANAGED",
        "create-stack-instances",
        f"aws s3 sync s3://{BUCKET}/keyturn s3://keyturn-code-REGION/keyturn",
    ):
        assert words in said


def test_an_update_keeps_every_parameter_that_was_set(expanded: stackset.Template) -> None:
    """CloudFormation resets what an update leaves out to the template's default."""
    created = stackset.next_steps(Path("stackset.json"), expanded, BUCKET)
    wanted = set(re.findall(r"ParameterKey=(\w+)", created))
    page = (template.ROOT / "docs/many-accounts.md").read_text(encoding="utf-8")
    (update,) = re.findall(r"^aws cloudformation update-stack-set .*?^```", page, re.S | re.M)
    assert wanted
    assert set(re.findall(r"ParameterKey=(\w+),UsePreviousValue=true", update)) >= wanted
    assert "--capabilities CAPABILITY_IAM" in update
    assert set(re.findall(r"ParameterKey=(\w+)", update)) <= expanded["Parameters"].keys()


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert stackset.main([str(tmp_path / "none.yaml")]) == 1
    assert "none.yaml" in capsys.readouterr().err


@pytest.mark.slow
def test_the_linter_accepts_the_expanded_template(
    expanded: stackset.Template, tmp_path: Path
) -> None:
    path = tmp_path / "stackset.json"
    path.write_bytes(stackset.text_of(expanded))
    done = subprocess.run(
        [str(Path(sys.executable).with_name("cfn-lint")), str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
