"""Which gaps MiniStack still has by itself.

When one of these tests fails, the pinned MiniStack has closed that gap: drop the part of the
overlay that names it, and the line here.
"""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError

import localaws
from localaws import Account
from tests.localaws import (
    test_cloudwatch,
    test_credential_report,
    test_iam,
    test_lambda_workers,
    test_last_used,
    test_redrive,
    test_secretsmanager,
    test_stepfunctions,
)
from tests.localaws.support import TOY, Toy, eventually
from tests.localaws.test_cloudwatch import alarm, state

pytestmark = pytest.mark.emulator

# Tests of the overlay that cannot pass without it: each fails by what it asserts.
FAILING: dict[str, Callable[..., None]] = {
    # IAM
    "last use is not recorded": (test_last_used.test_a_use_tells_service_region_and_whole_second),
    "an unknown key is not denied": test_last_used.test_an_unknown_key_is_denied_not_missing,
    "a third key is created": test_iam.test_a_user_has_at_most_two_access_keys,
    "anyone's key is deleted": partial(
        test_iam.test_a_key_is_changed_only_under_its_owners_name, operation="delete_access_key"
    ),
    "variables are not substituted": test_iam.test_a_user_reads_its_own_secret_and_no_other,
    "the report does not tell uses": (
        test_credential_report.test_a_use_is_in_the_report_as_the_model_lets_it_be_known
    ),
    "the report has no dates of passwords": (
        test_credential_report.test_a_password_has_dates_and_mfa_is_told
    ),
    # Secrets Manager
    "names are not checked": partial(test_secretsmanager.test_names_are_checked, wrong="hash#"),
    "the token of create is ignored": test_secretsmanager.test_the_token_of_create_is_the_version,
    "a used token overwrites": (
        test_secretsmanager.test_a_used_token_with_another_value_is_refused
    ),
    "the first value is not current": (
        test_secretsmanager.test_the_first_value_becomes_current_in_addition
    ),
    "version and label may disagree": test_secretsmanager.test_version_and_label_must_agree,
    "a partial ARN finds another secret": (
        test_secretsmanager.test_a_partial_arn_finds_the_very_secret
    ),
    # Lambda
    "exceptions have no class, and end the worker": (
        test_lambda_workers.test_an_exception_is_reported_by_its_class_and_leaves_the_worker_warm
    ),
    # Step Functions
    "starting twice is refused": (
        test_stepfunctions.test_the_same_name_and_input_is_the_same_execution_while_it_runs
    ),
    "States.ALL catches everything": (
        test_stepfunctions.test_states_all_does_not_catch_runtime_errors
    ),
    "a default ignores the output": test_stepfunctions.test_choices_assign_and_output,
    "an expression is no time limit": (
        test_stepfunctions.test_a_task_has_a_time_limit_that_may_be_an_expression
    ),
    "a distributed map knows no items": partial(test_stepfunctions.test_maps, mode="DISTRIBUTED"),
    "Assign sees its own values": test_stepfunctions.test_assign_sees_the_values_at_entry,
    "errors of IAM have no name": test_stepfunctions.test_an_unknown_user_has_a_specific_error,
    "Parallel ignores its output": (test_stepfunctions.test_parallel_branches_have_their_own_scope),
    "the redrive count is missing": partial(
        test_stepfunctions.test_expressions,
        expression="$states.context.Execution.RedriveCount",
        value=0,
    ),
    "executions cannot be redriven": test_redrive.test_a_fail_state_fails_again_and_again,
    # CloudWatch
    "EMF stays text": test_cloudwatch.test_what_a_function_prints_in_emf_becomes_a_metric,
}


@pytest.fixture(scope="module")
def bare() -> Iterator[Toy]:
    """MiniStack without the overlay, with the toy stack."""
    with localaws.start(overlay=False) as aws:
        yield Toy(aws, localaws.deploy(aws, stack_name="bare", template=TOY, parameters={}))


