"""A deployed stack: its outputs, and the settings that its functions work with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import boto3
from botocore.exceptions import ClientError

from keyturn.audit.model import Thresholds
from keyturn.model.settings import Settings
from keyturn_cli import aws
from keyturn_cli.errors import CliError


@dataclass(frozen=True)
class Stack:
    """A Keyturn stack, found by its name."""

    name: str
    outputs: Mapping[str, str]

    @property
    def rotate_arn(self) -> str:
        """The state machine RotateKey."""
        return self.outputs["RotateKeyStateMachineArn"]

    @property
    def prefix(self) -> str:
        """The secret of user U is named with this prefix and U."""
        return self.outputs["SecretNamePrefix"]

    def secret_name(self, user: str) -> str:
        """The name of a user's secret."""
        return self.prefix + user

    def environment(self) -> Mapping[str, str]:
        """Return the variables that the stack's functions work with.

        Functions begin with what the state machine begins with: the stack's name, or the
        InstallationName where StackSets have named the stack.
        """
        begins = self.rotate_arn.rsplit(":", 1)[1].removesuffix("-RotateKey")
        found = aws.functions().get_function_configuration(FunctionName=f"{begins}-CheckRequest")
        return found.get("Environment", {}).get("Variables", {})

    def settings(self) -> Settings:
        """Return the settings that the stack's functions work with."""
        return Settings.from_env(self.environment())

    def thresholds(self) -> Thresholds:
        """Return the audit's thresholds."""
        return Thresholds(
            max_key_age_days=int(self.environment()["MAX_KEY_AGE_DAYS"]),
            unused_after_days=self.settings().unused_after_days,
        )


class NoStack(CliError):
    """There is no Keyturn stack of this name here."""


def find(name: str) -> Stack:
    """Return the stack of this name.

    Raises:
        NoStack: there is none in this account and Region, or it is not Keyturn's.
    """
    try:
        found = aws.cloudformation().describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        raise NoStack(
            f"there is no stack {name} in {_region()}; name it with --stack-name (or "
            "KEYTURN_STACK_NAME) and its Region with --region"
        ) from None
    outputs = {
        item["OutputKey"]: item["OutputValue"]
        for item in found.get("Outputs", [])
        if "OutputKey" in item and "OutputValue" in item
    }
    if "RotateKeyStateMachineArn" not in outputs:
        raise NoStack(f"the stack {name} is not a Keyturn stack; name one with --stack-name")
    return Stack(name, outputs)


def _region() -> str:
    session = boto3.DEFAULT_SESSION
    return (session.region_name if session else None) or "this Region"
