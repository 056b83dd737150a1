"""What the template promises: the contract's names, and who may do what.

The policies are read as they are after the intrinsic functions, with the parameters' defaults or
with others, so that a test sees what IAM would see.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from ministack.services import eventbridge

from keyturn.alerts.reading import read
from keyturn.aws import executions
from keyturn.fleet.choosing import BATCH, SECONDS_BETWEEN_STARTS
from keyturn.handlers.events import start_back_out
from keyturn.model import outcomes
from keyturn.model.request import parse_fleet_request, parse_retire_request, parse_rotate_request
from keyturn.model.settings import CHANGE_BUDGET_SECONDS, Settings
from tools import template
from tools.asl.definition import Definition

REGION, ACCOUNT, STACK = "eu-west-1", "111122223333", "keyturn"
EVENTS = template.ROOT / "events"
MACHINES = {
    "RotateKeyStateMachine": "statemachine/rotate_key.asl.json",
    "RetireKeyStateMachine": "statemachine/retire_key.asl.json",
    "RotateFleetStateMachine": "statemachine/rotate_fleet.asl.json",
}
# These change keys and labels, under claims that end with a fence.
FENCED = ("RotateKeyStateMachine", "RetireKeyStateMachine")

# The contract's table (design: Public contract), and the two that only operators care about.
# FenceSeconds is the longest function timeout and a minute.
PARAMETERS = {
    "SecretNamePrefix": "machine-user/",
    "ManagedTagKey": "keyturn:managed",
    "ManagedTagValue": "",
    "ManagedUserPath": "/",
    "PickupTimeoutSeconds": 604800,
    "QuietPeriodSeconds": 266400,
    "LastUsedCoarsenessSeconds": 960,
    "LastUsedLagSeconds": 14400,
    "WatchSeconds": 280800,
    "BackoutGraceSeconds": 3600,
    "RetentionSeconds": 604800,
    "PollMinSeconds": 300,
    "PollMaxSeconds": 3600,
    "FenceSeconds": 120,
    "MinKeyAgeSeconds": 86400,
    "MaxKeyAgeDays": 90,
    "UnusedAfterDays": 90,
    "MaxRotationsPerRun": 50,
    "FleetSchedule": "rate(1 day)",
    "FleetScheduleState": "DISABLED",
    "AllowPrivateHealthUrls": "false",
    "NotificationEmail": "",
    "GuardDutyAction": "NOTIFY",
    "LogRetentionDays": 90,
    "FunctionArchitecture": "arm64",
    "CentralEventBusArn": "",
    "CentralReportBucketName": "",
}

OUTPUTS = {
    "RotateKeyStateMachineArn",
    "RetireKeyStateMachineArn",
    "RotateFleetStateMachineArn",
    "ReportBucketName",
    "NotificationTopicArn",
    "SecretNamePrefix",
    "ConsumerPolicyArn",
}

LOOK = {
    "iam:GetAccessKeyLastUsed",
    "iam:GetLoginProfile",
    "iam:GetUser",
    "iam:ListAccessKeys",
    "secretsmanager:DescribeSecret",
    "secretsmanager:GetSecretValue",
    "states:DescribeExecution",
}
KEYS = {"iam:GetAccessKeyLastUsed", "iam:ListAccessKeys"}
DESCRIBE = "secretsmanager:DescribeSecret"
READ = "secretsmanager:GetSecretValue"
MOVE = "secretsmanager:UpdateSecretVersionStage"
CREATE = "secretsmanager:CreateSecret"
PUT = "secretsmanager:PutSecretValue"
TAG = "secretsmanager:TagResource"
UNTAG = "secretsmanager:UntagResource"
ALARMS = "cloudwatch:DescribeAlarms"
LIST = "secretsmanager:ListSecrets"
PUT_OBJECT = "s3:PutObject"
# How the functions of a fleet run hand on what is too large for a state.
HAND_ON = {"s3:GetObject", "s3:ListBucket", PUT_OBJECT}
OF_THE_ACCOUNT = {
    "iam:GenerateCredentialReport",
    "iam:GetAccountPasswordPolicy",
    "iam:GetCredentialReport",
}

# What each function may do besides writing its own logs and traces. A longer line here is a
# decision, not a detail: see the threat model.
ALLOWED = {
    "CheckRequest": LOOK | {ALARMS},
    "StopClaimant": LOOK | {"states:StopExecution", CREATE, TAG, MOVE},
    "IssueNewKey": LOOK
    | {"iam:CreateAccessKey", "iam:DeleteAccessKey", CREATE, PUT, TAG, UNTAG, MOVE},
    "TakeOver": LOOK | {CREATE, PUT, TAG, MOVE},
    "ProveKey": {DESCRIBE, READ},
    "MoveCurrent": {DESCRIBE, MOVE},
    "CheckConsumers": KEYS | {DESCRIBE, ALARMS},
    "CheckHealth": set(),
    "DeactivateKey": KEYS | {"iam:UpdateAccessKey", DESCRIBE, TAG, ALARMS},
    "ReactivateOldKey": KEYS | {"iam:UpdateAccessKey", DESCRIBE},
    "DiscardNewKey": KEYS | {"iam:DeleteAccessKey", DESCRIBE, READ, TAG, UNTAG, MOVE},
    "CloseRotation": {DESCRIBE, TAG, UNTAG, MOVE},
    "RetireOldKey": LOOK | {"iam:DeleteAccessKey", PUT, UNTAG, MOVE},
    "RecordOutcome": {"states:DescribeExecution", "states:ListExecutions"},
    "StartBackOut": {"states:StartExecution", "sns:Publish", "sqs:SendMessage"},
    "StartRotation": KEYS
    | {"iam:GetUser", "iam:ListUsers", DESCRIBE}
    | {"states:StartExecution", "sns:Publish", "sqs:SendMessage"},
    "AuditAccount": {*OF_THE_ACCOUNT, LIST, PUT_OBJECT},
    "ChooseUsers": HAND_ON,
    "StartRotations": HAND_ON | {"states:StartExecution"},
    "LookAtRotations": HAND_ON | {"states:DescribeExecution"},
    "SumUpFleet": HAND_ON,
}
# Roles of rules, which have no function or machine.
RULES_ROLES = {"SendEventsAwayRole"}
OWN_LOGS = {"logs:CreateLogStream", "logs:PutLogEvents"}
TRACES = {"xray:PutTelemetryRecords", "xray:PutTraceSegments"}

# The only actions that may be allowed on every resource, and why.
ON_EVERYTHING = {
    "xray:GetSamplingRules": "X-Ray has no resources for it",
    "xray:GetSamplingTargets": "X-Ray has no resources for it",
    "xray:PutTelemetryRecords": "X-Ray has no resources for it",
    "xray:PutTraceSegments": "X-Ray has no resources for it",
    **dict.fromkeys(OF_THE_ACCOUNT, "it is about the account"),
    LIST: "Secrets Manager has no resources for it",
    "cloudwatch:DescribeAlarms": "composite alarms are shown only to who may see all alarms",
    "iam:ListUsers": "a list of users has no resource; no other way from an id to a name",
    "logs:CreateLogDelivery": "the delivery of logs has no resources",
    "logs:DeleteLogDelivery": "the delivery of logs has no resources",
    "logs:DescribeLogGroups": "the delivery of logs has no resources",
    "logs:DescribeResourcePolicies": "the delivery of logs has no resources",
    "logs:GetLogDelivery": "the delivery of logs has no resources",
    "logs:ListLogDeliveries": "the delivery of logs has no resources",
    "logs:PutResourcePolicy": "the delivery of logs has no resources",
    "logs:UpdateLogDelivery": "the delivery of logs has no resources",
}

TEMPLATE = template.load()
RESOURCES: dict[str, dict[str, Any]] = TEMPLATE["Resources"]


class Resolver:
    """Evaluates intrinsic functions: what CloudFormation would make of the template."""

    def __init__(self, parameters: Mapping[str, Any] | None = None) -> None:
        defaults = {name: spec["Default"] for name, spec in TEMPLATE["Parameters"].items()}
        self.values = {
            **defaults,
            **(parameters or {}),
            "AWS::Partition": "aws",
            "AWS::Region": REGION,
            "AWS::AccountId": ACCOUNT,
            "AWS::StackName": STACK,
        }

    def __call__(self, value: Any) -> Any:
        if isinstance(value, list):
            items = [self(item) for item in value]
            return [item for item in items if item != "<AWS::NoValue>"]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (name, argument), *_ = value.items()
            match name:
                case "Ref":
                    return self._ref(argument)
                case "GetAtt":
                    return f"<{argument}>"
                case "Sub":
                    return self._sub(argument)
                case "If":
                    condition, yes, no = argument
                    return self(yes if self(TEMPLATE["Conditions"][condition]) else no)
                case "Equals":
                    return self(argument[0]) == self(argument[1])
                case "Not":
                    return not self(argument[0])
        return {key: self(item) for key, item in value.items()}

    def _ref(self, name: str) -> Any:
        return self.values.get(name, f"<{name}>")

    def _sub(self, argument: Any) -> str:
        text, names = argument if isinstance(argument, list) else (argument, {})
        own = {name: self(value) for name, value in names.items()}

        def replace(match: re.Match[str]) -> str:
            name = match[1]
            return f"${{{name[1:]}}}" if name[0] == "!" else str(own.get(name, self._ref(name)))

        return re.sub(r"\$\{([^}]+)\}", replace, text)


@dataclass(frozen=True)
class Grant:
    """One action that a statement allows on one resource."""

    action: str
    resource: str
    condition: str


def listed(value: Any) -> list[Any]:
    """A list of what may be a list."""
    return value if isinstance(value, list) else [value]


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    """The properties of all resources of a type."""
    return {
        name: resource["Properties"]
        for name, resource in RESOURCES.items()
        if resource["Type"] == kind
    }


FUNCTIONS = {
    name.removesuffix("Function"): properties
    for name, properties in of_type("AWS::Serverless::Function").items()
}
STATE_MACHINES = of_type("AWS::Serverless::StateMachine")


def document(policy: Any) -> dict[str, Any]:
    """A policy document, which may be an object or a JSON text."""
    found: dict[str, Any] = json.loads(policy) if isinstance(policy, str) else policy
    return found


def grants(role: str, resolve: Resolver | None = None) -> Iterator[Grant]:
    """All that a role is allowed, from its own policies and from those that it refers to."""
    resolve = resolve or Resolver()
    properties = RESOURCES[role]["Properties"]
    policies = [policy["PolicyDocument"] for policy in properties["Policies"]]
    for reference in properties.get("ManagedPolicyArns", []):
        policies.append(RESOURCES[reference["Ref"]]["Properties"]["PolicyDocument"])
    for policy in policies:
        for statement in document(resolve(policy))["Statement"]:
            assert statement["Effect"] == "Allow"
            for action in listed(statement["Action"]):
                for resource in listed(statement["Resource"]):
                    yield Grant(action, resource, json.dumps(statement.get("Condition")))


def roles() -> list[str]:
    return list(of_type("AWS::IAM::Role"))


def timeout_of(function: str) -> int:
    seconds: int = FUNCTIONS[function].get("Timeout", TEMPLATE["Globals"]["Function"]["Timeout"])
    return seconds


def definition(machine: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((template.ROOT / MACHINES[machine]).read_text())
    return found


def every_state(machine: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The states of a machine, those inside of a Map included."""
    loaded = Definition.load(template.ROOT / MACHINES[machine])
    return (item for scope in loaded.scopes() for item in scope.states.items())


