"""Which gaps MiniStack still has by itself.

When one of these tests fails, the pinned MiniStack has closed that gap: drop the part of the
overlay that names it, and the line here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

import localaws
from localaws import Account
from tests.localaws.support import TOY, Key, Toy, eventually
from tests.localaws.test_cloudwatch import alarm, emf, state

pytestmark = pytest.mark.emulator


@pytest.fixture(scope="module")
def bare() -> Iterator[Toy]:
    """MiniStack without the overlay, with the toy stack."""
    with localaws.start(overlay=False) as aws:
        yield Toy(aws, localaws.deploy(aws, stack_name="bare", template=TOY, parameters={}))


def error_of(call: Callable[..., Any], **arguments: Any) -> str:
    """The error code of a call, or "" when it succeeds."""
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return ""


def use(toy: Toy, key: Key) -> None:
    toy.client("sts", key).get_caller_identity()


# IAM


def last_use_is_not_recorded(toy: Toy, name: str) -> object:
    key = toy.user(name)
    use(toy, key)
    used = toy.aws.client("iam").get_access_key_last_used(AccessKeyId=key.id)
    return "LastUsedDate" not in used["AccessKeyLastUsed"]


def an_unknown_key_is_not_denied(toy: Toy, _: str) -> object:
    call = toy.aws.client("iam").get_access_key_last_used
    return error_of(call, AccessKeyId="AKIAIOSFODNN7EXAMPLE") != "AccessDenied"


def a_third_key_is_created(toy: Toy, name: str) -> object:
    toy.user(name)
    toy.key(name)
    return toy.key(name)


def anyone_s_key_is_deleted(toy: Toy, name: str) -> object:
    key = toy.user(name)
    toy.user(f"{name}-2")
    call = toy.aws.client("iam").delete_access_key
    return error_of(call, UserName=f"{name}-2", AccessKeyId=key.id) == ""


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


def variables_are_not_substituted(toy: Toy, name: str) -> object:
    toy.aws.client("secretsmanager").create_secret(Name=f"toy/{name}", SecretString="s")
    key = toy.user(name)
    arn = f"arn:aws:secretsmanager:{toy.aws.region}:{toy.aws.account_id}:secret"
    resource = f"{arn}:toy/${{aws:username}}-??????"
    action = "secretsmanager:GetSecretValue"
    toy.allow(name, {"Effect": "Allow", "Action": action, "Resource": resource})
    call = toy.client("secretsmanager", key).get_secret_value
    return error_of(call, SecretId=f"toy/{name}") != ""


def report_row(toy: Toy, name: str) -> list[str]:
    """A user's row in a fresh credential report."""
    iam = toy.aws.client("iam")
    iam.generate_credential_report()
    text = iam.get_credential_report()["Content"].decode()
    return next(row for line in text.splitlines() if (row := line.split(","))[0] == name)


def the_report_does_not_tell_uses(toy: Toy, name: str) -> object:
    use(toy, toy.user(name))
    return report_row(toy, name)[10] == "N/A"


def the_report_has_no_dates_of_passwords(toy: Toy, name: str) -> object:
    toy.user(name)
    toy.aws.client("iam").create_login_profile(UserName=name, Password="not-a-secret-1")
    return report_row(toy, name)[5] == "N/A"


def a_report_is_there_at_once(toy: Toy, _: str) -> object:
    return toy.aws.client("iam").generate_credential_report()["State"] == "COMPLETE"


# Secrets Manager


def secret(toy: Toy, name: str) -> Any:
    """A client, after creating a secret with version aaa..."""
    secrets = toy.aws.client("secretsmanager")
    secrets.create_secret(Name=name, SecretString="a", ClientRequestToken="a" * 32)
    return secrets


def put(secrets: Any, name: str, letter: str, *labels: str, value: str = "v") -> Any:
    return secrets.put_secret_value(
        SecretId=name, SecretString=value, ClientRequestToken=letter * 32, VersionStages=labels
    )


def names_are_not_checked(toy: Toy, name: str) -> object:
    return error_of(toy.aws.client("secretsmanager").create_secret, Name=f"{name} #") == ""


def the_token_of_create_is_ignored(toy: Toy, name: str) -> object:
    described = secret(toy, name).describe_secret(SecretId=name)
    return "a" * 32 not in described["VersionIdsToStages"]


def a_used_token_overwrites(toy: Toy, name: str) -> object:
    secrets = secret(toy, name)
    put(secrets, name, "b", "X", value="one")
    put(secrets, name, "b", "X", value="two")
    return True


