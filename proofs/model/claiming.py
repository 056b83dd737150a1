"""Check Request, Stop Claimant, Issue New Key and Take Over: up to the decision under the claim."""

from __future__ import annotations

from collections.abc import Iterator

from keyturn.rotate.decision import Step
from proofs.model import calls, real
from proofs.model.moves import CLAIM_LOST, REJECTED, SKIPPED, Move, Next, step
from proofs.model.state import (
    AUTO,
    BACK_OUT,
    EMERGENCY,
    FREE,
    INTENTS,
    NONE,
    RETIRE,
    RUNNING,
    Thread,
    World,
)

START, CHECK = "Check Request: start", "Check Request: look"

_CONTINUE = {
    Step.RESUME_PROVE: "Prove New Key: look",
    Step.RESUME_PICKUP: "Check Pickup: look",
    Step.RESUME_WATCH: "Check Watch: look",
    Step.DEACTIVATE: "Deactivate Old Key: look",
    Step.BACK_OUT: "Reactivate Old Key: look",
    Step.FINISH_BACK_OUT: "Check Return: look",
    Step.EXPOSED_ONLY: "Deactivate Exposed Key: look",
    Step.DISCARD: "Discard New Key: look",
    Step.ISSUE: "Issue New Key: look",
}
_NOT_FROM_HERE = (Step.WAIT, Step.STOP_CLAIMANT, Step.REJECT)


@step(START)
@step(CHECK)
def check_request(m: Move) -> Iterator[Next]:
    """handlers/check_request: decides and changes nothing; a WAIT stays here."""
    found = real.decide(m.state, m.e, m.rules)
    if found.step is Step.WAIT:
        return
    if found.step is Step.REJECT:
        yield m.ends("is rejected", REJECTED, found.reason)
    elif found.step is Step.SKIP and not _leaves_something(m):
        yield m.ends("skips", SKIPPED)
    elif found.step is Step.STOP_CLAIMANT:
        yield m.enters("decides to stop the claimant", "Stop Claimant: look")
    elif found.step is Step.ISSUE:
        yield m.enters(
            "decides to issue a key",
            "Issue New Key: look",
            old=found.old,
            old_version=found.old_version,
            exposed=found.exposed,
        )
    else:
        tidies = found.step is Step.SKIP and m.rules.alive_keeps_claim
        yield m.enters(f"decides to take over: {found.step}", "Take Over: look", tidies=tidies)


def _leaves_something(m: Move) -> bool:
    unmarked = m.x.kind == EMERGENCY and not m.w.is_exposed(m.x.argument)
    holder = m.w.claim
    if unmarked and m.w.find(m.x.argument) is not None:
        return True
    if holder in (NONE, m.e):
        return False
    intent = m.state.executions[holder].intent
    retirement = intent is not None and intent.action == "RETIRE"
    return retirement and m.state.executions[holder].status == FREE


def marked(m: Move) -> World:
    """claim.mark_exposed, taken together with the look before it."""
    if m.x.kind != EMERGENCY or m.t.again or m.w.find(m.x.argument) is None:
        return m.w
    return m.w._replace(exposed=m.w.exposed | 1 << m.x.argument)


@step("Stop Claimant: look")
def stop_look(m: Move) -> Iterator[Next]:
    """handlers/stop_claimant: marks an exposed key first."""
    holder = m.w.claim
    running = holder not in (NONE, m.e) and m.state.executions[holder].status == RUNNING
    if running:
        yield m.writes("looks", "Stop Claimant: stop", marked(m), seen=(holder,))
    else:
        yield m.enters("finds nobody to stop", CHECK, marked(m))


@step("Stop Claimant: stop")
def stop(m: Move) -> Iterator[Next]:
    """handlers/stop_claimant: StopExecution; then the fence is waited out."""
    (holder,) = m.t.seen
    if m.state.executions[holder].main is None:
        yield m.enters("finds the claimant ended", CHECK)
    else:
        yield m.enters(f"stops execution {holder}", CHECK)._replace(stops=holder)


# --- the claim, for Issue New Key and Take Over ---------------------------------------------------


def loses(m: Move, text: str, reason: str = "", world: World | None = None) -> Next:
    """rotate.refusal: what cannot wait decides anew, a ROTATE or a RetireKey is rejected.

    Its bound of ten minutes is left out: an execution may give up at any time by dying.
    """
    if m.x.kind in (EMERGENCY, BACK_OUT, AUTO):
        return Next(f"{text}, and looks again", m.w if world is None else world, Thread(CHECK))
    return Next(text, m.w if world is None else world, None, REJECTED, reason=reason)


def plan_claim(m: Move, found: real.Answer, at: str) -> Next:
    holder = m.w.claim
    if holder != NONE and not _may_be_taken(m, m.state.executions[holder].status):
        return loses(m, "finds the claimant alive")
    planned = real.intent(m.state, m.e, found, m.rules, issues=at == "Issue New Key")
    kept = () if m.rules.decide_again else real.packed(found)
    return m.writes(
        "looks", f"{at}: put the intent", marked(m), seen=(m.w.claim, *kept), planned=planned
    )


def _may_be_taken(m: Move, status: str) -> bool:
    """claim.take: whatever was decided, a claim is taken only from an execution that is dead."""
    if status == RUNNING:
        return not (m.rules.alive_keeps_claim and m.rules.claimant_ended)
    return status == FREE or not m.rules.claimant_fenced