def used_functions(machine: str) -> set[str]:
    """The functions that a definition names."""
    return set(re.findall(r"\$\{(\w+)FunctionArn\}", json.dumps(definition(machine))))


def event(name: str) -> Any:
    return json.loads((EVENTS / f"{name}.json").read_text())


# The contract


def test_the_parameters_and_their_defaults_are_the_contracts() -> None:
    found = {name: spec["Default"] for name, spec in TEMPLATE["Parameters"].items()}
    assert found == PARAMETERS


def test_every_parameter_is_described_bounded_and_shown_in_a_group() -> None:
    grouped: list[str] = []
    for group in TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]:
        grouped += group["Parameters"]
    assert sorted(grouped) == sorted(PARAMETERS)
    for name, spec in TEMPLATE["Parameters"].items():
        assert spec["Description"].strip(), name
        bounded = "AllowedValues" in spec or "ConstraintDescription" in spec
        assert bounded, name
        if spec["Type"] == "Number" and "AllowedValues" not in spec:
            assert spec["MinValue"] <= spec["Default"] <= spec["MaxValue"], name


def test_the_defaults_satisfy_their_own_patterns() -> None:
    for name, spec in TEMPLATE["Parameters"].items():
        if "AllowedPattern" in spec:
            assert re.fullmatch(spec["AllowedPattern"], spec["Default"]), name


