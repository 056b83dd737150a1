"""IAM as AWS answers it.

Gaps in MiniStack 1.5.33 that this closes:
- GetAccessKeyLastUsed never tells a use (here: the middleware records them), and answers
  NoSuchEntity for an unknown key (here: 403 AccessDenied, as recorded from AWS);
- a third access key is created (here: 409 LimitExceeded);
- DeleteAccessKey ignores the user name (here: NoSuchEntity when the key is not the user's);
- CreateAccessKey and others without a user name act on a user "default" (here: the caller, or
  ValidationError for a role);
- user and role ARNs in policy evaluation lack the path; a call that names only an access key is
  evaluated against "*" (here: the owner's ARN);
- `iam:ResourceTag/...` and `secretsmanager:ResourceTag/...`, and `aws:ResourceTag/...` of IAM
  users, have no value;
- policy variables such as `${aws:username}` are not substituted;
- a policy is parsed at each call that it is asked about (here: once, which is much of a call);
- `aws:SecureTransport` is false, because the emulator speaks plain HTTP (here: true, as for every
  SDK and every service that calls AWS; a policy that asks for TLS must not lock them all out).
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from ministack.core import iam_actions, iam_evaluator
from ministack.services import iam, secretsmanager

from localaws import state

KEYS_PER_USER = 2
Response = tuple[int, dict[str, str], bytes]
Parameters = dict[str, Any]


def install() -> None:
    """Replace the functions concerned."""
    handlers = iam._IAM_HANDLERS
    for action in ("CreateAccessKey", "ListAccessKeys", "DeleteAccessKey", "UpdateAccessKey"):
        handlers[action] = _of_a_named_user(handlers[action])
    handlers["CreateAccessKey"] = _within_quota(handlers["CreateAccessKey"])
    handlers["DeleteAccessKey"] = _owned(handlers["DeleteAccessKey"])
    handlers["GetAccessKeyLastUsed"] = get_access_key_last_used
    iam_actions.extract_resource_arn = _with_paths(iam_actions.extract_resource_arn)
    iam_evaluator._resolve_condition_key = _with_tags(iam_evaluator._resolve_condition_key)
    iam_evaluator.parse_policy_document = _remembered(iam_evaluator.parse_policy_document)
    iam_evaluator._first_match = _with_variables(iam_evaluator._first_match)


def iso_seconds(when: float) -> str:
    """A Unix time in the form of IAM's dates, to the second."""
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _error(status: int, code: str, message: str) -> Response:
    answer: Response = iam._error(status, code, message, ns="iam")
    return answer


def _no_such_key(key_id: str) -> Response:
    return _error(404, "NoSuchEntity", f"The Access Key with id {key_id} cannot be found.")


# Access keys


def _of_a_named_user(handler: Callable[[Parameters], Response]) -> Callable[[Parameters], Response]:
    """Without a user name, act on the calling user; a role must name one."""

    def handle(parameters: Parameters) -> Response:
        if not iam._p(parameters, "UserName"):
            caller = iam_evaluator.caller_arn()
            if ":user/" not in caller:
                return _error(
                    400,
                    "ValidationError",
                    "Must specify userName when calling with non-User credentials",
                )
            parameters = {**parameters, "UserName": [caller.rsplit("/", 1)[-1]]}
        user = iam._p(parameters, "UserName")
        if user not in iam._users:
            return _error(404, "NoSuchEntity", f"The user with name {user} cannot be found.")
        return handler(parameters)

    return handle


def _within_quota(handler: Callable[[Parameters], Response]) -> Callable[[Parameters], Response]:
    def handle(parameters: Parameters) -> Response:
        user = iam._p(parameters, "UserName")
        owned = [key for key in iam._access_keys.values() if key["UserName"] == user]
        if len(owned) >= KEYS_PER_USER:
            return _error(
                409,
                "LimitExceeded",
                f"Cannot exceed quota for AccessKeysPerUser: {KEYS_PER_USER}",
            )
        return handler(parameters)

    return handle


def _owned(handler: Callable[[Parameters], Response]) -> Callable[[Parameters], Response]:
    def handle(parameters: Parameters) -> Response:
        user = iam._p(parameters, "UserName")
        key_id = iam._p(parameters, "AccessKeyId")
        key = iam._access_keys.get(key_id)
        if key is None or key["UserName"] != user:
            return _no_such_key(key_id)
        return handler(parameters)

    return handle


def get_access_key_last_used(parameters: Parameters) -> Response:
    """Tell what the model in force lets be known of the key's uses."""
    key_id = iam._p(parameters, "AccessKeyId")
    key = iam._access_keys.get(key_id)
    if key is None:
        return _error(
            403,
            "AccessDenied",
            f"User: {iam_evaluator.caller_arn()} is not authorized to perform: "
            f"iam:GetAccessKeyLastUsed on resource: access key {key_id}",
        )
    shown = state.last_used.shown(key_id, key["UserName"], time.time())
    if shown is None:
        use = "<Region>N/A</Region><ServiceName>N/A</ServiceName>"
    else:
        when, service, region = shown
        use = (
            f"<LastUsedDate>{iso_seconds(when)}</LastUsedDate>"
            f"<Region>{region}</Region><ServiceName>{service}</ServiceName>"
        )
    answer: Response = iam._xml(
        200,
        "GetAccessKeyLastUsedResponse",
        f"<GetAccessKeyLastUsedResult><UserName>{key['UserName']}</UserName>"
        f"<AccessKeyLastUsed>{use}</AccessKeyLastUsed></GetAccessKeyLastUsedResult>",
        ns="iam",
    )
    return answer


