"""`keyturn plan`: what a rotation would do now, and why, by the decision code of the functions.

It looks with the operator's own credentials at what Check Request would look at, with the settings
of the deployed stack, and changes nothing. `outlook` is pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from rich.table import Table

from keyturn.model.errors import RequestRejected
from keyturn.model.identifiers import masked, masked_in
from keyturn.model.request import parse_rotate_request
from keyturn.model.rotation import Policy
from keyturn.model.world import Tag, World
from keyturn.rotate import signals, snapshot
from keyturn.rotate.beginning import asked, assess
from keyturn.rotate.decision import Decision, Step
from keyturn.rotate.policy import settle
from keyturn_cli import output
from keyturn_cli.stack import Stack
from keyturn_cli.words import span, used

# What a look of somebody who is no execution is marked with: no claim is ever its own.
_NOBODY = "0" * 32

_STEPS = {
    Step.REJECT: "it would be rejected, and nothing changed",
    Step.SKIP: "it would be skipped: there is nothing to do",
    Step.WAIT: "it would wait, then look again",
    Step.STOP_CLAIMANT: "it would stop the execution that holds the claim, and take over",
    Step.ISSUE: "it would issue a new key",
    Step.RESUME_PROVE: "it would go on with proving the stored new key",
    Step.RESUME_PICKUP: "it would go on with waiting for the consumers",
    Step.RESUME_WATCH: "it would go on with watching the consumers",
    Step.DEACTIVATE: "it would deactivate the old key",
    Step.BACK_OUT: "it would go back to the old key",
    Step.FINISH_BACK_OUT: "it would finish a back-out that died",
    Step.DISCARD: "it would delete the key that was not published, and clean up",
    Step.EXPOSED_ONLY: "it would deactivate the exposed key",
}

# Steps after which consumers are waited for, before anything of theirs is switched off.
_WAITS_FOR_CONSUMERS = frozenset({Step.ISSUE, Step.RESUME_PROVE, Step.RESUME_PICKUP})


@dataclass(frozen=True)
class Plan:
    """What would happen: the step, the reason, and when at the earliest the old key would go."""

    user: str
    step: Step
    reason: str
    world: World | None = None
    decision: Decision | None = None
    policy: Policy | None = None
    earliest_deactivation: datetime | None = None
    latest_end: datetime | None = None
    notes: tuple[str, ...] = field(default_factory=tuple)

    @property
    def changes_nothing(self) -> bool:
        """Whether such an execution would leave everything as it is."""
        return self.step in (Step.REJECT, Step.SKIP)


def make(stack: Stack, user: str, request: Mapping[str, Any]) -> Plan:
    """Look at a user and return what such a request would do.

    Raises:
        CliError, KeyturnError, botocore's errors: the look itself failed.
    """
    settings = stack.settings()
    try:
        parsed = parse_rotate_request({"userName": user, **request})
        world = snapshot.look(user, settings, mark=_NOBODY)
        policy = settle(settings, world.secret.tags if world.secret else {}, parsed.timing)
    except RequestRejected as rejected:
        return Plan(user, Step.REJECT, str(rejected))
    decision = assess(world, asked(parsed, world), policy, missing=lambda: signals.missing(policy))
    return outlook(world, decision, policy)


def outlook(world: World, decision: Decision, policy: Policy) -> Plan:
    """Return the plan that follows from a decision.

    The old key goes when it has been quiet for the quiet period and all that AWS's data may lag,
    so not before its last use plus that, however quick the consumers are.
    """
    earliest = latest = None
    old = world.find(decision.old_key_id)
    if decision.step in _WAITS_FOR_CONSUMERS and old and not decision.old_exposed:
        last = old.last_use.at if old.last_use else old.created_at
        quiet_at = last + timedelta(seconds=policy.really_quiet_seconds)
        earliest = max(world.now, quiet_at)
        latest = world.now + timedelta(seconds=policy.pickup_timeout_seconds + policy.watch_seconds)
    return Plan(
        user=world.user_name,
        step=decision.step,
        reason=decision.reason,
        world=world,
        decision=decision,
        policy=policy,
        earliest_deactivation=earliest,
        latest_end=latest,
        notes=tuple(_notes(world, decision, policy)),
    )


def _notes(world: World, decision: Decision, policy: Policy) -> list[str]:
    notes = []
    if world.secret and world.secret.offboarded:
        notes.append(
            f"the secret is tagged {Tag.OFFBOARDED}, so fleet runs pass the user over: "
            f"keyturn onboard {world.user_name} takes the tag off"
        )
    if decision.step in (Step.REJECT, Step.SKIP):
        return notes
    if decision.room_key_id:
        notes.append(f"the key {masked(decision.room_key_id)} is deleted to make room")
    if decision.old_key_id and decision.step is Step.ISSUE and not decision.old_version_id:
        notes.append(
            "no version of the secret holds the present key, so a back-out could only reactivate "
            "it: store it first with keyturn onboard --existing-secret-stdin"
        )
    if decision.old_exposed:
        notes.append("the exposed key is deactivated at once and never comes back")
    waits = decision.step in _WAITS_FOR_CONSUMERS and decision.old_key_id is not None
    if waits and not policy.health_url and not any(policy.signals.values()):
        notes.append(
            "neither a health URL nor an alarm is set on the secret, so only IAM's last-used data "
            "tells whether a consumer is hurt"
        )
    return notes


def as_json(plan: Plan) -> dict[str, Any]:
    """Return the plan as JSON, with whole key ids."""
    decision, policy = plan.decision, plan.policy
    return {
        "userName": plan.user,
        "step": plan.step.value,
        "meaning": _STEPS[plan.step],
        "reason": plan.reason,
        "changesNothing": plan.changes_nothing,
        "oldAccessKeyId": decision.old_key_id if decision else None,
        "newAccessKeyId": decision.new_key_id if decision else None,
        "deletedAccessKeyId": decision.room_key_id if decision else None,
        "executionArn": plan.world.claim.execution_arn if plan.world and plan.world.claim else None,
        "earliestDeactivationAt": plan.earliest_deactivation,
        "latestEndAt": plan.latest_end,
        "timing": policy.dump() if policy else None,
        "notes": [masked_in(note) for note in plan.notes],
    }


def show(plan: Plan) -> None:
    """Print the plan for people."""
    console = output.console()
    console.print(f"{plan.user}: {_STEPS[plan.step]}", style="bold")
    output.indented(console, f"because: {masked_in(plan.reason)}", 2)
    world = plan.world
    if world is None:
        return
    keys = Table.grid(padding=(0, 2))
    for key in world.keys:
        use = key.last_use
        keys.add_row(
            "  key",
            masked(key.id),
            "Active" if key.active else "Inactive",
            f"{span((world.now - key.created_at).total_seconds())} old",
            used(use.at if use else None, use.service if use else "", world.now),
        )
    if world.keys:
        console.print(keys)
    if plan.earliest_deactivation and plan.latest_end:
        soon = span((plan.earliest_deactivation - world.now).total_seconds())
        late = span((plan.latest_end - world.now).total_seconds())
        console.print(f"  the old key is deactivated in {soon} at the earliest,")
        console.print(f"  as soon as the consumers have moved; all is over in {late} at the latest")
    for note in plan.notes:
        output.indented(console, f"note: {note}", 2)
