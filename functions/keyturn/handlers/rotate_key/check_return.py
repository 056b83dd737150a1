"""Check Return: have the consumers come back, so that the new key can be deactivated?"""

from __future__ import annotations

from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.model.rotation import Outcome
from keyturn.rotate import claim, polls
from keyturn.rotate.evidence import Finding, Verdict, judge_return


def step(event: Event) -> Answer:
    """Look once, judge, and say how long to wait when it is not decided."""
    rotation = event.rotation
    assert rotation.back is not None  # noqa: S101 - begun at the restoring
    state = claim.required(rotation.secret_name, event.mark)
    rotation.back.polls += 1
    look = polls.look(rotation)
    finding = judge_return(rotation, look)
    if rotation.new_access_key_id in state.exposed_keys:
        finding = Finding(Verdict.GO_ON, "the new key is exposed, so nobody is waited for")
    why = f"{rotation.why}; went back to the old key; {finding.reason}"
    if finding.verdict is Verdict.ATTENTION:
        rotation.ends(
            Outcome.NEEDS_ATTENTION,
            f"{why}: move that consumer to the key in AWSCURRENT, then start BACK_OUT again",
            error="BackoutIncomplete",
        )
    elif finding.verdict is not Verdict.WAIT:
        error = None if rotation.back_out_requested else "RotationBackedOut"
        rotation.ends(Outcome.BACKED_OUT, why, error=error)
    seconds = polls.wait_for_return(rotation, look.now)
    return Answer(finding.verdict.value, rotation, wait_seconds=seconds)


handler = state_function(step)
