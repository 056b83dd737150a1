"""What tests of the deployed stack share: users with old keys, consumers, executions, looks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from pydantic import SecretStr

from localaws import Account
from localaws.consumer import Consumer
from proofs.stack.sweep import Inbox, Swept, sweep, unmasked

# Durations scaled down to seconds; nothing else differs from production. The pickup timeout is what
# a busy computer needs; scenarios that wait it out shorten it.
PARAMETERS = {
    "ManagedTagValue": "test",
    "PickupTimeoutSeconds": "60",
    "QuietPeriodSeconds": "2",
    "LastUsedCoarsenessSeconds": "1",
    "LastUsedLagSeconds": "1",
    "WatchSeconds": "3",
    "BackoutGraceSeconds": "1",
    "RetentionSeconds": "0",
    "PollMinSeconds": "1",
    "PollMaxSeconds": "2",
    "FenceSeconds": "4",
    "MinKeyAgeSeconds": "60",
    "AllowPrivateHealthUrls": "true",
    "FunctionArchitecture": "x86_64",
}

PREFIX = "machine-user/"


@dataclass(frozen=True)
class MachineUser:
    """A machine user with one key; the secret does not print itself."""

    name: str
    access_key_id: str
    secret_access_key: SecretStr

    @property
    def secret_name(self) -> str:
        return PREFIX + self.name


@dataclass(frozen=True)
class Ended:
    """An execution that has ended: status, error, the result of the contract, states visited."""

    arn: str
    status: str
    error: str | None
    result: dict[str, Any]
    states: list[str]


class Stack:
    """The deployed stack, driven through its contract alone."""

    PRETENDER = "test-pretender"
    """The session name under which tests act as a role of Keyturn, to see what it may not do."""

    def __init__(self, aws: Account, outputs: dict[str, str]) -> None:
        self.aws = aws
        self.outputs = outputs
        self.iam = aws.client("iam")
        self.secrets = aws.client("secretsmanager")
        self.machines = aws.client("stepfunctions")
        self.rotate_arn = outputs["RotateKeyStateMachineArn"]
        self.retire_arn = outputs["RetireKeyStateMachineArn"]
        self.fleet_arn = outputs["RotateFleetStateMachineArn"]
        self.reports = Reports(aws, outputs["ReportBucketName"])
        self.inbox = Inbox(aws, outputs["NotificationTopicArn"])
        self.created: list[SecretStr] = []
        """The secret access keys that tests created; Keyturn's own are in Secrets Manager."""
        self.off_limits: set[str] = set()
        """Users that Keyturn's roles are expected to be denied."""

    def user(
        self,
        name: str | None = None,
        *,
        managed: bool = True,
        key: bool = True,
        days_old: float = 100,
        secret: bool = True,
        path: str = "/",
    ) -> MachineUser:
        """Create a user, with an old key that its secret holds (without Keyturn's version id)."""
        name = name or f"u-{uuid4().hex[:10]}"
        tags = [{"Key": "keyturn:managed", "Value": "test"}] if managed else []
        self.iam.create_user(UserName=name, Path=path, Tags=tags)
        self.iam.put_user_policy(
            UserName=name,
            PolicyName="work",
            PolicyDocument=json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [{"Effect": "Allow", "Action": "sqs:ListQueues", "Resource": "*"}],
                }
            ),
        )
        self.iam.attach_user_policy(UserName=name, PolicyArn=self.outputs["ConsumerPolicyArn"])
        if not key:
            return MachineUser(name, "", SecretStr(""))
        made = self.add_key(name, days_old=days_old)
        if secret:
            self.secrets.create_secret(
                Name=PREFIX + name,
                SecretString=json.dumps(
                    {
                        "AccessKeyId": made.access_key_id,
                        "SecretAccessKey": made.secret_access_key.get_secret_value(),
                    }
                ),
            )
        return made

    def new_alarm(self, user_name: str) -> str:
        """Put a CloudWatch alarm, in OK, for a secret of this user to name; return its name."""
        name = f"errors-of-{user_name}"
        watch = self.aws.client("cloudwatch")
        watch.put_metric_alarm(
            AlarmName=name,
            MetricName="Errors",
            Namespace="Consumers",
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=0,
            ComparisonOperator="GreaterThanThreshold",
        )
        watch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="fine")
        return name

    def goes_off(self, alarm: str) -> None:
        """Set an alarm to ALARM."""
        self.aws.client("cloudwatch").set_alarm_state(
            AlarmName=alarm, StateValue="ALARM", StateReason="errors"
        )

    def add_key(self, name: str, *, days_old: float = 100) -> MachineUser:
        """Create a key as a person would, and backdate it."""
        made = self.iam.create_access_key(UserName=name)["AccessKey"]
        self.created.append(SecretStr(made["SecretAccessKey"]))
        now = datetime.fromtimestamp(self.aws.control.now(), UTC)
        self.aws.control.backdate_key(made["AccessKeyId"], now - timedelta(days=days_old))
        return MachineUser(name, made["AccessKeyId"], SecretStr(made["SecretAccessKey"]))

    def consumer(self, user: MachineUser, **options: Any) -> Consumer:
        """Start a consumer of the user's secret in a thread (see `localaws.consumer`)."""
        return Consumer(
            client=self.aws.client,
            secret_name=user.secret_name,
            access_key_id=user.access_key_id,
            secret_access_key=user.secret_access_key,
            **options,
        ).start()

    def start(self, user: str | None = None, **fields: Any) -> str:
        """Start RotateKey and return the execution's ARN."""
        data = ({"userName": user} if user else {}) | fields
        started = self.machines.start_execution(
            stateMachineArn=self.rotate_arn, input=json.dumps(data)
        )
        return str(started["executionArn"])

    def ended(self, arn: str, *, within_seconds: float = 180) -> Ended:
        """Wait until an execution has ended and return how."""
        over = self.aws.control.until(arn, seconds=within_seconds)
        assert over, f"waited {within_seconds} seconds in vain until {arn} ends"
        found = self.machines.describe_execution(executionArn=arn)
        return Ended(arn, found["status"], found.get("error"), result_of(found), self.states(arn))

    def retire(self, user: str, old: str, version: str, *, seconds: int = 0) -> Ended:
        """Run RetireKey to its end."""
        data = {"userName": user, "oldAccessKeyId": old, "versionId": version}
        started = self.machines.start_execution(
            stateMachineArn=self.retire_arn, input=json.dumps(data | {"retentionSeconds": seconds})
        )
        return self.ended(started["executionArn"])

    def rotate(self, user: str | None = None, **fields: Any) -> Ended:
        """Run RotateKey to its end."""
        return self.ended(self.start(user, **fields))

    def fleet(self, **fields: Any) -> Ended:
        """Run RotateFleet to its end."""
        started = self.machines.start_execution(
            stateMachineArn=self.fleet_arn, input=json.dumps(fields)
        )
        return self.ended(started["executionArn"])

    def states(self, arn: str) -> list[str]:
        """Return the names of the states entered so far, in order."""
        return [
            event["stateEnteredEventDetails"]["name"]
            for event in self.history(arn)
            if "stateEnteredEventDetails" in event
        ]

    def entered(self, arn: str, state: str) -> datetime:
        """Return when an execution first entered a state."""
        found: list[datetime] = [
            event["timestamp"]
            for event in self.history(arn)
            if event.get("stateEnteredEventDetails", {}).get("name") == state
        ]
        return found[0]

    def history(self, arn: str) -> list[dict[str, Any]]:
        """Return an execution's history."""
        pages = self.machines.get_paginator("get_execution_history").paginate(executionArn=arn)
        return [event for page in pages for event in page["events"]]

    def reaches(self, arn: str, state: str, *, within_seconds: float = 120) -> None:
        """Wait until an execution has entered a state."""
        entered = self.aws.control.until(arn, state, seconds=within_seconds)
        assert entered, (
            f"waited at most {within_seconds} seconds in vain until {arn} enters {state}"
        )

    def keys(self, user: str) -> dict[str, str]:
        """Return the user's key ids with their status."""
        listed = self.iam.list_access_keys(UserName=user)["AccessKeyMetadata"]
        return {key["AccessKeyId"]: key["Status"] for key in listed}

    def labels(self, user: str) -> dict[str, str]:
        """Return the labels of the user's secret with the VersionId that carries each."""
        found = self.secrets.describe_secret(SecretId=PREFIX + user)["VersionIdsToStages"]
        return {label: version for version, labels in found.items() for label in labels}

    def current_key(self, user: str) -> str:
        """Return the access key id in AWSCURRENT."""
        value = self.secrets.get_secret_value(SecretId=PREFIX + user)["SecretString"]
        return str(json.loads(value)["AccessKeyId"])

    def key_in(self, user: str, version: str) -> str:
        """Return the access key id that a version of the user's secret holds."""
        found = self.secrets.get_secret_value(SecretId=PREFIX + user, VersionId=version)
        return str(json.loads(found["SecretString"])["AccessKeyId"])

    def tags(self, user: str) -> dict[str, str]:
        """Return the tags of the user's secret."""
        found = self.secrets.describe_secret(SecretId=PREFIX + user).get("Tags", [])
        return {tag["Key"]: tag["Value"] for tag in found}

    def label(self, user: str, label: str, version: str) -> None:
        """Put a label that no version has yet onto a version, as a person could."""
        self.secrets.update_secret_version_stage(
            SecretId=PREFIX + user, VersionStage=label, MoveToVersionId=version
        )

    def sweep(self) -> Swept:
        """Search everything that is left behind for every secret access key."""
        return sweep(self.aws, self.inbox, [key.get_secret_value() for key in self.created])

    def assert_nothing_denied(self) -> None:
        """Fail when IAM denied Keyturn's own roles a call about a user that is theirs to work on.

        Asking for the use of a key that does not exist is answered with AccessDenied, too.
        """
        managed = {
            user["UserName"]
            for page in self.iam.get_paginator("list_users").paginate()
            for user in page["Users"]
            for tag in self.iam.list_user_tags(UserName=user["UserName"])["Tags"]
            if tag == {"Key": "keyturn:managed", "Value": PARAMETERS["ManagedTagValue"]}
        }
        injected = self.aws.control.faults_fired()
        denied = [
            f"{call.service}:{call.action} to {call.principal.split('/')[1]}"
            for call in self.aws.control.calls(principal=":assumed-role/keyturn-")
            if call.error.startswith(("AccessDenied", "AuthorizationError"))
            and call.action != "GetAccessKeyLastUsed"
            and self.PRETENDER not in call.principal
            and managed & set(call.about)
            and not self.off_limits & set(call.about)
            and not any(
                fired.principal == call.principal and abs(fired.time - call.time) < 5
                for fired in injected
            )
        ]
        assert not denied, f"IAM denied {', '.join(sorted(set(denied)))}"

    def assert_nothing_leaked(self) -> None:
        """Fail when a secret is anywhere but in Secrets Manager, or a key id where people look."""
        finds = self.sweep().finds
        assert not finds, f"a secret access key leaked into {', '.join(sorted(set(finds)))}"
        shown = unmasked(self.aws, self.inbox)
        assert not shown, f"an access key id is not masked in {', '.join(sorted(set(shown)))}"


