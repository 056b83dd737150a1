"""Whether the retained old key may be deleted: every reason to keep it, one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyturn.model.request import RetireRequest
from keyturn.model.world import (
    Claim,
    ClaimantState,
    Intent,
    Key,
    LastUse,
    SecretState,
    Tag,
    World,
)
from keyturn.rotate.retirement import judge

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CUTOVER = NOW - timedelta(days=7)
OLD, NEW = "AKIAOLDOLDOLDOLDOLDO", "AKIANEWNEWNEWNEWNEWN"
OLD_VERSION, NEW_VERSION = f"{OLD}-{'0' * 32}", f"{NEW}-{'1' * 32}"

REQUEST = RetireRequest.model_validate(
    {
        "userName": "ci",
        "oldAccessKeyId": OLD,
        "versionId": NEW_VERSION,
        "retentionSeconds": 604800,
    }
)


def used(at: datetime) -> LastUse:
    return LastUse(at=at, service="s3", region="us-east-1")


OLD_KEY = Key(OLD, active=False, created_at=NOW - timedelta(days=100), last_use=None)
NEW_KEY = Key(NEW, True, NOW - timedelta(days=8), used(NOW - timedelta(hours=1)))
SECRET = SecretState(
    arn="arn",
    name="machine-user/ci",
    labels={"AWSCURRENT": NEW_VERSION, "BACKOUT": OLD_VERSION},
    key_ids={NEW_VERSION: NEW, OLD_VERSION: OLD},
    tags={
        Tag.DEACTIVATED_KEY: OLD,
        Tag.DEACTIVATED_AT: CUTOVER.isoformat().replace("+00:00", "Z"),
    },
)
FITS = World(
    now=NOW,
    user_name="ci",
    user_exists=True,
    managed=True,
    has_console_password=False,
    keys=(OLD_KEY, NEW_KEY),
    secret=SECRET,
    claim=None,
)


def keys(*found: Key) -> Callable[[World], World]:
    return lambda world: replace(world, keys=found)


def secret(**changed: Any) -> Callable[[World], World]:
    return lambda world: replace(world, secret=replace(SECRET, **changed))


def tags(**changed: str) -> Callable[[World], World]:
    return secret(tags={**SECRET.tags, **{Tag[name]: value for name, value in changed.items()}})


def claimed(
    state: ClaimantState, action: str = "ROTATE", free_at: datetime | None = None
) -> Callable[[World], World]:
    intent = Intent("intent-x", "ci", "arn:x", action, "STANDARD", (OLD,), OLD, CUTOVER)
    return lambda world: replace(world, claim=Claim("intent-x", state, intent, free_at))


def ours(change: Callable[[World], World] = lambda world: world) -> Callable[[World], World]:
    def hold(world: World) -> World:
        held = claimed(ClaimantState.RUNNING, "RETIRE")(change(world))
        return replace(held, holding=True)

    return hold


PAST, FUTURE = NOW - timedelta(seconds=1), NOW + timedelta(seconds=1)
STRANGER = Claim("f" * 32, ClaimantState.UNKNOWN, None)

TABLE: dict[str, tuple[Callable[[World], World], str, str]] = {
    "everything fits": (lambda world: world, "DELETE", "in use"),
    "everything fits under our claim": (ours(), "DELETE", "in use"),
    "the user is gone": (
        lambda world: replace(world, user_exists=False, managed=False, secret=None, keys=()),
        "SUPERSEDED",
        "does not exist",
    ),
    "the secret is gone": (lambda world: replace(world, secret=None), "SUPERSEDED", "not exist"),
    "no longer managed": (lambda world: replace(world, managed=False), "KEPT", "not managed"),
    "a newer rotation": (
        secret(labels={"AWSCURRENT": f"{NEW}-{'2' * 32}"}),
        "SUPERSEDED",
        "newer rotation",
    ),
    "a back-out": (secret(labels={"AWSCURRENT": OLD_VERSION}), "SUPERSEDED", "back-out"),
    "nothing in charge": (secret(labels={}), "SUPERSEDED", "AWSCURRENT"),
    "a rotation runs": (claimed(ClaimantState.RUNNING), "TRY_AGAIN", "another execution"),
    "a retirement runs": (claimed(ClaimantState.RUNNING, "RETIRE"), "TRY_AGAIN", "another"),
    "nobody knows whether it runs": (claimed(ClaimantState.UNKNOWN), "TRY_AGAIN", "another"),
    "a person's claim": (lambda world: replace(world, claim=STRANGER), "TRY_AGAIN", "another"),
    "a rotation died undecided": (
        claimed(ClaimantState.DEAD, "ROTATE", PAST),
        "TRY_AGAIN",
        "another",
    ),
    "a back-out died": (claimed(ClaimantState.DEAD, "BACK_OUT", PAST), "TRY_AGAIN", "another"),
    "a retirement died just now": (
        claimed(ClaimantState.DEAD, "RETIRE", FUTURE),
        "TRY_AGAIN",
        "another",
    ),
    "a retirement died, nobody knows when": (
        claimed(ClaimantState.DEAD, "RETIRE"),
        "TRY_AGAIN",
        "another",
    ),
    "a retirement died": (claimed(ClaimantState.DEAD, "RETIRE", PAST), "DELETE", "in use"),
    "deleted already": (keys(NEW_KEY), "SUPERSEDED", "deleted already"),
    "deleted by our first try": (ours(keys(NEW_KEY)), "DELETE", "in use"),
    "the old key is active": (
        keys(replace(OLD_KEY, active=True), NEW_KEY),
        "KEPT",
        "somebody still needs it",
    ),
    "no record of a deactivation": (secret(tags={}), "KEPT", "no record"),
    "a record of another key": (tags(DEACTIVATED_KEY=NEW), "KEPT", "no record"),
    "the new key is gone": (keys(OLD_KEY), "KEPT", "not active"),
    "the new key is inactive": (
        keys(OLD_KEY, replace(NEW_KEY, active=False)),
        "KEPT",
        "not active",
    ),
    "the new key was never used": (
        keys(OLD_KEY, replace(NEW_KEY, last_use=None)),
        "KEPT",
        "not been seen in use",
    ),
    "the new key was used before the deactivation": (
        keys(OLD_KEY, replace(NEW_KEY, last_use=used(CUTOVER - timedelta(seconds=1)))),
        "KEPT",
        "not been seen in use",
    ),
    "the new key was used at the very deactivation": (
        keys(OLD_KEY, replace(NEW_KEY, last_use=used(CUTOVER))),
        "KEPT",
        "not been seen in use",
    ),
    "the deactivation is not recorded": (
        secret(tags={Tag.DEACTIVATED_KEY: OLD}),
        "KEPT",
        "not been seen in use",
    ),
    "the deactivation is not a time": (tags(DEACTIVATED_AT="soon"), "KEPT", "not been seen in use"),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_table(name: str) -> None:
    change, verdict, words = TABLE[name]
    judgement = judge(change(FITS), REQUEST)
    assert (judgement.verdict, words in judgement.reason) == (verdict, True), judgement


@pytest.mark.parametrize("name", TABLE)
def test_reasons_mask_key_ids(name: str) -> None:
    reason = judge(TABLE[name][0](FITS), REQUEST).reason
    assert OLD not in reason
    assert NEW not in reason


@pytest.mark.parametrize("active", [True, False])
def test_the_key_in_charge_is_never_deleted_whatever_is_asked(active: bool) -> None:
    """The request names the key in AWSCURRENT as the old one."""
    request = REQUEST.model_copy(update={"old_access_key_id": NEW})
    world = replace(
        FITS,
        keys=(OLD_KEY, replace(NEW_KEY, active=active)),
        secret=replace(SECRET, tags={**SECRET.tags, Tag.DEACTIVATED_KEY: NEW}),
    )
    assert judge(world, request).verdict == "KEPT"
