"""The identities that read a machine user's secret instead of itself, as the kit tells to make."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from proofs.consumers.programs import EXAMPLES
from proofs.stack.support import MachineUser, Stack

# What a person replaces in the files of the kit.
USER, ACCOUNT, REGION = "ci-deployer", "111122223333", "eu-central-1"


def filled(stack: Stack, user: MachineUser, file: str) -> str:
    """Return a file of examples/ with the user's, the account's and the Region's name in it."""
    text = (EXAMPLES / file).read_text(encoding="utf-8")
    for placeholder, value in (
        (USER, user.name),
        (ACCOUNT, stack.aws.account_id),
        (REGION, stack.aws.region),
    ):
        text = text.replace(placeholder, value)
    return text


def add_reader_role(stack: Stack, user: MachineUser, folder: str) -> str:
    """Make the role of a folder's trust policy, with the reader's policy; returns its ARN."""
    name = f"{user.name}-reader"
    made = stack.iam.create_role(
        RoleName=name,
        AssumeRolePolicyDocument=filled(stack, user, f"{folder}/trust-policy.json"),
    )
    stack.iam.put_role_policy(
        RoleName=name,
        PolicyName="read",
        PolicyDocument=filled(stack, user, "reader-policy.json"),
    )
    return str(made["Role"]["Arn"])


def add_reader_profile(stack: Stack, user: MachineUser, config: Path) -> None:
    """Make a user who may only read this secret, and a profile `reader`."""
    made = stack.user(managed=False, secret=False)
    stack.iam.put_user_policy(
        UserName=made.name,
        PolicyName="read",
        PolicyDocument=filled(stack, user, "reader-policy.json"),
    )
    config.write_text(
        "[profile reader]\n"
        f"aws_access_key_id = {made.access_key_id}\n"
        f"aws_secret_access_key = {made.secret_access_key.get_secret_value()}\n"
    )


def identity_token(issuer: str, subject: str) -> str:
    """A token that says who somebody is; the embedded AWS reads its claims, not its signature."""
    claims = {"iss": issuer, "sub": subject, "aud": "sts.amazonaws.com"}
    parts = [json.dumps({"alg": "none"}), json.dumps(claims), "unsigned"]
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)
