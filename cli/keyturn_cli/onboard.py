"""`keyturn onboard` and `offboard`: put a machine user into Keyturn's care, and take it out again.

What is to be done is decided by `onboarding` and `offboarding`, which are pure, from facts that
were read before; it is shown, and asked about, before anything is changed. Both can be repeated.
"""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from botocore.exceptions import ClientError
from pydantic import SecretStr

from keyturn.aws import iam, secrets
from keyturn.aws.calls import error_code
from keyturn.model.identifiers import masked
from keyturn.model.moments import iso
from keyturn.model.settings import Settings
from keyturn.model.world import Key, Label, SecretState, Tag
from keyturn.rotate import snapshot
from keyturn_cli import aws, machine_key, output
from keyturn_cli.errors import CliError
from keyturn_cli.stack import Stack

Do = Callable[[], object]

RECOVERY_DAYS = 30

_NOT_THAT_KEY = frozenset(
    {"InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException"}
)


@dataclass(frozen=True)
class Given:
    """The present key, as a person gave it; its secret does not print itself."""

    access_key_id: str
    secret: SecretStr


@dataclass(frozen=True)
class Facts:
    """What is there before: `arn` and `path` are the user's, `policy` says whether it is attached.

    `current_key` is the key in the secret's AWSCURRENT, None when it holds none.
    """

    user: str
    arn: str
    path: str
    tags: Mapping[str, str]
    keys: tuple[Key, ...]
    console_password: bool
    policy: bool
    secret: SecretState | None

    @property
    def current_key(self) -> str | None:
        """The key that the secret's readers get."""
        return self.secret.key(Label.CURRENT) if self.secret else None


@dataclass(frozen=True)
class Change:
    """One change: its kind, and in words."""

    kind: str
    words: str


# --- deciding ------------------------------------------------------------------------------------


def onboarding(facts: Facts, stack: Stack, settings: Settings, given: Given | None) -> list[Change]:
    """Return what is left to do until Keyturn can rotate this user; nothing when all is done.

    The tag comes last: it is what lets the stack touch the user.

    Raises:
        CliError: something must be mended first.
    """
    _assert_suitable(facts, settings)
    name = stack.secret_name(facts.user)
    changes = []
    if facts.secret is None:
        changes.append(Change("create", f"create the secret {name}"))
    if given is not None and facts.current_key != given.access_key_id:
        _assert_may_store(facts, given, name)
        words = f"store the present key {masked(given.access_key_id)} in {name} (AWSCURRENT)"
        changes.append(Change("store", words))
    if not facts.policy:
        changes.append(
            Change("attach", f"attach the consumer policy: {facts.user} may read its own secret")
        )
    if facts.secret and Tag.OFFBOARDED in facts.secret.tags:
        words = f"take the tag {Tag.OFFBOARDED} off {name}: fleet runs choose it again"
        changes.append(Change("unmark", words))
    tag, value = settings.managed_tag_key, settings.managed_tag_value
    if facts.tags.get(tag) != value:
        changes.append(Change("tag", f"tag the user {tag}={value}: this stack may rotate its keys"))
    return changes


def _assert_suitable(facts: Facts, settings: Settings) -> None:
    if "," in facts.user:
        raise CliError(
            f"{facts.user} cannot have a secret: Secrets Manager allows no comma in a name"
        )
    if not facts.path.startswith(settings.managed_user_path):
        raise CliError(
            f"the path of {facts.user} is {facts.path}, and this stack works below "
            f"{settings.managed_user_path} (ManagedUserPath)"
        )
    tagged = facts.tags.get(settings.managed_tag_key)
    if tagged not in (None, settings.managed_tag_value):
        raise CliError(
            f"{facts.user} is tagged {settings.managed_tag_key}={tagged}: another stack manages "
            "it; offboard it there first"
        )
    secret = facts.secret
    if secret and secret.scheduled_for_deletion:
        raise CliError(
            f"the secret {secret.name} is scheduled for deletion; restore it first: aws "
            f"secretsmanager restore-secret --secret-id {secret.name}"
        )
    if secret and secret.owning_service:
        raise CliError(f"the secret {secret.name} belongs to {secret.owning_service}")
    if secret and secret.rotation_enabled:
        raise CliError(
            f"native rotation is enabled on {secret.name}; cancel it first: aws secretsmanager "
            f"cancel-rotate-secret --secret-id {secret.name}"
        )


