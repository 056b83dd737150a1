"""The frame around every handler: parse the event, open the fence, log, translate errors.

Logs name the state, the user and masked key ids; never the event, because a caller's mistake
could have put anything into it.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from keyturn.aws import fence
from keyturn.aws.log import logger
from keyturn.model.environment import Environment
from keyturn.model.errors import (
    AwsRefused,
    ClaimLost,
    DeactivationPostponed,
    ExecutionRedriven,
    KeyNotProven,
    KeyturnError,
    RequestRejected,
    UnexpectedFailure,
    WorldContradictory,
)
from keyturn.model.execution import Execution
from keyturn.model.identifiers import masked_in
from keyturn.model.moments import parsed
from keyturn.model.rotation import Phase, Rotation
from keyturn.rotate import refusal
from keyturn.rotate.announce import Announcement

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


@dataclass(frozen=True)
class Event:
    """What a state passes to its function.

    `failure` is the error that led here
    ({Error, Cause}) or None; `data` is the payload itself, for what only one state passes.
    """

    execution: Execution
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
            execution=Execution(execution["Id"], parsed(execution["StartTime"])),
            entered_at=parsed(context["State"]["EnteredTime"]),
            redrive_count=int(execution.get("RedriveCount") or 0),
            execution_input=execution.get("Input"),
            failure=data.get("failure"),
            data=data,
        )

    @property
    def rotation(self) -> Rotation:
        """A fresh copy of the rotation that the execution carries.

        Raises:
            RequestRejected: it names a user and the secret of somebody else. No execution does;
                who may invoke a function could, and would so reach a secret that is not managed.
        """
        rotation = Rotation.model_validate(self.data["rotation"])
        prefix = Environment().optional("SECRET_NAME_PREFIX")
        if rotation.secret_name != prefix + rotation.user_name:
            raise RequestRejected("the secret is not the one of the user; nothing is changed")
        return rotation


@dataclass(frozen=True)
class Answer:
    """What a function answers.

    `next` is what the next Choice matches on. `ending` is what How Did It End? matches on: an
    outcome, or the name of a Fail state's error; by default what the rotation ended with, if it
    did. The rotation is carried on.
    """

    next: str
    rotation: Rotation | None = None
    wait_seconds: int = 0
    ending: str | None = None
    result: dict[str, Any] | None = None
    announcement: Announcement | None = None

    def dump(self) -> dict[str, Any]:
        """Return the JSON form."""
        ending, result, rotation = self.ending, self.result, self.rotation
        if rotation is not None:
            ending = ending or rotation.ending
            ended_at = datetime.now(UTC) if ending else None
            result = rotation.result(ended_at) if result is None else result
        return {
            "next": self.next,
            "ending": ending,
            "rotation": rotation.dump() if rotation else None,
            "waitSeconds": self.wait_seconds,
            "result": result,
            "announcement": self.announcement,
        }


def state_function(
    step: Callable[[Event], Answer],
    *,
    answers_redriven: bool = False,
    answers_blocked: bool = False,
) -> Callable[[dict[str, Any], Any], Any]:
    """Make a handler out of a step.

    An outcome of the domain that a step raises becomes an answer, if there is a rotation:
    LOOK_AGAIN or REJECTED, CLAIM_LOST, POSTPONED, BLOCKED. What still leaves as an error is worth
    another try, or a defect.

    Args:
        step: what the state does.
        answers_redriven: whether the step itself answers a redriven execution; for all others
            that is CLAIM_LOST, before they look at anything.
        answers_blocked: whether an error that trying again cannot help is the answer BLOCKED, with
            the error in `rotation.why`. Else it leaves as one, for states that try again anyway.

    Raises (from the handler): errors of `keyturn.model.errors` only, so that no message can quote a
    value that nobody looked at.
    """
    answered = REFUSED + (BLOCKED if answers_blocked else ())

    def run(data: dict[str, Any]) -> dict[str, Any]:
        event = Event.parse(data)
        logger.append_keys(execution=event.execution.arn)
        with fence.opened(fence.Fence(event.entered_at, event.redrive_count)):
            try:
                if not answers_redriven:
                    fence.assert_not_redriven()
                answer = step(event)
            except answered as error:
                if data.get("rotation") is None:
                    raise
                answer = _refusal(event, error)
        logger.info(
            "done",
            next=answer.next,
            user_name=answer.rotation.user_name if answer.rotation else None,
            reason=masked_in(answer.rotation.why) if answer.rotation else None,
        )
        return answer.dump()

    return framed(step.__module__, run)


REFUSED: tuple[type[KeyturnError], ...] = (
    RequestRejected,
    ClaimLost,
    ExecutionRedriven,
    DeactivationPostponed,
)
BLOCKED: tuple[type[KeyturnError], ...] = (KeyNotProven, WorldContradictory, AwsRefused)


def _refusal(event: Event, error: KeyturnError) -> Answer:
    """Return the answer of a step that an outcome of the domain has ended."""
    rotation, reason = event.rotation, str(error)  # as it was before the step
    logger.warning(masked_in(reason), error=type(error).__name__)
    if isinstance(error, RequestRejected):
        waited = (event.entered_at - event.execution.started_at).total_seconds()
        if refusal.looks_again(rotation, waited):
            rotation.why = reason
            return Answer("LOOK_AGAIN", rotation, refusal.LOOKS_AGAIN_AFTER_SECONDS)
        told = refusal.rejected(rotation, reason, event.execution.arn)
        return Answer("REJECTED", rotation, announcement=told)
    if isinstance(error, (ClaimLost, ExecutionRedriven)):
        redriven = isinstance(error, ExecutionRedriven)
        told = refusal.claim_lost(rotation, reason, event.execution.arn, redriven=redriven)
        return Answer("CLAIM_LOST", rotation, announcement=told)
    if isinstance(error, DeactivationPostponed):
        # Not an error: the evidence changed, so the wait that was due anyway goes on.
        rotation.why = reason
        pickup = rotation.loops.get(Phase.PICKUP)
        seconds = pickup.wait_seconds if pickup else rotation.policy.poll_min_seconds
        return Answer("POSTPONED", rotation, seconds)
    rotation.why = f"{type(error).__name__}: {reason}"[:1000]
    return Answer("BLOCKED", rotation)


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
