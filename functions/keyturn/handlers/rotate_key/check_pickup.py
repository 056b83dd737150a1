"""Check Pickup: have the consumers moved to the new key?"""

from __future__ import annotations

from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.model.rotation import Outcome
from keyturn.model.world import Label
from keyturn.rotate import claim, polls
from keyturn.rotate.evidence import Verdict, judge_pickup


def step(event: Event) -> Answer:
    """Look once, judge, and say how long to wait when it is not decided."""
    rotation = event.rotation
    assert rotation.pickup is not None  # noqa: S101 - begun at the publishing
    state = claim.required(rotation.secret_name, event.mark)
    rotation.pickup.polls += 1
    look = polls.look(rotation)
    if state.version(Label.CURRENT) != rotation.new_version_id:
        rotation.ends(
            Outcome.NEEDS_ATTENTION,
            f"AWSCURRENT of {state.name} is on {state.version(Label.CURRENT)}, not on this "
            "rotation's version: somebody else changed the secret; both keys stay active",
            error="AttentionNeeded",
        )
        return Answer("ATTENTION", rotation)
    finding = judge_pickup(rotation, look)
    rotation.why = finding.reason
    if finding.verdict is Verdict.ATTENTION:
        rotation.ends(Outcome.NEEDS_ATTENTION, finding.reason, error="AttentionNeeded")
    seconds = polls.wait_for_pickup(rotation, look.now)
    if finding.verdict is Verdict.GO_ON and rotation.policy.health_url:
        return Answer("CHECK_HEALTH", rotation, wait_seconds=seconds)
    return Answer(finding.verdict.value, rotation, wait_seconds=seconds)


handler = state_function(step)