def _assert_may_store(facts: Facts, given: Given, name: str) -> None:
    if facts.secret and facts.secret.version(Label.CLAIM):
        raise CliError(f"{facts.user} is being rotated; wait until that has ended")
    current = facts.current_key
    if current and any(key.id == current and key.active for key in facts.keys):
        raise CliError(
            f"{name} holds another active key of the user already ({masked(current)}, given was "
            f"{masked(given.access_key_id)}); deactivate the one that nobody uses"
        )


def remarks(facts: Facts, given: Given | None) -> list[str]:
    """Return what a person should know before saying yes."""
    active = [key.id for key in facts.keys if key.active]
    said = []
    if facts.console_password:
        said.append(
            f"{facts.user} has a console password: it looks like a person, and is rotated only "
            "with --force"
        )
    if given is None and active and facts.current_key not in active:
        said.append(
            "the secret does not hold the present key, so a back-out could only reactivate it: "
            "say --existing-secret-stdin to store it"
        )
    if len(active) > 1:
        said.append("two keys are active, so there is no room for a new one: delete one first")
    return said


def offboarding(
    facts: Facts, stack: Stack, settings: Settings, *, delete_secret_after_days: int | None
) -> list[Change]:
    """Return what to undo; keys stay as they are, and so does the secret unless asked.

    Raises:
        CliError: somebody works on the user, or another stack does.
    """
    name = stack.secret_name(facts.user)
    tag, value = settings.managed_tag_key, settings.managed_tag_value
    tagged = facts.tags.get(tag)
    if tagged not in (None, value):
        raise CliError(f"{facts.user} is tagged {tag}={tagged}: another stack manages it")
    _assert_at_rest(facts.user, facts.secret, managed=tagged is not None)
    changes = []
    if tagged:
        changes.append(
            Change("untag", f"remove the tag {tag}: this stack cannot touch it any more")
        )
    if facts.policy:
        words = f"detach the consumer policy: {facts.user} can no longer read {name} by it"
        changes.append(Change("detach", words))
    if facts.secret is None or facts.secret.scheduled_for_deletion:
        return changes
    if delete_secret_after_days:
        words = f"delete the secret {name}, for good after {delete_secret_after_days} days"
        changes.append(Change("delete", words))
    elif not facts.secret.offboarded:
        words = f"tag the secret {name} {Tag.OFFBOARDED}: fleet runs pass it over"
        changes.append(Change("mark", words))
    return changes


def _assert_at_rest(user: str, secret: SecretState | None, *, managed: bool) -> None:
    if secret is None or not secret.version(Label.CLAIM):
        return
    how = f"keyturn back-out {user}"
    if not managed:  # a back-out of such a user is refused
        how = f"keyturn onboard {user}, then {how}"
    raise CliError(
        f"a rotation of {user} is in flight (or died undecided); let it end, or undo it first: "
        f"{how}"
    )


# --- looking and doing ---------------------------------------------------------------------------


def look(user: str, stack: Stack) -> Facts:
    """Look at a user.

    Raises:
        CliError: IAM has no such user.
    """
    found = iam.get_user(user)
    if found is None:
        raise CliError(f"there is no IAM user {user} in this account; check the name")
    policies = [
        policy.get("PolicyArn")
        for page in aws.iam().get_paginator("list_attached_user_policies").paginate(UserName=user)
        for policy in page["AttachedPolicies"]
    ]
    return Facts(
        user=found.name,
        arn=found.arn,
        path=found.path,
        tags=found.tags,
        keys=iam.list_keys(user).keys,
        console_password=iam.has_console_password(user),
        policy=stack.outputs["ConsumerPolicyArn"] in policies,
        secret=snapshot.look_at_secret(stack.secret_name(user)) if "," not in user else None,
    )


def read_given(facts: Facts, access_key_id: str | None) -> Given:
    """Read the present secret access key from standard input, or from a hidden prompt.

    It may also be a JSON object with AccessKeyId and SecretAccessKey.

    Raises:
        CliError: it is not clear whose it is, or nothing was given.
    """
    text = _typed(facts.user) if sys.stdin.isatty() else sys.stdin.read().strip()
    if text.startswith("{"):
        try:
            key = machine_key.Key.from_json(text)
        except ValueError:
            raise CliError(
                "standard input holds no JSON object with AccessKeyId and SecretAccessKey"
            ) from None
        if access_key_id not in (None, key.access_key_id):
            raise CliError(
                "standard input holds another key than --access-key-id names "
                f"({masked(access_key_id)}); leave the option out, or give that key"
            )
        access_key_id, text = key.access_key_id, key.secret_access_key
    if not text:
        raise CliError("no secret access key was given")
    active = [key.id for key in facts.keys if key.active]
    if access_key_id is None and len(active) != 1:
        raise CliError(
            f"{facts.user} has {len(active) or 'no'} active access keys; say which one it is with "
            f"--access-key-id (keyturn status {facts.user} --json shows the whole ids)"
        )
    return Given(access_key_id or active[0], SecretStr(text))


