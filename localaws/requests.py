"""Reads a request: which API action it is, who makes it, and which users it is about."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

from ministack.core.iam_actions import extract_iam_action
from ministack.core.iam_evaluator import CredentialResolutionError, resolve_credential
from ministack.core.router import detect_service, extract_access_key_id
from ministack.services import iam

from localaws.state import Request

# Never looked into: these hold secrets, and no name in them says what the call is about.
UNREAD = frozenset({"SecretString", "SecretBinary", "ZipFile", "TemplateBody", "definition"})
NOT_ABOUT = frozenset({"Action", "Version"})
LONGEST_NAME = 512

Headers = dict[str, str]
Query = dict[str, list[str]]


def action_of(
    method: str, path: str, headers: Headers, body: bytes, query: Query
) -> tuple[str, str, str]:
    """MiniStack's name of the service, then service and action as in IAM policies."""
    params = {**query, **_form(headers, body)}
    service = detect_service(method, path, headers, params)
    name = extract_iam_action(service, method, path, headers, body, params) or f"{service}:"
    prefix, _, action = name.partition(":")
    return service, prefix, action


def all_parameters(headers: Headers, body: bytes, query: Query) -> Query:
    """The parameters of query string and form body, as MiniStack's extractors want them."""
    return {**query, **_form(headers, body)}


def parameters_of(headers: Headers, body: bytes, query: Query) -> dict[str, Any]:
    """The request's parameters, from the query, a form, or a JSON body."""
    parameters: dict[str, Any] = {
        name: values[0] for name, values in {**query, **_form(headers, body)}.items() if values
    }
    if body[:1] == b"{":
        try:
            document = json.loads(body)
        except ValueError:
            return parameters
        parameters |= document
    return parameters


def principal_of(access_key_id: str, account_id: str) -> str:
    """The ARN behind a key, or "" if there is none."""
    credential = resolve_credential(access_key_id, account_id)
    return "" if isinstance(credential, CredentialResolutionError) else credential.principal_arn


def key_of(headers: Headers, query: Query) -> str:
    """The access key id that a request claims, or ""."""
    return str(extract_access_key_id(headers, query) or "")


def describe(
    service: str,
    action: str,
    *,
    principal: str,
    parameters: dict[str, Any],
    event: Any = None,
    function: str = "",
) -> Request:
    """Gather what faults can match on, from the request and the invocation that makes it."""
    unread = UNREAD | NOT_ABOUT
    readable = {name: value for name, value in parameters.items() if name not in unread}
    about: set[str] = set()
    for text in [*strings(readable), *strings(event)]:
        about |= names_in(text)
    if ":user/" in principal:
        about.add(principal.rsplit("/", 1)[-1])
    secrets: frozenset[str] = frozenset()
    if service == "secretsmanager":
        named = readable.get("SecretId") or readable.get("Name")
        secrets = frozenset(names_in(named)) if isinstance(named, str) else frozenset()
    return Request(service, action, principal, function, frozenset(about), secrets)


def strings(value: Any) -> Iterator[str]:
    """Every text in a JSON value; a text that is JSON itself (an execution's input) is opened."""
    if isinstance(value, str):
        if value[:1] == "{":
            try:
                yield from strings(json.loads(value))
            except (ValueError, RecursionError):
                return
        elif len(value) <= LONGEST_NAME:
            yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            if name not in UNREAD:
                yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def names_in(text: str) -> set[str]:
    """The text, the last part of a path or ARN, and the owner of an access key."""
    names = {text}
    if text.startswith("arn:"):
        resource = text.split(":", 5)[-1]
        if resource.startswith("secret:"):
            resource = re.sub(r"-[A-Za-z0-9]{6}$", "", resource.removeprefix("secret:"))
            names.add(resource)
        names.add(re.split(r"[/:]", resource)[-1])
    elif "/" in text:
        names.add(text.rsplit("/", 1)[-1])
    key = iam._access_keys.get(text)
    if key is not None:
        names.add(key["UserName"])
    return names


def _form(headers: Headers, body: bytes) -> Query:
    if "x-www-form-urlencoded" not in headers.get("content-type", ""):
        return {}
    return parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
