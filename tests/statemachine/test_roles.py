"""Every role is enough for its function, and not more: IAM's enforcement is on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import ClientError

from keyturn.model.identifiers import execution_mark, is_intent_of, rotation_name
from keyturn.model.moments import iso
from keyturn.model.rotation import Policy, Rotation
from localaws.consumer import Consumer, serve_health
from localaws.launcher import client_config
from proofs.stack.alerts import sample, send
from proofs.stack.scenarios import STAYS_OPEN, Scenarios, consuming, recovery_of
from proofs.stack.support import MachineUser, Stack, eventually

pytestmark = [pytest.mark.emulator, pytest.mark.slow, pytest.mark.xdist_group("roles")]

scenario = Scenarios()

FUNCTIONS = (
    "AuditAccount",
    "CheckHealth",
    "CheckConsumers",
    "CheckRequest",
    "ChooseUsers",
    "DeactivateKey",
    "CloseRotation",
    "DiscardNewKey",
    "IssueNewKey",
    "LookAtRotations",
    "ProveKey",
    "MoveCurrent",
    "ReactivateOldKey",
    "RecordOutcome",
    "RetireOldKey",
    "StartBackOut",
    "StartRotation",
    "StartRotations",
    "StopClaimant",
    "SumUpFleet",
    "TakeOver",
)
MACHINES = ("RotateKey", "RetireKey", "RotateFleet")
ROLES = FUNCTIONS + MACHINES

# Who may read plaintext. The first four and RetireOldKey read intents and versions made by others,
# the proofs sign with the key, DiscardNewKey reads its own intent.
READERS = {
    "CheckRequest",
    "DiscardNewKey",
    "IssueNewKey",
    "ProveKey",
    "RetireOldKey",
    "StopClaimant",
    "TakeOver",
}
CREATORS = {"IssueNewKey"}
DELETERS = {"DiscardNewKey", "IssueNewKey", "RetireOldKey"}
SWITCHERS = {"DeactivateKey", "ReactivateOldKey"}


@pytest.fixture(scope="module")
def running(stack: Stack, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[None]]]:
    """All scenarios of this module, started at once."""
    with scenario.running(stack, request) as futures:
        yield futures


# --- enough -------------------------------------------------------------------------------------


@scenario
def a_rotation_with_a_health_url_and_a_retirement(stack: Stack) -> None:
    user = stack.user()
    with consuming(stack, user) as consumer, health_url(consumer) as url:
        stack.secrets.tag_resource(
            SecretId=user.secret_name, Tags=[{"Key": "keyturn:health-url", "Value": url}]
        )
        ended = stack.rotate(user.name, timing={"retentionSeconds": 1})
        assert ended.result["outcome"] == "ROTATED"
        assert ended.result["evidence"]["health"]["status"] == 200
        mark = stack.labels(user.name)["AWSCURRENT"].split("-", 1)[1]
        machine = stack.retire_arn.replace(":stateMachine:", ":execution:")
        assert stack.ended(f"{machine}:retire-{mark}").result["outcome"] == "DELETED"


@scenario
def a_back_out_after_the_deactivation(stack: Stack) -> None:
    user = stack.user()
    with consuming(stack, user):
        assert stack.rotate(user.name).result["outcome"] == "ROTATED"
        ended = stack.rotate(user.name, action="BACK_OUT")
        assert ended.result["outcome"] == "BACKED_OUT"
        steps = {"Reactivate Old Key", "Prove Old Key", "Restore Old Version", "Check Return"}
        assert steps <= set(ended.states)


@scenario
def a_take_over_of_a_running_rotation(stack: Stack) -> None:
    user = stack.user()
    with consuming(stack, user):
        first = stack.start(user.name, timing=STAYS_OPEN)
        stack.reaches(first, "Publish New Key")
        ended = stack.rotate(user.name, mode="EMERGENCY", accessKeyId=user.access_key_id)
        assert ended.result["outcome"] == "ROTATED"
        assert {"Stop Claimant", "Take Over"} <= set(ended.states)


@scenario
def a_rotation_that_fails_before_it_publishes(stack: Stack) -> None:
    user = stack.user()
    other = stack.user()
    with consuming(stack, user):
        arn = stack.start(user.name)
        stack.reaches(arn, "Prove New Key")
        # A stored key of somebody else cannot be proven to be the user's.
        stack.secrets.put_secret_value(
            SecretId=user.secret_name,
            SecretString=json.dumps(
                {
                    "AccessKeyId": other.access_key_id,
                    "SecretAccessKey": other.secret_access_key.get_secret_value(),
                }
            ),
        )
        ended = stack.ended(arn)
        assert ended.error == "RotationFailed"
        assert "Discard New Key" in ended.states


@scenario
def a_start_by_an_event(stack: Stack) -> None:
    user = stack.user()
    with consuming(stack, user):
        send(stack, sample(stack, "config_access_keys_rotated", user))
        found = stack.iam.get_user(UserName=user.name)["User"]
        name = rotation_name(found["Arn"], found["CreateDate"], datetime.now(UTC).date())
        arn = f"{stack.rotate_arn.replace(':stateMachine:', ':execution:')}:{name}"

        def there() -> bool:
            listed = stack.machines.list_executions(stateMachineArn=stack.rotate_arn)
            return arn in {item["executionArn"] for item in listed["executions"]}

        eventually(there, within_seconds=60, what=f"{arn} starts")
        assert stack.ended(arn).result["outcome"] == "ROTATED"


@scenario
def a_fleet_run_for_one_user(stack: Stack) -> None:
    user = stack.user()
    with consuming(stack, user):
        ended = stack.fleet(userNames=[user.name])
        assert ended.result["outcomes"] == {"ROTATED": 1}


@contextmanager
def health_url(consumer: Consumer) -> Iterator[str]:
    """A URL that tells the consumer's health."""
    server = serve_health(consumer)
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("scenario", scenario.names)
def test_a_scenario_succeeds(running: dict[str, Future[None]], scenario: str) -> None:
    running[scenario].result()


