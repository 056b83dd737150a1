"""The ASGI layer in front of MiniStack: records calls, notes uses of keys, injects faults.

It also serves the control endpoints under /_local/.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qs

from ministack.core.iam_actions import access_denied_response
from ministack.core.iam_evaluator import find_iam_access_key_account
from ministack.core.responses import (
    get_account_id,
    get_region,
    request_scope,
    set_request_account_id,
)
from ministack.core.router import extract_region
from ministack.services import eventbridge, iam

from localaws import requests, state
from localaws.clock import clock
from localaws.journal import journal
from localaws.model import ApiCall, CredentialReportModel, FaultRule, LastUsedModel
from localaws.overlay.credential_report import reports
from localaws.overlay.iam import iso_seconds
from localaws.overlay.lambda_workers import Workers
from localaws.participants import Participants, reached
from localaws.state import Request

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Answer = tuple[int, dict[str, str], bytes]

CONTROL_PREFIX = "/_local/"
# How services answer when they throttle: all others with 400 and ThrottlingException.
THROTTLES = {
    "iam": (400, "Throttling"),
    "sts": (400, "Throttling"),
    "s3": (503, "SlowDown"),
    "lambda": (429, "TooManyRequestsException"),
}
# An answer that fails before a policy is looked at: the key was not used.
NOT_AUTHENTICATED = frozenset(
    {
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
        "ExpiredToken",
        "MissingAuthenticationToken",
    }
)
# Calls that wait for something to come: nobody is busy with them.
LONG_POLLS = frozenset({"ReceiveMessage", "GetActivityTask"})
ERROR_CODE = re.compile(rb'<Code>([^<]+)</Code>|"__type"\s*:\s*"([^"]+)"')


class Announcing:
    """Calls back once the application has started."""

    def __init__(self, app: Any, on_ready: Callable[[], None]) -> None:
        self._app = app
        self._on_ready = on_ready

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def announce(message: Message) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                self._on_ready()

        await self._app(scope, receive, announce if scope["type"] == "lifespan" else send)


class Middleware:
    """Wraps MiniStack's ASGI application."""

    def __init__(self, app: Any, workers: Workers) -> None:
        self._app = app
        self._workers = workers
        self._participants = Participants()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/_ministack/"):
            await self._app(scope, receive, send)
        elif scope["path"].startswith(CONTROL_PREFIX):
            await self._control(scope, await _body(receive), send)
        else:
            await self._request(scope, await _body(receive), send)

    # One API call

    async def _request(self, scope: Scope, body: bytes, send: Send) -> None:
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1", "replace")
            for name, value in scope["headers"]
        }
        query = parse_qs(scope["query_string"].decode(), keep_blank_values=True)
        _, service, action = requests.action_of(
            scope["method"], scope["path"], headers, body, query
        )
        key = requests.key_of(headers, query)
        # As MiniStack itself will do: what follows looks into the tables of the caller's account.
        set_request_account_id(find_iam_access_key_account(key) or key)
        principal = requests.principal_of(key, get_account_id()) if key else ""
        worker = self._workers.worker_of(key)
        request = requests.describe(
            service,
            action,
            principal=principal,
            parameters=requests.parameters_of(headers, body, query),
            event=worker.event if worker else None,
            function=worker.function_name if worker else "",
        )
        owner = (iam._access_keys.get(key) or {}).get("UserName")
        region = extract_region(headers, query)
        waits = nullcontext() if action in LONG_POLLS else clock.busy()
        with waits:
            answer = await self._answer(scope, body, send, headers, request)
        code = _error_code(answer)
        if owner is not None and code not in NOT_AUTHENTICATED and answer[0] != 0:
            state.last_used.used(key, owner, service, region, time.time())
            journal.used(key, service)
        state.calls.add(
            ApiCall(
                time=time.time(),
                access_key_id=key,
                principal=principal,
                service=service,
                action=action,
                region=region,
                status=answer[0],
                error=code,
                user_agent=headers.get("user-agent", ""),
                source="http",
                about=tuple(sorted(request.about)),
            )
        )

    async def _answer(
        self, scope: Scope, body: bytes, send: Send, headers: dict[str, str], request: Request
    ) -> tuple[int, bytes]:
        """Let MiniStack answer, unless a fault strikes. Returns status and (the start of) body."""
        withheld = None
        for rule in state.faults.striking(request):
            if rule.kind == "delay":
                await asyncio.sleep(rule.delay_seconds)
            elif rule.kind == "throttle":
                status, code = THROTTLES.get(request.service, (400, "ThrottlingException"))
                answer = error_answer(request, status, code, "Rate exceeded", headers)
                return await _send_answer(send, answer)
            elif rule.kind == "error_before":
                answer = error_answer(request, rule.status, rule.code, rule.message, headers)
                return await _send_answer(send, answer)
            elif rule.kind == "kill_worker" and rule.moment == "before":
                self._kill(headers, rule)
                return await _drop(send)
            else:
                withheld = rule
        if withheld is None:
            return await self._pass_on(scope, body, send, request)
        status, text = await self._pass_on(scope, body, _nowhere, request)
        if withheld.kind == "kill_worker":
            self._kill(headers, withheld)
        elif withheld.answer == "http_500":
            answer = error_answer(request, 500, withheld.code, withheld.message, headers)
            await _send_answer(send, answer)
            return status, text
        await _drop(send)
        return status, text

    async def _pass_on(
        self, scope: Scope, body: bytes, send: Send, request: Request
    ) -> tuple[int, bytes]:
        seen: list[Any] = [0, b""]

        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen[0] = message["status"]
                if seen[0] < 400:
                    journal.note(request)  # before anybody can react to the answer
            elif seen[0] >= 400 and not seen[1]:
                seen[1] = message.get("body", b"")
            await send(message)

        await self._app(scope, _replay(body), watch)
        return seen[0], seen[1]

    def _kill(self, headers: dict[str, str], rule: FaultRule) -> None:
        worker = self._workers.worker_of(requests.key_of(headers, {}))
        if worker is not None:
            worker.killed_as = rule.surfaces_as
            worker.kill()

    # The control endpoints

    async def _control(self, scope: Scope, body: bytes, send: Send) -> None:
        asked = json.loads(body or b"{}")
        command = scope["path"].removeprefix(CONTROL_PREFIX)
        try:
            if command.startswith("clock/"):
                answer = await self._participants.answer(command.removeprefix("clock/"), asked)
            elif command == "executions/until":
                answer = await reached(asked["execution"], asked["state"], asked["seconds"])
            else:
                answer = self._controlled(command, asked)
            status, result = 200, answer
        except (KeyError, TypeError, ValueError) as error:
            status, result = 400, f"{type(error).__name__}: {error}"
        text = json.dumps(result).encode()
        await _send_answer(send, (status, {"content-type": "application/json"}, text))

    def _controlled(self, command: str, asked: dict[str, Any]) -> Any:
        match command:
            case "calls":
                return [asdict(call) for call in state.calls.matching(asked)]
            case "faults":
                return {"rule": state.faults.arm(FaultRule(**asked))}
            case "faults/fired":
                return [asdict(fired) for fired in state.faults.fired(asked["user"], asked["rule"])]
            case "changes":
                return [asdict(change) for change in journal.of(asked["user"])]
            case "workers" | "workers/end-idle" | "invocations":
                return self._of_workers(command, asked)
        return _set(command, asked)

    def _of_workers(self, command: str, asked: dict[str, Any]) -> Any:
        if command == "invocations":
            return [asdict(done) for done in self._workers.invocations(asked["since"])]
        if command == "workers":
            return self._workers.pids()
        self._workers.end_idle()
        return None


