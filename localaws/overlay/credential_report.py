"""The credential report as IAM makes it.

Gaps in MiniStack 1.5.33 that this closes:
- no use of a key is ever in the report (here: what the last-used model in force lets be known);
- the slots follow the age of the keys (here: ascending access key ids, as recorded from AWS);
- a password has no dates, and users are in no order;
- a report is there at once, for ever, and never reused (here: STARTED, INPROGRESS and COMPLETE,
  ReportInProgress and ReportExpired, by the model in force).
"""

from __future__ import annotations

import base64
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from ministack.core.responses import get_account_id
from ministack.services import iam

from localaws import state
from localaws.model import CredentialReportModel
from localaws.overlay.iam import KEYS_PER_USER, Parameters, Response, iso_seconds

COLUMNS = iam._CRED_REPORT_HEADER
NO_KEY = ["false", "N/A", "N/A", "N/A", "N/A"]
NO_CERTIFICATES = ["false", "N/A", "false", "N/A"]


@dataclass(frozen=True)
class _Report:
    content: str
    begun_at: float
    ready_at: float


class Reports:
    """The one report of each account: when it was begun, and when it is there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._model = CredentialReportModel()
        self._reports: dict[str, _Report] = {}

    def set_model(self, model: CredentialReportModel) -> None:
        """Use the model from now on, and forget all reports."""
        with self._lock:
            self._model = model
            self._reports.clear()

    def generate(self, now: float) -> tuple[str, str]:
        """Begin a report unless there is one to use; returns state and description."""
        with self._lock:
            present = self._reports.get(get_account_id())
            if present and now < present.ready_at:
                return "INPROGRESS", ""
            if present and now - present.ready_at < self._model.reuse_seconds:
                return "COMPLETE", ""
            ready_at = now + self._model.generation_seconds
            self._reports[get_account_id()] = _Report(_content(now), now, ready_at)
            return "STARTED", "No report exists. Starting a new report generation task"

    def get(self, now: float) -> _Report | tuple[int, str, str]:
        """The report, or status, code and message of the error."""
        with self._lock:
            present = self._reports.get(get_account_id())
            if present is None:
                return 410, "ReportNotPresent", "No report is present"
            if now < present.ready_at:
                return 404, "ReportInProgress", "Report generation is in progress"
            if now - present.ready_at >= self._model.lifetime_seconds:
                return 410, "ReportExpired", "The report has expired; generate a new one"
            return present


reports = Reports()


def install() -> None:
    """Replace the two functions."""
    iam._IAM_HANDLERS["GenerateCredentialReport"] = _generate
    iam._IAM_HANDLERS["GetCredentialReport"] = _get


def _generate(_: Parameters) -> Response:
    status, description = reports.generate(time.time())
    told = f"<Description>{description}</Description>" if description else ""
    return _answer("GenerateCredentialReport", f"<State>{status}</State>{told}")


def _get(_: Parameters) -> Response:
    found = reports.get(time.time())
    if isinstance(found, tuple):
        refusal: Response = iam._error(*found, ns="iam")
        return refusal
    return _answer(
        "GetCredentialReport",
        f"<Content>{base64.b64encode(found.content.encode()).decode()}</Content>"
        "<ReportFormat>text/csv</ReportFormat>"
        f"<GeneratedTime>{iso_seconds(found.begun_at)}</GeneratedTime>",
    )


def _answer(action: str, result: str) -> Response:
    body = f"<{action}Result>{result}</{action}Result>"
    answer: Response = iam._xml(200, f"{action}Response", body, ns="iam")
    return answer


def _content(now: float) -> str:
    keys: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for key in sorted(iam._access_keys.values(), key=lambda key: str(key["AccessKeyId"])):
        keys[key["UserName"]].append(key)
    with_mfa = {device.get("User") for device in iam._mfa_devices.values()}
    names = sorted(iam._users, key=lambda name: (name.lower(), name))
    rows = [_root(now), *(_row(iam._users[name], keys[name], with_mfa, now) for name in names)]
    return "\n".join([COLUMNS, *(",".join(row) for row in rows)])


def _root(now: float) -> list[str]:
    """The root row: no keys, no MFA, a password that was never used."""
    account = get_account_id()
    created = iso_seconds(now - 365 * 86_400)
    password = ["not_supported", "no_information", "not_supported", "not_supported", "false"]
    arn = f"arn:aws:iam::{account}:root"
    return ["<root_account>", arn, created, *password, *NO_KEY, *NO_KEY, *NO_CERTIFICATES]


def _row(
    user: dict[str, Any], keys: list[dict[str, Any]], with_mfa: set[Any], now: float
) -> list[str]:
    name = user["UserName"]
    profile = iam._login_profiles.get(name)
    password = ["false", "N/A", "N/A", "N/A"]
    if profile:
        password = ["true", "no_information", profile["CreateDate"], "N/A"]
    slots = [_slot(key, name, now) for key in keys[:KEYS_PER_USER]]
    slots += [NO_KEY] * (KEYS_PER_USER - len(slots))
    mfa = "true" if name in with_mfa else "false"
    # A comma is allowed in a user name; how IAM writes one is not known, so it is quoted as CSV.
    written = [f'"{text}"' if "," in text else text for text in (name, user["Arn"])]
    return [*written, user["CreateDate"], *password, mfa, *slots[0], *slots[1], *NO_CERTIFICATES]


def _slot(key: dict[str, Any], user: str, now: float) -> list[str]:
    active = "true" if key["Status"] == "Active" else "false"
    shown = state.last_used.shown(key["AccessKeyId"], user, now)
    if shown is None:
        return [active, key["CreateDate"], "N/A", "N/A", "N/A"]
    when, service, region = shown
    return [active, key["CreateDate"], iso_seconds(when), region, service]
