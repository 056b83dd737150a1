"""The invariants, checked by an observer that sees only IAM, the secret, consumers and results.

Everything here is pure: the changes of one user (see `localaws.model.Change`) and the executions
that ended go in, violations in words come out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from localaws.model import Change

PERSON = ":root"
DECIDED = {
    "RequestRejected": "REJECTED",
    "RotationFailed": "FAILED",
    "RotationBackedOut": "BACKED_OUT",
    "AttentionNeeded": "NEEDS_ATTENTION",
    "BackoutIncomplete": "NEEDS_ATTENTION",
}
SUCCEEDS = {"ROTATED", "ISSUED", "SKIPPED", "BACKED_OUT"}
# RetireKey's results are of a shape of their own.
RETIRED = {"DELETED", "SUPERSEDED"}
# These ends leave the user as they found it.
UNCHANGED = {"REJECTED", "SKIPPED"}


@dataclass(frozen=True)
class Run:
    """One execution that has ended: Unix times, status, error, and its result.

    rotates: whether it is one of RotateKey (else of RetireKey).
    """

    arn: str
    started: float
    ended: float
    status: str
    error: str | None
    result: dict[str, Any]
    rotates: bool = True

    @property
    def outcome(self) -> str:
        """The result's outcome; "" for an execution that was stopped or died."""
        return str(self.result.get("outcome", ""))


@dataclass(frozen=True)
class Observed:
    """All that is known of one user.

    changes: oldest first. runs: executions of RotateKey, by end. rests: indexes into `changes`,
    each the number of changes seen when everything had come to rest. quiet_seconds: how long a
    key must have been unused before it is deactivated. exposed: keys that somebody reported.
    interfered: whether a person made keys active, so that one of two may be theirs.
    """

    changes: Sequence[Change]
    runs: Sequence[Run]
    rests: Sequence[tuple[int, float]]
    quiet_seconds: float
    exposed: frozenset[str] = field(default_factory=frozenset)
    interfered: bool = False


def violations(seen: Observed) -> list[str]:
    """Every violation of an invariant, in words; none when all is well."""
    found = [
        *_current_key_active(seen),
        *_created_under_one_claim(seen),
        *_exposed_stay_away(seen),
        *_deactivated_only_when_quiet(seen),
        *_deleted_only_when_out_of_charge(seen),
        *_results_have_the_shape(seen),
    ]
    for number, at in seen.rests:
        found += _at_rest(seen, number, at)
    return found


def _current_key_active(seen: Observed) -> Iterator[str]:
    """The user always has an active key whose secret is in AWSCURRENT, a person's act apart.

    An exposed key is deactivated even when no other one could be published; what the result has
    to say then is checked at rest.
    """
    broken_by_person = False
    published = False
    for change in seen.changes:
        current = change.current
        published = published or current is not None
        fine = current in seen.exposed or (
            current is not None and change.keys.get(current) == "Active"
        )
        if fine or not published:
            broken_by_person = False
            continue
        if change.principal.endswith(PERSON):
            broken_by_person = True
        if not broken_by_person:
            status = change.keys.get(current, "deleted") if current else "in no version"
            yield f"after {change.action} the key in AWSCURRENT is {status}"
            return


def _created_under_one_claim(seen: Observed) -> Iterator[str]:
    """Two executions never both create: what another claimant created is stored or gone."""
    made: dict[str, str] = {}
    for before, after in pairwise(seen.changes):
        new = after.keys.keys() - before.keys.keys()
        if not new or after.principal.endswith(PERSON):
            continue
        claim = before.labels.get("CLAIM")
        if claim is None:
            yield "a key was created without a claim"
            return
        stored = set(before.holds.values())
        for key, under in made.items():
            if under != claim and before.keys.get(key) == "Active" and key not in stored:
                yield f"two claimants created keys: {key[-4:]} of another one was unaccounted for"
        made |= dict.fromkeys(new, claim)


def _exposed_stay_away(seen: Observed) -> Iterator[str]:
    """An exposed key never comes back."""
    for key in seen.exposed:
        gone = False
        for change in seen.changes:
            active = change.keys.get(key) == "Active"
            if gone and active and not change.principal.endswith(PERSON):
                yield f"the exposed key {key[-4:]} became active again by {change.action}"
                break
            marked = key in (change.key("EXPOSED"), *_tagged_exposed(change))
            gone = (gone or marked) and not active


def _tagged_exposed(change: Change) -> list[str]:
    return change.tags.get("keyturn:exposed-keys", "").split()


