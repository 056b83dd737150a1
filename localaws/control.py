"""The control client: what tests and the demo ask of a running emulator besides the AWS API."""

from __future__ import annotations

import http.client
import json
from dataclasses import asdict
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from localaws.errors import LocalAwsError
from localaws.model import (
    ApiCall,
    Change,
    CredentialReportModel,
    FaultRule,
    FiredFault,
    Invocation,
    LastUsedModel,
)

TIMEOUT_SECONDS = 30.0


class Joined:
    """Somebody outside who takes part in the moved time: busy, except while sleeping there.

    As a context manager it leaves at the end.
    """

    def __init__(self, control: Control, *, passive: bool) -> None:
        self._control = control
        self._number = control._post("clock/join", {"passive": passive})

    def sleep(self, seconds: float) -> None:
        """Sleep so long by the moved clock, or until `leave`."""
        asked = {"number": self._number, "seconds": seconds}
        self._control._post("clock/sleep", asked, timeout=None)

    def until(self, execution: str, state: str = "", *, seconds: float) -> bool:
        """Sleep until an execution enters a state, or ends; at most so long by the moved clock.

        Returns whether it has entered the state, or without one: whether it has ended.
        """
        asked = {"number": self._number, "seconds": seconds, "execution": execution, "state": state}
        return bool(self._control._post("clock/until", asked, timeout=None))

    def leave(self) -> None:
        """Take part no more, from any thread; a sleep ends at once."""
        self._control._post("clock/leave", {"number": self._number})

    def __enter__(self) -> Joined:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()


class Control:
    """Recorded calls, last-used models, backdated keys and injected faults."""

    def __init__(self, endpoint_url: str) -> None:
        self._address = urlsplit(endpoint_url).netloc

    def calls(
        self,
        *,
        since: float = 0,
        access_key_id: str | None = None,
        principal: str | None = None,
        action: str | None = None,
        about: str | None = None,
    ) -> list[ApiCall]:
        """The calls so far, oldest first, that meet every given condition.

        since: Unix time. principal: part of the caller's ARN. action: "iam:CreateAccessKey".
        about: an IAM user, as `FaultRule.user`.
        """
        criteria = {
            "since": since,
            "access_key_id": access_key_id,
            "principal": principal,
            "action": action,
            "about": about,
        }
        return [
            ApiCall(**{**call, "about": tuple(call["about"])})
            for call in self._post("calls", criteria)
        ]

    def set_last_used(
        self,
        model: LastUsedModel,
        *,
        user: str | None = None,
        access_key_prefix: str | None = None,
    ) -> None:
        """Use `model` for uses from now on: of one user's keys, of keys by prefix, or of all."""
        self._post(
            "last-used-model",
            {"model": asdict(model), "user": user, "access_key_prefix": access_key_prefix},
        )

    def set_last_used_date(
        self,
        access_key_id: str,
        when: datetime | None,
        service: str = "s3",
        region: str = "us-east-1",
    ) -> None:
        """Let GetAccessKeyLastUsed show this use, forgetting all earlier ones; None: never used."""
        self._post(
            "last-used",
            {
                "access_key_id": access_key_id,
                "time": None if when is None else when.timestamp(),
                "service": service,
                "region": region,
            },
        )

    def backdate_key(self, access_key_id: str, created_at: datetime) -> None:
        """Make an existing access key look as old as that."""
        self._post(
            "backdate", {"access_key_id": access_key_id, "created_at": created_at.timestamp()}
        )

    def send_event(
        self,
        source: str,
        detail_type: str,
        detail: Any,
        resources: list[str] | None = None,
        *,
        account_id: str | None = None,
        region: str | None = None,
    ) -> None:
        """Send an event of another AWS service, which PutEvents refuses to everybody.

        It arrives in the emulator's own account and Region unless others are named.
        """
        self._post(
            "events",
            {
                "account_id": account_id,
                "region": region,
                "Source": source,
                "DetailType": detail_type,
                "Detail": json.dumps(detail),
                "Resources": resources or [],
            },
        )

    def until(self, execution: str, state: str = "", *, seconds: float) -> bool:
        """Wait until an execution enters a state, or ends; at most so long, in real time.

        Returns whether it has entered the state, or without one: whether it has ended. An
        execution that ends without entering the state ends the wait, too.
        """
        asked = {"execution": execution, "state": state, "seconds": seconds}
        patience = seconds + TIMEOUT_SECONDS
        return bool(self._post("executions/until", asked, timeout=patience))

    def now(self) -> float:
        """Unix time by the emulator's clock."""
        return float(self._post("clock/now", {}))

    def join(self, *, passive: bool = False) -> Joined:
        """Take part in the moved time, which does not jump until you sleep or leave.

        The sleep of a passive one alone does not make it jump either: nothing runs away when
        nobody waits for a consumer.
        """
        return Joined(self, passive=passive)

    def set_credential_report(self, model: CredentialReportModel) -> None:
        """Make credential reports like that from now on; the present one is forgotten."""
        self._post("credential-report", {"model": asdict(model)})

    def inject(self, rule: FaultRule) -> int:
        """Arm a fault. Returns the rule's id, for `faults_fired` and `clear_faults`."""
        return int(self._post("faults", asdict(rule))["rule"])

    def clear_faults(self, *, user: str | None = None, rule: int | None = None) -> None:
        """Disarm the faults of one user, one rule, or all of them."""
        self._post("faults/clear", {"user": user, "rule": rule})

    def faults_fired(self, *, user: str | None = None, rule: int | None = None) -> list[FiredFault]:
        """Which faults struck, oldest first: of one user, of one rule, or all."""
        return [
            FiredFault(**fired)
            for fired in self._post("faults/fired", {"user": user, "rule": rule})
        ]

    def changes(self, user: str) -> list[Change]:
        """Every change of a user's keys and secret, oldest first, lost answers included."""
        return [Change(**change) for change in self._post("changes", {"user": user})]

    def invocations(self, *, since: float = 0) -> list[Invocation]:
        """The function invocations that began since a Unix time and are over, in order of end."""
        return [Invocation(**found) for found in self._post("invocations", {"since": since})]

    def end_idle_workers(self) -> None:
        """End the Lambda workers that wait for work: the next invocations are cold starts."""
        self._post("workers/end-idle", {})

    def workers(self) -> list[int]:
        """The process ids of the Lambda workers that are alive."""
        return [int(pid) for pid in self._post("workers", {})]

    def _post(
        self, path: str, document: dict[str, Any], *, timeout: float | None = TIMEOUT_SECONDS
    ) -> Any:
        connection = http.client.HTTPConnection(self._address, timeout=timeout)
        try:
            connection.request("POST", f"/_local/{path}", json.dumps(document))
            response = connection.getresponse()
            text = response.read().decode()
        except OSError as error:
            raise LocalAwsError(f"The emulator at {self._address} does not answer: {error}") from (
                error
            )
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise LocalAwsError(f"The emulator refused /_local/{path}: {text}")
        return json.loads(text)
