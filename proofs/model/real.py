"""Asks the code itself: a state becomes the snapshot that the decision table looks at.

`decide`, `orphans` and `judge` are those of the Lambda package. They are asked once for each
different snapshot; times are laid out so that they compare as they would in the run.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from keyturn.model.request import Action, RetireRequest
from keyturn.rotate import decision as table
from keyturn.rotate import retirement
from keyturn.rotate.decision import Ask, Step
from proofs.model.rules import Rules
from proofs.model.snapshots import (
    Seen,
    arn,
    key_name,
    number_of,
    snapshot_of,
    version_name,
    version_of,
)
from proofs.model.state import (
    AUTO,
    BACK_OUT,
    EMERGENCY,
    ENDED,
    FREE,
    NONE,
    RETIRE,
    ROTATE,
    RUNNING,
    Intent,
    State,
)
from tests.unit.worlds import POLICY


class Answer(NamedTuple):
    """A decision in the numbers of the model."""

    step: Step
    reason: str
    old: int = NONE
    old_version: int = NONE
    new: int = NONE
    new_version: int = NONE
    room: int = NONE
    exposed: bool = False
    again: bool = False


_WORDS = tuple(Step)


def packed(answer: Answer) -> tuple[int, ...]:
    """Return a decision as numbers (its reason is left out), for a thread to carry."""
    old, old_version, new, new_version, room = answer[2:7]
    step = _WORDS.index(answer.step)
    return step, old, old_version, new, new_version, room, int(answer.exposed), int(answer.again)


def unpacked(numbers: tuple[int, ...]) -> Answer:
    """Return the decision that `packed` made numbers of."""
    step, old, old_version, new, new_version, room, exposed, again = numbers
    ids = (old, old_version, new, new_version, room)
    return Answer(_WORDS[step], "decided before", *ids, exposed=bool(exposed), again=bool(again))


def _seen(state: State, number: int, rules: Rules) -> Seen:
    world = state.world
    holder = world.claim if world.claim != NONE else world.intent
    claimant = ""
    if world.claim not in (NONE, number):
        claimant = state.executions[world.claim].status
        if claimant == RUNNING and not rules.claimant_ended:
            claimant = FREE
        if claimant == ENDED and not rules.claimant_fenced:
            claimant = FREE
    record = world.record
    if not rules.only_recorded:
        charge = world.key_in(world.current)
        record = next((k.id for k in world.keys if not k.active and k.id != charge), record)
    return Seen(
        keys=tuple(key._replace(by=min(key.by, 0), stored=False) for key in world.keys),
        labels=(world.current, world.pending, world.backout),
        foreign=world.foreign,
        exposed=world.exposed if rules.exposed_stays else 0,
        record=record,
        claim=world.claim,
        claimant=claimant,
        holding=world.claim == number,
        intent=state.executions[holder].intent if holder != NONE else None,
        intent_of=holder,
    )


def decide(state: State, number: int, rules: Rules) -> Answer:
    """Return what the decision table says to an execution as the world stands."""
    execution = state.executions[number]
    claim = state.world.claim
    recovery = execution.dead[0] if execution.kind == AUTO else NONE
    if recovery != NONE:  # check_request._ask: also those that the dead one was to back out
        recovery = claim if claim in execution.dead[1:] else recovery
        if not rules.names_the_dead:
            recovery = NONE
    seen = _seen(state, number, rules)
    return _decide(seen, execution.kind, execution.argument, recovery, rules)


def decide_plainly(state: State, number: int, rules: Rules) -> Answer:
    """Return what the table says to the ROTATE that follows the restoring in an EMERGENCY."""
    return _decide(_seen(state, number, rules), "ROTATE", NONE, NONE, rules)


@cache
def _decide(seen: Seen, kind: str, argument: int, recovery: int, rules: Rules) -> Answer:
    action: Action = "BACK_OUT" if kind in (BACK_OUT, AUTO) else "ROTATE"
    ask = Ask(
        action=action,
        mode="EMERGENCY" if kind == EMERGENCY else "STANDARD",
        force=kind != EMERGENCY,
        exposed_key_id=key_name(argument) if kind == EMERGENCY else None,
        recovery_of=arn(recovery) if recovery != NONE else None,
    )
    found = table.decide(snapshot_of(seen, rules), ask, POLICY)
    return Answer(
        step=found.step,
        reason=found.reason,
        old=number_of(found.old_key_id),
        old_version=version_of(found.old_version_id),
        new=number_of(found.new_key_id),
        new_version=version_of(found.new_version_id),
        room=number_of(found.room_key_id),
        exposed=found.old_exposed,
        again=found.rotate_after_restore,
    )


def orphans(state: State, number: int, rules: Rules) -> tuple[int, ...]:
    """Return the keys that the code takes for a claimant's that nobody stored."""
    return _orphans(_seen(state, number, rules), rules)


@cache
def _orphans(seen: Seen, rules: Rules) -> tuple[int, ...]:
    return tuple(sorted(number_of(key.id) for key in table.orphans(snapshot_of(seen, rules))))


def judge(state: State, number: int, rules: Rules) -> str:
    """Return the verdict of RetireKey for an execution whose thread names the two keys."""
    main = state.executions[number].main or state.executions[number].ghost
    assert main is not None
    seen = _seen(state, number, rules)
    if not rules.retire_claim and seen.claim not in (NONE, number):
        seen = seen._replace(claim=NONE, intent=None)
    version = main.new_version
    if not rules.retire_current:
        version = seen.labels[0]
    return _judge(seen, main.old, version, rules)


@cache
def _judge(seen: Seen, old: int, version: int, rules: Rules) -> str:
    request = RetireRequest.model_validate(
        {
            "userName": "u",
            "oldAccessKeyId": key_name(old),
            "versionId": version_name(version),
            "retentionSeconds": 0,
        }
    )
    return retirement.judge(snapshot_of(seen, rules), request).verdict


def intent(state: State, number: int, found: Answer, rules: Rules, *, issues: bool) -> Intent:
    """Return the intent that a claimant writes down; mirrors claim._record."""
    world = state.world
    kind = state.executions[number].kind
    action = RETIRE if kind == RETIRE else ROTATE
    if kind in (BACK_OUT, AUTO) and not issues:
        action = BACK_OUT
    before = tuple(key.id for key in world.keys)
    dead = state.executions[world.claim].intent if world.claim not in (NONE, number) else None
    source = dead
    if source is None and found.step in _CONTINUES and world.intent != NONE:
        source = state.executions[world.intent].intent
    chain: tuple[int, ...] = ()
    if rules.inherits:
        before = source.before if source else before
        chain = (*dead.chain, world.claim) if dead else ()
    if found.step in _CONTINUES:
        before = tuple(key for key in before if key != found.new)
    took_over = dead is not None and dead.action != RETIRE
    emergency = found.exposed or kind == EMERGENCY
    return Intent(before, found.old, found.new, action, emergency, took_over, chain)


_CONTINUES = frozenset(
    {
        Step.RESUME_PROVE,
        Step.RESUME_PICKUP,
        Step.RESUME_WATCH,
        Step.DEACTIVATE,
        Step.BACK_OUT,
        Step.FINISH_BACK_OUT,
        Step.DISCARD,
    }
)