@step("Issue New Key: put the intent")
@step("Take Over: put the intent")
@step("Retire Old Key: put the intent")
def put_intent(m: Move) -> Iterator[Next]:
    """claim.take: the intent version, whose id names its content; else the first value stays."""
    at = f"{m.t.state}: claim"
    stale = m.x.intent is not None and m.x.intent != m.t.planned and m.rules.intent_as_found
    if m.x.intent is not None and not stale:
        yield m.writes("puts its intent again", at, m.w)
        return
    world = m.w._replace(intent=m.e)
    if world.current == NONE:  # the first version of a secret is AWSCURRENT by itself
        world = world._replace(current=INTENTS + m.e)
    yield m.writes("puts its intent", at, world)._replace(intent=m.t.planned)


@step("Issue New Key: claim")
@step("Take Over: claim")
@step("Retire Old Key: claim")
def move_claim(m: Move) -> Iterator[Next]:
    """claim.take: the compare-and-swap."""
    expected = m.t.seen[0]
    if m.w.claim in (expected, m.e) or not m.rules.compare_and_swap:
        world = m.w._replace(claim=m.e)
        yield m.writes("takes the claim", f"{m.t.state}: look again", world)
    elif m.x.kind == RETIRE:
        yield m.enters("finds the claim taken", "Retire Old Key: look")
    else:
        yield loses(m, "finds the claim taken")


def clean_up_first(m: Move, found: real.Answer, world: World) -> Next:
    doomed = real.orphans(m.state, m.e, m.rules)
    at = f"{m.t.state}: clean up" if doomed else f"{m.t.state}: give back"
    return m.writes(f"decides {found.step}", at, world, doomed=doomed)


@step("Issue New Key: clean up")
@step("Take Over: clean up")
def clean_up(m: Move) -> Iterator[Next]:
    """claim.give_back: what was created and not stored is known under this claim only."""
    key, *rest = m.t.doomed
    at = f"{m.t.state}: clean up" if rest else f"{m.t.state}: give back"
    yield m.writes(f"deletes key {key}", at, calls.delete_key(m.w, key), doomed=tuple(rest))


@step("Issue New Key: give back")
@step("Take Over: give back")
def give_back(m: Move) -> Iterator[Next]:
    """claim.release: what was decided before the claim does not hold under it."""
    if m.holding:
        world = m.w._replace(claim=NONE)
        if m.t.tidies:
            yield Next("releases the claim", world, None, SKIPPED, writes=True)
        else:
            yield loses(m, "releases the claim", world=world)._replace(writes=True)
    else:
        yield m.ends("finds the claim lost", CLAIM_LOST)


# --- Take Over ------------------------------------------------------------------------------------


@step("Take Over: look")
def take_over_look(m: Move) -> Iterator[Next]:
    """handlers/take_over: an exposed key is marked before anything else."""
    if m.holding:
        yield from _bind(m, marked(m))
        return
    found = real.decide(m.state, m.e, m.rules)
    changed = m._replace(state=m.state._replace(world=marked(m)))
    moved_on = m.t.tidies and found.step is not Step.SKIP
    if found.step in _NOT_FROM_HERE or found.step is Step.ISSUE or moved_on:
        yield loses(changed, "finds the world changed", found.reason)
    elif found.step is Step.SKIP and not m.t.tidies and m.rules.alive_keeps_claim:
        yield changed.ends("skips", SKIPPED)
    elif m.t.tidies and m.rules.mark_takes_nothing and not _may_be_tidied(m):
        yield changed.ends("marks the key", SKIPPED)
    else:
        yield plan_claim(m, found, "Take Over")


def _may_be_tidied(m: Move) -> bool:
    """handlers/take_over._tidy_up: for a mark no claim is needed, only to take a dead one off."""
    holder = m.state.executions[m.w.claim] if m.w.claim != NONE else None
    return holder is not None and holder.intent is not None and holder.intent.action == RETIRE


@step("Take Over: look again")
def take_over_decide(m: Move) -> Iterator[Next]:
    """handlers/take_over: the decision under the claim is the one that binds."""
    if not m.holding:
        yield m.ends("finds the claim lost", CLAIM_LOST)
        return
    yield from _bind(m, m.w)


def _bind(m: Move, world: World) -> Iterator[Next]:
    if m.t.tidies:
        yield m.writes("has only to tidy up", "Take Over: give back", world)
        return
    kept = m.t.seen[1:]
    yield from _adopt(m, real.unpacked(kept) if kept else real.decide(m.state, m.e, m.rules), world)


def _adopt(m: Move, found: real.Answer, world: World) -> Iterator[Next]:
    if found.step in _NOT_FROM_HERE:
        yield clean_up_first(m, found, world)
        return
    if found.step is Step.SKIP:
        yield m.writes("decides SKIP", "Take Over: give back", world, tidies=True)
        return
    old = world.find(found.old)
    yield m.enters(
        f"takes over: {found.step}",
        _CONTINUE[found.step],
        world,
        old=found.old,
        old_version=found.old_version,
        new=found.new,
        new_version=found.new_version,
        exposed=found.exposed,
        again=found.again,
        deactivated=old is not None and not old.active,
        reactivated=False,
        silent=False,
    )
