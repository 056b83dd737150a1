"""What the templates for many accounts promise: who may send what, and who may do what."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from keyturn.fleet import central, organization
from keyturn.fleet.organization import CentralSettings
from tools import template

FOLDER = template.ROOT / "organization"
TEMPLATES = {path.stem: template.load(path) for path in sorted(FOLDER.glob("*.yaml"))}
CENTRAL = TEMPLATES["template"]
# Actions that know no resources.
ON_EVERYTHING = {
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
    "organizations:ListAccounts",
}


def resources(name: str, kind: str) -> dict[str, dict[str, Any]]:
    return {
        logical: resource["Properties"]
        for logical, resource in TEMPLATES[name]["Resources"].items()
        if resource["Type"] == kind
    }


def statements(name: str) -> Iterator[dict[str, Any]]:
    """Every statement of every role and resource policy."""
    for resource in TEMPLATES[name]["Resources"].values():
        properties = resource["Properties"]
        documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
        document = properties.get("PolicyDocument")
        if isinstance(document, dict) and "Sub" in document:
            document = json.loads(document["Sub"])
        for found in [*documents, *([document] if document else [])]:
            for statement in found["Statement"]:
                yield statement["If"][1] if "If" in statement else statement
        if "Statement" in properties:
            yield properties["Statement"]


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statement(name: str, sid: str) -> dict[str, Any]:
    (found,) = (entry for entry in statements(name) if entry.get("Sid") == sid)
    return found


def test_the_templates_are_there() -> None:
    assert set(TEMPLATES) == {"template", "code-bucket", "health-events"}


@pytest.mark.parametrize("name", TEMPLATES)
def test_nothing_is_allowed_by_a_wildcard(name: str) -> None:
    for entry in statements(name):
        if entry["Effect"] == "Deny":
            continue
        actions = listed(entry["Action"])
        assert not [action for action in actions if "*" in action]
        if "*" in listed(entry["Resource"]):
            assert set(actions) <= ON_EVERYTHING
        if entry.get("Principal") == "*":
            condition = entry["Condition"]["StringEquals"]
            assert condition["aws:PrincipalOrgID"] == {"Ref": "OrganizationId"}


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_arn_names_the_partition_and_no_account_is_named(name: str) -> None:
    path = FOLDER / f"{name}.yaml"
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"arn:(?!\$\{)\S*", text) == []
    assert re.findall(r"(?<!\d)\d{12}(?!\d)", text) == []


@pytest.mark.parametrize("name", ["template", "code-bucket"])
def test_buckets_are_closed_encrypted_and_versioned(name: str) -> None:
    for bucket in resources(name, "AWS::S3::Bucket").values():
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
        assert bucket["BucketEncryption"]
        (rule,) = bucket["OwnershipControls"]["Rules"]
        assert rule == {"ObjectOwnership": "BucketOwnerEnforced"}
    (policy,) = resources(name, "AWS::S3::BucketPolicy").values()
    denied = policy["PolicyDocument"]["Statement"][-1]
    assert (denied["Effect"], denied["Action"]) == ("Deny", "s3:*")
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


@pytest.mark.parametrize("name", ["template", "code-bucket"])
def test_the_organisation_has_to_be_named(name: str) -> None:
    parameter = TEMPLATES[name]["Parameters"]["OrganizationId"]
    assert "Default" not in parameter
    assert re.fullmatch(parameter["AllowedPattern"], "o-a1b2c3d4e5")
    for wrong in ("", "*", "o-*", "r-a1b2", "o-SHORT", "o-a1b2c3d4e5*"):
        assert not re.fullmatch(parameter["AllowedPattern"], wrong), wrong


def test_an_account_may_only_put_objects_under_its_own_number() -> None:
    entry = statement("template", "EveryAccountWritesItsOwn")
    assert entry["Action"] == "s3:PutObject"
    assert entry["Resource"] == {"Sub": "${ReportBucket.Arn}/accounts/${!aws:PrincipalAccount}/*"}
    assert central.PREFIX == "accounts/"


def test_an_account_may_only_send_events_of_keyturn() -> None:
    (properties,) = resources("template", "AWS::Events::EventBusPolicy").values()
    condition = properties["Statement"]["Condition"]
    assert condition["ForAllValues:StringEquals"] == {"events:source": "keyturn"}
    # Were the key missing in what a rule sends, the rules would still ask for the source.
    for rule in resources("template", "AWS::Events::Rule").values():
        if "EventBusName" in rule:
            assert rule["EventPattern"]["source"] == ["keyturn"]
    assert "Null" not in condition


def test_the_collecting_account_can_touch_no_key() -> None:
    actions = {
        action
        for entry in statements("template")
        if entry["Effect"] == "Allow"
        for action in listed(entry["Action"])
    }
    assert not [action for action in actions if action.startswith(("iam:", "secretsmanager:"))]
    assert "sts:AssumeRole" not in actions


def test_the_report_is_written_where_no_account_can_write() -> None:
    entry = statement("template", "WriteTheReport")
    assert entry["Resource"] == {"Sub": f"${{ReportBucket.Arn}}/{organization.PREFIX}*"}


def test_the_function_can_read_its_settings_from_the_environment() -> None:
    (function,) = resources("template", "AWS::Serverless::Function").values()
    variables = {
        name: value
        if isinstance(value, str)
        else str(CENTRAL["Parameters"].get(value["Ref"], {"Default": "x"})["Default"])
        for name, value in function["Environment"]["Variables"].items()
    }
    settings = CentralSettings.from_env(variables)
    assert (settings.thresholds.max_key_age_days, settings.list_accounts) == (90, False)
    assert function["Handler"] == "keyturn.handlers.organization.audit_organization.handler"


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_parameter_is_described_and_bounded(name: str) -> None:
    for parameter, spec in TEMPLATES[name]["Parameters"].items():
        assert spec["Description"].strip(), parameter
        assert "AllowedValues" in spec or "ConstraintDescription" in spec, parameter
        if "AllowedPattern" in spec and "Default" in spec:
            assert re.fullmatch(spec["AllowedPattern"], spec["Default"]), parameter


def test_every_parameter_of_the_collecting_account_is_shown_in_a_group() -> None:
    groups = CENTRAL["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    shown = [name for group in groups for name in group["Parameters"]]
    assert sorted(shown) == sorted(CENTRAL["Parameters"])


def test_the_outputs_are_what_the_accounts_stacks_want() -> None:
    assert set(CENTRAL["Outputs"]) == {
        "CentralEventBusArn",
        "CentralReportBucketName",
        "NotificationTopicArn",
        "EventLogGroupName",
        "AuditOrganizationFunctionName",
    }
    wanted = template.load()["Parameters"]
    assert {"CentralEventBusArn", "CentralReportBucketName"} <= set(wanted)


def test_health_events_are_not_forwarded_in_a_circle() -> None:
    pattern = TEMPLATES["health-events"]["Parameters"]["TargetRegion"]["AllowedPattern"]
    for region in ("eu-west-1", "us-gov-west-1", "ap-southeast-2"):
        assert re.fullmatch(pattern, region)
    for wrong in ("us-east-1", "", "eu", "eu-west-*"):
        assert not re.fullmatch(pattern, wrong)


def test_the_stack_listens_to_exactly_what_is_forwarded() -> None:
    (rule,) = resources("health-events", "AWS::Events::Rule").values()
    listening = [
        found["Properties"]["Pattern"]
        for function in template.load()["Resources"].values()
        for found in function["Properties"].get("Events", {}).values()
        if isinstance(found, dict) and found.get("Type") == "EventBridgeRule"
    ]
    assert rule["EventPattern"] in listening


@pytest.mark.parametrize("name", ["template", "health-events"])
def test_people_hear_of_what_was_not_delivered(name: str) -> None:
    (queue,) = resources(name, "AWS::SQS::Queue")
    watching = [
        alarm["AlarmActions"]
        for alarm in resources(name, "AWS::CloudWatch::Alarm").values()
        if alarm.get("Dimensions")
        == [{"Name": "QueueName", "Value": {"GetAtt": f"{queue}.QueueName"}}]
        and alarm["MetricName"] == "ApproximateNumberOfMessagesVisible"
    ]
    (topic,) = resources(name, "AWS::SNS::Topic")
    assert watching == [[{"Ref": topic}]]
    (policy,) = resources(name, "AWS::SNS::TopicPolicy").values()
    assert policy["Topics"] == [{"Ref": topic}]
    may = statement(name, "AlarmsOfThisAccount")
    assert (may["Effect"], may["Action"]) == ("Allow", "sns:Publish")
    assert may["Resource"] == {"Ref": topic}
    assert may["Principal"] == {"Service": "cloudwatch.amazonaws.com"}


def test_a_report_that_is_not_even_started_calls_a_person_where_there_is_a_schedule() -> None:
    alarm = resources("template", "AWS::CloudWatch::Alarm")["AccountsNotJudgedAlarm"]
    assert (alarm["TreatMissingData"], alarm["Period"]) == ("missing", 86400)
    topic = {"Ref": "NotificationTopic"}
    assert alarm["InsufficientDataActions"] == {
        "If": ["AuditIsScheduled", [topic], {"Ref": "AWS::NoValue"}]
    }
    assert CENTRAL["Conditions"]["AuditIsScheduled"] == {
        "Equals": [{"Ref": "AuditScheduleState"}, "ENABLED"]
    }


def test_the_schedule_keeps_what_it_cannot_start() -> None:
    (schedule,) = resources("template", "AWS::Scheduler::Schedule").values()
    queue = {"GetAtt": "UndeliveredQueue.Arn"}
    assert schedule["Target"]["DeadLetterConfig"] == {"Arn": queue}
    assert schedule["Target"]["RoleArn"] == {"GetAtt": "AuditOrganizationScheduleRole.Arn"}
    role = resources("template", "AWS::IAM::Role")["AuditOrganizationScheduleRole"]
    (policy,) = role["Policies"]
    may = {entry["Action"]: entry["Resource"] for entry in policy["PolicyDocument"]["Statement"]}
    assert may["sqs:SendMessage"] == queue


def test_the_report_is_made_at_least_as_often_as_its_alarm_looks() -> None:
    pattern = CENTRAL["Parameters"]["AuditSchedule"]["AllowedPattern"]
    for often in ("cron(0 6 * * ? *)", "cron(15 0/6 ? * * *)", "rate(1 day)", "rate(24 hours)"):
        assert re.fullmatch(pattern, often), often
    for rare in (
        *("rate(2 days)", "rate(25 hours)", "cron(0 6 1 * ? *)", "cron(0 6 ? * MON *)"),
        *("cron(0 6 ? * MON-FRI *)", "cron(0 6 * 1 ? *)", "at(2030-01-01T00:00:00)", "rate(x)"),
    ):
        assert not re.fullmatch(pattern, rare), rare


def test_the_log_of_events_is_named_as_a_target_has_to_name_it() -> None:
    """The attribute Arn of a log group ends in `:*`: right in a policy, but no target."""
    (target,) = resources("template", "AWS::Events::Rule")["KeepEventsRule"]["Targets"]
    assert target["Arn"] == {
        "Sub": "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:"
        "log-group:${EventLogGroup}"
    }
    assert statement("template", "EventBridgeKeepsEvents")["Resource"] == "${EventLogGroup.Arn}"


def test_every_target_of_a_rule_keeps_what_it_cannot_deliver() -> None:
    for name in ("template", "health-events"):
        for rule in resources(name, "AWS::Events::Rule").values():
            for target in rule["Targets"]:
                assert target["DeadLetterConfig"]["Arn"] == {"GetAtt": "UndeliveredQueue.Arn"}
