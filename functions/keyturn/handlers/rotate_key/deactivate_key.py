"""Deactivate Old Key (cutover), New Key (back-out) or the exposed key: after one more look."""

from __future__ import annotations

from datetime import UTC, datetime

from keyturn.aws import iam, secrets
from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.model.errors import CutoverPostponed, WorldContradictory
from keyturn.model.identifiers import masked
from keyturn.model.moments import iso
from keyturn.model.rotation import Phase, Rotation
from keyturn.model.world import Key, SecretState, Tag
from keyturn.rotate import claim, waiting
from keyturn.rotate.evidence import Finding, Verdict, judge_pickup


def step(event: Event) -> Answer:
    """Deactivate the key that `which` names: OLD, NEW or EXPOSED."""
    rotation = event.rotation
    state = claim.required(rotation.secret_name, event.mark)
    which = event.data["which"]
    if which == "OLD":
        look = waiting.glance(rotation, state, health_asked=True)
        _assert_still_so(judge_pickup(rotation, look))
        key = look.old
    else:
        ring = iam.list_keys(rotation.user_name)
        new, old = rotation.new_access_key_id, rotation.old_access_key_id
        key = ring.find(new if which == "NEW" else old)
    _deactivate(rotation, state, key)
    if which == "NEW":
        rotation.new_key_deactivated = True
        return Answer("DEACTIVATED", rotation)
    rotation.reactivated_at = None  # by an earlier pass of an EMERGENCY, if at all
    rotation.deactivated_at = datetime.now(UTC)
    seconds = waiting.begin(rotation, Phase.WATCH, since=rotation.deactivated_at)
    return Answer("DEACTIVATED", rotation, wait_seconds=seconds)


def _assert_still_so(finding: Finding) -> None:
    """Raise when the evidence has changed since the last look, however shortly ago that was."""
    if finding.verdict is Verdict.WAIT:
        raise CutoverPostponed(finding.reason)
    if finding.verdict is not Verdict.GO_ON:
        raise WorldContradictory(finding.reason)


def _deactivate(rotation: Rotation, state: SecretState, key: Key | None) -> None:
    if key is None:
        rotation.seen.notes.append("the key to deactivate had been deleted by somebody else")
        return
    if not key.active:
        if state.deactivated_key != key.id:
            rotation.seen.notes.append(
                f"the key {masked(key.id)} had been deactivated by somebody else"
            )
        return
    # The record before the act: who finds the key inactive knows whose doing it was.
    secrets.tag(
        state.arn,
        {Tag.DEACTIVATED_KEY: key.id, Tag.DEACTIVATED_AT: iso(datetime.now(UTC))},
    )
    iam.set_active(rotation.user_name, key.id, active=False)


handler = state_function(step)