def test_the_outputs_are_the_contracts() -> None:
    assert set(TEMPLATE["Outputs"]) == OUTPUTS


def test_the_functions_can_read_their_settings_from_the_environment() -> None:
    variables = Resolver()(TEMPLATE["Globals"]["Function"]["Environment"]["Variables"])
    settings = Settings.from_env({name: str(value) for name, value in variables.items()})
    assert settings.managed_tag_value == REGION
    assert settings.durations.watch_seconds == PARAMETERS["WatchSeconds"]
    assert variables["ALLOW_PRIVATE_HEALTH_URLS"] == "false"


def test_every_handler_exists() -> None:
    for name, properties in FUNCTIONS.items():
        module, _, function = properties["Handler"].rpartition(".")
        path = Path(template.ROOT, "functions", *module.split(".")).with_suffix(".py")
        assert path.is_file(), name
        assert function == "handler", name
        assert module.endswith(re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower())


@pytest.mark.slow
def test_the_sam_cli_accepts_the_template() -> None:
    result = subprocess.run(
        [Path(sys.executable).parent / "sam", "validate", "--lint", "--region", REGION],
        cwd=template.ROOT,
        env={**os.environ, "SAM_CLI_TELEMETRY": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_there_is_no_account_id_in_what_is_deployed() -> None:
    for path in ("template.yaml", *MACHINES.values()):
        text = (template.ROOT / path).read_text()
        assert re.findall(r"(?<!\d)\d{12}(?!\d)", text) == [], path


def test_no_arn_names_the_partition() -> None:
    for path in ("template.yaml", *MACHINES.values()):
        text = (template.ROOT / path).read_text()
        assert re.findall(r"arn:(?!\$\{)\S*", text) == [], path


# Who may do what


def test_every_function_and_machine_has_a_role_of_its_own() -> None:
    used = [
        properties["Role"]["GetAtt"]
        for properties in [*FUNCTIONS.values(), *STATE_MACHINES.values()]
    ]
    assert len(set(used)) == len(used)
    assert {name.removesuffix(".Arn") for name in used} == set(roles()) - RULES_ROLES


def test_the_rule_that_sends_events_away_may_send_them_there_and_nothing_else() -> None:
    bus = "arn:aws:events:eu-west-1:999999999999:event-bus/keyturn-organization"
    found = grants("SendEventsAwayRole", Resolver({"CentralEventBusArn": bus}))
    assert [(grant.action, grant.resource) for grant in found] == [("events:PutEvents", bus)]


def test_the_audit_may_write_under_its_own_account_in_a_bucket_of_its_organisation() -> None:
    away = {"CentralReportBucketName": "all-reports"}
    more = {*grants("AuditAccountRole", Resolver(away))} - {*grants("AuditAccountRole")}
    condition = {"StringEquals": {"aws:ResourceOrgID": "${aws:PrincipalOrgID}"}}
    assert more == {
        Grant(
            "s3:PutObject", f"arn:aws:s3:::all-reports/accounts/{ACCOUNT}/*", json.dumps(condition)
        )
    }


def test_nothing_is_sent_to_another_account_unless_a_parameter_names_it() -> None:
    conditional = {
        name for name, spec in RESOURCES.items() if spec.get("Condition") == "SendsEventsAway"
    }
    about = {name for name in RESOURCES if "EventsAway" in name or "UnsentEvent" in name}
    assert conditional == about
    assert not Resolver()(TEMPLATE["Conditions"]["SendsEventsAway"])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_may_do_exactly_what_is_listed(function: str) -> None:
    found = {grant.action for grant in grants(f"{function}Role")}
    assert found - OWN_LOGS - TRACES == ALLOWED[function]
    assert found >= OWN_LOGS | TRACES


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_writes_only_its_own_logs(function: str) -> None:
    logs = {grant.resource for grant in grants(f"{function}Role") if grant.action in OWN_LOGS}
    assert logs == {f"<{function}LogGroup.Arn>"}
    assert FUNCTIONS[function]["LoggingConfig"] == {"LogGroup": {"Ref": f"{function}LogGroup"}}


@pytest.mark.parametrize("role", roles())
def test_no_role_is_allowed_more_than_named_actions_on_named_resources(role: str) -> None:
    for grant in grants(role):
        assert "*" not in grant.action
        if grant.resource == "*":
            assert grant.action in ON_EVERYTHING


def test_only_the_function_that_issues_keys_can_create_one() -> None:
    able = {
        role for role in roles() for grant in grants(role) if grant.action == "iam:CreateAccessKey"
    }
    assert able == {"IssueNewKeyRole"}


def test_plaintext_is_read_by_those_who_must() -> None:
    able = {
        role.removesuffix("Role")
        for role in roles()
        for grant in grants(role)
        if grant.action == READ
    }
    assert able == {
        "CheckRequest",  # understands versions made by others, and the claimant's intent
        "StopClaimant",  # the same, before it stops an execution
        "IssueNewKey",  # the same, under the claim
        "TakeOver",  # the same, under the claim
        "RetireOldKey",  # the same, before a deletion
        "DiscardNewKey",  # its own intent: which keys there were before
        "ProveKey",  # signs with the key
    }


@pytest.mark.parametrize(
    ("given", "key", "value", "users"),
    [
        ({}, "keyturn:managed", REGION, "user/*"),
        (
            {"ManagedTagKey": "rotate", "ManagedTagValue": "yes", "ManagedUserPath": "/machine/"},
            "rotate",
            "yes",
            "user/machine/*",
        ),
    ],
)
@pytest.mark.parametrize("role", roles())
def test_only_tagged_users_below_the_path_can_be_touched(
    role: str, given: dict[str, str], key: str, value: str, users: str
) -> None:
    for grant in grants(role, Resolver(given)):
        if not grant.action.startswith("iam:"):
            continue
        if grant.action == "iam:ListUsers":  # reads only, and cannot be scoped
            assert grant.resource == "*"
            continue
        if grant.action == "iam:GetUser":  # tells "not managed" from "does not exist"; reads only
            assert grant.resource == f"arn:aws:iam::{ACCOUNT}:user/*"
            continue
        if grant.action in OF_THE_ACCOUNT:  # reads only; nothing about one user can be asked
            assert role == "AuditAccountRole"
            continue
        assert grant.resource == f"arn:aws:iam::{ACCOUNT}:{users}"
        expected = {"StringEquals": {f"aws:ResourceTag/{key}": value}}
        assert json.loads(grant.condition) == expected, grant.action


@pytest.mark.parametrize("role", roles())
def test_secrets_outside_the_prefix_are_out_of_reach(role: str) -> None:
    secrets = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:machine-user/*"
    found = {
        grant.resource
        for grant in grants(role)
        if grant.action.startswith("secretsmanager:") and grant.action != LIST  # names, no values
    }
    assert found <= {secrets}


@pytest.mark.parametrize("role", roles())
def test_a_role_reaches_no_objects_but_those_of_its_part_of_the_report_bucket(role: str) -> None:
    objects = {
        grant.resource for grant in grants(role) if grant.action in ("s3:GetObject", PUT_OBJECT)
    }
    listed_ = {grant.resource for grant in grants(role) if grant.action == "s3:ListBucket"}
    reports = {"<ReportBucket.Arn>/audits/*"} if role == "AuditAccountRole" else set()
    assert objects <= {"<ReportBucket.Arn>/fleet/*"} | reports
    assert listed_ <= {"<ReportBucket.Arn>"}


@pytest.mark.parametrize("role", roles())
def test_only_executions_of_this_stacks_machines_can_be_seen_and_stopped(role: str) -> None:
    for grant in grants(role):
        if grant.action == "states:ListExecutions":
            assert grant.resource == "<RotateKeyStateMachine>"
        if grant.action in ("states:DescribeExecution", "states:StopExecution"):
            assert re.fullmatch(
                rf"arn:aws:states:{REGION}:{ACCOUNT}:execution:{STACK}-(RotateKey|RetireKey):\*"
                if role != "RotateFleetRole"  # its own children, and no rotation
                else rf"arn:aws:states:{REGION}:{ACCOUNT}:execution:{STACK}-RotateFleet[:/]\*",
                grant.resource,
            )


def test_stopping_a_fleet_run_stops_no_rotation() -> None:
    text = (template.ROOT / MACHINES["RotateFleetStateMachine"]).read_text()
    assert "startExecution" not in re.sub(r'"Comment": ".*"', "", text)
    started = [
        grant.resource
        for grant in grants("RotateFleetRole")
        if grant.action == "states:StartExecution"
    ]
    assert started == [f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{STACK}-RotateFleet"]


@pytest.mark.parametrize("machine", MACHINES)
def test_a_machine_may_call_exactly_the_functions_in_its_definition(machine: str) -> None:
    used = used_functions(machine)
    role = machine.replace("StateMachine", "Role")
    allowed = {grant.resource for grant in grants(role) if grant.action == "lambda:InvokeFunction"}
    assert allowed == {f"<{name}Function.Arn>" for name in used}
    substituted = STATE_MACHINES[machine]["DefinitionSubstitutions"]
    for name in used:
        assert substituted[f"{name}FunctionArn"] == {"GetAtt": f"{name}Function.Arn"}


@pytest.mark.parametrize(
    ("parameter", "bad"),
    [
        ("ManagedTagKey", 'a"b'),
        ("ManagedTagKey", "a\\b"),
        ("ManagedTagKey", "${aws:username}"),
        ("ManagedTagKey", ""),
        ("ManagedTagKey", "aws:x"),
        ("ManagedTagValue", 'a", "b'),
        ("ManagedTagValue", "*"),
        ("ManagedUserPath", "/*/"),
        ("ManagedUserPath", "machine/"),
        ("ManagedUserPath", "/machine"),
        ("ManagedUserPath", '/a"/'),
        ("SecretNamePrefix", ""),
        ("SecretNamePrefix", "/"),
        ("SecretNamePrefix", "machine-user"),
        ("SecretNamePrefix", "*/"),
        ("SecretNamePrefix", "a b/"),
        ("NotificationEmail", "nobody"),
    ],
)
def test_what_would_break_or_widen_a_policy_is_refused_as_a_parameter(
    parameter: str, bad: str
) -> None:
    assert not re.fullmatch(TEMPLATE["Parameters"][parameter]["AllowedPattern"], bad)


