"""Deployments, events, notifications and alarms in the embedded AWS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import localaws
from localaws import LocalAwsError
from tests.localaws.support import TOY, Toy, eventually

pytestmark = pytest.mark.emulator


def messages(toy: Toy, url: str) -> list[Any]:
    """What arrives in a queue, taken out of it."""
    sqs = toy.aws.client("sqs")
    received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0)
    for message in received.get("Messages", []):
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return [json.loads(message["Body"]) for message in received.get("Messages", [])]


def queue(toy: Toy, name: str) -> tuple[str, str]:
    """A new queue's URL and ARN; services may send to it."""
    sqs = toy.aws.client("sqs")
    arn = f"arn:aws:sqs:{toy.aws.region}:{toy.aws.account_id}:{name}"
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": ["sns.amazonaws.com", "events.amazonaws.com"]},
        "Action": "sqs:SendMessage",
        "Resource": arn,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    return sqs.create_queue(QueueName=name, Attributes={"Policy": policy})["QueueUrl"], arn


def test_two_stacks_live_side_by_side(toy: Toy) -> None:
    other = localaws.deploy(
        toy.aws, stack_name="toy-two", template=TOY, parameters={"UserPath": "/other/"}
    )
    assert other["ActorName"] != toy.outputs["ActorName"]
    assert Toy(toy.aws, other).invoke({})["stack"] == "toy-two"
    assert toy.invoke({})["stack"] == "toy"


def test_deploying_again_changes_nothing(toy: Toy) -> None:
    again = localaws.deploy(
        toy.aws, stack_name="toy", template=TOY, parameters={"WaitSeconds": "1"}
    )
    assert again == toy.outputs


PARAMETERS = """
Parameters:
  Text: {Type: String, Default: unset}
Resources:
  Topic: {Type: AWS::SNS::Topic}
Outputs:
  Text: {Value: !Sub "<${Text}>"}
"""


@pytest.mark.parametrize("value", ["", "rate(1 day)", 'a "quoted" one', "back\\slash", "a,b=c"])
def test_parameters_arrive_as_they_are(toy: Toy, name: str, tmp_path: Path, value: str) -> None:
    template = tmp_path / "template.yaml"
    template.write_text(PARAMETERS)
    (tmp_path / "samconfig.toml").write_text("version = 0.1\n[default.deploy.parameters]\nno = 1\n")
    outputs = localaws.deploy(
        toy.aws, stack_name=name, template=template, parameters={"Text": value}
    )
    assert outputs == {"Text": f"<{value}>"}


NO_GROUP = "Resources: {One: {Type: AWS::Logs::LogStream, Properties: {LogGroupName: missing}}}"
NO_CODE = """
Transform: AWS::Serverless-2016-10-31
Resources:
  One: {Type: AWS::Serverless::Function, Properties: {CodeUri: nowhere/}}
"""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Resources: {Broken: {Type: AWS::No::Such}}", "of broken failed: .*AWS::No::Such"),
        (NO_GROUP, "of broken failed: One: "),
        (NO_CODE, "names nowhere/, which does not exist"),
    ],
)
def test_a_failed_deployment_tells_why(toy: Toy, tmp_path: Path, text: str, why: str) -> None:
    template = tmp_path / "template.yaml"
    template.write_text(text)
    with pytest.raises(LocalAwsError, match=why):
        localaws.deploy(toy.aws, stack_name="broken", template=template, parameters={})


def test_an_ended_execution_reaches_the_machine_behind_a_rule(toy: Toy, name: str) -> None:
    """What a template's EventBridgeRule with InputTransformer and dead-letter queue promises."""
    dead = toy.start({"do": "sleep", "seconds": 3}, name=name)
    stepfunctions = toy.aws.client("stepfunctions")
    stepfunctions.stop_execution(executionArn=dead, error="Test", cause="as asked")

    def rescue() -> Any:
        for started in stepfunctions.list_executions(
            stateMachineArn=toy.outputs["RescuerArn"], maxResults=100
        )["executions"]:
            asked = json.loads(toy.described(started["executionArn"])["input"])
            if asked["executionArn"] == dead:
                return asked
        return None

    assert eventually(rescue) == {"action": "rescue", "executionArn": dead, "status": "ABORTED"}


def test_status_changes_are_events(toy: Toy, name: str) -> None:
    url, arn = queue(toy, name)
    events = toy.aws.client("events")
    pattern = {"source": ["aws.states"], "detail": {"name": [name]}}
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": arn}])
    toy.finished(toy.start({"do": "raise"}, name=name))
    seen: list[Any] = []

    def both() -> list[Any]:
        seen.extend(messages(toy, url))
        return seen if len(seen) >= 2 else []

    running, failed = eventually(both)
    assert running["detail-type"] == failed["detail-type"]
    assert failed["detail-type"] == "Step Functions Execution Status Change"
    assert (running["detail"]["status"], failed["detail"]["status"]) == ("RUNNING", "FAILED")
    assert failed["detail"]["error"] == "ToyError"
    assert json.loads(failed["detail"]["cause"])["errorType"] == "ToyError"
    assert json.loads(failed["detail"]["input"]) == {"do": "raise"}
    assert failed["detail"]["stateMachineArn"] == toy.outputs["MachineArn"]
    assert failed["detail"]["startDate"] <= failed["detail"]["stopDate"]


def test_notifications_can_be_read_from_a_queue(toy: Toy, name: str) -> None:
    url, arn = queue(toy, name)
    sns = toy.aws.client("sns")
    sns.subscribe(TopicArn=toy.outputs["TopicArn"], Protocol="sqs", Endpoint=arn)
    sns.publish(TopicArn=toy.outputs["TopicArn"], Subject="Hello", Message=name)
    (message,) = eventually(lambda: messages(toy, url))
    assert (message["Subject"], message["Message"]) == ("Hello", name)


def test_an_alarm_can_be_set(toy: Toy, name: str) -> None:
    cloudwatch = toy.aws.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        Namespace="Test",
        MetricName="Errors",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    for state in ("OK", "ALARM"):
        cloudwatch.set_alarm_state(AlarmName=name, StateValue=state, StateReason="test")
        (alarm,) = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
        assert alarm["StateValue"] == state
