"""Check Request: validates the input and decides, changing nothing."""

from __future__ import annotations

from keyturn.aws import fence
from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.model.errors import ExecutionRedriven, RequestRejected
from keyturn.rotate import announce, refusal
from keyturn.rotate.beginning import begin


def step(event: Event) -> Answer:
    """Return the decision; a rejection is an answer, not an error."""
    execution, given = event.execution, event.execution_input
    try:
        fence.assert_not_redriven()
        found, rotation = begin(execution, given, exposed_before=event.data.get("exposedKeyId"))
    except (RequestRejected, ExecutionRedriven) as rejected:
        reason = str(rejected)
        return Answer(
            "REJECTED",
            ending="RequestRejected",
            announcement=refusal.of_request(execution, given, reason),
            result=refusal.result_of_request(execution, given, reason),
        )
    told = announce.announce(rotation, execution.arn) if rotation.outcome else None
    return Answer(found.word, rotation, wait_seconds=found.wait_seconds, announcement=told)


handler = state_function(step, answers_redriven=True)
