"""What a user of a case goes through: a rotation with its retirement, a back-out, a recovery...

A journey has two parts: `prepare` runs undisturbed, `begin` starts what the faults are for.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from proofs.stack.outcomes import LINGERING, WATCHING
from proofs.stack.scenarios import stop
from proofs.stack.support import MachineUser, Stack


class Health:
    """Answers for all users' consumers: bad while the old key is inactive, until `heal`."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._hurt: dict[str, str] = {}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler) -> None:
                name = handler.path.rsplit("/", 1)[-1]
                handler.send_response(200 if self._good(name) else 503)
                handler.send_header("Content-Length", "0")
                handler.end_headers()

            def log_message(handler, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def hurt_by_deactivation(self, user: MachineUser) -> None:
        """Tag the user's secret with a health URL that goes bad with the deactivation."""
        self._hurt[user.name] = user.access_key_id
        url = f"http://127.0.0.1:{self._server.server_port}/{user.name}"
        self._stack.secrets.tag_resource(
            SecretId=user.secret_name, Tags=[{"Key": "keyturn:health-url", "Value": url}]
        )

    def heal(self, user: str) -> None:
        """Answer well from now on."""
        self._hurt.pop(user, None)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def _good(self, user: str) -> bool:
        key = self._hurt.get(user)
        if key is None:
            return True
        changes = self._stack.aws.control.changes(user)
        return changes[-1].keys.get(key) == "Active"


@dataclass
class Traveller:
    """One user on a journey: what the steps need, and the execution that `prepare` started."""

    stack: Stack
    health: Health
    user: MachineUser
    running: str = ""


@dataclass(frozen=True)
class Journey:
    """A journey: its name, how it ends undisturbed, and its two parts.

    key: whether the user has a key to begin with. emergency: whether that key is reported as
    exposed. hurt: whether the consumers are hurt by the deactivation.
    """

    name: str
    ends: str
    begin: Callable[[Traveller], None]
    prepare: Callable[[Traveller], None] = lambda _: None
    key: bool = True
    emergency: bool = False
    hurt: bool = False


def _rotate(on: Traveller) -> None:
    on.stack.start(on.user.name, timing={"retentionSeconds": 1})


def _hurt(on: Traveller) -> None:
    on.health.hurt_by_deactivation(on.user)


def _plain(on: Traveller) -> None:
    on.stack.start(on.user.name)


def _watch(on: Traveller) -> None:
    on.running = on.stack.start(on.user.name, timing=WATCHING)
    on.stack.reaches(on.running, "Watch Consumers", within_seconds=300)


def _linger(on: Traveller) -> None:
    on.running = on.stack.start(on.user.name, timing=LINGERING)
    on.stack.reaches(on.running, "Wait For Consumers", within_seconds=300)


def _stop(on: Traveller) -> None:
    stop(on.stack, on.running)


def _back_out(on: Traveller) -> None:
    on.stack.start(on.user.name, action="BACK_OUT")


def _emergency(on: Traveller) -> None:
    on.stack.start(mode="EMERGENCY", accessKeyId=on.user.access_key_id)


JOURNEYS = {
    journey.name: journey
    for journey in (
        Journey("rotation", "ROTATED", _rotate),
        Journey("back-out", "BACKED_OUT", _plain, prepare=_hurt, hurt=True),
        Journey("recovery", "BACKED_OUT", _stop, prepare=_watch),
        Journey("back-out by hand", "BACKED_OUT", _back_out, prepare=_linger),
        Journey("emergency", "ROTATED", _emergency, emergency=True),
        Journey("first key", "ISSUED", _plain, key=False),
    )
}


def user_of(given: str) -> tuple[str | None, str | None]:
    """The user name and the access key id that an execution's input names."""
    try:
        fields = json.loads(given)
    except ValueError:
        return None, None
    if not isinstance(fields, dict):
        return None, None
    return fields.get("userName"), fields.get("accessKeyId")