# The consumers' policy


def consumer_reads(user_name: str, secret: str) -> bool:
    """Whether the policy of consumers lets a user read the secret with this name."""
    policy = document(Resolver()(RESOURCES["ConsumerPolicy"]["Properties"]["PolicyDocument"]))
    (statement,) = policy["Statement"]
    assert statement["Action"] == [DESCRIBE, READ]
    pattern = statement["Resource"].replace("${aws:username}", user_name)
    arn = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{secret}-AbCdEf"
    return fnmatchcase(arn, pattern)


@pytest.mark.parametrize(
    ("secret", "readable"),
    [
        ("machine-user/alice", True),
        ("machine-user/alice-bobxyz", False),
        ("machine-user/alice-", False),
        ("machine-user/bob", False),
        ("other/alice", False),
        ("machine-user/alice/sub", False),
    ],
)
def test_a_consumer_reads_its_own_secret_and_no_other(secret: str, readable: bool) -> None:
    assert consumer_reads("alice", secret) is readable


# Logs, traces and times


def test_everything_that_runs_has_a_log_group_with_a_retention() -> None:
    names = {
        Resolver()(properties["LogGroupName"]): properties["RetentionInDays"]
        for properties in of_type("AWS::Logs::LogGroup").values()
    }
    functions = {f"/aws/lambda/{STACK}-{name}" for name in FUNCTIONS}
    machines = {
        f"/aws/vendedlogs/states/{STACK}-RotateKey",
        f"/aws/vendedlogs/states/{STACK}-RetireKey",
        f"/aws/vendedlogs/states/{STACK}-RotateFleet",
    }
    assert set(names) == functions | machines
    assert all(retention == {"Ref": "LogRetentionDays"} for retention in names.values())
    for name, properties in FUNCTIONS.items():
        assert Resolver()(properties["FunctionName"]) == f"{STACK}-{name}"


