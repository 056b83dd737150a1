"""An organisation end to end: rotations in two accounts, seen by a third."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from localaws import Account
from tests.organization.conftest import Organization
from tests.support import Stack, eventually

# One worker for all: the organisation is deployed once.
pytestmark = [pytest.mark.emulator, pytest.mark.slow, pytest.mark.xdist_group("organization")]


def policy(**statement: Any) -> str:
    """A policy with one statement that allows something."""
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


def kept(organization: Organization) -> list[dict[str, Any]]:
    """Every event that the collecting account has kept in its log."""
    found = organization.central.client("logs").filter_log_events(
        logGroupName=organization.outputs["EventLogGroupName"]
    )
    return [json.loads(event["message"]) for event in found["events"]]


def send(stack: Stack, detail_type: str, source: str = "keyturn", **detail: Any) -> None:
    """Put an event on the default bus of a member, as anybody there with that permission may."""
    entry = {"Source": source, "DetailType": detail_type, "Detail": json.dumps(detail)}
    answer = stack.aws.client("events").put_events(Entries=[entry])
    assert answer["FailedEntryCount"] == 0


def arrived(organization: Organization, marker: str) -> list[dict[str, Any]]:
    return [event for event in kept(organization) if marker in json.dumps(event)]


def heard(organization: Organization, marker: str) -> list[dict[str, Any]]:
    """The events with the marker that the collecting account has kept, once there is one."""
    eventually(lambda: arrived(organization, marker) != [])
    return arrived(organization, marker)


def user_of(account: Account) -> Any:
    """The S3 client of somebody in an account who may do everything with S3 there."""
    iam, name = account.client("iam"), f"u-{uuid4().hex[:10]}"
    iam.create_user(UserName=name)
    iam.put_user_policy(
        UserName=name,
        PolicyName="everything",
        PolicyDocument=policy(Action="s3:*", Resource="*"),
    )
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return account.client(
        "s3", access_key_id=key["AccessKeyId"], secret_access_key=key["SecretAccessKey"]
    )


def refused(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as failure:
        call(**arguments)
    return str(failure.value.response["Error"]["Code"])


def test_the_collecting_account_hears_of_the_rotations_of_every_account(
    organization: Organization,
) -> None:
    started = {}
    for stack in organization.members:
        user = stack.user()
        consumer = stack.consumer(user)
        started[stack.aws.account_id] = (stack, user, consumer, stack.start(user.name))
    for account_id, (stack, user, consumer, execution) in started.items():
        ended = stack.ended(execution)
        consumer.stop()
        assert ended.result["outcome"] == "ROTATED", ended.result
        (event,) = heard(organization, user.name)
        assert (event["account"], event["detail-type"]) == (account_id, "Key Rotated")
        assert event["detail"]["executionArn"] == execution


def test_a_person_reads_in_which_account_whose_rotation_needs_them(
    organization: Organization,
) -> None:
    central = organization.central
    sqs, name = central.client("sqs"), f"people-{uuid4().hex[:8]}"
    arn = f"arn:aws:sqs:{central.region}:{central.account_id}:{name}"
    url = sqs.create_queue(
        QueueName=name,
        Attributes={
            "Policy": policy(
                Principal={"Service": "sns.amazonaws.com"}, Action="sqs:SendMessage", Resource=arn
            )
        },
    )["QueueUrl"]
    central.client("sns").subscribe(
        TopicArn=organization.outputs["NotificationTopicArn"], Protocol="sqs", Endpoint=arn
    )
    stack = organization.members[0]
    send(
        stack,
        "Rotation Backed Out",
        userName="ci-deployer",
        outcome="BACKED_OUT",
        reason="the health URL answered badly twice in a row",
        executionArn="arn:aws:states:eu-west-1:1:execution:keyturn-RotateKey:x",
    )
    send(stack, "Key Rotated", userName="quiet", outcome="ROTATED")
    messages: list[dict[str, Any]] = []

    def received() -> bool:
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        messages.extend(json.loads(message["Body"]) for message in found)
        return bool(messages)

    eventually(received)
    (message,) = messages
    text = message["Message"]
    for words in (
        f"Rotation Backed Out: ci-deployer in account {stack.aws.account_id} (eu-west-1)",
        "Outcome: BACKED_OUT",
        "Reason: the health URL answered badly twice in a row",
    ):
        assert words in text


def test_an_account_can_send_nothing_but_keyturns_events(organization: Organization) -> None:
    stack = organization.members[0]
    events, marker = stack.aws.client("events"), uuid4().hex
    (rule,) = events.list_rule_names_by_target(
        TargetArn=organization.outputs["CentralEventBusArn"]
    )["RuleNames"]
    (target,) = events.list_targets_by_rule(Rule=rule)["Targets"]
    events.put_rule(Name=f"all-{marker}", EventPattern=json.dumps({"source": ["other"]}))
    events.put_targets(Rule=f"all-{marker}", Targets=[target])
    send(stack, "Key Rotated", source="other", marker=f"{marker}-other")
    send(stack, "Key Rotated", marker=f"{marker}-ours")
    heard(organization, f"{marker}-ours")
    assert arrived(organization, f"{marker}-other") == []


def test_an_account_outside_the_organisation_sends_nothing(organization: Organization) -> None:
    outsider = organization.central.account("999988887777")
    inside = organization.members[0].aws
    iam, marker = outsider.client("iam"), uuid4().hex
    iam.create_role(RoleName="sender", AssumeRolePolicyDocument="{}")
    bus = organization.outputs["CentralEventBusArn"]
    iam.put_role_policy(
        RoleName="sender",
        PolicyName="send",
        PolicyDocument=policy(Action="events:PutEvents", Resource=bus),
    )
    events = outsider.client("events")
    events.put_rule(Name="send", EventPattern=json.dumps({"source": ["keyturn"]}))
    role = f"arn:aws:iam::{outsider.account_id}:role/sender"
    events.put_targets(Rule="send", Targets=[{"Id": "bus", "Arn": bus, "RoleArn": role}])
    entry = {"Source": "keyturn", "DetailType": "Key Rotated"}
    events.put_events(Entries=[{**entry, "Detail": json.dumps({"marker": f"{marker}-out"})}])
    inside.client("events").put_events(
        Entries=[{**entry, "Detail": json.dumps({"marker": f"{marker}-in"})}]
    )
    heard(organization, f"{marker}-in")
    assert arrived(organization, f"{marker}-out") == []


def test_an_account_writes_under_its_own_number_and_nowhere_else(
    organization: Organization,
) -> None:
    bucket = organization.outputs["CentralReportBucketName"]
    mine, other = (stack.aws.account_id for stack in organization.members)
    s3 = user_of(organization.members[0].aws)
    s3.put_object(Bucket=bucket, Key=f"accounts/{mine}/probe", Body=b"mine")
    for key in (f"accounts/{other}/probe", "organization/latest/report.json", "accounts/x"):
        assert refused(s3.put_object, Bucket=bucket, Key=key, Body=b"forged") == "AccessDenied"
    for call in (s3.get_object, s3.delete_object):
        assert refused(call, Bucket=bucket, Key=f"accounts/{mine}/probe") == "AccessDenied"
    assert refused(s3.list_objects_v2, Bucket=bucket) == "AccessDenied"
    found = organization.central.client("s3").get_object(
        Bucket=bucket, Key=f"accounts/{mine}/probe"
    )
    assert found["Body"].read() == b"mine"


def test_an_account_outside_the_organisation_writes_nothing(organization: Organization) -> None:
    outsider = organization.central.account("999988887776")
    bucket = organization.outputs["CentralReportBucketName"]
    key = f"accounts/{outsider.account_id}/probe"
    assert refused(user_of(outsider).put_object, Bucket=bucket, Key=key) == "AccessDenied"


def test_the_stack_of_a_stack_set_has_names_that_fit(organization: Organization) -> None:
    for stack in organization.members:
        functions = stack.aws.client("lambda").list_functions()["Functions"]
        names = {function["FunctionName"] for function in functions}
        assert "keyturn-CheckRequest" in names
        assert max(map(len, names)) <= 64
