"""Check Watch: does the deactivation hurt anybody?"""

from __future__ import annotations

from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.model.rotation import Outcome, Rotation
from keyturn.model.world import Label
from keyturn.rotate import claim, polls
from keyturn.rotate.evidence import Finding, Verdict, judge_cutover


def step(event: Event) -> Answer:
    """Look once, judge, and say how long to wait when it is not decided."""
    rotation = event.rotation
    assert rotation.watch is not None  # noqa: S101 - begun at the deactivation
    state = claim.required(rotation.secret_name, event.mark)
    rotation.watch.polls += 1
    look = polls.look(rotation)
    finding = judge_cutover(rotation, look)
    if state.version(Label.CURRENT) != rotation.new_version_id:
        # What consumers read now is not this rotation's: both keys, and a person.
        finding = Finding(
            Verdict.SILENT,
            f"AWSCURRENT of {state.name} is on {state.version(Label.CURRENT)}, not on this "
            "rotation's version: somebody else changed the secret during the watch",
        )
    verdict = _conclude(rotation, finding)
    return Answer(verdict, rotation, wait_seconds=polls.wait_for_cutover(rotation, look.now))


def _conclude(rotation: Rotation, finding: Finding) -> str:
    rotation.why = finding.reason
    verdict = finding.verdict
    if verdict is Verdict.GO_ON:
        rotation.ends(Outcome.ROTATED, finding.reason)
    elif verdict in (Verdict.BACK_OUT, Verdict.SILENT) and rotation.old_exposed:
        rotation.ends(
            Outcome.NEEDS_ATTENTION,
            f"{finding.reason}; the old key was exposed and stays inactive: look at the "
            "consumers now",
            error="AttentionNeeded",
        )
        return Verdict.ATTENTION.value
    elif verdict is Verdict.SILENT:
        rotation.silent = True
    return verdict.value


handler = state_function(step)