@pytest.mark.parametrize("machine", MACHINES)
def test_the_logs_of_a_machine_hold_no_execution_data(machine: str) -> None:
    properties = STATE_MACHINES[machine]
    logging = properties["Logging"]
    assert (logging["Level"], logging["IncludeExecutionData"]) == ("ERROR", False)
    assert properties["Type"] == "STANDARD"
    assert properties["DefinitionUri"] == MACHINES[machine]
    group = machine.replace("StateMachine", "LogGroup.Arn")
    (destination,) = logging["Destinations"]
    assert destination["CloudWatchLogsLogGroup"]["LogGroupArn"] == {"GetAtt": group}


def test_neither_answers_nor_exceptions_are_written_into_traces() -> None:
    variables = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    assert variables["POWERTOOLS_TRACER_CAPTURE_RESPONSE"] == "false"
    assert variables["POWERTOOLS_TRACER_CAPTURE_ERROR"] == "false"
    assert "POWERTOOLS_LOGGER_LOG_EVENT" not in variables


def test_the_fence_outlasts_every_function_and_every_late_call() -> None:
    """Only functions that change something under a claim need one: those of these machines."""
    fenced = {name for machine in FENCED for name in used_functions(machine)}
    longest = max(timeout_of(name) for name in fenced)
    assert PARAMETERS["FenceSeconds"] == longest + 60
    assert longest + 60 > CHANGE_BUDGET_SECONDS