def _typed(user: str) -> str:
    try:
        return getpass.getpass(f"Present secret access key of {user} (not shown): ").strip()
    except EOFError:  # Ctrl-D
        return ""


def assert_is_users(facts: Facts, given: Given) -> None:
    """Return when a key signs as the user.

    Raises:
        CliError: it does not; nothing of it is quoted.
    """
    client = aws.sts_of(given.access_key_id, given.secret.get_secret_value())
    try:
        arn = client.get_caller_identity()["Arn"]
    except ClientError as error:
        if error_code(error) not in _NOT_THAT_KEY:
            raise
        raise CliError(
            f"AWS refuses it ({error_code(error)}): that is not the secret access key of "
            f"{masked(given.access_key_id)}, or the key is inactive"
        ) from None
    if arn != facts.arn:
        raise CliError(f"that key belongs to {arn}, not to {facts.arn}; nothing was changed")


def onboard(stack: Stack, settings: Settings, facts: Facts, given: Given | None) -> dict[str, Do]:
    """Return how each kind of change is made."""
    name = stack.secret_name(facts.user)
    manager, users = aws.secretsmanager(), aws.iam()
    value = (
        json.dumps(
            {
                "AccessKeyId": given.access_key_id,
                "SecretAccessKey": given.secret.get_secret_value(),
            }
        )
        if given
        else ""
    )
    return {
        "create": lambda: manager.create_secret(
            Name=name,
            Description="Access key of an IAM machine user, rotated by Keyturn",
            Tags=[{"Key": "keyturn:user-name", "Value": facts.user}],
        ),
        "store": lambda: manager.put_secret_value(SecretId=name, SecretString=value),
        "attach": lambda: users.attach_user_policy(
            UserName=facts.user, PolicyArn=stack.outputs["ConsumerPolicyArn"]
        ),
        "unmark": lambda: manager.untag_resource(SecretId=name, TagKeys=[Tag.OFFBOARDED.value]),
        "tag": lambda: users.tag_user(
            UserName=facts.user,
            Tags=[{"Key": settings.managed_tag_key, "Value": settings.managed_tag_value}],
        ),
    }


def assert_still_at_rest(stack: Stack, settings: Settings, facts: Facts) -> None:
    """Return when nobody has claimed the user since the facts were read; call it before a change.

    Raises:
        CliError: a fleet run or an event has begun a rotation meanwhile.
    """
    found = secrets.describe(stack.secret_name(facts.user))
    _assert_at_rest(facts.user, found, managed=settings.managed_tag_key in facts.tags)


def offboard(stack: Stack, settings: Settings, facts: Facts, days: int | None) -> dict[str, Do]:
    """Return how each kind of change is made."""
    users, manager = aws.iam(), aws.secretsmanager()
    name = stack.secret_name(facts.user)
    return {
        "untag": lambda: users.untag_user(UserName=facts.user, TagKeys=[settings.managed_tag_key]),
        "detach": lambda: users.detach_user_policy(
            UserName=facts.user, PolicyArn=stack.outputs["ConsumerPolicyArn"]
        ),
        "delete": lambda: manager.delete_secret(
            SecretId=name, RecoveryWindowInDays=days or RECOVERY_DAYS
        ),
        "mark": lambda: manager.tag_resource(
            SecretId=name, Tags=[{"Key": Tag.OFFBOARDED.value, "Value": iso(_mark(facts))}]
        ),
    }


def _mark(facts: Facts) -> datetime:
    """Return now, or the last result's time if that is later by AWS's clock: it would undo it."""
    last = facts.secret.last_result if facts.secret else None
    now = datetime.now(UTC)
    return max(now, last.at) if last else now


def carry_out(
    changes: list[Change],
    how: Mapping[str, Do],
    *,
    notes: list[str],
    yes: bool,
    look_again: Do | None = None,
) -> None:
    """Show what is going to be done, ask, look again, and do it in order.

    A person may take long over the question; `look_again` raises when the facts have changed so
    that nothing may be done. An error in the middle leaves the rest undone; the command can be
    repeated.
    """
    for note in notes:
        print(f"note: {note}")
    for change in changes:
        print(f"  - {change.words}")
    output.confirm("Do this?", yes=yes)
    if look_again is not None:
        look_again()
    for change in changes:
        how[change.kind]()
        print(f"done: {change.words.partition(': ')[0]}", flush=True)