def test_every_function_ran_and_none_was_denied_anything(
    stack: Stack, running: dict[str, Future[None]]
) -> None:
    for future in running.values():
        future.exception()
    logs = stack.aws.client("logs")

    def silent() -> list[str]:
        return [
            name
            for name in FUNCTIONS
            if not logs.filter_log_events(logGroupName=f"/aws/lambda/keyturn-{name}")["events"]
        ]

    eventually(lambda: not silent(), what=f"these functions run: {silent()}")
    stack.assert_nothing_denied()


# --- not more: the roles themselves -------------------------------------------------------------

Call = Callable[[Any], object]
Clients = Callable[[str], Any]


@contextmanager
def acting_as(stack: Stack, role: str) -> Iterator[Clients]:
    """Clients with the credentials of a role, which has to trust us for this moment."""
    names = [
        item["RoleName"]
        for page in stack.iam.get_paginator("list_roles").paginate()
        for item in page["Roles"]
        if item["RoleName"].startswith(f"keyturn-{role}Role")
    ]
    assert len(names) == 1
    found = stack.iam.get_role(RoleName=names[0])["Role"]
    trust = found["AssumeRolePolicyDocument"]
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{stack.aws.account_id}:root"},
        "Action": "sts:AssumeRole",
    }
    changed = {**trust, "Statement": [*trust["Statement"], statement]}
    stack.iam.update_assume_role_policy(RoleName=names[0], PolicyDocument=json.dumps(changed))
    try:
        assumed = stack.aws.client("sts").assume_role(
            RoleArn=found["Arn"], RoleSessionName=stack.PRETENDER
        )["Credentials"]
    finally:
        stack.iam.update_assume_role_policy(RoleName=names[0], PolicyDocument=json.dumps(trust))
    session = boto3.Session(
        aws_access_key_id=assumed["AccessKeyId"],
        aws_secret_access_key=assumed["SecretAccessKey"],
        aws_session_token=assumed["SessionToken"],
        region_name=stack.aws.region,
    )

    def client(name: str) -> Any:
        make: Any = session.client
        return make(name, endpoint_url=stack.aws.endpoint_url, config=client_config())

    yield client