@pytest.mark.parametrize("gap", FAILING)
def test_a_test_of_the_overlay_fails_without_it(bare: Toy, name: str, gap: str) -> None:
    test = FAILING[gap]
    given = {"toy": bare, "name": name, "secrets": bare.aws.client("secretsmanager")}
    wanted = inspect.signature(test).parameters
    with pytest.raises(
        (AssertionError, ClientError, LookupError, ValueError, pytest.fail.Exception)
    ):
        test(**{name: value for name, value in given.items() if name in wanted})


# What no single test of the overlay shows as well.


def error_of(call: Callable[..., Any], **arguments: Any) -> str:
    """The error code of a call, or "" when it succeeds."""
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return ""


def policies_do_not_see_the_path(toy: Toy, name: str) -> object:
    key = toy.user(name)
    arn = f"arn:aws:iam::{toy.aws.account_id}:user/machine/{name}"
    toy.allow(name, {"Effect": "Allow", "Action": "iam:GetUser", "Resource": arn})
    return error_of(toy.client("iam", key).get_user, UserName=name) == "AccessDenied"


def policies_do_not_see_tags_of_users(toy: Toy, name: str) -> object:
    key = toy.user(name, path="/")
    condition = {"StringEquals": {"iam:ResourceTag/toy:managed": toy.aws.region}}
    statement = {"Effect": "Allow", "Action": "iam:GetUser", "Resource": "*"}
    toy.allow(name, {**statement, "Condition": condition})
    return error_of(toy.client("iam", key).get_user, UserName=name) == "AccessDenied"


def secret(toy: Toy, name: str) -> Any:
    """A client, after creating a secret with version aaa..."""
    secrets = toy.aws.client("secretsmanager")
    secrets.create_secret(Name=name, SecretString="a", ClientRequestToken="a" * 32)
    return secrets


def put(secrets: Any, name: str, letter: str, *labels: str, value: str = "v") -> Any:
    return secrets.put_secret_value(
        SecretId=name, SecretString=value, ClientRequestToken=letter * 32, VersionStages=labels
    )


def a_label_is_on_two_versions(toy: Toy, name: str) -> object:
    secrets = secret(toy, name)
    put(secrets, name, "b", "X")
    put(secrets, name, "c", "X")
    stages = secrets.describe_secret(SecretId=name)["VersionIdsToStages"]
    return "X" in stages["b" * 32] and "X" in stages["c" * 32]


def promotion_takes_pending_away(toy: Toy, name: str) -> object:
    secrets = secret(toy, name)
    put(secrets, name, "b", "AWSPENDING")
    (old,) = (
        version
        for version, labels in secrets.describe_secret(SecretId=name)["VersionIdsToStages"].items()
        if "AWSCURRENT" in labels
    )
    put(secrets, name, "c", "AWSPENDING", "AWSCURRENT")
    return old and "AWSPENDING" not in labels_of(secrets, name, "c")


def labels_of(secrets: Any, name: str, letter: str) -> list[str]:
    stages = secrets.describe_secret(SecretId=name)["VersionIdsToStages"]
    return list(stages.get(letter * 32, []))


def a_report_is_there_at_once(toy: Toy, _: str) -> object:
    return toy.aws.client("iam").generate_credential_report()["State"] == "COMPLETE"


def executions_do_not_time_out(toy: Toy, name: str) -> object:
    wait = {"Type": "Wait", "Seconds": 2, "End": True}
    definition = {"TimeoutSeconds": 1, "StartAt": "W", "States": {"W": wait}}
    return toy.run(name, definition)["status"] != "TIMED_OUT"


def stopped_executions_go_on(toy: Toy, name: str) -> object:
    retry = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 1}]
    machine = toy.machine(name, {"StartAt": "T", "States": {"T": toy.task(Retry=retry)}})
    execution = toy.start({"do": "raise"}, machine)
    stepfunctions = toy.aws.client("stepfunctions")

    def tried() -> object:
        history = stepfunctions.get_execution_history(executionArn=execution)
        return any(event["type"] == "TaskFailed" for event in history["events"])

    eventually(tried)
    stepfunctions.stop_execution(executionArn=execution)
    return eventually(lambda: toy.described(execution)["status"] == "FAILED")


