"""An AWS account for one test: users, keys, secrets, executions, and calls of the real handlers."""

from __future__ import annotations

import functools
import importlib
import json
import pkgutil
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
from moto.iam.models import AccessKeyLastUsed, iam_backends
from moto.secretsmanager.models import secretsmanager_backends
from moto.stepfunctions.models import stepfunctions_backends

import keyturn.handlers
from keyturn.model import execution as model
from keyturn.model.moments import iso
from keyturn.model.settings import Settings
from keyturn.model.world import World
from keyturn.rotate import snapshot
from tests.integration.aws_like import ACCOUNT, REGION, Wire
from tools import template
from tools.asl.__main__ import FOLDER
from tools.asl.definition import Definition

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_stepfunctions import SFNClient

PREFIX = "machine-user/"
CONTEXT = SimpleNamespace(
    function_name="keyturn-test",
    memory_limit_in_mb=512,
    invoked_function_arn=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:keyturn-test",
    aws_request_id="request",
)
ENVIRONMENT = template.environment(
    AWS_ACCESS_KEY_ID="testing",
    AWS_SECRET_ACCESS_KEY="testing",
    AWS_REGION=REGION,
    AWS_DEFAULT_REGION=REGION,
    POWERTOOLS_SERVICE_NAME="keyturn",
    SECRET_NAME_PREFIX=PREFIX,
    MANAGED_TAG_VALUE="test",
    QUIET_PERIOD_SECONDS=93_600,
    WATCH_SECONDS=108_000,
    LAST_USED_COARSENESS_SECONDS=900,
    FENCE_SECONDS=150,
)


@functools.cache
def _clients() -> tuple[IAMClient, SecretsManagerClient, SFNClient]:
    return boto3.client("iam"), boto3.client("secretsmanager"), boto3.client("stepfunctions")


@dataclass(frozen=True)
class MadeKey:
    """A key with its secret (fake: it opens nothing)."""

    id: str
    secret: str


class Execution:
    """One execution of RotateKey that moto knows, and calls of handlers as its states make them."""

    def __init__(self, arn: str, data: Any) -> None:
        self.arn = arn
        self.input = data
        self.started_at = datetime.now(UTC).replace(microsecond=0)
        self.rotation: dict[str, Any] | None = None

    @property
    def known(self) -> model.Execution:
        """What the functions know of it."""
        return model.Execution(self.arn, self.started_at)

    @property
    def mark(self) -> str:
        """The execution's mark."""
        return self.known.mark

    def payload(
        self, *, entered_at: datetime | None = None, redrives: int = 0, **fields: Any
    ) -> dict[str, Any]:
        """The payload of a Task."""
        context = {
            "Execution": {
                "Id": self.arn,
                "StartTime": iso(self.started_at),
                "Input": self.input,
                "RedriveCount": redrives,
            },
            "State": {"EnteredTime": iso(entered_at or datetime.now(UTC))},
        }
        return {"context": context, "rotation": self.rotation} | fields

    def call(self, handler: str, **fields: Any) -> dict[str, Any]:
        """Call a handler, or the one of a state such as "prove_new_key", as that state does.

        What it answers goes through JSON, and its rotation is carried on.
        """
        name, of_the_state = states_functions().get(handler, (handler, {}))
        module = next(
            module for module in handler_modules() if module.__name__.endswith(f".{name}")
        )
        payload = json.loads(json.dumps(self.payload(**of_the_state | fields)))
        answer: dict[str, Any] = json.loads(json.dumps(module.handler(payload, CONTEXT)))
        assert_answers_what_is_read(name, answer)
        self.rotation = answer["rotation"] or self.rotation
        return answer

    def until(self, *handlers: str) -> dict[str, Any]:
        """Call handlers in turn and return the last answer."""
        answer: dict[str, Any] = {}
        for handler in handlers:
            answer = self.call(handler)
        return answer


@functools.cache
def states_functions() -> dict[str, tuple[str, dict[str, str]]]:
    """The handler of each state of RotateKey, and what the state alone says to it."""
    found = {}
    for name, state in Definition.load(FOLDER / "rotate_key.asl.json").root.states.items():
        arguments = state.get("Arguments", {})
        if "FunctionName" in arguments:
            token = arguments["FunctionName"].removeprefix("${").removesuffix("FunctionArn}")
            handler = re.sub(r"(?<!^)(?=[A-Z])", "_", token).lower()
            said = {
                field: value
                for field, value in arguments["Payload"].items()
                if isinstance(value, str) and not value.startswith("{%")
            }
            found[name.lower().replace(" ", "_")] = (handler, said)
    return found


def assert_answers_what_is_read(handler: str, answer: dict[str, Any]) -> None:
    """Check that an answer has each field that a state reads: a missing one is an error there."""
    assert _read_by_states(handler) <= answer.keys()


@functools.cache
def _read_by_states(handler: str) -> frozenset[str]:
    function = f"${{{handler.title().replace('_', '')}FunctionArn}}"
    states = [
        state
        for path in FOLDER.glob("*.asl.json")
        for scope in Definition.load(path).scopes()
        for state in scope.states.values()
    ]
    return frozenset(
        field
        for state in states
        if state.get("Arguments", {}).get("FunctionName") == function
        for field in re.findall(r"\.Payload\.(\w+)", json.dumps(state))
    )


def assert_refused(answer: dict[str, Any], following: str, words: str = "") -> None:
    """Check that a state goes another way, and that its answer says why."""
    assert answer["next"] == following
    assert re.search(words, answer["rotation"]["why"])


