"""Issue New Key: claims the user, makes room, creates the key and stores it as AWSPENDING."""

from __future__ import annotations

import json

from pydantic import SecretStr

from keyturn.aws import iam, secrets
from keyturn.handlers.frame import Answer, Event, state_function
from keyturn.model.errors import AwsThrottled, KeyturnError, RequestRejected, WorldContradictory
from keyturn.model.identifiers import key_of_version, key_version_id, mark_of_version, masked
from keyturn.model.rotation import Rotation, iso
from keyturn.model.settings import Settings
from keyturn.model.world import Label, SecretState, Tag, World
from keyturn.rotate import claim, snapshot
from keyturn.rotate.decision import Ask, Decision, Step, decide, orphans


def step(event: Event) -> Answer:
    """Issue a key; run twice, the second run finds the first one's and changes nothing."""
    rotation = event.rotation
    settings = Settings.from_env()
    world = snapshot.look(rotation.user_name, settings, mark=event.mark)
    ask = _ask(rotation)
    if world.holding and ask.exposed_key_id and world.find(ask.exposed_key_id) is None:
        ask = Ask(force=True)  # an earlier try deleted the unpublished key that was exposed
    if world.holding and world.secret is not None:
        stored = _already_stored(world, world.secret, event.mark)
        if stored:
            found = decide(world, ask, rotation.policy)
            if found.new_version_id == stored:
                # What the first run decided under the claim may differ from Check Request's.
                _adopt(rotation, found)
            return _issued(rotation, world.secret, stored)
    if rotation.exposed_key_id and not rotation.rotate_after_restore:
        claim.mark_exposed(world, name=rotation.secret_name, key_id=rotation.exposed_key_id)
    if not world.holding and not rotation.rotate_after_restore:
        decision = _binding(decide(world, ask, rotation.policy))
        claim.take(
            world,
            ask,
            decision,
            name=rotation.secret_name,
            execution_arn=event.arn,
            mark=event.mark,
        )
        world = snapshot.look(rotation.user_name, settings, mark=event.mark)
    state = claim.required(rotation.secret_name, event.mark)
    try:
        decision = _binding(decide(world, ask, rotation.policy))
    except RequestRejected as rejected:
        if rotation.rotate_after_restore:  # not the beginning: AWSCURRENT was moved already
            raise WorldContradictory(str(rejected)) from None
        claim.give_back(world, state, event.mark)
        raise
    return _issue(event, rotation, decision, world, state)


def _ask(rotation: Rotation) -> Ask:
    if rotation.rotate_after_restore:
        return Ask(force=True)
    exposed = rotation.exposed_key_id if rotation.mode == "EMERGENCY" else None
    return Ask("ROTATE", rotation.mode, rotation.force, exposed)


def _binding(decision: Decision) -> Decision:
    if decision.step is not Step.ISSUE:
        raise RequestRejected(f"the world changed while this execution began: {decision.reason}")
    return decision


def _already_stored(world: World, state: SecretState, mark: str) -> str | None:
    for version in (state.version(Label.PENDING), state.version(Label.CURRENT)):
        if version and mark_of_version(version) == mark and world.find(key_of_version(version)):
            return version
    return None


def _issued(rotation: Rotation, state: SecretState, version: str) -> Answer:
    rotation.new_version_id, rotation.new_access_key_id = version, key_of_version(version)
    rotation.secret_arn = state.arn
    rotation.rotate_after_restore = False
    return Answer("ISSUED", rotation)


def _issue(
    event: Event, rotation: Rotation, decision: Decision, world: World, state: SecretState
) -> Answer:
    _adopt(rotation, decision)
    _make_room(rotation, decision, world, state)
    new = iam.create_key(rotation.user_name)
    version = key_version_id(new.id, event.mark)
    value = {
        "Version": 1,
        "AccessKeyId": new.id,
        "SecretAccessKey": new.secret.get_secret_value(),
        "UserName": rotation.user_name,
        "IssuedAt": iso(new.created_at),
        "ExecutionArn": event.arn,
        "Replaces": decision.old_key_id,
    }
    try:
        _store(rotation.secret_name, version, SecretStr(json.dumps(value)))
    except KeyturnError:
        # Nobody will ever know this key's secret: it must not stay.
        iam.delete_key(rotation.user_name, new.id)
        raise
    return _issued(rotation, state, version)


def _adopt(rotation: Rotation, decision: Decision) -> None:
    rotation.old_access_key_id = decision.old_key_id
    rotation.old_version_id = decision.old_version_id
    rotation.old_exposed = decision.emergency


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


handler = state_function(step, answers_blocked=True)
