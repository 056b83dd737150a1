"""Each invariant of the observer is broken once, on purpose, and noticed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from localaws.model import Change
from proofs.faults.observer import Observed, Run, violations

OLD, NEW = "AKIAOLDOLDOLDOLD0001", "AKIANEWNEWNEWNEW0002"
ROLE = "arn:aws:sts::123456789012:assumed-role/keyturn-Role/keyturn-X"
PERSON = "arn:aws:iam::123456789012:root"
CLAIM = {"CLAIM": "intent-1"}
HOLDS = {"v-old": OLD, "v-new": NEW}


def change(
    at: float,
    keys: dict[str, str],
    labels: dict[str, str],
    *,
    action: str = "iam:UpdateAccessKey",
    by: str = ROLE,
    holds: dict[str, str] | None = None,
    used: dict[str, float] | None = None,
) -> Change:
    return Change(
        time=at,
        action=action,
        principal=by,
        function="keyturn-X",
        keys=keys,
        labels=labels,
        holds=HOLDS if holds is None else holds,
        tags={},
        used=used or {},
    )


BEGUN = change(0, {OLD: "Active"}, {"AWSCURRENT": "v-old"}, by=PERSON)
CLAIMED = change(1, {OLD: "Active"}, {"AWSCURRENT": "v-old", **CLAIM})
CREATED = change(2, {OLD: "Active", NEW: "Active"}, {"AWSCURRENT": "v-old", **CLAIM})
PUBLISHED = change(
    3, {OLD: "Active", NEW: "Active"}, {"AWSCURRENT": "v-new", "BACKOUT": "v-old", **CLAIM}
)
DEACTIVATE = change(
    20,
    {OLD: "Inactive", NEW: "Active"},
    {"AWSCURRENT": "v-new", "BACKOUT": "v-old", **CLAIM},
    used={OLD: 10, NEW: 19},
)
DECIDED = change(30, DEACTIVATE.keys, {"AWSCURRENT": "v-new", "BACKOUT": "v-old"})
CLEAN = [BEGUN, CLAIMED, CREATED, PUBLISHED, DEACTIVATE, DECIDED]
ROTATED = Run(
    "arn:1", 0.5, 31, "SUCCEEDED", None,
    {"outcome": "ROTATED", "oldAccessKeyId": OLD, "newAccessKeyId": NEW},
)  # fmt: skip


def seen(
    changes: list[Change], run: Run = ROTATED, *, exposed: frozenset[str] = frozenset()
) -> list[str]:
    rests = [(len(changes), 40.0)]
    return violations(Observed(changes, [run], rests, quiet_seconds=5, exposed=exposed))


def ended(outcome: str, error: str | None = None) -> Run:
    status = "FAILED" if error else "SUCCEEDED"
    return replace(
        ROTATED, status=status, error=error, result={**ROTATED.result, "outcome": outcome}
    )


def test_a_clean_rotation_violates_nothing() -> None:
    assert seen(CLEAN) == []


CURRENT_DEAD = change(4, {OLD: "Active", NEW: "Inactive"}, PUBLISHED.labels)
TOO_EARLY = replace(DEACTIVATE, used={OLD: 18, NEW: 19})
UNCLAIMED = replace(CREATED, labels={"AWSCURRENT": "v-old"})
CURRENT_DELETED = change(21, {OLD: "Inactive"}, DEACTIVATE.labels)
ACTIVE_DELETED = change(4, {NEW: "Active"}, PUBLISHED.labels)


@pytest.mark.parametrize(
    ("changes", "run", "words"),
    [
        ([*CLEAN[:4], CURRENT_DEAD], ROTATED, "the key in AWSCURRENT is Inactive"),
        ([BEGUN, UNCLAIMED, *CLEAN[3:]], ROTATED, "created without a claim"),
        ([*CLEAN[:4], TOO_EARLY, DECIDED], ROTATED, "2.0 seconds after a consumer used it"),
        ([*CLEAN[:5], CURRENT_DELETED], ROTATED, "in AWSCURRENT was deleted"),
        ([*CLEAN[:4], ACTIVE_DELETED], ROTATED, "deleted after it had been in AWSCURRENT"),
        ([*CLEAN[:-1], DECIDED, change(31, {NEW: "Active"}, DECIDED.labels)], ROTATED,
         "deleted without a claim"),
        (CLEAN[:3], ended("FAILED", "RotationFailed"), "the new key is still there"),
        (CLEAN[:4], ended("BACKED_OUT", "RotationBackedOut"), "2 keys are active"),
        (CLEAN, ended("BACKED_OUT"), "BACKED_OUT, but the old key is not active"),
        (CLEAN[:4], ROTATED, "ROTATED, but the old key is active"),
        (CLEAN, ended("FAILED"), "is green with the outcome 'FAILED'"),
        (CLEAN, ended("ROTATED", "States.Runtime"), "ended with States.Runtime"),
    ],
)  # fmt: skip
def test_a_broken_invariant_is_noticed(changes: list[Change], run: Run, words: str) -> None:
    assert any(words in found for found in seen(changes, run)), seen(changes, run)


def test_a_key_that_nobody_stored_is_noticed_at_rest() -> None:
    unstored = [replace(item, holds={"v-old": OLD}) for item in CLEAN[:3]]
    run = ended("NEEDS_ATTENTION", "AttentionNeeded")
    assert "at rest the key ...0002 is in no version".replace("...", "") in seen(unstored, run)


def test_two_claimants_that_both_create_are_noticed() -> None:
    lost = replace(CREATED, holds={"v-old": OLD})
    other = "AKIATHIRDTHIRDTH0003"
    second = change(
        4,
        {**lost.keys, other: "Active"},
        {"AWSCURRENT": "v-old", "CLAIM": "intent-2"},
        holds={"v-old": OLD},
    )
    claimed = replace(lost, time=3, labels=second.labels)
    found = seen(
        [BEGUN, CLAIMED, lost, claimed, second], ended("NEEDS_ATTENTION", "AttentionNeeded")
    )
    assert any("two claimants created keys" in item for item in found), found


def test_an_exposed_key_that_comes_back_is_noticed() -> None:
    marked = [replace(item, labels={**item.labels, "EXPOSED": "v-old"}) for item in CLEAN]
    back = change(31, {OLD: "Active", NEW: "Active"}, marked[-1].labels)
    exposed = frozenset({OLD})
    assert seen(marked, exposed=exposed) == []
    found = seen([*marked, back], ended("NEEDS_ATTENTION", "AttentionNeeded"), exposed=exposed)
    assert any("became active again" in item for item in found), found


def test_what_a_person_did_is_not_held_against_keyturn() -> None:
    by_person = replace(CURRENT_DEAD, principal=PERSON)
    found = seen([*CLEAN[:4], by_person], ended("NEEDS_ATTENTION", "AttentionNeeded"))
    assert not [item for item in found if "AWSCURRENT" in item], found