def a_label_is_on_two_versions(toy: Toy, name: str) -> object:
    secrets = secret(toy, name)
    put(secrets, name, "b", "X")
    put(secrets, name, "c", "X")
    stages = secrets.describe_secret(SecretId=name)["VersionIdsToStages"]
    return "X" in stages["b" * 32] and "X" in stages["c" * 32]


def the_first_value_is_not_current(toy: Toy, name: str) -> object:
    secrets = toy.aws.client("secretsmanager")
    created = secrets.create_secret(Name=name)
    stages = put(secrets, name, "b", "X")["VersionStages"]
    return "VersionId" in created or "AWSCURRENT" not in stages


def version_and_label_may_disagree(toy: Toy, name: str) -> object:
    secrets = secret(toy, name)
    put(secrets, name, "b", "X")
    call = secrets.get_secret_value
    return error_of(call, SecretId=name, VersionId="b" * 32, VersionStage="AWSCURRENT") == ""


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


def a_partial_arn_finds_another_secret(toy: Toy, name: str) -> object:
    secrets = toy.aws.client("secretsmanager")
    arn = secrets.create_secret(Name=f"{name}-longer1", SecretString="s")["ARN"]
    prefix = arn[: -len("-longer1-AbCdEf")]
    return error_of(secrets.get_secret_value, SecretId=prefix) == ""


# Lambda


def exceptions_have_no_class(toy: Toy, _: str) -> object:
    return toy.invoke({"do": "raise"})["errorType"] != "ToyError"


def an_exception_ends_the_worker(toy: Toy, _: str) -> object:
    before = toy.invoke({"do": "sleep", "seconds": 0})["pid"]
    toy.invoke({"do": "raise"})
    return toy.invoke({"do": "sleep", "seconds": 0})["pid"] != before


# Step Functions


def starting_twice_is_refused(toy: Toy, name: str) -> object:
    wait = {"Type": "Wait", "Seconds": 600, "End": True}
    machine = toy.machine(name, {"StartAt": "W", "States": {"W": wait}})
    toy.start({}, machine, name="one")
    call = toy.aws.client("stepfunctions").start_execution
    return error_of(call, stateMachineArn=machine, name="one", input="{}") != ""


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


def states_all_catches_everything(toy: Toy, name: str) -> object:
    task = toy.task(Catch=[{"ErrorEquals": ["States.ALL"], "Next": "Caught"}])
    task["Resource"] = "arn:aws:states:::nothing:atAll"
    states = {"T": task, "Caught": {"Type": "Succeed"}}
    return toy.run(name, {"StartAt": "T", "States": states})["status"] == "SUCCEEDED"


def a_default_ignores_the_output(toy: Toy, name: str) -> object:
    never = {"Condition": "{% false %}", "Next": "End"}
    choice = {"Type": "Choice", "Choices": [never], "Default": "End", "Output": "mine"}
    definition = {"StartAt": "C", "States": {"C": choice, "End": {"Type": "Succeed"}}}
    return toy.run(name, definition)["output"] != '"mine"'


def an_expression_is_no_time_limit(toy: Toy, name: str) -> object:
    task = toy.task(TimeoutSeconds="{% 5 %}")
    return toy.run(name, {"StartAt": "T", "States": {"T": task}})["status"] != "SUCCEEDED"


def a_distributed_map_knows_no_items(toy: Toy, name: str) -> object:
    inner = {"StartAt": "I", "States": {"I": {"Type": "Pass", "End": True}}}
    mode = {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    state = {
        "Type": "Map",
        "Items": "{% [1, 2] %}",
        "ItemProcessor": {"ProcessorConfig": mode, **inner},
        "End": True,
    }
    return toy.run(name, {"StartAt": "M", "States": {"M": state}}).get("output") != "[1, 2]"


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


def assign_sees_its_own_values(toy: Toy, name: str) -> object:
    swap = {"x": "{% $y %}", "y": "{% $x %}"}
    states = {
        "One": {"Type": "Pass", "Assign": {"x": 1, "y": 2}, "Next": "Two"},
        "Two": {"Type": "Pass", "Assign": swap, "Next": "Three"},
        "Three": {"Type": "Pass", "Output": "{% [$x, $y] %}", "End": True},
    }
    return json.loads(toy.run(name, {"StartAt": "One", "States": states})["output"]) != [2, 1]


def the_role_is_not_checked(toy: Toy, name: str) -> object:
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:iam:listUsers",
        "Arguments": {},
        "End": True,
    }
    return toy.run(name, {"StartAt": "T", "States": {"T": task}})["status"] == "SUCCEEDED"


