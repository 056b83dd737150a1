"""What the tests of the embedded AWS share."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from botocore.exceptions import ClientError

from localaws import LocalAws

TOY = Path(__file__).parent / "toy" / "template.yaml"
DEADLINE_SECONDS = 30.0
T = TypeVar("T")


def eventually(look: Callable[[], T], deadline: float = DEADLINE_SECONDS) -> T:
    """Look again and again until something true is seen, and return it."""
    end = time.monotonic() + deadline
    while not (seen := look()):
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)
    return seen


def refused(call: Callable[..., Any], **arguments: Any) -> str:
    """Make a call that must fail, and return its error code."""
    with pytest.raises(ClientError) as failure:
        call(**arguments)
    return failure.value.response["Error"]["Code"]


@dataclass(frozen=True)
class Key:
    """An access key with its secret."""

    id: str
    secret: str


@dataclass(frozen=True)
class Toy:
    """The toy stack of one emulator, and short ways to use it."""

    aws: LocalAws
    outputs: Mapping[str, str]

    def invoke(self, event: Mapping[str, Any], function: str = "ActorName") -> Any:
        """Invoke a toy function; returns its result or its error document."""
        answer = self.aws.client("lambda").invoke(
            FunctionName=self.outputs[function], Payload=json.dumps(event)
        )
        return json.loads(answer["Payload"].read())

    def start(self, event: Any, machine: str | None = None, **more: str) -> str:
        """Start an execution; returns its ARN."""
        machine = machine or self.outputs["MachineArn"]
        answer = self.aws.client("stepfunctions").start_execution(
            stateMachineArn=machine, input=json.dumps(event), **more
        )
        return str(answer["executionArn"])

    def described(self, execution: str) -> dict[str, Any]:
        """DescribeExecution."""
        client = self.aws.client("stepfunctions")
        return dict(client.describe_execution(executionArn=execution))

    def finished(self, execution: str) -> dict[str, Any]:
        """Wait for the end of an execution and describe it."""
        return eventually(
            lambda: seen if (seen := self.described(execution))["status"] != "RUNNING" else {}
        )

    def states(self, execution: str) -> list[str]:
        """The names of the states that an execution entered."""
        client = self.aws.client("stepfunctions")
        history = client.get_execution_history(executionArn=execution, maxResults=1000)
        return [
            event["stateEnteredEventDetails"]["name"]
            for event in history["events"]
            if "stateEnteredEventDetails" in event
        ]

    def machine(self, name: str, definition: Mapping[str, Any], role: str | None = None) -> str:
        """Create a JSONata machine with the toy machine's role; returns its ARN."""
        client = self.aws.client("stepfunctions")
        if role is None:
            toy = client.describe_state_machine(stateMachineArn=self.outputs["MachineArn"])
            role = toy["roleArn"]
        answer = client.create_state_machine(
            name=name,
            roleArn=role,
            definition=json.dumps({"QueryLanguage": "JSONata", **definition}),
        )
        return str(answer["stateMachineArn"])

    def run(self, name: str, definition: Mapping[str, Any], event: Any = None) -> dict[str, Any]:
        """Create a machine, execute it, and describe the finished execution."""
        return self.finished(self.start(event or {}, self.machine(name, definition)))

    def function_arn(self, output: str = "ActorName") -> str:
        """The ARN of a toy function."""
        name = self.outputs[output]
        return f"arn:aws:lambda:{self.aws.region}:{self.aws.account_id}:function:{name}"

    def task(self, output: str = "ActorName", **fields: Any) -> dict[str, Any]:
        """A Task state that invokes a toy function with the state's input."""
        return {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Arguments": {
                "FunctionName": self.function_arn(output),
                "Payload": "{% $states.input %}",
            },
            "Output": "{% $states.result.Payload %}",
            "End": True,
            **fields,
        }

    def user(self, name: str, path: str = "/machine/", managed: bool = True) -> Key:
        """Create a user with one access key."""
        iam = self.aws.client("iam")
        tags = [{"Key": "toy:managed", "Value": self.aws.region}] if managed else []
        iam.create_user(UserName=name, Path=path, Tags=tags)
        return self.key(name)

    def key(self, name: str) -> Key:
        """Create an access key."""
        key = self.aws.client("iam").create_access_key(UserName=name)["AccessKey"]
        return Key(key["AccessKeyId"], key["SecretAccessKey"])

    def client(self, service: str, key: Key) -> Any:
        """A client that signs with the key."""
        return self.aws.client(service, access_key_id=key.id, secret_access_key=key.secret)

    def allow(self, name: str, *statements: Mapping[str, Any]) -> None:
        """Give a user an inline policy."""
        self.aws.client("iam").put_user_policy(
            UserName=name,
            PolicyName="test",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}),
        )
