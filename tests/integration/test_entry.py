"""The frame of every handler: errors by class name, nothing quoted, what Powertools is told."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from keyturn.handlers.frame import Answer, Event, framed, state_function
from keyturn.model import errors
from keyturn.model.errors import KeyturnError, RequestRejected, UnexpectedFailure
from keyturn.model.settings import Settings
from tests.integration.account import CONTEXT, ENVIRONMENT, Execution

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
KEY_ID = "AKIAIOSFODNN7EXAMPLE"
EXECUTION = Execution(
    "arn:aws:states:us-east-1:123456789012:execution:rotate:x", {"userName": "ci"}
)

EMPTY: dict[str, Any] = {}

# Each raises something that quotes what it met, as libraries do.
DEFECTS: dict[str, Any] = {
    "KeyError": lambda: EMPTY[SECRET],
    "ValueError": lambda: int(SECRET),
    "JSONDecodeError": lambda: json.loads(SECRET),
    "ValidationError": lambda: Model.model_validate({"number": SECRET}),
    "AttributeError": lambda: getattr(Model, SECRET),
    "AssertionError": lambda: refuse(SECRET),
    "RecursionError": lambda: json.loads("[" * 100_000),
}


class Model(BaseModel):
    number: int


def refuse(value: str) -> None:
    raise AssertionError(f"unexpected {value}")


def failing(act: Any) -> Any:
    def step(event: Event) -> Answer:
        act()
        return Answer("NEVER")

    return state_function(step)


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_reported_by_type_and_place_and_never_by_value(
    name: str, logged: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UnexpectedFailure, match=f"^{name} at .*a defect of Keyturn$") as failure:
        failing(DEFECTS[name])(EXECUTION.payload(), CONTEXT)
    reported = str(failure.value) + logged.getvalue() + "".join(capsys.readouterr())
    assert "unexpected failure" in reported
    assert SECRET not in reported
    assert failure.value.__cause__ is None
    assert failure.value.__suppress_context__


def test_a_malformed_model_names_the_field() -> None:
    with pytest.raises(UnexpectedFailure, match=r"ValidationError at .* in number;"):
        failing(DEFECTS["ValidationError"])(EXECUTION.payload(), CONTEXT)


@pytest.mark.parametrize(
    "payload", [{}, {"context": {}}, {"context": {"Execution": {"Id": SECRET}}}]
)
def test_a_payload_that_no_state_sends_is_a_defect(payload: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedFailure) as failure:
        failing(lambda: None)(payload, CONTEXT)
    assert SECRET not in str(failure.value)


KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, KeyturnError) and kind is not KeyturnError
]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_on_purpose_leaves_under_its_own_name(kind: type[KeyturnError]) -> None:
    def act() -> None:
        raise kind("in words")

    with pytest.raises(kind, match="in words") as raised:
        failing(act)(EXECUTION.payload(), CONTEXT)
    assert type(raised.value) is kind


def test_logs_mask_key_ids_and_hold_no_event(logged: io.StringIO) -> None:
    def act() -> None:
        raise RequestRejected(f"AWSCURRENT is on {KEY_ID}-{'0' * 32}")

    execution = Execution(EXECUTION.arn, {"userName": "ci", "reason": SECRET})
    with pytest.raises(RequestRejected):
        failing(act)(execution.payload(), CONTEXT)
    lines = logged.getvalue()
    line = json.loads(lines)
    assert line["message"] == f"AWSCURRENT is on ...MPLE-{'0' * 32}"
    assert (line["error"], line["execution"]) == ("RequestRejected", EXECUTION.arn)
    assert KEY_ID not in lines
    assert SECRET not in lines


def test_logs_name_the_step_and_count_nothing(
    logged: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    """AWS/Lambda counts calls and errors of each function, and charges nothing for it."""
    with pytest.raises(UnexpectedFailure):
        failing(lambda: EMPTY["x"])(EXECUTION.payload(), CONTEXT)
    assert json.loads(logged.getvalue())["step"] == "test_entry"
    assert "_aws" not in capsys.readouterr().out


def test_the_next_call_logs_nothing_of_the_last_one(logged: io.StringIO) -> None:
    state_function(lambda event: Answer("DONE"))(EXECUTION.payload(), CONTEXT)
    assert EXECUTION.arn in logged.getvalue()
    logged.truncate(0)
    with pytest.raises(UnexpectedFailure):
        framed("somewhere", lambda data: EMPTY["x"])({}, CONTEXT)
    assert "unexpected failure" in logged.getvalue()
    assert EXECUTION.arn not in logged.getvalue()


def test_a_rotation_that_names_somebody_elses_secret_is_refused() -> None:
    def step(event: Event) -> Answer:
        return Answer("DONE", event.rotation)

    execution = Execution(EXECUTION.arn, {"userName": "ci"})
    execution.rotation = {
        "userName": "ci",
        "secretName": "machine-user/somebody-else",
        "startedAt": "2026-11-21T05:00:00Z",
        "policy": dict.fromkeys(
            (
                "pickupTimeoutSeconds",
                "quietPeriodSeconds",
                "coarsenessSeconds",
                "lagSeconds",
                "watchSeconds",
                "backoutGraceSeconds",
                "retentionSeconds",
                "pollMinSeconds",
                "pollMaxSeconds",
                "minKeyAgeSeconds",
                "unusedAfterDays",
                "fenceSeconds",
            ),
            1,
        ),
    }
    with pytest.raises(RequestRejected, match="not the one of the user"):
        state_function(step)(execution.payload(), CONTEXT)
    execution.rotation["secretName"] = "machine-user/ci"
    execution.rotation["fieldOfANewerDeployment"] = {"kept": True}
    answer = state_function(step)(execution.payload(), CONTEXT)
    assert answer["rotation"]["fieldOfANewerDeployment"] == {"kept": True}


@pytest.mark.parametrize("name", ["\ud800", "\n", SECRET], ids=["no text", "a line", "a secret"])
def test_a_retirement_does_not_repeat_what_is_no_user_name(name: str) -> None:
    execution = Execution(EXECUTION.arn, {"userName": name})
    answer = execution.call("retire_old_key", phase="CHECK")
    assert answer["result"]["userName"] is None
    sent = json.dumps(answer, ensure_ascii=False)
    assert sent.encode()
    assert "(no user named)" in answer["announcement"]["subject"]
    assert SECRET not in sent


class TestSettings:
    @pytest.mark.parametrize("value", [None, "", "ten", "-1", "1.5"])
    def test_a_bad_variable_is_named(
        self, monkeypatch: pytest.MonkeyPatch, value: str | None
    ) -> None:
        if value is None:
            monkeypatch.delenv("WATCH_SECONDS")
        else:
            monkeypatch.setenv("WATCH_SECONDS", value)
        with pytest.raises(errors.SettingMissing, match="WATCH_SECONDS"):
            Settings.from_env()


class TestOnLambda:
    """What is different where LAMBDA_TASK_ROOT is set, in an interpreter of its own."""

    def run(self, code: str, **environment: str) -> str:
        root = Path(__file__).parent.parent.parent
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={
                **ENVIRONMENT,
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(root / "functions"),
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    MODULES = (
        "import sys, keyturn.handlers.rotate_key.check_request; "
        "print([n for n in ('aws_xray_sdk', 'requests', 'wrapt') if n in sys.modules])"
    )

    def test_elsewhere_no_tracing_is_imported(self) -> None:
        assert self.run(self.MODULES).strip() == "[]"

    def test_there_it_is_and_patches_botocore_alone(self) -> None:
        found = self.run(self.MODULES, LAMBDA_TASK_ROOT="/var/task")
        assert "aws_xray_sdk" in found
        assert "requests" not in found

    def test_neither_answers_nor_errors_reach_the_trace(self) -> None:
        """The emitter is what sends a trace; whatever it gets is printed here instead."""
        code = f"""
import os
from aws_xray_sdk.core import xray_recorder
sent = []
xray_recorder.emitter.send_entity = lambda entity: sent.append(entity.serialize())
from keyturn.handlers.frame import framed
from types import SimpleNamespace
context = SimpleNamespace(function_name="f", memory_limit_in_mb=1, aws_request_id="r",
                          invoked_function_arn="arn")
def fails(data):
    raise KeyError({SECRET!r})
for run in (lambda data: {{"answer": {SECRET!r}}}, fails):
    try:
        framed("m", run)({{"event": {SECRET!r}}}, context)
    except Exception as error:
        print(type(error).__name__)
print("sent", len(sent), {SECRET!r} in str(sent))
"""
        trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
        found = self.run(code, LAMBDA_TASK_ROOT="/var/task", _X_AMZN_TRACE_ID=trace)
        assert "UnexpectedFailure" in found
        assert found.splitlines()[-1] == "sent 2 False"