def allowed(call: Callable[..., object], *arguments: object, **named: object) -> bool:
    """Whether IAM lets a call through (it may still fail for what it asks)."""
    try:
        call(*arguments, **named)
    except ClientError as error:
        return not error.response["Error"]["Code"].startswith(
            ("AccessDenied", "AuthorizationError")
        )
    return True


def succeeds(call: Callable[..., object], **named: object) -> bool:
    """Whether a call does what it asks; nothing but a refusal of AWS counts as "no"."""
    try:
        call(**named)
    except ClientError:
        return False
    return True


@dataclass(frozen=True)
class Administrator:
    """A user that this stack does not manage, with a secret below the stack's prefix."""

    user: MachineUser

    def state(self, stack: Stack) -> object:
        """Everything of the user that could be touched."""
        name = self.user.name
        key = stack.iam.get_access_key_last_used(AccessKeyId=self.user.access_key_id)
        return (
            stack.keys(name),
            stack.labels(name),
            stack.tags(name),
            stack.secrets.list_secret_version_ids(
                SecretId=self.user.secret_name, IncludeDeprecated=True
            )["Versions"],
            stack.iam.list_user_tags(UserName=name)["Tags"],
            stack.iam.list_attached_user_policies(UserName=name)["AttachedPolicies"],
            key["AccessKeyLastUsed"],
        )


@pytest.fixture(scope="module")
def administrator(stack: Stack) -> Administrator:
    user = stack.user(f"admin-{uuid4().hex[:8]}", managed=False)
    stack.off_limits.add(user.name)
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    stack.iam.put_user_policy(
        UserName=user.name,
        PolicyName="everything",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [everything]}),
    )
    return Administrator(user)


@pytest.mark.parametrize("role", ROLES)
def test_no_role_reaches_an_unmanaged_user(
    stack: Stack, administrator: Administrator, role: str
) -> None:
    name, key = administrator.user.name, administrator.user.access_key_id
    before = administrator.state(stack)
    with acting_as(stack, role) as client:
        iam = client("iam")
        calls: dict[str, Callable[[], object]] = {
            "create": lambda: iam.create_access_key(UserName=name),
            "deactivate": lambda: iam.update_access_key(
                UserName=name, AccessKeyId=key, Status="Inactive"
            ),
            "delete": lambda: iam.delete_access_key(UserName=name, AccessKeyId=key),
            "list": lambda: iam.list_access_keys(UserName=name),
            "last used": lambda: iam.get_access_key_last_used(AccessKeyId=key),
            "tag": lambda: iam.tag_user(
                UserName=name, Tags=[{"Key": "keyturn:managed", "Value": "test"}]
            ),
            "attach": lambda: iam.attach_user_policy(
                UserName=name, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess"
            ),
            "put policy": lambda: iam.put_user_policy(
                UserName=name, PolicyName="p", PolicyDocument="{}"
            ),
            "console": lambda: iam.get_login_profile(UserName=name),
        }
        assert [call for call, make in calls.items() if allowed(make)] == []
    assert administrator.state(stack) == before


@pytest.fixture(scope="module")
def managed(stack: Stack) -> MachineUser:
    return stack.user()