def the_delay_of_a_retrier_is_not_capped(toy: Toy, name: str) -> object:
    retry = {"ErrorEquals": ["States.ALL"], "IntervalSeconds": 4, "MaxDelaySeconds": 1}
    task = toy.task(Retry=[{**retry, "MaxAttempts": 1}])
    begun = time.monotonic()
    toy.run(name, {"StartAt": "T", "States": {"T": task}}, {"do": "raise"})
    return time.monotonic() - begun > 4


def a_distributed_map_needs_no_permission(toy: Toy, name: str) -> object:
    denied = {"Effect": "Deny", "Action": "states:StartExecution", "Resource": "*"}
    iam = toy.aws.client("iam")
    toy_role = toy.aws.client("stepfunctions").describe_state_machine(
        stateMachineArn=toy.outputs["MachineArn"]
    )["roleArn"]
    policy = {"Version": "2012-10-17", "Statement": [denied]}
    arguments = {"RoleName": toy_role.rsplit("/", 1)[-1], "PolicyName": name}
    iam.put_role_policy(**arguments, PolicyDocument=json.dumps(policy))
    mode = {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    inner = {"StartAt": "I", "States": {"I": {"Type": "Pass", "End": True}}}
    state = {"Type": "Map", "ItemProcessor": {"ProcessorConfig": mode, **inner}, "End": True}
    ended = toy.run(name, {"StartAt": "M", "States": {"M": state}}, [1])
    iam.delete_role_policy(**arguments)
    return ended["status"] == "SUCCEEDED"


def the_role_is_not_checked(toy: Toy, name: str) -> object:
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:iam:listUsers",
        "Arguments": {},
        "End": True,
    }
    return toy.run(name, {"StartAt": "T", "States": {"T": task}})["status"] == "SUCCEEDED"


def executions_are_not_measured(toy: Toy, name: str) -> object:
    toy.run(name, {"StartAt": "S", "States": {"S": {"Type": "Succeed"}}})
    return not metrics_of(toy, "AWS/States")


def metrics_of(toy: Toy, namespace: str) -> list[Any]:
    found = toy.aws.client("cloudwatch").list_metrics(Namespace=namespace)
    return list(found["Metrics"])


def an_alarm_sees_other_dimensions(toy: Toy, name: str) -> object:
    alarm(toy, name, name, service="mine")
    dimensions = [{"Name": "service", "Value": "other"}]
    data = {"MetricName": name, "Dimensions": dimensions, "Value": 5.0}
    toy.aws.client("cloudwatch").put_metric_data(Namespace="Toy", MetricData=[data])
    return state(toy, name) == "ALARM"


# Several accounts


def members_have_an_organisation_of_their_own(toy: Toy, name: str) -> object:
    member, organization_id = member_of(toy, name)
    key = administrator(member, name, condition={"aws:PrincipalOrgID": organization_id})
    return error_of(key.get_user, UserName=name) != ""


def member_of(toy: Toy, name: str) -> tuple[Account, str]:
    """A member account, and its organisation's id."""
    organizations = toy.aws.client("organizations")
    created = organizations.create_account(Email=f"{name}@example.com", AccountName=name)
    account = toy.aws.account(created["CreateAccountStatus"]["AccountId"])
    return account, organizations.describe_organization()["Organization"]["Id"]


def administrator(account: Account, name: str, condition: dict[str, str]) -> Any:
    """The IAM client of a user who may do everything under a condition."""
    iam = account.client("iam")
    iam.create_user(UserName=name)
    statement = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    document = {"Statement": [{**statement, "Condition": {"StringEquals": condition}}]}
    iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return account.client(
        "iam", access_key_id=key["AccessKeyId"], secret_access_key=key["SecretAccessKey"]
    )


