"""Stop Claimant: marks an exposed key, then stops the execution that holds the claim."""

from __future__ import annotations

from keyturn.aws import executions
from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.model.settings import Settings
from keyturn.model.world import ClaimantState
from keyturn.rotate import claim, snapshot


def step(event: Event) -> Answer:
    """Stop the claimant if one is still running; answer with the fence to wait out (seconds)."""
    rotation = event.rotation
    world = snapshot.look(rotation.user_name, Settings.from_env(), mark=event.execution.mark)
    if rotation.exposed_key_id:
        claim.mark_exposed(world, name=rotation.secret_name, key_id=rotation.exposed_key_id)
    holder = world.claim
    if holder is not None and holder.state is ClaimantState.RUNNING and holder.intent is not None:
        cause = f"taken over by {event.execution.arn}: {rotation.why}"
        executions.stop(holder.intent.execution_arn, cause=cause)
    return Answer("STOPPED", rotation, wait_seconds=rotation.policy.fence_seconds + 1)


handler = state_function(step)