@pytest.mark.parametrize("role", ROLES)
def test_each_power_over_keys_is_in_few_hands(
    stack: Stack, managed: MachineUser, role: str
) -> None:
    unknown = "AKIANOSUCHKEY0000000"
    with acting_as(stack, role) as client:
        iam, secrets = client("iam"), client("secretsmanager")
        calls: dict[str, tuple[set[str], Callable[[], object]]] = {
            "create": (CREATORS, lambda: _created_and_deleted(stack, iam, managed.name)),
            "switch": (
                SWITCHERS,
                lambda: iam.update_access_key(
                    UserName=managed.name, AccessKeyId=unknown, Status="Inactive"
                ),
            ),
            "delete": (
                DELETERS,
                lambda: iam.delete_access_key(UserName=managed.name, AccessKeyId=unknown),
            ),
            "read": (READERS, lambda: secrets.get_secret_value(SecretId=managed.secret_name)),
            "tag a user": (
                set(),
                lambda: iam.tag_user(UserName=managed.name, Tags=[{"Key": "k", "Value": "v"}]),
            ),
            "delete a secret": (
                set(),
                lambda: secrets.delete_secret(SecretId=managed.secret_name),
            ),
            "open a secret": (
                set(),
                lambda: secrets.put_resource_policy(
                    SecretId=managed.secret_name, ResourcePolicy="{}"
                ),
            ),
            "read another secret": (
                set(),
                lambda: secrets.get_secret_value(SecretId=other_secret(stack)),
            ),
        }
        found = {power for power, (_, call) in calls.items() if allowed(call)}
    assert found == {power for power, (holders, _) in calls.items() if role in holders}


def _created_and_deleted(stack: Stack, iam: Any, user: str) -> None:
    made = iam.create_access_key(UserName=user)["AccessKey"]
    stack.iam.delete_access_key(UserName=user, AccessKeyId=made["AccessKeyId"])


def other_secret(stack: Stack) -> str:
    """A secret outside of the stack's prefix; one for all tests."""
    name = "database/password"
    with suppress(stack.secrets.exceptions.ResourceExistsException):
        stack.secrets.create_secret(Name=name, SecretString="{}")
    return name


def test_the_role_that_calls_health_urls_can_do_nothing(stack: Stack, managed: MachineUser) -> None:
    """What a hostile address could steal from it is worth nothing."""
    with acting_as(stack, "CheckHealth") as client:
        secret, user = {"SecretId": managed.secret_name}, {"UserName": managed.name}
        machine = {"stateMachineArn": stack.rotate_arn}
        calls: list[tuple[str, Callable[[Any], object]]] = [
            ("iam", lambda iam: iam.list_users()),
            ("iam", lambda iam: iam.get_user(**user)),
            ("iam", lambda iam: iam.list_access_keys(**user)),
            ("iam", lambda iam: iam.create_access_key(**user)),
            ("secretsmanager", lambda secrets: secrets.list_secrets()),
            ("secretsmanager", lambda secrets: secrets.describe_secret(**secret)),
            ("secretsmanager", lambda secrets: secrets.get_secret_value(**secret)),
            ("secretsmanager", lambda s: s.put_secret_value(**secret, SecretString="{}")),
            ("stepfunctions", lambda sfn: sfn.list_executions(**machine)),
            ("stepfunctions", lambda sfn: sfn.start_execution(**machine)),
            ("lambda", lambda functions: functions.list_functions()),
            ("lambda", lambda functions: functions.invoke(FunctionName="keyturn-IssueNewKey")),
            ("s3", lambda s3: s3.list_buckets()),
            ("sqs", lambda sqs: sqs.list_queues()),
            (
                "sns",
                lambda sns: sns.publish(
                    TopicArn=stack.outputs["NotificationTopicArn"], Message="m"
                ),
            ),
            (
                "events",
                lambda events: events.put_events(
                    Entries=[{"Source": "keyturn", "DetailType": "Key Rotated", "Detail": "{}"}]
                ),
            ),
            ("cloudwatch", lambda cloudwatch: cloudwatch.describe_alarms()),
            (
                "logs",
                lambda logs: logs.filter_log_events(logGroupName="/aws/lambda/keyturn-IssueNewKey"),
            ),
        ]
        passed = [
            f"{service} {index}"
            for index, (service, call) in enumerate(calls)
            if allowed(call, client(service))
        ]
    assert passed == []


