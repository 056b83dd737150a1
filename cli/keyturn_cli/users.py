"""The state of one machine user as AWS tells it: keys, labels, record, and who works on it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keyturn.aws import iam
from keyturn.model.identifiers import is_intent, masked
from keyturn.model.world import Key, Label, LastResult, SecretState
from keyturn.rotate import snapshot
from keyturn_cli.errors import CliError
from keyturn_cli.stack import Stack

SHOWN_LABELS = (Label.CURRENT, Label.PENDING, Label.BACKOUT, Label.CLAIM, Label.EXPOSED)


@dataclass(frozen=True)
class MachineUser:
    """A machine user. `now` is AWS's clock; `execution_arn` names the holder of the claim.

    `last_execution_arn` is the newest claimant, whether or not it still works.
    """

    name: str
    now: datetime
    keys: tuple[Key, ...]
    secret: SecretState | None
    execution_arn: str | None = None
    last_execution_arn: str | None = None

    @property
    def last_result(self) -> LastResult | None:
        """How the last execution that decided ended."""
        return self.secret.last_result if self.secret else None

    def role(self, key: Key) -> str:
        """Return what the labels say about a key, in a word or two."""
        if self.secret is None:
            return ""
        names = {
            Label.CURRENT: "current",
            Label.PENDING: "pending",
            Label.BACKOUT: "way back",
            Label.EXPOSED: "exposed",
        }
        held = [word for label, word in names.items() if self.secret.key(label) == key.id]
        if key.id in self.secret.exposed_keys and "exposed" not in held:
            held.append("exposed")
        return ", ".join(held)

    def labels(self) -> dict[str, str]:
        """Return the labels with the (masked) key or the intent that each is on."""
        found: dict[str, str] = {}
        for label in SHOWN_LABELS if self.secret else ():
            version = self.secret.version(label) if self.secret else None
            if version and self.secret:
                key = None if is_intent(version) else self.secret.key(label)
                found[label.value] = masked(key) if key else version[:11] + "..."
        return found


def look(user: str, stack: Stack) -> MachineUser:
    """Return how a user stands.

    Raises:
        CliError: IAM has no such user.
    """
    secret = snapshot.look_at_secret(stack.secret_name(user))
    holder, newest = claimants(secret)
    if iam.get_user(user) is None:
        raise CliError(f"there is no IAM user {user} in this account; check the name")
    ring = iam.list_keys(user)
    return MachineUser(user, ring.now, ring.keys, secret, holder, newest)


def claimants(secret: SecretState | None) -> tuple[str | None, str | None]:
    """Return the ARNs of the execution that holds the claim, and of the newest claimant.

    A claim that is not an intent of ours has no execution.
    """
    if secret is None or secret.scheduled_for_deletion:
        return None, None
    claim, newest = secret.version(Label.CLAIM), secret.version(Label.INTENT)
    holder = snapshot.read_intent(secret.arn, claim) if claim else None
    last = snapshot.read_intent(secret.arn, newest) if newest and newest != claim else holder
    return (
        holder.execution_arn if holder else None,
        last.execution_arn if last else None,
    )


def key_json(key: Key, role: str) -> dict[str, Any]:
    """Return a key as JSON, with its whole id."""
    use = key.last_use
    return {
        "accessKeyId": key.id,
        "active": key.active,
        "createdAt": key.created_at,
        "lastUsedAt": use.at if use else None,
        "lastUsedService": use.service if use else None,
        "lastUsedRegion": use.region if use else None,
        "role": role,
    }