def _set(command: str, asked: dict[str, Any]) -> None:
    """Carry out a command that has no answer."""
    match command:
        case "last-used-model":
            model = asked["model"]
            if isinstance(model["lag_seconds"], list):
                model["lag_seconds"] = tuple(model["lag_seconds"])
            state.last_used.set_model(
                LastUsedModel(**model), asked["user"], asked["access_key_prefix"]
            )
        case "last-used":
            state.last_used.put(
                asked["access_key_id"], asked["time"], asked["service"], asked["region"]
            )
        case "backdate":
            _backdate(asked["access_key_id"], asked["created_at"])
        case "credential-report":
            reports.set_model(CredentialReportModel(**asked["model"]))
        case "events":
            account, region = asked.pop("account_id"), asked.pop("region")
            with request_scope(account or get_account_id(), region or get_region()):
                eventbridge._put_events({"Entries": [asked]}, allow_aws_source=True)
        case "faults/clear":
            state.faults.clear(asked["user"], asked["rule"])
        case _:
            raise ValueError(f"unknown control command {command!r}")


def _backdate(access_key_id: str, created_at: float) -> None:
    """Make a key as old as that (Unix time), whichever account it is in."""
    owner = find_iam_access_key_account(access_key_id)
    key = iam._access_keys.get_scoped(owner, None, access_key_id)
    if key is None:
        raise KeyError(access_key_id)
    key["CreateDate"] = iso_seconds(created_at)


def error_answer(
    request: Request, status: int, code: str, message: str, headers: dict[str, str]
) -> Answer:
    """An error in the service's own protocol."""
    _, answer_headers, body = access_denied_response(
        request.service,
        request.name,
        request.principal,
        "00000000-0000-0000-0000-000000000000",
        error_code=code,
        message=message,
        headers=headers,
    )
    return status, answer_headers, body


def _error_code(answer: tuple[int, bytes]) -> str:
    if answer[0] < 400:
        return ""
    found = ERROR_CODE.search(answer[1])
    return (found[1] or found[2]).decode().rsplit("#", 1)[-1] if found else ""


async def _body(receive: Receive) -> bytes:
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return b"".join(chunks)


def _replay(body: bytes) -> Receive:
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()  # the client stays until it has its answer
        raise AssertionError

    return receive


async def _nowhere(_: Message) -> None:
    """Swallow an answer that the caller must not see."""


async def _send_answer(send: Send, answer: Answer) -> tuple[int, bytes]:
    status, headers, body = answer
    raw = [
        (name.lower().encode(), value.encode())
        for name, value in headers.items()
        if name.lower() != "content-length"
    ]
    raw.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
    return status, body


async def _drop(send: Send) -> tuple[int, bytes]:
    """Break off in the middle of an answer, so that the client sees a lost connection."""
    headers = [(b"content-length", b"1000000"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b" ", "more_body": True})
    raise ConnectionAbortedError("injected: the answer is lost")