def delivers(sender: Account, target: Account, name: str) -> bool:
    """Whether a rule of one account or Region delivers to a bus of another that lets it."""
    bus = target.client("events").create_event_bus(Name=name)["EventBusArn"]
    target.client("events").put_permission(
        EventBusName=name, StatementId="all", Principal="*", Action="events:PutEvents"
    )
    url = queue_behind(target, name)
    iam = sender.client("iam")
    iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")
    statement = {"Effect": "Allow", "Action": "events:PutEvents", "Resource": bus}
    document = json.dumps({"Statement": [statement]})
    iam.put_role_policy(RoleName=name, PolicyName="send", PolicyDocument=document)
    role = f"arn:aws:iam::{sender.account_id}:role/{name}"
    events = sender.client("events")
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    events.put_targets(Rule=name, Targets=[{"Id": "bus", "Arn": bus, "RoleArn": role}])
    events.put_events(Entries=[{"Source": name, "DetailType": "x", "Detail": "{}"}])
    return "Messages" in target.client("sqs").receive_message(QueueUrl=url, WaitTimeSeconds=1)


def queue_behind(account: Account, bus: str) -> str:
    """The URL of a queue that gets every event of a bus."""
    arn = f"arn:aws:sqs:{account.region}:{account.account_id}:{bus}"
    principal = {"Service": "events.amazonaws.com"}
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sqs:SendMessage"}
    policy = json.dumps({"Statement": [{**statement, "Resource": arn}]})
    sqs, events = account.client("sqs"), account.client("events")
    url = sqs.create_queue(QueueName=bus, Attributes={"Policy": policy})["QueueUrl"]
    pattern = json.dumps({"account": [{"prefix": ""}]})
    events.put_rule(Name=bus, EventBusName=bus, EventPattern=pattern)
    events.put_targets(Rule=bus, EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])
    return str(url)


def a_rule_does_not_reach_another_account(toy: Toy, name: str) -> object:
    return not delivers(toy.aws.account("222233334444"), toy.aws, name)


def a_rule_does_not_reach_another_region(toy: Toy, name: str) -> object:
    return not delivers(toy.aws, toy.aws.account(region="eu-central-1"), name)


def a_rule_does_not_write_to_a_log_group(toy: Toy, name: str) -> object:
    logs, events = toy.aws.client("logs"), toy.aws.client("events")
    logs.create_log_group(logGroupName=name)
    arn = f"arn:aws:logs:{toy.aws.region}:{toy.aws.account_id}:log-group:{name}:*"
    principal = {"Service": "events.amazonaws.com"}
    statement = {"Effect": "Allow", "Principal": principal, "Action": "logs:*", "Resource": arn}
    logs.put_resource_policy(policyName=name, policyDocument=json.dumps({"Statement": statement}))
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    events.put_targets(Rule=name, Targets=[{"Id": "log", "Arn": arn.removesuffix(":*")}])
    events.put_events(Entries=[{"Source": name, "DetailType": "x", "Detail": "{}"}])
    return logs.filter_log_events(logGroupName=name)["events"] == []


def cloudformation_knows_no_policies_of_buses(toy: Toy, name: str) -> object:
    toy.aws.client("events").create_event_bus(Name=name)
    properties = {
        "EventBusName": name,
        "StatementId": "all",
        "Principal": "*",
        "Action": "events:PutEvents",
    }
    policy = {"Type": "AWS::Events::EventBusPolicy", "Properties": properties}
    created(toy.aws, name, {"Resources": {"Policy": policy}})
    return "Policy" not in toy.aws.client("events").describe_event_bus(Name=name)