def test_the_role_that_audits_sees_the_account_and_changes_only_reports(
    stack: Stack, managed: MachineUser
) -> None:
    """It reads all users' key ages, so it may reach neither a key nor a secret's value."""
    secret, user = {"SecretId": managed.secret_name}, {"UserName": managed.name}
    bucket = {"Bucket": stack.reports.bucket}
    machines = [{"stateMachineArn": arn} for arn in (stack.rotate_arn, stack.fleet_arn)]
    with acting_as(stack, "AuditAccount") as client:
        iam, secrets, s3 = client("iam"), client("secretsmanager"), client("s3")
        sfn = client("stepfunctions")
        may: list[Callable[[], object]] = [
            iam.generate_credential_report,
            iam.get_credential_report,
            iam.get_account_password_policy,
            secrets.list_secrets,
            lambda: s3.put_object(**bucket, Key="audits/test.json", Body=b"{}"),
            lambda: s3.put_object(**bucket, Key="fleet/test.json", Body=b"{}"),
        ]
        may_not: list[Callable[[], object]] = [
            iam.list_users,
            lambda: iam.list_access_keys(**user),
            lambda: iam.create_access_key(**user),
            lambda: iam.update_account_password_policy(MinimumPasswordLength=6),
            lambda: secrets.describe_secret(**secret),
            lambda: secrets.get_secret_value(**secret),
            lambda: secrets.batch_get_secret_value(SecretIdList=[managed.secret_name]),
            lambda: secrets.tag_resource(**secret, Tags=[{"Key": "k", "Value": "v"}]),
            lambda: s3.get_object(**bucket, Key="audits/test.json"),
            lambda: s3.delete_object(**bucket, Key="audits/test.json"),
            lambda: s3.put_object(**bucket, Key="other/test.json", Body=b"{}"),
            lambda: s3.put_bucket_policy(**bucket, Policy="{}"),
            *(lambda which=which: sfn.start_execution(**which) for which in machines),
        ]
        assert [index for index, call in enumerate(may) if not allowed(call)] == []
        assert [index for index, call in enumerate(may_not) if allowed(call)] == []


@pytest.mark.parametrize("role", ["ChooseUsers", "LookAtRotations", "SumUpFleet", "RotateFleet"])
def test_only_the_function_that_starts_rotations_can_start_one(stack: Stack, role: str) -> None:
    with acting_as(stack, role) as client:
        sfn = client("stepfunctions")
        assert not allowed(lambda: sfn.start_execution(stateMachineArn=stack.rotate_arn))
        assert not allowed(
            lambda: client("s3").get_object(Bucket=stack.reports.bucket, Key="audits/test.json")
        )


# --- not more: the functions, invoked directly --------------------------------------------------


@pytest.fixture(scope="module")
def held(stack: Stack) -> Iterator[tuple[MachineUser, str, str]]:
    """A managed user with an open rotation: the user, the execution's ARN and its start time.

    Who knows these can make a payload that passes for the holder of the claim.
    """
    user = stack.user()
    arn = stack.start(user.name, force=True, timing=STAYS_OPEN)
    stack.reaches(arn, "Wait For Consumers")
    started = iso(stack.machines.describe_execution(executionArn=arn)["startDate"])
    mark = execution_mark(arn, datetime.fromisoformat(started))
    assert is_intent_of(stack.labels(user.name)["CLAIM"], mark)
    yield user, arn, started
    stack.start(user.name, action="BACK_OUT")


