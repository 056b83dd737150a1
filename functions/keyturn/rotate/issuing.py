"""Issues a new key: claims the user, makes room, creates the key and stores it as AWSPENDING."""

from __future__ import annotations

import json
from dataclasses import replace

from pydantic import SecretStr

from keyturn.aws import iam, secrets
from keyturn.model.errors import AwsThrottled, KeyturnError, RequestRejected, WorldContradictory
from keyturn.model.execution import Execution
from keyturn.model.identifiers import key_of_version, key_version_id, mark_of_version, masked
from keyturn.model.moments import iso
from keyturn.model.rotation import Rotation
from keyturn.model.settings import Settings
from keyturn.model.world import Label, SecretState, Tag, World
from keyturn.rotate import claim, snapshot
from keyturn.rotate.decision import Ask, Decision, Step, decide, orphans


def issue(execution: Execution, rotation: Rotation) -> None:
    """Issue a key; run twice, the second run finds the first one's and changes nothing.

    Raises:
        RequestRejected: the world changed, or somebody else was faster; nothing is left behind.
        WorldContradictory: the same, where AWSCURRENT was moved already.
    """
    settings, mark = Settings.from_env(), execution.mark
    world = snapshot.look(rotation.user_name, settings, mark=mark)
    ask = _ask(rotation)
    if world.holding and ask.exposed_key_id and world.find(ask.exposed_key_id) is None:
        ask = Ask(force=True)  # an earlier try deleted the unpublished key that was exposed
    if world.holding and world.secret is not None:
        stored = _already_stored(world, world.secret, mark)
        if stored:
            found = decide(world, ask, rotation.policy)
            if found.new_version_id == stored:
                # What the first run decided under the claim may differ from Check Request's.
                rotation.follow(replace(found, reason=rotation.why))
            _issued(rotation, world.secret, stored)
            return
    if rotation.rotate_after_restore:
        claim.required(rotation.secret_name, mark)  # not the beginning: it has the claim
    elif rotation.exposed_key_id:
        claim.mark_exposed(world, name=rotation.secret_name, key_id=rotation.exposed_key_id)
    entered = claim.enter(
        execution,
        world,
        ask,
        settings=settings,
        choose=lambda seen: decide(seen, ask, rotation.policy),
        claims=lambda decision: decision if decision.step is Step.ISSUE else None,
    )
    decision, why = entered.chosen, "the world changed while this execution began"
    if not entered.holding:
        raise RequestRejected(f"{why}: {decision.reason}")
    state = claim.required(rotation.secret_name, mark)
    if decision.step is not Step.ISSUE:
        if rotation.rotate_after_restore:
            raise WorldContradictory(f"{why}: {decision.reason}")
        claim.give_back(entered.world, state, mark)
        raise RequestRejected(f"{why}: {decision.reason}")
    _issue(execution, rotation, decision, entered.world, state)


def _ask(rotation: Rotation) -> Ask:
    if rotation.rotate_after_restore:
        return Ask(force=True)
    exposed = rotation.exposed_key_id if rotation.mode == "EMERGENCY" else None
    return Ask("ROTATE", rotation.mode, rotation.force, exposed)


def _already_stored(world: World, state: SecretState, mark: str) -> str | None:
    for version in (state.version(Label.PENDING), state.version(Label.CURRENT)):
        if version and mark_of_version(version) == mark and world.find(key_of_version(version)):
            return version
    return None


def _issued(rotation: Rotation, state: SecretState, version: str) -> None:
    rotation.new_version_id, rotation.new_access_key_id = version, key_of_version(version)
    rotation.secret_arn = state.arn
    rotation.rotate_after_restore = False


def _issue(
    execution: Execution, rotation: Rotation, decision: Decision, world: World, state: SecretState
) -> None:
    rotation.follow(decision)
    _make_room(rotation, decision, world, state)
    new = iam.create_key(rotation.user_name)
    version = key_version_id(new.id, execution.mark)
    value = {
        "Version": 1,
        "AccessKeyId": new.id,
        "SecretAccessKey": new.secret.get_secret_value(),
        "UserName": rotation.user_name,
        "IssuedAt": iso(new.created_at),
        "ExecutionArn": execution.arn,
        "Replaces": decision.old_key_id,
    }
    try:
        _store(rotation.secret_name, version, SecretStr(json.dumps(value)))
    except KeyturnError:
        # Nobody will ever know this key's secret: it must not stay.
        iam.delete_key(rotation.user_name, new.id)
        raise
    _issued(rotation, state, version)


def _make_room(rotation: Rotation, decision: Decision, world: World, state: SecretState) -> None:
    # An orphan goes even where there is room: it is an active key that nobody will ever look at.
    for key_id in sorted({key.id for key in orphans(world)} - {decision.room_key_id}):
        iam.delete_key(rotation.user_name, key_id)
        rotation.seen.notes.append(f"deleted the key {masked(key_id)}, which nobody had stored")
    if decision.room_key_id:
        iam.delete_key(rotation.user_name, decision.room_key_id)
        rotation.seen.notes.append(
            f"deleted the key {masked(decision.room_key_id)} to make room for the new one"
        )
        if state.deactivated_key == decision.room_key_id:
            secrets.untag(state.arn, Tag.DEACTIVATED_KEY, Tag.DEACTIVATED_AT)
    # Whatever BACKOUT marks now is an earlier rotation's way back, which ends here.
    secrets.remove(state.arn, Label.BACKOUT, expected=state.version(Label.BACKOUT))


def _store(name: str, version: str, value: SecretStr) -> None:
    """Store the key; an unclear answer is settled by looking, not by putting it again."""
    problem: KeyturnError | None = None
    try:
        secrets.put(name, version, value, Label.PENDING)
    except KeyturnError as error:
        problem = error
    if secrets.require(name).version(Label.PENDING) != version:
        raise problem or AwsThrottled("secretsmanager:PutSecretValue: the version is not there")