def result_of(described: dict[str, Any]) -> dict[str, Any]:
    """The result of the contract in what DescribeExecution answers; else its text."""
    text = described.get("output") or described.get("cause") or "{}"
    try:
        result: dict[str, Any] = json.loads(text)
    except ValueError:
        return {"text": text}
    return result


class Reports:
    """What is in the report bucket."""

    def __init__(self, aws: Account, bucket: str) -> None:
        self.s3 = aws.client("s3")
        self.bucket = bucket

    def keys(self, prefix: str = "") -> list[str]:
        """The keys of the objects below a prefix."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def text(self, key: str) -> str:
        """An object's text."""
        found = self.s3.get_object(Bucket=self.bucket, Key=key)
        return str(found["Body"].read().decode())

    def json(self, key: str) -> Any:
        """An object's JSON document."""
        return json.loads(self.text(key))


def eventually(
    condition: Callable[[], bool],
    *,
    within_seconds: float = 60,
    what: str = "it happens",
    every_seconds: float = 0.1,
) -> None:
    """Wait on a condition, or fail with what was waited for."""
    ends = time.monotonic() + within_seconds
    while not condition():
        if time.monotonic() > ends:
            raise AssertionError(f"waited {within_seconds} seconds in vain until {what}")
        time.sleep(every_seconds)
