"""Retire Old Key: deletes the retained old key, under a claim, when everything still fits."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from keyturn.aws import iam, secrets
from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.model.errors import RequestRejected
from keyturn.model.identifiers import masked
from keyturn.model.request import RetireRequest, is_user_name, parse_retire_request
from keyturn.model.rotation import iso
from keyturn.model.settings import Settings
from keyturn.model.world import Label, Tag, World
from keyturn.rotate import claim, snapshot
from keyturn.rotate.announce import worded
from keyturn.rotate.decision import Ask, Decision, Step
from keyturn.rotate.retirement import Judgement, judge

# The state Retired? has the same number.
MOST_TRIES = 1000

# A superseded retirement leaves nothing to do for anybody.
_DETAIL_TYPES = {"DELETED": "Old Key Deleted", "SUPERSEDED": "Rotation Skipped"}


def step(event: Event) -> Answer:
    """CHECK the input before the wait, RETIRE the key after it."""
    try:
        request = parse_retire_request(event.execution_input)
    except RequestRejected as rejected:
        return _answer(event, None, None, Judgement("REJECT", str(rejected)))
    if event.data["phase"] == "CHECK":
        return Answer("WAIT", wait_seconds=request.retention_seconds)
    settings = Settings.from_env()
    world = snapshot.look(request.user_name, settings, mark=event.mark)
    judgement = judge(world, request)
    if judgement.verdict == "DELETE" and not world.holding:
        name = snapshot.secret_name(settings, request.user_name)
        try:
            _claim(event, world, request, name)
            # Again under the claim, where the answer is binding.
            world = snapshot.look(request.user_name, settings, mark=event.mark)
            judgement = judge(world, request)
        except RequestRejected as faster:
            judgement = Judgement("TRY_AGAIN", str(faster))
    if judgement.verdict == "DELETE":
        _delete(world, request, event.mark)
        judgement = Judgement("DELETED", f"deleted the old key {masked(request.old_access_key_id)}")
    elif world.holding and world.secret is not None:
        claim.release(world.secret, event.mark)
    if judgement.verdict == "TRY_AGAIN":
        if event.data.get("tries", 0) < MOST_TRIES:
            return Answer("TRY_AGAIN", wait_seconds=settings.durations.poll_max_seconds)
        judgement = Judgement(
            "KEPT",
            f"the user was claimed by another execution each of the {MOST_TRIES:,} times that this "
            "one looked, so the old key stays inactive and is not deleted. Start ROTATE for the "
            "user: it takes over a dead claim and converges",
        )
    return _answer(event, request, world, judgement)


def _claim(event: Event, world: World, request: RetireRequest, name: str) -> None:
    decision = Decision(Step.ISSUE, "retiring", old_key_id=request.old_access_key_id)
    claim.take(
        world, Ask(), decision, name=name, execution_arn=event.arn, mark=event.mark, action="RETIRE"
    )


def _delete(world: World, request: RetireRequest, mark: str) -> None:
    state = world.secret
    assert state is not None  # noqa: S101 - judged
    iam.delete_key(request.user_name, request.old_access_key_id)
    secrets.remove(state.arn, Label.BACKOUT, expected=state.version(Label.BACKOUT))
    if state.deactivated_key == request.old_access_key_id:
        secrets.untag(state.arn, Tag.DEACTIVATED_KEY, Tag.DEACTIVATED_AT)
    claim.release(state, mark)


def _answer(
    event: Event, request: RetireRequest | None, world: World | None, judgement: Judgement
) -> Answer:
    given = event.execution_input if isinstance(event.execution_input, dict) else {}
    name = given.get("userName") if is_user_name(given.get("userName")) else None
    verdict = "KEPT" if judgement.verdict == "REJECT" else judgement.verdict
    result: dict[str, Any] = {
        "outcome": verdict,
        "userName": name,
        "reason": judgement.reason,
        "oldAccessKeyId": request.old_access_key_id if request else None,
        "versionId": request.version_id if request else None,
        "secretArn": world.secret.arn if world and world.secret else None,
        "startedAt": iso(event.started_at),
        "endedAt": iso(datetime.now(UTC)),
    }
    detail_type = _DETAIL_TYPES.get(verdict, "Rotation Needs Attention")
    about = name or "(no user named)"
    announcement = worded(
        detail_type, about, f"{about}: {verdict}\nWhy: {judgement.reason}\nExecution: {event.arn}"
    )
    return Answer("END", ending=verdict, result=result, announcement=announcement)


handler = state_function(step)
