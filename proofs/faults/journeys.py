"""What a user of a case goes through: a rotation with its retirement, a back-out, a recovery...

A journey has two parts: `prepare` runs undisturbed, `begin` starts what the faults are for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from localaws.control import Joined
from proofs.faults.executions import LONGEST_SECONDS
from proofs.stack.scenarios import stop
from proofs.stack.support import Ended, MachineUser, Stack, result_of


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
    """One user on a journey: what the steps need, and the execution that `prepare` started.

    time: where the steps take part; nothing passes them by while they do not sleep there.
    """

    stack: Stack
    health: Health
    user: MachineUser
    time: Joined
    running: str = ""

    def start(self, **fields: object) -> None:
        """Start RotateKey for the user: that is the one that runs now."""
        self.running = self.stack.start(self.user.name, **fields)

    def reaches(self, state: str, arn: str = "") -> None:
        """Let time pass until the running execution, or another one, has entered a state."""
        arn = arn or self.running
        assert self.time.until(arn, state, seconds=LONGEST_SECONDS), f"{arn} never enters {state}"

    def rotate(self, **fields: object) -> Ended:
        """Run RotateKey to its end; the states are not told."""
        arn = self.stack.start(self.user.name, **fields)
        assert self.time.until(arn, seconds=LONGEST_SECONDS), f"{arn} does not end"
        found = self.stack.machines.describe_execution(executionArn=arn)
        return Ended(arn, found["status"], found.get("error"), result_of(found), [])


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


def _hurt(on: Traveller) -> None:
    on.health.hurt_by_deactivation(on.user)


def _open_at(state: str) -> Callable[[Traveller], None]:
    def open_there(on: Traveller) -> None:
        on.start()
        on.reaches(state)

    return open_there


def starting(**fields: object) -> Callable[[Traveller], None]:
    """Start RotateKey for the user."""
    return lambda on: on.start(**fields)


def stop_it(on: Traveller) -> None:
    """Stop what runs, as a person does."""
    stop(on.stack, on.running)


def _emergency(on: Traveller) -> None:
    on.running = on.stack.start(mode="EMERGENCY", accessKeyId=on.user.access_key_id)


JOURNEYS = {
    journey.name: journey
    for journey in (
        Journey("rotation", "ROTATED", starting(timing={"retentionSeconds": 1})),
        Journey("back-out", "BACKED_OUT", starting(), prepare=_hurt, hurt=True),
        Journey("recovery", "BACKED_OUT", stop_it, prepare=_open_at("Watch Consumers")),
        Journey(
            "back-out by hand",
            "BACKED_OUT",
            starting(action="BACK_OUT"),
            prepare=_open_at("Wait For Consumers"),
        ),
        Journey("emergency", "ROTATED", _emergency, emergency=True),
        Journey("first key", "ISSUED", starting(), key=False),
    )
}