# Policy evaluation: the resource


def _with_paths(original: Callable[..., str]) -> Callable[..., str]:
    """The ARN that a policy must match: IAM entities with their path, new secrets with a suffix."""

    def extract(  # noqa: PLR0917 - the signature is MiniStack's
        service: str,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes,
        query: dict[str, list[str]],
        region: str,
        account: str,
    ) -> str:
        arn = original(service, method, path, headers, body, query, region, account)
        if service == "iam":
            return _iam_arn(arn, query, account)
        if service == "secretsmanager" and headers.get("x-amz-target", "").endswith(
            ".CreateSecret"
        ):
            known = any(arn == secret["ARN"] for secret in secretsmanager._secrets.values())
            return arn if known else f"{arn}-AbCdEf"
        return arn

    return extract


def _iam_arn(arn: str, query: dict[str, list[str]], account: str) -> str:
    action, user, path = ((query.get(name) or [""])[0] for name in ("Action", "UserName", "Path"))
    key = iam._access_keys.get((query.get("AccessKeyId") or [""])[0])
    if ":role/" in arn:
        role = iam._roles.get(arn.rsplit("/", 1)[-1])
        return str(role["Arn"]) if role else arn
    if not user and key is not None:
        user = key["UserName"]
    elif not user and action in ("CreateAccessKey", "ListAccessKeys", "GetUser"):
        caller = iam_evaluator.caller_arn()
        return caller if ":user/" in caller else arn
    if not user or not (":user/" in arn or arn == "*"):
        return arn
    if user in iam._users:
        return str(iam._users[user]["Arn"])
    return f"arn:aws:iam::{account}:user{path or '/'}{user}"


# Policy evaluation: condition keys and variables


def _tags_of(arn: str) -> dict[str, str]:
    """The tags of an IAM user, role or secret, by lower-case key."""
    tags: list[dict[str, str]] = []
    if ":iam:" in arn:
        table = iam._users if ":user/" in arn else iam._roles
        entity = table.get(arn.rsplit("/", 1)[-1])
        tags = entity.get("Tags") or [] if entity and entity["Arn"] == arn else []
    elif ":secretsmanager:" in arn:
        _, secret = secretsmanager._resolve(arn)
        tags = (secret or {}).get("Tags") or []
    return {tag["Key"].lower(): tag["Value"] for tag in tags}


def _remembered(original: Callable[[Any], list[Any]]) -> Callable[[Any], list[Any]]:
    """A policy is parsed once, not at each call that it is asked about."""
    of_text = functools.lru_cache(maxsize=4096)(original)

    def parse(document: Any) -> list[Any]:
        return of_text(document) if isinstance(document, str) else original(document)

    return parse


def _with_tags(original: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    def resolve(key: str, context: Any) -> Any:
        if key.lower() == "aws:securetransport":
            return "true"
        prefix, _, tag = key.lower().partition(":resourcetag/")
        if tag and prefix in ("aws", "iam", "secretsmanager"):
            found = _tags_of(context.resource_arn).get(tag)
            if found is not None:
                return found
        if tag and prefix in ("iam", "secretsmanager"):
            return None
        return original(key, context)

    return resolve


VARIABLE = re.compile(r"\$\{([^}]+)\}")
LITERALS = {"*": "*", "?": "?", "$": "$"}


class _UnresolvedVariableError(Exception):
    """A statement uses a variable that this request has no value for: it does not apply."""


def _with_variables(original: Callable[..., Any]) -> Callable[..., Any]:
    def first_match(context: Any, statements: list[Any], effect: str) -> Any:
        return original(context, [*_expanded(context, statements)], effect)

    return first_match


def _expanded(context: Any, statements: list[Any]) -> list[Any]:
    expanded = []
    for statement in statements:
        try:
            expanded.append(
                replace(
                    statement,
                    resources=_substitute(statement.resources, context),
                    not_resources=_substitute(statement.not_resources, context),
                    conditions=_substitute(statement.conditions, context),
                )
                if "${" in repr((statement.resources, statement.not_resources))
                or "${" in repr(statement.conditions)
                else statement
            )
        except _UnresolvedVariableError:
            continue
    return expanded


def _substitute(value: Any, context: Any) -> Any:
    if isinstance(value, str):
        return VARIABLE.sub(lambda match: _value_of(match[1], context), value)
    if isinstance(value, list):
        return [_substitute(item, context) for item in value]
    if isinstance(value, dict):
        return {key: _substitute(item, context) for key, item in value.items()}
    return value


def _value_of(variable: str, context: Any) -> str:
    name, comma, default = variable.partition(",")
    if name in LITERALS:
        return LITERALS[name]
    value = iam_evaluator._resolve_condition_key(name.strip(), context)
    if isinstance(value, str):
        return value
    if comma:
        return default.strip().strip("'")
    raise _UnresolvedVariableError(name)