@pytest.mark.parametrize("machine", MACHINES)
def test_a_task_outlasts_its_function_and_never_runs_it_twice_at_once(machine: str) -> None:
    for state, task in every_state(machine):
        found = re.fullmatch(
            r"\$\{(\w+)FunctionArn\}", task.get("Arguments", {}).get("FunctionName", "")
        )
        if not found:
            continue
        timeout = timeout_of(found[1])
        assert task["TimeoutSeconds"] > timeout, state
        for retrier in task["Retry"]:
            if {"States.Timeout", "Lambda.Unknown"} & set(retrier["ErrorEquals"]):
                assert retrier["IntervalSeconds"] >= timeout, state
                assert retrier["JitterStrategy"] == "NONE", state


# Dead executions


def matches(pattern: Mapping[str, Any], data: Mapping[str, Any]) -> bool:
    """Whether an EventBridge pattern of plain values matches an event."""
    return all(
        matches(wanted, data[name]) if isinstance(wanted, dict) else data.get(name) in wanted
        for name, wanted in pattern.items()
    )


def test_functions_act_on_events_of_aws_alone() -> None:
    """Anybody who may call PutEvents can send events of any other source, `keyturn` included."""
    rules = [rule for function in FUNCTIONS.values() for rule in function.get("Events", {}).items()]
    assert len(rules) >= 6
    for name, rule in rules:
        assert rule["Type"] == "EventBridgeRule", name
        sources = rule["Properties"]["Pattern"]["source"]
        assert all(source.startswith("aws.") for source in sources), name
    for name, rule in of_type("AWS::Events::Rule").items():
        targets = [target["Arn"] for target in rule["Targets"]]
        assert targets == [{"Ref": "CentralEventBusArn"}], name
    subscribed = [item["Protocol"] for item in of_type("AWS::SNS::Subscription").values()]
    assert subscribed == ["email"]


def test_the_rule_on_dead_executions_matches_real_events() -> None:
    rule = FUNCTIONS["StartBackOut"]["Events"]["ExecutionDied"]["Properties"]
    pattern = Resolver()(rule["Pattern"])
    aborted = event("execution_aborted")
    pattern["detail"]["stateMachineArn"] = [aborted["detail"]["stateMachineArn"]]
    assert matches(pattern, aborted)
    for status, expected in {"FAILED": True, "TIMED_OUT": True, "SUCCEEDED": False}.items():
        other = {**aborted, "detail": {**aborted["detail"], "status": status}}
        assert matches(pattern, other) is expected
    elsewhere = {**aborted["detail"], "stateMachineArn": "arn:aws:states:::stateMachine:other"}
    assert not matches(pattern, {**aborted, "detail": elsewhere})


def test_the_rule_on_outcomes_matches_every_start_and_end() -> None:
    rule = FUNCTIONS["RecordOutcome"]["Events"]["StatusChanged"]["Properties"]
    pattern = Resolver()(rule["Pattern"])
    aborted = event("execution_aborted")
    pattern["detail"]["stateMachineArn"] = [aborted["detail"]["stateMachineArn"]]
    for status in ("RUNNING", "SUCCEEDED", *outcomes.ENDED_BADLY):
        assert matches(pattern, {**aborted, "detail": {**aborted["detail"], "status": status}})
    pending = {**aborted["detail"], "status": "PENDING_REDRIVE"}
    assert not matches(pattern, {**aborted, "detail": pending})