def crafted(
    stack: Stack, *, user: str, secret: str, arn: str, started: str, victim: MachineUser
) -> Iterator[dict[str, Any]]:
    """Payloads as the machines make them, with a user and a secret of the attacker's choice."""
    now = datetime.now(UTC)
    version = stack.labels(victim.name)["AWSCURRENT"]
    policy = Policy(
        pickup_timeout_seconds=60,
        quiet_period_seconds=0,
        coarseness_seconds=0,
        lag_seconds=0,
        watch_seconds=0,
        backout_grace_seconds=0,
        retention_seconds=0,
        poll_min_seconds=1,
        poll_max_seconds=1,
        min_key_age_seconds=0,
        unused_after_days=90,
        fence_seconds=1,
        health_url="http://127.0.0.1:9/",
    )
    polling = {"beganAt": iso(now), "polls": 1, "waitSeconds": 1}
    rotation = Rotation(
        user_name=user,
        force=True,
        policy=policy,
        secret_name=secret,
        old_access_key_id=victim.access_key_id,
        old_version_id=version,
        exposed_key_id=victim.access_key_id,
        old_exposed=True,
        new_access_key_id=victim.access_key_id,
        new_version_id=version,
        started_at=now,
        deactivated_at=now,
        probe_ended_at=now,
    ).dump() | {"loops": dict.fromkeys(("PICKUP", "WATCH", "RETURN"), polling)}
    inputs: list[dict[str, Any]] = [
        {"userName": user, "force": True},
        {"accessKeyId": victim.access_key_id, "mode": "EMERGENCY"},
        {
            "userName": user,
            "oldAccessKeyId": victim.access_key_id,
            "versionId": version.ljust(32, "0"),
            "retentionSeconds": 0,
        },
    ]
    for index, data in enumerate(inputs):
        yield {
            "rotation": {**rotation, "mode": "EMERGENCY" if index == 1 else "STANDARD"},
            "context": {
                "Execution": {"Id": arn, "StartTime": started, "Input": data, "RedriveCount": 0},
                "State": {"Name": "Crafted", "EnteredTime": iso(now)},
            },
            "which": ("OLD", "NEW", "EXPOSED")[index],
            "to": ("OLD", "NEW", "OLD")[index],
            "phase": "RETIRE",
            "failure": None,
            "closing": ("AttentionNeeded", "BackoutIncomplete", None)[index],
        }


# These take no rotation: their tests are below.
OTHERS = {"StartBackOut", "AuditAccount", "ChooseUsers", "StartRotations", "LookAtRotations"}
OTHERS |= {"SumUpFleet"}


@pytest.mark.parametrize("function", [name for name in FUNCTIONS if name not in OTHERS])
@pytest.mark.parametrize("whose", ["both", "user", "secret"])
def test_a_crafted_payload_does_not_reach_an_unmanaged_user(
    stack: Stack,
    administrator: Administrator,
    held: tuple[MachineUser, str, str],
    function: str,
    whose: str,
) -> None:
    """Who may invoke a function directly still cannot use it against an administrator.

    The payload names the administrator as the user, the administrator's secret, or both; the rest
    passes for a running execution that holds a claim.
    """
    mine, arn, started = held
    victim = administrator.user
    payloads = crafted(
        stack,
        user=mine.name if whose == "secret" else victim.name,
        secret=mine.secret_name if whose == "user" else victim.secret_name,
        arn=arn,
        started=started,
        victim=victim,
    )
    invoke = stack.aws.client("lambda").invoke
    before = administrator.state(stack)
    mine_before = stack.keys(mine.name)
    for payload in payloads:
        answer = invoke(FunctionName=f"keyturn-{function}", Payload=json.dumps(payload))
        text = answer["Payload"].read().decode()
        assert victim.secret_access_key.get_secret_value() not in text
        assert "UnexpectedFailure" not in text
    assert administrator.state(stack) == before
    assert stack.keys(mine.name) == mine_before


