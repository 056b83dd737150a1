"""An organisation end to end: rotations in two accounts, seen by a third."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from localaws import Account, FaultRule
from proofs.stack.support import Stack, eventually
from tests.cli.support import run
from tests.organization.conftest import ROOT, STACK, Organization

# One worker for all: the organisation is deployed once.
pytestmark = [pytest.mark.emulator, pytest.mark.slow, pytest.mark.xdist_group("organization")]


FILES = ("credential-report.csv", "context.json")


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


def invoked(organization: Organization) -> dict[str, Any]:
    """Make the organisation's report now."""
    answer = organization.central.client("lambda").invoke(
        FunctionName=organization.outputs["AuditOrganizationFunctionName"], Payload=b"{}"
    )
    found: dict[str, Any] = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, found
    return found


def stored(organization: Organization, key: str) -> bytes:
    """An object in the bucket of the collecting account."""
    found = organization.central.client("s3").get_object(
        Bucket=organization.outputs["CentralReportBucketName"], Key=key
    )
    content: bytes = found["Body"].read()
    return content


def latest(stack: Stack) -> dict[str, Any]:
    """The newest report of an account, in its own bucket."""
    found: dict[str, Any] = stack.reports.json(f"audits/{stack.aws.account_id}/latest/report.json")
    return found


def test_the_reports_of_all_accounts_become_one(organization: Organization) -> None:
    users = {}
    for number, stack in enumerate(organization.members, start=1):
        names = [stack.user(days_old=400).name for _ in range(number)]
        ended = stack.fleet(dryRun=True)
        assert ended.status == "SUCCEEDED", ended.result
        users[stack.aws.account_id] = names
    made = invoked(organization)
    assert made["judged"] == 2
    report = json.loads(stored(organization, "organization/latest/report.json"))
    counted = {account["accountId"]: account for account in report["accounts"]}
    assert set(counted) == set(users)
    for stack in organization.members:
        own = latest(stack)
        (alone,) = own["accounts"]
        assert counted[stack.aws.account_id]["users"] == alone["users"]
        assert counted[stack.aws.account_id]["findings"] == alone["findings"]
    assert report["totals"]["users"] == sum(account["users"] for account in counted.values())
    found = stored(organization, "organization/latest/findings.csv").decode()
    for account_id, names in users.items():
        for name in names:
            assert any(
                account_id in line and name in line and "key-not-rotated" in line
                for line in found.splitlines()
            )
    assert b"<html" in stored(organization, "organization/latest/report.html")
    dated = f"organization/{datetime.now(UTC):%Y-%m-%d}/report.json"
    assert json.loads(stored(organization, dated))["totals"] == report["totals"]


def test_an_account_that_cannot_be_judged_is_named_and_stops_no_other(
    organization: Organization,
) -> None:
    for stack in organization.members:
        assert stack.fleet(dryRun=True).status == "SUCCEEDED"
    bucket = organization.outputs["CentralReportBucketName"]
    s3 = organization.central.client("s3")
    good = {name: f"accounts/{organization.members[0].aws.account_id}/{name}" for name in FILES}
    report, context = (stored(organization, key) for key in good.values())
    metadata = s3.head_object(Bucket=bucket, Key=good["context.json"])["Metadata"]
    number = organization.members[0].aws.account_id.encode()

    def left(
        account_id: str, report: bytes, context: bytes, at: str = metadata["report-at"]
    ) -> None:
        (first, second), key = FILES, f"accounts/{account_id}/"
        s3.put_object(Bucket=bucket, Key=key + first, Body=report, Metadata=metadata)
        s3.put_object(Bucket=bucket, Key=key + second, Body=context, Metadata={"report-at": at})

    def mine(text: bytes, account_id: str) -> bytes:
        return text.replace(number, account_id.encode())

    old = json.loads(context)["at"].encode()
    left("111100000001", b"user,arn\nx,y\n", mine(context, "111100000001"))
    left("111100000002", mine(report, "111100000002"), b"[" * 100_000)
    left("111100000003", mine(report, "111100000003"), mine(context, "111100000003"), at="other")
    left(
        "111100000004",
        mine(report, "111100000004"),
        mine(context, "111100000004").replace(old, b"2026-01-01T00:00:00+00:00"),
    )
    left("111100000005", mine(report, "111100000005"), context)
    s3.put_object(Bucket=bucket, Key="accounts/111100000006/something", Body=b"else")
    s3.put_object(Bucket=bucket, Key="accounts/not-an-account/report", Body=b"x")
    left("111100000007", mine(report, "111100000007")[:-40], mine(context, "111100000007"))
    made = invoked(organization)
    why = {entry["accountId"]: entry["why"] for entry in made["notJudged"]}
    assert "is empty" in why["111100000001"] or "column" in why["111100000001"]
    assert "cannot be read (RecursionError)" in why["111100000002"]
    assert "different audits" in why["111100000003"]
    assert "older than 2 days" in why["111100000004"]
    assert "names another account" in why["111100000005"]
    assert why["111100000006"] == "it has sent no credential-report.csv"
    assert why[organization.central.account_id] == "it has sent no credential-report.csv"
    assert "not-an-account" not in why
    assert not {stack.aws.account_id for stack in organization.members} & set(why)
    whole = json.loads(stored(organization, "organization/latest/report.json"))
    judged = {account["accountId"] for account in whole["accounts"]}
    assert judged >= {stack.aws.account_id for stack in organization.members}
    assert not judged & set(why)
    for account_id, words in why.items():
        assert f"Account {account_id} is not judged: {words}" in whole["problems"]
    assert json.loads(stored(organization, "organization/latest/not-judged.json")) == [
        {"accountId": account_id, "why": words} for account_id, words in sorted(why.items())
    ]
    assert "111100000004" in stored(organization, "organization/latest/report.html").decode()
    for account_id in [*why, "not-an-account", "111100000007"]:
        delete(organization, f"accounts/{account_id}/")


