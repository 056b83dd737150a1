"""Check Pickup, Check Watch, Check Return: how are the consumers?"""

from __future__ import annotations

from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.model.rotation import Outcome, Rotation
from keyturn.model.world import Label
from keyturn.rotate import claim, polls
from keyturn.rotate.evidence import Finding, Verdict, judge_cutover, judge_pickup, judge_return


def step(event: Event) -> Answer:
    """Look once, judge, and say how long to wait when it is not decided.

    `phase` is PICKUP (have they moved to the new key?), WATCH (does the deactivation hurt
    anybody?) or RETURN (have they come back, so that the new key can be deactivated?).
    """
    return _PHASES[event.data["phase"]](event)


def _pickup(event: Event) -> Answer:
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


def _watch(event: Event) -> Answer:
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


def _return(event: Event) -> Answer:
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


_PHASES = {"PICKUP": _pickup, "WATCH": _watch, "RETURN": _return}

handler = state_function(step, answers_blocked=True)