@pytest.mark.parametrize(
    ("function", "name"), [("StartBackOut", "LostBackOut"), ("StartRotation", "LostEvent")]
)
def test_an_event_that_nobody_acts_on_calls_a_person(function: str, name: str) -> None:
    properties = FUNCTIONS[function]
    queue = {"GetAtt": f"{name}Queue.Arn"}
    for rule in properties["Events"].values():
        assert rule["Properties"]["DeadLetterConfig"] == {"Arn": queue}
        assert rule["Properties"]["RetryPolicy"]["MaximumEventAgeInSeconds"] == 86400
    on_failure = properties["EventInvokeConfig"]["DestinationConfig"]["OnFailure"]
    assert on_failure == {"Type": "SQS", "Destination": queue}
    alarm = RESOURCES[f"{name}Alarm"]["Properties"]
    assert alarm["AlarmActions"] == [{"Ref": "NotificationTopic"}]
    assert alarm["Dimensions"][0]["Value"] == {"GetAtt": f"{name}Queue.QueueName"}
    assert RESOURCES[f"{name}Queue"]["Properties"]["SqsManagedSseEnabled"] is True
    policy = RESOURCES[f"{name}QueuePolicy"]["Properties"]["PolicyDocument"]["Statement"][0]
    rules = listed(policy["Condition"]["ArnEquals"]["aws:SourceArn"])
    assert rules == [{"GetAtt": f"{function}Function{rule}.Arn"} for rule in properties["Events"]]
    publishers = RESOURCES["NotificationTopicPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert publishers[0]["Principal"] == {"Service": "cloudwatch.amazonaws.com"}


# Alerts of other services

ALERTS = {
    "security_hub_iam3": "KeyTooOldInSecurityHub",
    "config_access_keys_rotated": "KeyTooOldInConfig",
    "health_exposed_key": "KeyExposedInHealth",
    "guardduty_iam_user": "KeySuspiciousInGuardDuty",
}


def ruled(found: Any) -> set[str]:
    """The rules whose patterns match an event, by the rules of EventBridge."""
    rules = FUNCTIONS["StartRotation"]["Events"]
    patterns = {name: Resolver()(rule["Properties"]["Pattern"]) for name, rule in rules.items()}
    record = eventbridge._event_from_test_payload(found)
    return {
        name
        for name, pattern in patterns.items()
        if eventbridge._matches_pattern(json.dumps(pattern), record)
    }


@pytest.mark.parametrize(("name", "rule"), ALERTS.items())
def test_a_rule_matches_its_sample_and_no_other_does(name: str, rule: str) -> None:
    assert ruled(event(name)) == {rule}


def test_the_parameter_says_what_guard_duty_leads_to() -> None:
    variables = FUNCTIONS["StartRotation"]["Environment"]["Variables"]
    assert variables["GUARD_DUTY_ACTION"] == {"Ref": "GuardDutyAction"}
    allowed = TEMPLATE["Parameters"]["GuardDutyAction"]["AllowedValues"]
    assert allowed == ["NOTIFY", "ROTATE", "EMERGENCY"]


FINDING = ("detail", "findings", 0)


@pytest.mark.parametrize(
    ("name", "path", "value", "matched"),
    [
        ("security_hub_iam3", (*FINDING, "Compliance", "Status"), "PASSED", False),
        ("security_hub_iam3", (*FINDING, "Compliance", "SecurityControlId"), "IAM.4", False),
        ("security_hub_iam3", (*FINDING, "Workflow", "Status"), "NOTIFIED", False),
        ("security_hub_iam3", (*FINDING, "RecordState"), "ARCHIVED", False),
        ("security_hub_iam3", (*FINDING, "Resources", 0, "Type"), "AwsAccount", False),
        ("security_hub_iam3", ("source",), "someone", False),
        ("security_hub_iam3", ("detail-type",), "Security Hub Findings - Custom Action", False),
        ("config_access_keys_rotated", ("detail", "configRuleName"), "access-keys-rotated", True),
        ("config_access_keys_rotated", ("detail", "configRuleName"), "keys-rotated", False),
        ("config_access_keys_rotated", ("detail", "resourceType"), "AWS::IAM::Role", False),
        (
            "config_access_keys_rotated",
            ("detail", "newEvaluationResult", "complianceType"),
            "COMPLIANT",
            False,
        ),
        ("health_exposed_key", ("detail", "service"), "EC2", False),
        ("health_exposed_key", ("detail", "eventTypeCode"), "AWS_RISK_CREDENTIALS_NEW", True),
        ("health_exposed_key", ("detail", "eventTypeCode"), "AWS_RISK_IAM_QUARANTINE", True),
        ("health_exposed_key", ("detail", "eventTypeCode"), "AWS_RISK_SPAM", False),
        ("guardduty_iam_user", ("detail", "severity"), 7, True),
        ("guardduty_iam_user", ("detail", "severity"), 7.0, True),
        ("guardduty_iam_user", ("detail", "severity"), 6.9, False),
        ("guardduty_iam_user", ("detail", "resource", "resourceType"), "Instance", False),
        (
            "guardduty_iam_user",
            ("detail", "resource", "accessKeyDetails", "userType"),
            "AssumedRole",
            False,
        ),
    ],
)
def test_a_rule_matches_no_near_miss(
    name: str, path: tuple[str | int, ...], value: Any, matched: bool
) -> None:
    found = event(name)
    place = found
    for step in path[:-1]:
        place = place[step]
    if path[-1] == "SecurityControlId":
        place.pop("AssociatedStandards")
        found["detail"]["findings"][0]["GeneratorId"] = "security-control/IAM.4"
    place[path[-1]] = value
    assert ruled(found) == ({ALERTS[name]} if matched else set())


@pytest.mark.parametrize(
    "older",
    [
        {"GeneratorId": "aws-foundational-security-best-practices/v/1.0.0/IAM.3"},
        {"GeneratorId": "x", "ProductFields": {"ControlId": "IAM.3"}},
    ],
)
def test_a_rule_matches_findings_of_older_forms(older: dict[str, Any]) -> None:
    found = event("security_hub_iam3")
    finding = found["detail"]["findings"][0]
    finding["Compliance"] = {"Status": "FAILED"}
    finding.update(older)
    assert ruled(found) == {"KeyTooOldInSecurityHub"}
    (alert,) = read(found, datetime.now(UTC)).alerts
    assert alert.user_name == "ci-deployer"


# The events


ROTATE_EVENTS = ["rotate", "rotate_force", "back_out", "emergency", "emergency_by_key_id", "timing"]

FLEET_EVENTS = ["rotate_fleet", "rotate_fleet_dry_run", "rotate_fleet_users"]


def test_every_event_is_known_here() -> None:
    known = {*ROTATE_EVENTS, *ALERTS, *FLEET_EVENTS, "retire", "execution_aborted"}
    assert {path.stem for path in EVENTS.iterdir()} == known


@pytest.mark.parametrize("name", ROTATE_EVENTS)
def test_an_event_is_a_valid_input_of_rotate_key(name: str) -> None:
    request = parse_rotate_request(event(name))
    assert (request.user_name or request.access_key_id) is not None
    assert request.recovery is None


@pytest.mark.parametrize("name", FLEET_EVENTS)
def test_an_event_is_a_valid_input_of_rotate_fleet(name: str) -> None:
    request = parse_fleet_request(event(name))
    assert request.dry_run is (name == "rotate_fleet_dry_run")
    assert bool(request.user_names) is (name == "rotate_fleet_users")


def test_the_schedule_is_off_until_a_person_switches_it_on_and_gives_a_valid_input() -> None:
    schedule = STATE_MACHINES["RotateFleetStateMachine"]["Events"]["Schedule"]["Properties"]
    assert Resolver()(schedule["State"]) == "DISABLED"
    assert Resolver()(schedule["ScheduleExpression"]) == "rate(1 day)"
    assert schedule["OmitName"] is True
    assert parse_fleet_request(json.loads(schedule["Input"])) == parse_fleet_request({})


def test_all_rotations_that_one_run_may_start_are_in_flight_at_once() -> None:
    """They take days: whoever had to wait for a place would wait for days."""
    most = TEMPLATE["Parameters"]["MaxRotationsPerRun"]["MaxValue"]
    rotate_users = definition("RotateFleetStateMachine")["States"]["Rotate Users"]
    assert rotate_users["MaxConcurrency"] * BATCH >= most
    assert rotate_users["ToleratedFailurePercentage"] == 100


def test_batches_start_one_after_the_other_within_the_time_of_their_function() -> None:
    rotate_users = definition("RotateFleetStateMachine")["States"]["Rotate Users"]
    turn = rotate_users["ItemProcessor"]["States"]["Wait For Turn"]
    seconds = BATCH * SECONDS_BETWEEN_STARTS
    assert turn["Seconds"] == f"{{% $states.input.number * {seconds} %}}"
    assert timeout_of("StartRotations") > 2 * seconds


def test_the_report_bucket_is_encrypted_versioned_private_and_forgets() -> None:
    bucket = RESOURCES["ReportBucket"]
    properties = bucket["Properties"]
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(properties["PublicAccessBlockConfiguration"]) == 4
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    (encryption,) = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encryption["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert properties["OwnershipControls"] == {
        "Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]
    }
    (rule,) = properties["LifecycleConfiguration"]["Rules"]
    assert rule["Status"] == "Enabled"
    assert rule["ExpirationInDays"] == 400
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 90}
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert "BucketName" not in properties
    assert bucket["DeletionPolicy"] == bucket["UpdateReplacePolicy"] == "Retain"
    (deny,) = RESOURCES["ReportBucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert (deny["Effect"], deny["Action"]) == ("Deny", "s3:*")
    assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_the_event_is_a_valid_input_of_retire_key() -> None:
    assert parse_retire_request(event("retire")).retention_seconds == 604800


def test_the_event_of_an_aborted_execution_starts_its_back_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[tuple[str, str, dict[str, Any]]] = []

    def start(machine_arn: str, name: str, data: dict[str, Any]) -> bool:
        started.append((machine_arn, name, data))
        return True

    monkeypatch.setattr(executions, "start", start)
    aborted = event("execution_aborted")
    rotate_key = aborted["detail"]["stateMachineArn"]
    monkeypatch.setenv("ROTATE_KEY_STATE_MACHINE_ARN", rotate_key)
    start_back_out.run(aborted)
    ((machine, _, given),) = started
    assert machine == rotate_key
    request = parse_rotate_request(given)
    assert (request.user_name, request.action) == ("ci-deployer", "BACK_OUT")
    assert request.recovery is not None
    assert request.recovery.execution_arn == aborted["detail"]["executionArn"]