@functools.cache
def handler_modules() -> tuple[ModuleType, ...]:
    """Every module that has a handler: one a Lambda function."""
    found = pkgutil.walk_packages(keyturn.handlers.__path__, "keyturn.handlers.")
    modules = [importlib.import_module(info.name) for info in found if not info.ispkg]
    return tuple(module for module in modules if hasattr(module, "handler"))


@dataclass
class Account:
    """What a test arranges and looks at."""

    wire: Wire
    slept: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.iam, self.secrets, self.machines = _clients()
        self.machine_arn = self.machines.create_state_machine(
            name="rotate",
            definition='{"StartAt": "Wait", "States": {"Wait": {"Type": "Succeed"}}}',
            roleArn=f"arn:aws:iam::{ACCOUNT}:role/machine",
        )["stateMachineArn"]

    def user(self, name: str = "ci", *, managed: bool = True, path: str = "/") -> str:
        """Create a user without a key."""
        tags = [{"Key": "keyturn:managed", "Value": "test"}] if managed else []
        self.iam.create_user(UserName=name, Path=path, Tags=tags)  # type: ignore[arg-type]
        return name

    def key(self, user: str = "ci", *, days_old: float = 100) -> MadeKey:
        """Create a key as a person would, some days ago, used an hour after."""
        made = self.iam.create_access_key(UserName=user)["AccessKey"]
        created = datetime.now(UTC) - timedelta(days=days_old)
        self.moto_key(made["AccessKeyId"]).create_date = created
        return MadeKey(made["AccessKeyId"], made["SecretAccessKey"])

    def moto_key(self, key_id: str) -> Any:
        """Return moto's own object of a key."""
        users = iam_backends[ACCOUNT]["aws"].users.values()
        return next(
            key for user in users for key in user.access_keys if key.access_key_id == key_id
        )

    def used(self, key_id: str, at: datetime, service: str = "s3") -> None:
        """Let IAM publish a last use."""
        self.moto_key(key_id).last_used = AccessKeyLastUsed(at, service, REGION)

    def rotatable(self, name: str = "ci") -> MadeKey:
        """A managed user with an old key in use, which its secret holds under a foreign id."""
        self.user(name)
        key = self.key(name)
        self.used(key.id, datetime.now(UTC) - timedelta(hours=1))
        self.secret(name, json.dumps({"AccessKeyId": key.id, "SecretAccessKey": key.secret}))
        return key

    def secret(self, user: str = "ci", value: str | bytes | None = None) -> str:
        """Create the user's secret, empty or with a first value; return its name."""
        name = PREFIX + user
        self.secrets.create_secret(Name=name)
        if value is not None:
            self.version(name, value)
        return name

    def version(
        self,
        name: str,
        value: str | bytes,
        *,
        version_id: str | None = None,
        label: str = "AWSCURRENT",
    ) -> str:
        """Put a version; return its id."""
        version = version_id or f"{len(self.labels(name))}".zfill(8) + "-0000-4000-8000-" + "f" * 12
        kind = "SecretString" if isinstance(value, str) else "SecretBinary"
        self.secrets.put_secret_value(
            SecretId=name,
            ClientRequestToken=version,
            VersionStages=[label],
            **{kind: value},  # type: ignore[arg-type]
        )
        return version

    def backdate_version(self, version: str, by: timedelta, name: str = PREFIX + "ci") -> None:
        """Let a version have been made earlier."""
        secret = secretsmanager_backends[ACCOUNT][REGION].secrets[name]
        secret.versions[version]["createdate"] -= int(by.total_seconds())

    def labels(self, name: str = PREFIX + "ci") -> dict[str, str]:
        """Return which version carries each label; a label on two versions fails the test."""
        found: dict[str, str] = {}
        secret = secretsmanager_backends[ACCOUNT][REGION].secrets[name]
        for version, content in secret.versions.items():
            for label in content["version_stages"]:
                assert label not in found, f"{label} is on two versions"
                found[label] = version
        return found

    def value(self, version: str, name: str = PREFIX + "ci") -> dict[str, Any]:
        """Return the JSON in a version."""
        got = self.secrets.get_secret_value(SecretId=name, VersionId=version)
        fields: dict[str, Any] = json.loads(got["SecretString"])
        return fields

    def statuses(self, user: str = "ci") -> dict[str, str]:
        """Return the user's key ids with their status."""
        listed = self.iam.list_access_keys(UserName=user)["AccessKeyMetadata"]
        return {key["AccessKeyId"]: key["Status"] for key in listed}

    def execution(self, **data: Any) -> Execution:
        """Start an execution (moto leaves it running)."""
        given = data or {"userName": "ci"}
        arn = self.machines.start_execution(
            stateMachineArn=self.machine_arn, input=json.dumps(given)
        )["executionArn"]
        self._moto_execution(arn).status = "RUNNING"
        return Execution(arn, given)

    def dies(self, execution: Execution, *, ago: timedelta = timedelta(hours=1)) -> None:
        """Let an execution have been aborted some time ago."""
        found = self._moto_execution(execution.arn)
        found.status = "ABORTED"
        found.stop_date = iso(datetime.now(UTC) - ago)

    def _moto_execution(self, arn: str) -> Any:
        machines = stepfunctions_backends[ACCOUNT][REGION].state_machines
        return next(
            found
            for machine in machines
            for found in machine.executions
            if found.execution_arn == arn
        )

    def look(self, mark: str = "0" * 32, user: str = "ci") -> World:
        """Return the world as the decision table sees it."""
        return snapshot.look(user, Settings.from_env(), mark=mark)
