"""The frame around every handler: parse the event, open the fence, log, translate errors.

Logs name the state, the user and masked key ids; never the event, because a caller's mistake
could have put anything into it.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger
from pydantic import ValidationError

from keyturn.aws import fence
from keyturn.model.errors import KeyturnError, RequestRejected, UnexpectedFailure
from keyturn.model.identifiers import execution_mark, masked_in
from keyturn.model.rotation import Rotation
from keyturn.model.settings import secret_name_prefix
from keyturn.rotate.announce import Announcement

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]

logger = Logger()


@dataclass(frozen=True)
class Event:
    """What a state passes to its function.

    `arn`, `started_at`, `mark` name the execution; `failure` is the error that led here
    ({Error, Cause}) or None; `data` is the payload itself, for what only one state passes.
    """

    arn: str
    started_at: datetime
    entered_at: datetime
    redrive_count: int
    execution_input: Any
    failure: dict[str, Any] | None
    data: dict[str, Any]

    @classmethod
    def parse(cls, data: dict[str, Any]) -> Event:
        """Parse the payload of a Task: `context` is the state machine's context object."""
        context = data["context"]
        execution = context["Execution"]
        return cls(
            arn=execution["Id"],
            started_at=_moment(execution["StartTime"]),
            entered_at=_moment(context["State"]["EnteredTime"]),
            redrive_count=int(execution.get("RedriveCount") or 0),
            execution_input=execution.get("Input"),
            failure=data.get("failure"),
            data=data,
        )

    @property
    def mark(self) -> str:
        """The execution's mark, as it is in the version ids that it makes."""
        return execution_mark(self.arn, self.started_at)

    @property
    def account_id(self) -> str:
        """The account that the execution runs in."""
        return self.arn.split(":")[4]

    @property
    def rotation(self) -> Rotation:
        """A fresh copy of the rotation that the execution carries.

        Raises:
            RequestRejected: it names a user and the secret of somebody else. No execution does;
                who may invoke a function could, and would so reach a secret that is not managed.
        """
        rotation = Rotation.model_validate(self.data["rotation"])
        if rotation.secret_name != secret_name_prefix() + rotation.user_name:
            raise RequestRejected("the secret is not the one of the user; nothing is changed")
        return rotation


@dataclass(frozen=True)
class Answer:
    """What a function answers: the rotation carried on, and a verdict for the next Choice."""

    verdict: str
    rotation: Rotation | None = None
    wait_seconds: int = 0
    result: dict[str, Any] | None = None
    announcement: Announcement | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def dump(self) -> dict[str, Any]:
        """Return the JSON form."""
        result = self.result
        if result is None and self.rotation is not None:
            result = self.rotation.result()
        return {
            "verdict": self.verdict,
            "rotation": self.rotation.dump() if self.rotation else None,
            "waitSeconds": self.wait_seconds,
            "result": result,
            "announcement": self.announcement,
            **self.extra,
        }


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)


def state_function(
    step: Callable[[Event], Answer], *, answers_redriven: bool = False
) -> Callable[[dict[str, Any], Any], Any]:
    """Make a handler out of a step.

    Args:
        step: what the state does.
        answers_redriven: whether the step itself answers a redriven execution; for all others
            that is an error, before they look at anything.

    Raises (from the handler): errors of `keyturn.model.errors` only, so that no message can quote a
    value that nobody looked at.
    """

    def run(data: dict[str, Any]) -> dict[str, Any]:
        event = Event.parse(data)
        logger.append_keys(execution=event.arn)
        with fence.opened(fence.Fence(event.entered_at, event.redrive_count)):
            if not answers_redriven:
                fence.assert_not_redriven()
            answer = step(event)
        logger.info(
            "done",
            verdict=answer.verdict,
            user_name=answer.rotation.user_name if answer.rotation else None,
            reason=masked_in(answer.rotation.why) if answer.rotation else None,
        )
        return answer.dump()

    return framed(step.__module__, run)


def framed(
    module: str, run: Callable[[dict[str, Any]], dict[str, Any]]
) -> Callable[[dict[str, Any], Any], Any]:
    """Wrap a function with logging, tracing and the translation of errors."""
    name = module.rsplit(".", 1)[-1]

    @_traced
    @logger.inject_lambda_context(clear_state=True, log_event=False)
    @functools.wraps(run)
    def wrapped(data: dict[str, Any], context: Any) -> dict[str, Any]:
        logger.append_keys(step=name)
        try:
            return run(data)
        except KeyturnError as error:
            logger.warning(masked_in(str(error)), error=type(error).__name__)
            raise
        # Blind on purpose: the one place where a defect becomes an error without values in it.
        except Exception as error:  # noqa: BLE001
            place = _place(error)
            logger.error("unexpected failure", error=type(error).__name__, place=place)
            raise UnexpectedFailure(
                f"{type(error).__name__} at {place}{_fields(error)}; this is a defect of Keyturn"
            ) from None

    handler: Callable[[dict[str, Any], Any], Any] = wrapped
    return handler


def _traced(handler: Handler) -> Handler:
    """Trace a handler on Lambda; neither answers nor errors are written into the trace.

    Elsewhere nobody listens, and importing the X-Ray SDK there costs a third of a handler's
    start, because outside of Lambda it makes an AWS client of its own.
    """
    if not os.environ.get("LAMBDA_TASK_ROOT"):
        return handler
    from aws_lambda_powertools import Tracer  # noqa: PLC0415 - for the reason above

    # Only botocore is patched: by default every library that the tracer knows is, which imports
    # them all, `requests` among them.
    tracer = Tracer(patch_modules=("botocore",))
    traced: Handler = tracer.capture_lambda_handler(
        handler, capture_response=False, capture_error=False
    )
    return traced


def _place(error: Exception) -> str:
    trace = error.__traceback__
    place = "unknown"
    while trace is not None:
        code = trace.tb_frame.f_code
        if "keyturn" in code.co_filename:
            place = f"{code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _fields(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return ""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return " in " + ", ".join(".".join(str(part) for part in item["loc"]) for item in found)
