"""An HTTP/1.1 server for one ASGI application, with what SDKs send and no more.

A general server costs as much processor time for each call as IAM's evaluation of it: parsing by a
state machine, a task for each timeout, events for each part. Here a request is one message to the
application and one task. There is no TLS, no HTTP/2, no websocket, and no time limit for a client.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import unquote

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

LINE, HEAD = b"\r\n", b"\r\n\r\n"
LONGEST_HEAD = 1 << 20
# A status line is the same for all answers of a status.
STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
WITHOUT_BODY = (204, 304)

logger = logging.getLogger("localaws.webserver")


class MalformedError(Exception):
    """What arrived is not HTTP."""


async def serve(application: Application, listener: socket.socket, ending: asyncio.Event) -> None:
    """Serve on a bound socket until `ending` is set, with the application's lifespan around it."""
    told: asyncio.Queue[Message] = asyncio.Queue()
    ready = asyncio.Event()

    async def note(message: Message) -> None:
        if message["type"] == "lifespan.startup.failed":
            raise RuntimeError(message.get("message", "the application does not start"))
        if message["type"] == "lifespan.startup.complete":
            ready.set()

    told.put_nowait({"type": "lifespan.startup"})
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(application), sock=listener, backlog=1024
    )
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    lifespan = asyncio.ensure_future(application(scope, told.get, note))
    async with server:
        await ending.wait()
        server.close()
    told.put_nowait({"type": "lifespan.shutdown"})
    await lifespan


class Connection(asyncio.Protocol):
    """One client's connection: a request at a time, in the order in which they arrive."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._unread = bytearray()
        self._head: Scope | None = None
        self._invited = False
        self._busy: asyncio.Task[None] | None = None
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As asyncio wants it."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """As asyncio wants it."""
        self.lost.set()

    def data_received(self, data: bytes) -> None:
        """As asyncio wants it."""
        self._unread += data
        if self._busy is None:
            self._go_on()

    def _go_on(self) -> None:
        """Begin with the next request once it is here as a whole."""
        try:
            if self._head is None:
                self._head = self._next_head()
            body = None if self._head is None else self._next_body(self._head["headers"])
        except (MalformedError, ValueError):
            self._transport.write(
                STATUS_LINES[400] + b"content-length: 0\r\nconnection: close\r\n\r\n"
            )
            self._transport.close()
            return
        if self._head is None or body is None:
            return
        scope, self._head, self._invited = self._head, None, False
        exchange = Exchange(scope, body, self._transport, self.lost)
        self._busy = asyncio.ensure_future(exchange.run(self._application))
        self._busy.add_done_callback(self._answered)

    def _answered(self, _: asyncio.Task[None]) -> None:
        self._busy = None
        if self._unread and not self.lost.is_set():
            self._go_on()

    def _next_head(self) -> Scope | None:
        end = self._unread.find(HEAD)
        if end < 0:
            if len(self._unread) > LONGEST_HEAD:
                raise MalformedError
            return None
        lines = bytes(self._unread[:end]).split(LINE)
        del self._unread[: end + len(HEAD)]
        method, target, _ = lines[0].split(b" ")
        path, _, query = target.partition(b"?")
        headers = []
        for line in lines[1:]:
            name, colon, value = line.partition(b":")
            if not colon:
                raise MalformedError
            headers.append((name.lower(), value.strip()))
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method.decode("ascii"),
            "scheme": "http",
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": headers,
            "client": self._transport.get_extra_info("peername"),
            "server": self._transport.get_extra_info("sockname"),
            "state": {},
            "extensions": {},
        }

    def _next_body(self, headers: Headers) -> bytes | None:
        """The body of the present request, when all of it is here."""
        given = dict(headers)
        if given.get(b"transfer-encoding", b"").lower() == b"chunked":
            body, size = _unchunked(self._unread)
        else:
            size = int(given.get(b"content-length", b"0"))
            body = bytes(self._unread[:size]) if len(self._unread) >= size else None
        if body is not None:
            del self._unread[:size]
        elif given.get(b"expect", b"").lower() == b"100-continue" and not self._invited:
            self._invited = True
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return body


def _unchunked(unread: bytearray) -> tuple[bytes | None, int]:
    """A chunked body, and how many bytes it took; None while its end is missing."""
    body, at = bytearray(), 0
    while (end := unread.find(LINE, at)) >= 0:
        size = int(unread[at:end].split(b";")[0], 16)
        at = end + len(LINE)
        if not size:
            end = unread.find(HEAD, end) if unread[at : at + 2] != LINE else at - len(LINE)
            return (
                (bytes(body), end + len(HEAD)) if end >= 0 and len(unread) >= end + 4 else (None, 0)
            )
        if len(unread) < at + size + len(LINE):
            break
        body += unread[at : at + size]
        at += size + len(LINE)
    return None, 0


class Exchange:
    """One request and its answer."""

    def __init__(
        self, scope: Scope, body: bytes, transport: asyncio.Transport, lost: asyncio.Event
    ) -> None:
        self._scope = scope
        self._body: bytes | None = body
        self._transport = transport
        self._lost = lost
        self._head = b""
        self._sized = False
        self._chunked = False
        self._bodiless = scope["method"] == "HEAD"
        self._closes = (b"connection", b"close") in scope["headers"]
        self._complete = False

    async def run(self, application: Application) -> None:
        """Let the application answer; an answer that it does not end breaks the connection."""
        try:
            await application(self._scope, self._receive, self._send)
        except ConnectionError:  # on purpose: the answer is lost
            self._closes = True
        except Exception:
            logger.exception("%s %s", self._scope["method"], self._scope["path"])
            self._closes = True
        if not self._complete or self._closes:
            self._transport.close()

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._lost.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._begin(message["status"], message.get("headers", ()))
        elif message["type"] == "http.response.body":
            self._add(message.get("body", b""), more=message.get("more_body", False))

    def _begin(self, status: int, headers: Headers) -> None:
        self._bodiless = self._bodiless or status in WITHOUT_BODY
        parts = [STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        for name, value in headers:
            lower = name.lower()
            self._sized = self._sized or lower == b"content-length"
            self._closes = self._closes or (lower == b"connection" and value == b"close")
            parts.append(b"%b: %b\r\n" % (name, value))
        self._head = b"".join(parts)

    def _add(self, body: bytes, *, more: bool) -> None:
        """Write a part of the body; the head goes with the first one."""
        data = b""
        if self._head:
            if not self._sized and not self._bodiless:
                self._chunked = more
                framing = (
                    b"transfer-encoding: chunked" if more else b"content-length: %d" % len(body)
                )
                self._head += framing + LINE
            data, self._head = self._head + LINE, b""
        if self._chunked:
            data += b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            data += b"" if more else b"0\r\n\r\n"
        elif not self._bodiless:
            data += body
        if data and not self._transport.is_closing():
            self._transport.write(data)
        self._complete = not more
