"""Retire Old Key: deletes the retained old key, under a claim, when everything still fits."""

from __future__ import annotations

from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.model.errors import RequestRejected
from keyturn.model.request import parse_retire_request
from keyturn.model.settings import Settings
from keyturn.rotate.retirement import Judgement
from keyturn.rotate.retiring import MOST_TRIES, given_up, retire, told


def step(event: Event) -> Answer:
    """CHECK the input before the wait, RETIRE the key after it."""
    execution, given = event.execution, event.execution_input
    try:
        request = parse_retire_request(given)
    except RequestRejected as rejected:
        result, words = told(execution, given, None, Judgement("REJECT", str(rejected)))
        return Answer("END", ending=result["outcome"], result=result, announcement=words)
    if event.data["phase"] == "CHECK":
        return Answer("WAIT", wait_seconds=request.retention_seconds)
    settings = Settings.from_env()
    judgement, secret_arn = retire(execution, request, settings)
    if judgement.verdict == "TRY_AGAIN":
        if event.data.get("tries", 0) < MOST_TRIES:
            return Answer("TRY_AGAIN", wait_seconds=settings.durations.poll_max_seconds)
        judgement = given_up()
    result, words = told(execution, given, request, judgement, secret_arn)
    return Answer("END", ending=result["outcome"], result=result, announcement=words)


handler = state_function(step)