def test_a_crafted_status_event_does_not_reach_an_unmanaged_user(
    stack: Stack, administrator: Administrator
) -> None:
    dead = f"{stack.rotate_arn.replace(':stateMachine:', ':execution:')}:{uuid4()}"
    event = {
        "detail": {
            "executionArn": dead,
            "status": "ABORTED",
            "input": json.dumps({"userName": administrator.user.name}),
        }
    }
    before = administrator.state(stack)
    stack.aws.client("lambda").invoke(
        FunctionName="keyturn-StartBackOut", Payload=json.dumps(event)
    )
    assert stack.ended(recovery_of(stack, dead)).error == "RequestRejected"
    assert administrator.state(stack) == before


@pytest.mark.parametrize(
    "name",
    [
        "security_hub_iam3",
        "config_access_keys_rotated",
        "health_exposed_key",
        "guardduty_iam_user",
    ],
)
def test_an_alert_does_not_reach_an_unmanaged_user(
    stack: Stack, administrator: Administrator, name: str
) -> None:
    before = administrator.state(stack)
    answer = stack.aws.client("lambda").invoke(
        FunctionName="keyturn-StartRotation",
        Payload=json.dumps(sample(stack, name, administrator.user)),
    )
    assert json.loads(answer["Payload"].read()) == {"alerts": 1, "started": 0, "problems": 0}
    assert administrator.state(stack) == before


def test_a_fleet_run_for_an_unmanaged_user_touches_nothing(
    stack: Stack, administrator: Administrator
) -> None:
    before = administrator.state(stack)
    ended = stack.fleet(userNames=[administrator.user.name])
    assert ended.result["outcomes"] == {"REJECTED": 1}
    assert administrator.state(stack) == before


@pytest.mark.parametrize("function", ["ChooseUsers", "StartRotations", "LookAtRotations"])
def test_a_crafted_run_reaches_nobody(
    stack: Stack, administrator: Administrator, function: str
) -> None:
    payload = {
        "run": {"id": "crafted", "arn": stack.fleet_arn, "startedAt": iso(datetime.now(UTC))},
        "input": {"userNames": [administrator.user.name]},
        "number": 0,
        "polls": 0,
    }
    before = administrator.state(stack)
    answer = stack.aws.client("lambda").invoke(
        FunctionName=f"keyturn-{function}", Payload=json.dumps(payload)
    )
    said = json.loads(answer["Payload"].read())
    refused = said.get("errorType") or said["ending"]
    assert refused in ("HandoverMissing", "FleetRunFailed")
    assert administrator.state(stack) == before


# --- the consumers' side ------------------------------------------------------------------------


def test_a_consumer_reads_its_own_secret_and_no_other(stack: Stack) -> None:
    """`alice` must not read the secret of `alice-bobxyz`, whose ARN begins like her secret's."""
    alice = f"alice{uuid4().hex[:6]}"
    names = (alice, f"{alice}-bobxyz", f"{alice}-bobxyz1", f"{alice}-bobxy", f"{alice}x")
    users = [stack.user(name) for name in names]
    for reader in users:
        secrets = stack.aws.client(
            "secretsmanager",
            access_key_id=reader.access_key_id,
            secret_access_key=reader.secret_access_key.get_secret_value(),
        )
        for owner in users:
            arn = stack.secrets.describe_secret(SecretId=owner.secret_name)["ARN"]
            for secret_id in (owner.secret_name, arn, arn[:-7]):
                # What ends like a whole ARN is taken for one: `alice` may ask, and finds nothing.
                whole = secret_id.endswith(f":secret:machine-user/{alice}-bobxyz")
                for call in (secrets.get_secret_value, secrets.describe_secret):
                    reads = succeeds(call, SecretId=secret_id)
                    assert reads == (owner is reader and not whole), f"{reader.name} on {secret_id}"
        assert not allowed(secrets.put_secret_value, SecretId=reader.secret_name, SecretString="s")
        assert not allowed(secrets.list_secrets)
