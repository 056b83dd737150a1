"""`python -m keyturn_cli rotate|backout USER`: starts an execution and waits for its end.

Interrupting the command does not interrupt the execution: the work is in Step Functions.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import boto3
from botocore.exceptions import BotoCoreError, ClientError

LOOK_EVERY_SECONDS = 2


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns 0 when the execution succeeded, 1 when not, 2 on an AWS error."""
    parser = argparse.ArgumentParser(prog="keyturn", description=__doc__)
    parser.add_argument("command", choices=["rotate", "backout"])
    parser.add_argument("user", help="the IAM user")
    parser.add_argument("--stack-name", default="keyturn")
    parser.add_argument("--reason", default="", help="text for the result")
    parser.add_argument("--no-wait", action="store_true", help="start only")
    given = parser.parse_args(arguments)
    try:
        arn = _start(given.stack_name, given.command, given.user, given.reason)
        print(f"started {arn}", flush=True)
        return 0 if given.no_wait else _wait(arn)
    except (BotoCoreError, ClientError, LookupError) as error:
        print(f"keyturn: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("keyturn: left; the execution goes on", file=sys.stderr)
        return 130


def _start(stack_name: str, command: str, user: str, reason: str) -> str:
    stacks = boto3.client("cloudformation").describe_stacks(StackName=stack_name)["Stacks"]
    outputs = {item["OutputKey"]: item["OutputValue"] for item in stacks[0].get("Outputs", [])}
    if "RotateKeyStateMachineArn" not in outputs:
        raise LookupError(f"the stack {stack_name} is not a Keyturn stack; name one: --stack-name")
    action = "ROTATE" if command == "rotate" else "BACK_OUT"
    started = boto3.client("stepfunctions").start_execution(
        stateMachineArn=outputs["RotateKeyStateMachineArn"],
        input=json.dumps({"userName": user, "action": action, "reason": reason}),
    )
    return started["executionArn"]


def _wait(arn: str) -> int:
    machines = boto3.client("stepfunctions")
    while (found := machines.describe_execution(executionArn=arn))["status"] == "RUNNING":
        time.sleep(LOOK_EVERY_SECONDS)
    text = found.get("output") or found.get("cause") or "{}"
    try:
        result = json.loads(text)
    except ValueError:
        result = {"reason": text}
    outcome = result.get("outcome") or found["status"]
    print(f"{outcome}: {result.get('reason', 'no reason was given')}")
    return 0 if found["status"] == "SUCCEEDED" else 1


if __name__ == "__main__":
    sys.exit(main())
