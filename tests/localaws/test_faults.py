"""Faults strike the calls of one user, and no one else's."""

from __future__ import annotations

import time
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError

from localaws import FaultRule
from tests.localaws.support import Toy, refused

pytestmark = pytest.mark.emulator


def once(toy: Toy, service: str) -> Any:
    """An administrator's client that does not retry."""
    return toy.aws.session().client(  # type: ignore[call-overload]
        service, config=Config(retries={"total_max_attempts": 1, "mode": "standard"})
    )


def keys_of(toy: Toy, user: str) -> int:
    listed = toy.aws.client("iam").list_access_keys(UserName=user)
    return len(listed["AccessKeyMetadata"])


def test_an_error_before_the_effect(toy: Toy, name: str) -> None:
    toy.user(name)
    rule = toy.aws.control.inject(
        FaultRule(action="iam:CreateAccessKey", kind="error_before", user=name)
    )
    iam = once(toy, "iam")
    assert refused(iam.create_access_key, UserName=name) == "ServiceFailure"
    assert keys_of(toy, name) == 1
    iam.create_access_key(UserName=name)
    (fired,) = toy.aws.control.faults_fired(rule=rule)
    assert fired.action == "iam:CreateAccessKey"


def test_an_error_in_the_protocol_of_a_json_service(toy: Toy, name: str) -> None:
    secrets = once(toy, "secretsmanager")
    secrets.create_secret(Name=f"toy/{name}", SecretString="s")
    toy.aws.control.inject(
        FaultRule(
            action="secretsmanager:DescribeSecret",
            kind="error_before",
            secret=f"toy/{name}",
            code="InternalServiceError",
        )
    )
    code = refused(secrets.describe_secret, SecretId=f"toy/{name}")
    assert code == "InternalServiceError"
    secrets.describe_secret(SecretId=f"toy/{name}")


def test_a_lost_answer_has_its_effect(toy: Toy, name: str) -> None:
    toy.user(name)
    toy.aws.control.inject(FaultRule(action="iam:CreateAccessKey", kind="lost_answer", user=name))
    with pytest.raises(ConnectionClosedError):
        once(toy, "iam").create_access_key(UserName=name)
    assert keys_of(toy, name) == 2


def test_a_lost_answer_may_look_like_an_error_of_the_service(toy: Toy, name: str) -> None:
    toy.user(name)
    toy.aws.control.inject(
        FaultRule(action="iam:CreateAccessKey", kind="lost_answer", user=name, answer="http_500")
    )
    assert refused(once(toy, "iam").create_access_key, UserName=name) == "ServiceFailure"
    assert keys_of(toy, name) == 2


def test_throttling_for_a_while(toy: Toy, name: str) -> None:
    toy.user(name)
    toy.aws.control.inject(
        FaultRule(action="iam:ListAccessKeys", kind="throttle", user=name, nth=2, count=2)
    )
    iam = once(toy, "iam")
    iam.list_access_keys(UserName=name)
    assert refused(iam.list_access_keys, UserName=name) == "Throttling"
    assert refused(iam.list_access_keys, UserName=name) == "Throttling"
    iam.list_access_keys(UserName=name)


def test_a_delay(toy: Toy, name: str) -> None:
    toy.user(name)
    toy.aws.control.inject(
        FaultRule(action="iam:ListAccessKeys", kind="delay", user=name, delay_seconds=1)
    )
    begun = time.monotonic()
    toy.aws.client("iam").list_access_keys(UserName=name)
    assert time.monotonic() - begun >= 1


def put_by_worker(name: str) -> dict[str, Any]:
    return {
        "userName": name,
        "do": "call",
        "service": "secretsmanager",
        "operation": "put_secret_value",
        "arguments": {
            "SecretId": f"toy/{name}",
            "SecretString": "new",
            "VersionStages": ["AWSPENDING"],
            "ClientRequestToken": "t" * 32,
        },
    }


@pytest.mark.parametrize(("moment", "stored"), [("before", False), ("after", True)])
def test_the_worker_that_makes_the_call_is_killed(
    toy: Toy, name: str, moment: Any, stored: bool
) -> None:
    secrets = toy.aws.client("secretsmanager")
    secrets.create_secret(Name=f"toy/{name}", SecretString="old")
    toy.aws.control.inject(
        FaultRule(
            action="secretsmanager:PutSecretValue", kind="kill_worker", user=name, moment=moment
        )
    )
    event = put_by_worker(name)
    assert toy.invoke(event)["errorType"] == "Lambda.Unknown"
    stages = secrets.describe_secret(SecretId=f"toy/{name}")["VersionIdsToStages"]
    assert ("t" * 32 in stages) == stored
    assert "keys" in toy.invoke(event)


def test_a_fault_spares_other_users(toy: Toy, name: str) -> None:
    for user in (name, f"{name}-2"):
        toy.user(user)
    toy.aws.control.inject(FaultRule(action="*", kind="throttle", user=name, count=1000))
    iam = once(toy, "iam")
    iam.list_access_keys(UserName=f"{name}-2")
    assert refused(iam.list_access_keys, UserName=name) == "Throttling"
    toy.aws.control.clear_faults(user=name)
    iam.list_access_keys(UserName=name)


def test_a_user_is_known_by_key_secret_and_event(toy: Toy, name: str) -> None:
    key = toy.user(name)
    secrets = toy.aws.client("secretsmanager")
    arn = secrets.create_secret(Name=f"toy/{name}", SecretString="s")["ARN"]
    rule = toy.aws.control.inject(
        FaultRule(action="*", kind="delay", user=name, delay_seconds=0, count=1000)
    )
    iam = toy.aws.client("iam")
    iam.get_access_key_last_used(AccessKeyId=key.id)
    secrets.describe_secret(SecretId=f"toy/{name}")
    secrets.describe_secret(SecretId=arn)
    toy.client("sts", key).get_caller_identity()
    toy.invoke(
        {
            "userName": name,
            "do": "call",
            "service": "sts",
            "operation": "get_caller_identity",
            "arguments": {},
        }
    )
    fired = [fault.action for fault in toy.aws.control.faults_fired(rule=rule)]
    toy.aws.control.clear_faults(rule=rule)
    assert fired == [
        "iam:GetAccessKeyLastUsed",
        "secretsmanager:DescribeSecret",
        "secretsmanager:DescribeSecret",
        "sts:GetCallerIdentity",
        "lambda:InvokeFunction",
        "sts:GetCallerIdentity",
    ]


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        ({"kind": "error_before"}, "Lambda.ServiceException"),
        ({"kind": "throttle"}, "Lambda.TooManyRequestsException"),
        ({"kind": "lost_answer"}, "Lambda.SdkClientException"),
        ({"kind": "kill_worker", "moment": "after"}, "Lambda.Unknown"),
    ],
)
def test_a_task_of_a_state_machine_is_struck(
    toy: Toy, name: str, rule: dict[str, Any], error: str
) -> None:
    toy.aws.control.inject(FaultRule(action="lambda:InvokeFunction", user=name, **rule))
    retry = [{"ErrorEquals": [error], "IntervalSeconds": 1, "MaxAttempts": 1}]
    ended = toy.run(name, {"StartAt": "T", "States": {"T": toy.task(Retry=retry)}}, {"user": name})
    assert ended["status"] == "SUCCEEDED"
    tasks = toy.aws.control.calls(about=name, action="lambda:InvokeFunction")
    assert [call.error for call in tasks] == [error, ""]
