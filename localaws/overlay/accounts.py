"""Several accounts and Regions in one emulator, as AWS lets them work together.

Gaps in MiniStack 1.5.33 that this closes:
- every account is the master of an organisation of its own (here: an account that Organizations
  created belongs to the organisation that created it, which is what `aws:PrincipalOrgID` says);
- `aws:ResourceOrgID` has no value, and `aws:ResourceAccount` of a bucket is always the caller's
  (here: the owner's);
- a rule does not reach an event bus of another account or Region (here: it does when the target's
  role may and the bus's policy lets it, with the sender's account and Region in the event, and no
  further than one such step);
- CloudFormation does not know AWS::Events::EventBusPolicy;
- a rule does not write to a log group;
- what CloudFormation fetches from S3 (code of functions, state machines, templates) is not found
  in a bucket of another account (here: it is when the bucket's policy lets the caller read it).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from ministack.core import iam_evaluator
from ministack.core.arn import ArnParseError, parse_arn
from ministack.core.iam_evaluator import EvalContext
from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import cloudwatch_logs, eventbridge, organizations, s3
from ministack.services.cloudformation import provisioners

Properties = dict[str, Any]
# Set on an event that has crossed the border of an account or Region: it does not cross another.
HAS_CROSSED = "_HasCrossed"
EVENTS = "events.amazonaws.com"
logger = logging.getLogger("eventbridge")


def install() -> None:
    """Replace the functions concerned."""
    iam_evaluator._principal_org_id = organization_of
    iam_evaluator._resolve_condition_key = _with_owners(iam_evaluator._resolve_condition_key)
    eventbridge._invoke_target = _with_all_targets(eventbridge._invoke_target)
    s3._get_object_data = _with_buckets_of_others(s3._get_object_data)
    provisioners._RESOURCE_HANDLERS["AWS::Events::EventBusPolicy"] = {
        "create": _create_bus_policy,
        "update": _update_bus_policy,
        "delete": _delete_bus_policy,
    }


# The organisation


def organization_of(account_id: str) -> str | None:
    """The id of the organisation that an account belongs to, if it does."""
    for master, member in list(organizations._accounts._data):
        if member == account_id:
            organization = organizations._orgs.get_scoped(master, None, "self") or {}
            return str(organization["Id"]) if "Id" in organization else None
    return None


def _owner_of(arn: str) -> str | None:
    """The account that owns a resource; ARNs of S3 do not tell."""
    if arn.startswith("arn:aws:s3:::"):
        owner: str | None = s3._bucket_owner_account(arn.split(":::", 1)[1].split("/", 1)[0])
        return owner
    account: str | None = iam_evaluator._account_from_arn(arn)
    return account


def _with_owners(original: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    def resolve(key: str, context: Any) -> Any:
        match key.lower():
            case "aws:resourceaccount":
                return _owner_of(context.resource_arn) or original(key, context)
            case "aws:resourceorgid":
                return organization_of(_owner_of(context.resource_arn) or get_account_id())
        return original(key, context)

    return resolve


# Targets of rules


def _with_all_targets(original: Callable[..., None]) -> Callable[..., None]:
    def invoke(
        target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], view: Any = None
    ) -> None:
        try:
            arn = parse_arn(target.get("Arn", ""))
        except ArnParseError:
            return original(target, event, rule, view)
        elsewhere = (arn.account_id, arn.region) != (get_account_id(), get_region())
        if arn.service == "events" and arn.resource.startswith("event-bus/") and elsewhere:
            return _to_bus_elsewhere(arn, event, target)
        if arn.service == "logs" and not elsewhere:
            return _to_log_group(arn, event)
        return original(target, event, rule, view)

    return invoke


def _to_bus_elsewhere(arn: Any, event: dict[str, Any], target: dict[str, Any]) -> None:
    """Deliver an event to a bus of another account or Region, if both sides allow it."""
    if event.get(HAS_CROSSED):
        logger.warning("EventBridge: %s not delivered: the event came from elsewhere itself", arn)
        return
    account, role = get_account_id(), target.get("RoleArn", "").rsplit("/", 1)[-1]
    context = EvalContext(
        principal_arn=f"arn:aws:sts::{account}:assumed-role/{role}/EventBridge",
        principal_type="AssumedRole",
        principal_account=account,
        action="events:PutEvents",
        resource_arn=str(arn),
        region=arn.region,
        service_context={
            "events:source": [event["Source"]],
            "events:detail-type": [event["DetailType"]],
        },
    )
    policies = iam_evaluator._gather_role_policies(role, account)
    if iam_evaluator.evaluate(context, policies).decision != "Allow":
        logger.warning("EventBridge: %s not delivered: role %s may not", arn, role)
        return
    bus = arn.resource.split("/", 1)[1]
    policy = eventbridge._event_bus_policies.get_scoped(arn.account_id, arn.region, bus)
    if not iam_evaluator.resource_policy_allows(
        policy, context, same_account=arn.account_id == account
    ):
        logger.warning("EventBridge: %s not delivered: its policy does not let us", arn)
        return
    forwarded = {**event, "EventBusName": bus, HAS_CROSSED: True}
    forwarded.pop("_DispatchPath", None)
    with request_scope(arn.account_id, arn.region):
        if bus != "default" and bus not in eventbridge._event_buses:
            logger.warning("EventBridge: %s not delivered: there is no such bus", arn)
            return
        eventbridge._dispatch_event(forwarded)
        eventbridge._archive_event(forwarded)


def _to_log_group(arn: Any, event: dict[str, Any]) -> None:
    """Write the event to a log group, if a resource policy of CloudWatch Logs lets EventBridge."""
    group = arn.resource.removeprefix("log-group:")
    # As users report of AWS: a target that ends like CloudFormation's Arn of a group gets nothing.
    if group.endswith(":*"):
        logger.warning("EventBridge: %s not delivered: the ARN of a log group has no :*", arn)
        return
    context = EvalContext(
        principal_arn="*",
        principal_type="Service",
        principal_account="",
        action="logs:PutLogEvents",
        resource_arn=f"arn:aws:logs:{arn.region}:{arn.account_id}:log-group:{group}:log-stream:any",
        region=arn.region,
    )
    policies = [policy["policyDocument"] for policy in cloudwatch_logs._resource_policies.values()]
    if not any(
        iam_evaluator.evaluate_resource_policy(policy, context, service=EVENTS).decision == "Allow"
        for policy in policies
    ):
        logger.warning("EventBridge: %s not delivered: no resource policy of logs lets us", arn)
        return
    stream = {"logGroupName": group, "logStreamName": str(uuid4())}
    cloudwatch_logs._create_log_stream(stream)
    message = json.dumps(eventbridge._pattern_event_view(event).event_with_detail())
    entry = {"timestamp": int(time.time() * 1000), "message": message}
    cloudwatch_logs._put_log_events({**stream, "logEvents": [entry]})


# CloudFormation


def _create_bus_policy(_: str, properties: Properties, __: str) -> tuple[str, Properties]:
    bus = properties.get("EventBusName", "default")
    if bus != "default" and bus not in eventbridge._event_buses:
        raise ValueError(f"Event bus {bus} does not exist.")
    named = properties["StatementId"]
    statement = properties.get("Statement") or {
        "Effect": "Allow",
        "Principal": properties["Principal"],
        "Action": properties["Action"],
        "Resource": f"arn:aws:events:{get_region()}:{get_account_id()}:event-bus/{bus}",
    }
    _delete_bus_policy(named, properties)
    policy = eventbridge._event_bus_policies.setdefault(
        bus, {"Version": "2012-10-17", "Statement": []}
    )
    policy["Statement"].append({**statement, "Sid": named})
    return named, {}


def _update_bus_policy(
    physical_id: str, old: Properties, new: Properties, stack_name: str
) -> tuple[str, Properties]:
    _delete_bus_policy(physical_id, old)
    return _create_bus_policy(physical_id, new, stack_name)


def _delete_bus_policy(physical_id: str, properties: Properties) -> None:
    eventbridge._remove_permission(
        {"EventBusName": properties.get("EventBusName", "default"), "StatementId": physical_id}
    )


# S3


def _with_buckets_of_others(original: Callable[..., bytes | None]) -> Callable[..., bytes | None]:
    def get(bucket: str, key: str, version_id: str | None = None) -> bytes | None:
        owner, caller = s3._bucket_owner_account(bucket), get_account_id()
        if owner is None or owner == caller:
            return original(bucket, key, version_id)
        if not s3._foreign_bucket_allows(owner, bucket, key, "GET", {}, caller):
            return None
        with request_scope(owner, get_region()):
            return original(bucket, key, version_id)

    return get