def delete(organization: Organization, prefix: str) -> None:
    """Remove what a test has left in the bucket."""
    bucket = organization.outputs["CentralReportBucketName"]
    s3 = organization.central.client("s3")
    for entry in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", []):
        s3.delete_object(Bucket=bucket, Key=entry["Key"])


def test_a_report_that_cannot_be_sent_does_not_stop_the_fleet(organization: Organization) -> None:
    stack = organization.members[1]
    rule = FaultRule(
        action="s3:PutObject",
        function="AuditAccount",
        kind="error_before",
        status=403,
        code="AccessDenied",
        count=1,
    )
    number = stack.aws.control.inject(rule)
    ended = stack.fleet(dryRun=True)
    assert ended.status == "SUCCEEDED", ended.result
    assert [fired.action for fired in stack.aws.control.faults_fired(rule=number)] == [
        "s3:PutObject"
    ]
    assert latest(stack)["accounts"]


def test_an_exposed_key_reported_in_us_east_1_is_dealt_with_where_the_stack_is(
    organization: Organization,
) -> None:
    stack = organization.members[0]
    there = stack.aws.account(region="us-east-1")
    body = (ROOT / "organization" / "health-events.yaml").read_text()
    cloudformation = there.client("cloudformation")
    cloudformation.create_stack(
        StackName="keyturn-health-events",
        TemplateBody=body,
        Parameters=[{"ParameterKey": "TargetRegion", "ParameterValue": stack.aws.region}],
        Capabilities=["CAPABILITY_IAM"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName="keyturn-health-events", WaiterConfig={"Delay": 1, "MaxAttempts": 30}
    )
    user = stack.user()
    sample = json.loads((ROOT / "events" / "health_exposed_key.json").read_text())
    (entity,) = sample["detail"]["affectedEntities"]
    detail = json.dumps(sample["detail"]).replace(entity["entityValue"], user.access_key_id)
    detail = detail.replace(sample["account"], stack.aws.account_id)
    stack.aws.control.send_event(
        sample["source"],
        sample["detail-type"],
        json.loads(detail),
        account_id=stack.aws.account_id,
        region="us-east-1",
    )
    eventually(lambda: stack.keys(user.name).get(user.access_key_id) == "Inactive")
    (event,) = heard(organization, user.name)
    assert event["account"] == stack.aws.account_id


def test_the_stack_of_a_stack_set_has_names_that_fit(organization: Organization) -> None:
    for stack in organization.members:
        functions = stack.aws.client("lambda").list_functions()["Functions"]
        names = {function["FunctionName"] for function in functions}
        assert "keyturn-CheckRequest" in names
        assert max(map(len, names)) <= 64


def test_the_operators_command_works_on_the_stack_of_a_stack_set(
    organization: Organization,
) -> None:
    """Its functions are not named after the stack; docs/many-accounts.md says how it is named."""
    stack = organization.members[1]
    user = stack.user(managed=False, secret=False)
    secret = user.secret_access_key.get_secret_value()

    def keyturn(*words: str, given: str = "") -> str:
        done = run(stack, *words, given=given, KEYTURN_STACK_NAME=STACK)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    keyturn("onboard", user.name, "--existing-secret-stdin", "--yes", given=secret)
    assert json.loads(keyturn("plan", user.name, "--json"))["step"] == "ISSUE"
    begun = json.loads(keyturn("rotate", user.name, "--force", "--json"))
    assert f"{user.name} " in keyturn("status")
    keyturn("back-out", user.name, "--watch")
    stack.ended(begun["executionArn"])
    keyturn("offboard", user.name, "--yes")