def errors_of_iam_have_no_name(toy: Toy, name: str) -> object:
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:iam:getUser",
        "Arguments": {"UserName": name},
        "End": True,
    }
    ended = toy.run(name, {"StartAt": "T", "States": {"T": task}})
    return ended["error"] != "Iam.NoSuchEntityException"


def parallel_ignores_its_output(toy: Toy, name: str) -> object:
    branch = {"StartAt": "B", "States": {"B": {"Type": "Pass", "End": True}}}
    state = {"Type": "Parallel", "Branches": [branch], "Output": "mine", "End": True}
    ended = toy.run(name, {"StartAt": "P", "States": {"P": state}})
    return json.loads(ended["output"]) != "mine"


def the_redrive_count_is_missing(toy: Toy, name: str) -> object:
    output = "{% $exists($states.context.Execution.RedriveCount) %}"
    state = {"Type": "Pass", "Output": output, "End": True}
    ended = toy.run(name, {"StartAt": "P", "States": {"P": state}})
    return ended["output"] == "false"


def executions_cannot_be_redriven(toy: Toy, name: str) -> object:
    fail = {"StartAt": "F", "States": {"F": {"Type": "Fail"}}}
    execution = toy.run(name, fail)["executionArn"]
    call = toy.aws.client("stepfunctions").redrive_execution
    return error_of(call, executionArn=execution) != ""


# CloudWatch


def metrics_of(toy: Toy, namespace: str) -> list[Any]:
    found = toy.aws.client("cloudwatch").list_metrics(Namespace=namespace)
    return list(found["Metrics"])


def emf_stays_text(toy: Toy, name: str) -> object:
    toy.invoke({"do": "print", "text": emf(name, 1, service="a")})
    return not metrics_of(toy, "Toy")


def executions_are_not_measured(toy: Toy, name: str) -> object:
    toy.run(name, {"StartAt": "S", "States": {"S": {"Type": "Succeed"}}})
    return not metrics_of(toy, "AWS/States")


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


GAPS = [
    last_use_is_not_recorded,
    an_unknown_key_is_not_denied,
    a_third_key_is_created,
    anyone_s_key_is_deleted,
    policies_do_not_see_the_path,
    policies_do_not_see_tags_of_users,
    variables_are_not_substituted,
    the_report_does_not_tell_uses,
    the_report_has_no_dates_of_passwords,
    a_report_is_there_at_once,
    names_are_not_checked,
    the_token_of_create_is_ignored,
    a_used_token_overwrites,
    a_label_is_on_two_versions,
    the_first_value_is_not_current,
    version_and_label_may_disagree,
    promotion_takes_pending_away,
    a_partial_arn_finds_another_secret,
    exceptions_have_no_class,
    an_exception_ends_the_worker,
    starting_twice_is_refused,
    executions_do_not_time_out,
    stopped_executions_go_on,
    the_delay_of_a_retrier_is_not_capped,
    states_all_catches_everything,
    a_default_ignores_the_output,
    an_expression_is_no_time_limit,
    a_distributed_map_knows_no_items,
    a_distributed_map_needs_no_permission,
    assign_sees_its_own_values,
    the_role_is_not_checked,
    errors_of_iam_have_no_name,
    parallel_ignores_its_output,
    the_redrive_count_is_missing,
    executions_cannot_be_redriven,
    emf_stays_text,
    executions_are_not_measured,
    an_alarm_sees_other_dimensions,
    members_have_an_organisation_of_their_own,
    the_owner_of_a_bucket_is_the_caller,
    the_organisation_of_a_bucket_is_unknown,
    a_rule_does_not_reach_another_account,
    a_rule_does_not_reach_another_region,
    a_rule_does_not_write_to_a_log_group,
    cloudformation_knows_no_policies_of_buses,
    code_in_another_account_s_bucket_is_not_found,
]

# The same with the overlay: what must be closed there.
CLOSED = GAPS[-8:]


@pytest.mark.parametrize("gap", GAPS, ids=lambda gap: gap.__name__)
def test_the_gap_still_exists(bare: Toy, name: str, gap: Callable[[Toy, str], object]) -> None:
    assert gap(bare, name), "closed upstream: the overlay can let go of it"


@pytest.mark.parametrize("gap", CLOSED, ids=lambda gap: gap.__name__)
def test_the_overlay_closes_the_gap(toy: Toy, name: str, gap: Callable[[Toy, str], object]) -> None:
    assert not gap(toy, name)
