"""One handler that does what its event asks, for the tests of the embedded AWS."""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime
from typing import Any

import boto3

INVOCATIONS = 0


class ToyError(Exception):
    """An error whose class name must reach the state machine."""


def act(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Sleep, call, fail or die, as asked; otherwise tell who and where we are."""
    global INVOCATIONS  # noqa: PLW0603 - shows whether the worker is warm
    INVOCATIONS += 1
    match event.get("do"):
        case "raise":
            raise ToyError(event.get("message", "as asked"))
        case "exit":
            os._exit(7)
        case "sleep":
            time.sleep(event["seconds"])
        case "print":
            print(event["text"])  # noqa: T201
        case "time":
            return {"time": time.time(), "utcnow": datetime.now(UTC).timestamp()}
        case "imported":
            return {"imported": event["module"] in sys.modules}
        case "call":
            client = boto3.client(event["service"])
            answer = getattr(client, event["operation"])(**event["arguments"])
            answer.pop("ResponseMetadata", None)
            return {"pid": os.getpid(), "keys": sorted(answer)}
        case _:
            pass
    return {
        "pid": os.getpid(),
        "invocations": INVOCATIONS,
        "stack": os.environ.get("STACK", ""),
        "function": context.function_name,
        "requestId": context.aws_request_id,
        "remaining": context.get_remaining_time_in_millis(),
    }