def _deactivated_only_when_quiet(seen: Observed) -> Iterator[str]:
    """A key that a consumer used within the quiet period is never deactivated."""
    for before, after in pairwise(seen.changes):
        if after.principal.endswith(PERSON):
            continue
        for key, status in after.keys.items():
            if status == "Active" or before.keys.get(key) != "Active" or key in seen.exposed:
                continue
            used = after.used.get(key)
            if used is not None and after.time - used < seen.quiet_seconds:
                yield (
                    f"the key {key[-4:]} was deactivated {after.time - used:.1f} seconds after a "
                    f"consumer used it ({after.function})"
                )


def _deleted_only_when_out_of_charge(seen: Observed) -> Iterator[str]:
    """Nothing that any label in use refers to is deleted, and nothing but under a claim.

    The retained key (BACKOUT, inactive) goes with its retirement; an issued key that never was
    in AWSCURRENT goes with the clean-up.
    """
    published: set[str] = set()
    for before, after in pairwise(seen.changes):
        published |= {key for key in (before.current,) if key}
        if after.principal.endswith(PERSON):
            continue
        for key in before.keys.keys() - after.keys.keys():
            active = before.keys[key] == "Active"
            if key == before.current:
                yield f"the key {key[-4:]} in AWSCURRENT was deleted ({after.function})"
            elif active and (key in published or key == before.key("BACKOUT")):
                yield f"the active key {key[-4:]} was deleted after it had been in AWSCURRENT"
            if "CLAIM" not in before.labels:
                yield f"the key {key[-4:]} was deleted without a claim ({after.function})"


def _results_have_the_shape(seen: Observed) -> Iterator[str]:
    """Every execution ends with a result, or was stopped or killed from outside."""
    for run in seen.runs:
        if run.status == "SUCCEEDED" and run.outcome not in (SUCCEEDS if run.rotates else RETIRED):
            yield f"{run.arn} is green with the outcome {run.outcome!r}"
        elif run.rotates and run.status == "FAILED" and DECIDED.get(run.error or "") != run.outcome:
            yield f"{run.arn} ended with {run.error} and the outcome {run.outcome!r}"


def _at_rest(seen: Observed, number: int, at: float) -> Iterator[str]:
    """What holds when nothing is under way any more."""
    changes = seen.changes[:number]
    world = changes[-1]
    by_person = _created_by_person(changes)
    known = set(world.holds.values()) | by_person
    for key in world.keys:
        if key not in known:
            yield f"at rest the key {key[-4:]} is in no version"
    last = _last_word(seen, at)
    active = [key for key, status in world.keys.items() if status == "Active"]
    attention = last is not None and last.outcome == "NEEDS_ATTENTION"
    if len(active) > 1 and not attention and not seen.interfered:
        yield f"at rest {len(active)} keys are active and the last word is {_told(last)}"
    if world.current in seen.exposed and world.current not in active and not attention:
        yield f"at rest the key in AWSCURRENT is exposed and inactive, the last is {_told(last)}"
    if last is not None:
        yield from _agrees(last, world)


def _created_by_person(changes: Sequence[Change]) -> set[str]:
    made = set(changes[0].keys)
    for before, after in pairwise(changes):
        if after.principal.endswith(PERSON):
            made |= after.keys.keys() - before.keys.keys()
    return made


def _last_word(seen: Observed, at: float) -> Run | None:
    """The last execution that changed something, of those that had ended by then."""
    runs = [
        run
        for run in seen.runs
        if run.rotates and run.ended <= at and run.outcome not in (*UNCHANGED, "")
    ]
    return max(runs, key=lambda run: run.ended, default=None)


def _told(run: Run | None) -> str:
    return "nobody's" if run is None else f"{run.outcome} ({run.error})"


def _agrees(run: Run, world: Change) -> Iterator[str]:
    """The result of the execution that had the last word agrees with the world."""
    old, new = run.result.get("oldAccessKeyId") or "", run.result.get("newAccessKeyId") or ""
    if run.outcome in ("ROTATED", "ISSUED"):
        if world.current != new or world.keys.get(new) != "Active":
            yield f"{run.outcome}, but the new key is not active and in AWSCURRENT"
        if world.keys.get(old) == "Active":
            yield f"{run.outcome}, but the old key is active"
    if run.outcome == "BACKED_OUT":
        if world.current != old or world.keys.get(old) != "Active":
            yield "BACKED_OUT, but the old key is not active and in AWSCURRENT"
        if new and world.keys.get(new) == "Active":
            yield "BACKED_OUT, but the new key is active"
    if run.outcome == "FAILED":
        if new and new in world.keys:
            yield "FAILED and cleaned up, but the new key is still there"
        if old and (world.current != old or world.keys.get(old) != "Active"):
            yield "FAILED and cleaned up, but the old key is not active and in AWSCURRENT"