def code_in_another_account_s_bucket_is_not_found(toy: Toy, name: str) -> object:
    s3, other = toy.aws.client("s3"), toy.aws.account("222233334444")
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="definition.json", Body=b"{}")
    principal = {"AWS": other.account_id}
    resource = f"arn:aws:s3:::{name}/*"
    statement = {"Effect": "Allow", "Principal": principal, "Action": "s3:*", "Resource": resource}
    s3.put_bucket_policy(Bucket=name, Policy=json.dumps({"Statement": [statement]}))
    location = {"Bucket": name, "Key": "definition.json"}
    role = f"arn:aws:iam::{other.account_id}:role/none"
    properties = {"DefinitionS3Location": location, "RoleArn": role}
    machine = {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}
    return not created(other, name, {"Resources": {"Machine": machine}})


def created(account: Account, name: str, template: dict[str, Any]) -> bool:
    """Whether CloudFormation creates a stack of the template."""
    cloudformation = account.client("cloudformation")
    if error_of(cloudformation.create_stack, StackName=name, TemplateBody=json.dumps(template)):
        return False

    def status() -> str:
        (stack,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
        found = str(stack["StackStatus"])
        return "" if found.endswith("IN_PROGRESS") else found

    return eventually(status) == "CREATE_COMPLETE"


def the_owner_of_a_bucket_is_the_caller(toy: Toy, name: str) -> object:
    owner, caller = toy.aws.account("222233334444"), toy.aws
    owner.client("s3").create_bucket(Bucket=name)
    statement = {"Effect": "Allow", "Principal": {"AWS": caller.account_id}, "Action": "s3:*"}
    resources = [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"]
    policy = json.dumps({"Statement": [{**statement, "Resource": resources}]})
    owner.client("s3").put_bucket_policy(Bucket=name, Policy=policy)
    key = toy.user(name)
    condition = {"StringEquals": {"aws:ResourceAccount": owner.account_id}}
    toy.allow(name, {"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Condition": condition})
    s3 = caller.client("s3", access_key_id=key.id, secret_access_key=key.secret)
    return error_of(s3.put_object, Bucket=name, Key="x") != ""


def the_organisation_of_a_bucket_is_unknown(toy: Toy, name: str) -> object:
    _, organization_id = member_of(toy, name)
    toy.aws.client("s3").create_bucket(Bucket=name)
    key = toy.user(name)
    condition = {"StringEquals": {"aws:ResourceOrgID": organization_id}}
    toy.allow(name, {"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Condition": condition})
    return error_of(toy.client("s3", key).put_object, Bucket=name, Key="x") != ""


Gap = Callable[[Toy, str], object]

OTHERS: list[Gap] = [
    policies_do_not_see_the_path,
    policies_do_not_see_tags_of_users,
    a_label_is_on_two_versions,
    promotion_takes_pending_away,
    a_report_is_there_at_once,
    executions_do_not_time_out,
    stopped_executions_go_on,
    the_delay_of_a_retrier_is_not_capped,
    a_distributed_map_needs_no_permission,
    the_role_is_not_checked,
    executions_are_not_measured,
    an_alarm_sees_other_dimensions,
]
# Those that the overlay is looked at for here alone.
CLOSED: list[Gap] = [
    members_have_an_organisation_of_their_own,
    the_owner_of_a_bucket_is_the_caller,
    the_organisation_of_a_bucket_is_unknown,
    a_rule_does_not_reach_another_account,
    a_rule_does_not_reach_another_region,
    a_rule_does_not_write_to_a_log_group,
    cloudformation_knows_no_policies_of_buses,
    code_in_another_account_s_bucket_is_not_found,
]


@pytest.mark.parametrize("gap", OTHERS + CLOSED, ids=lambda gap: gap.__name__)
def test_the_gap_still_exists(bare: Toy, name: str, gap: Gap) -> None:
    assert gap(bare, name), "closed upstream: the overlay can let go of it"


@pytest.mark.parametrize("gap", CLOSED, ids=lambda gap: gap.__name__)
def test_the_overlay_closes_the_gap(toy: Toy, name: str, gap: Gap) -> None:
    assert not gap(toy, name)
