"""Retires a retained old key: deletes it, under a claim, when everything still fits."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from keyturn.aws import iam, secrets
from keyturn.model.errors import RequestRejected
from keyturn.model.execution import Execution
from keyturn.model.identifiers import masked
from keyturn.model.moments import iso
from keyturn.model.request import RetireRequest, is_user_name
from keyturn.model.settings import Settings
from keyturn.model.world import Label, SecretState, Tag
from keyturn.rotate import claim, snapshot
from keyturn.rotate.announce import Announcement, worded
from keyturn.rotate.decision import Ask, Decision, Step
from keyturn.rotate.retirement import Judgement, judge

# The state Retired? has the same number.
MOST_TRIES = 1000

# A superseded retirement leaves nothing to do for anybody.
_DETAIL_TYPES = {"DELETED": "Old Key Deleted", "SUPERSEDED": "Rotation Skipped"}


def retire(
    execution: Execution, request: RetireRequest, settings: Settings
) -> tuple[Judgement, str | None]:
    """Delete the key if everything fits; return what was done, and the secret's ARN if it has one.

    DELETED, SUPERSEDED, KEPT, or TRY_AGAIN when somebody else is at work.
    """
    world = snapshot.look(request.user_name, settings, mark=execution.mark)
    old_key_id = request.old_access_key_id
    intent = Decision(Step.ISSUE, "retiring", old_key_id=old_key_id)
    try:
        entered = claim.enter(
            execution,
            world,
            Ask(),
            settings=settings,
            choose=lambda seen: judge(seen, request),
            claims=lambda found: intent if found.verdict == "DELETE" else None,
            action="RETIRE",
        )
    except RequestRejected as faster:
        return Judgement("TRY_AGAIN", str(faster)), world.secret.arn if world.secret else None
    state, judgement = entered.world.secret, entered.chosen
    if state and judgement.verdict == "DELETE":
        _delete(request, state, execution.mark)
        judgement = Judgement("DELETED", f"deleted the old key {masked(old_key_id)}")
    elif state and entered.world.holding:
        claim.release(state, execution.mark)
    return judgement, state.arn if state else None


def _delete(request: RetireRequest, state: SecretState, mark: str) -> None:
    iam.delete_key(request.user_name, request.old_access_key_id)
    secrets.remove(state.arn, Label.BACKOUT, expected=state.version(Label.BACKOUT))
    if state.deactivated_key == request.old_access_key_id:
        secrets.untag(state.arn, Tag.DEACTIVATED_KEY, Tag.DEACTIVATED_AT)
    claim.release(state, mark)


def given_up() -> Judgement:
    """Return what is judged when somebody else was at work each time."""
    return Judgement(
        "KEPT",
        f"the user was claimed by another execution each of the {MOST_TRIES:,} times that this one "
        "looked, so the old key stays inactive and is not deleted. Start ROTATE for the user: it "
        "takes over a dead claim and converges",
    )


def told(
    execution: Execution,
    given: object,
    request: RetireRequest | None,
    judgement: Judgement,
    secret_arn: str | None = None,
) -> tuple[dict[str, Any], Announcement]:
    """Return the execution's result and what people are told."""
    found = given.get("userName") if isinstance(given, dict) else None
    name = found if is_user_name(found) else None
    outcome = "KEPT" if judgement.verdict == "REJECT" else judgement.verdict
    result: dict[str, Any] = {
        "outcome": outcome,
        "userName": name,
        "reason": judgement.reason,
        "oldAccessKeyId": request.old_access_key_id if request else None,
        "versionId": request.version_id if request else None,
        "secretArn": secret_arn,
        "startedAt": iso(execution.started_at),
        "endedAt": iso(datetime.now(UTC)),
    }
    about = name or "(no user named)"
    return result, worded(
        _DETAIL_TYPES.get(outcome, "Rotation Needs Attention"),
        about,
        f"{about}: {outcome}\nWhy: {judgement.reason}\nExecution: {execution.arn}",
    )
