"""The decision table: every row of decisions.md, which says what its words mean."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keyturn.model.world import Claim, ClaimantState, Intent, Key, SecretState, Tag, World
from keyturn.rotate.decision import Ask, Decision, Step, decide
from tests.table import rows_of
from tests.unit import worlds
from tests.unit.worlds import ARN, GONE, K1, K2, POLICY

KEYS = {"K1": K1, "K2": K2, "K9": GONE}
FOREIGN = "some-other-rotator-0123456789abcdef"
IMPOSSIBLE = POLICY.model_copy(update={"quiet_period_seconds": 700_000})
ASKS = {
    "ROTATE": Ask(),
    "FORCE": Ask(force=True),
    "BACK_OUT": Ask(action="BACK_OUT"),
    "RECOVERY": Ask(action="BACK_OUT", recovery_of=ARN),
    "RECOVERY of another": Ask(action="BACK_OUT", recovery_of="arn:other"),
    "EMERGENCY": Ask(mode="EMERGENCY"),
    **{f"EMERGENCY {name}": Ask(mode="EMERGENCY", exposed_key_id=KEYS[name]) for name in KEYS},
}
USERS: dict[str, dict[str, Any]] = {
    "no user": {"exists": False},
    "unmanaged": {"managed": False},
    "password": {"console_password": True},
    "named a,b": {"name": "a,b"},
}
SECRETS: dict[str, dict[str, Any]] = {
    "to be deleted": {"scheduled_for_deletion": True},
    "of rds": {"owning_service": "rds"},
    "native rotation": {"rotation_enabled": True},
}
ROWS = rows_of(Path(__file__).with_name("decisions.md"))


def words(cell: str) -> list[str]:
    return cell.split(", ") if cell else []


def keys(cell: str) -> list[Key]:
    """`K2 off new unused`."""
    found = []
    for text in words(cell):
        options: dict[str, Any] = {"active": " off" not in text}
        if " new" in text:
            options["days_old"] = 0.04
        if age := re.search(r" ([\d.]+)d(?! used)", text.partition(" used")[0]):
            options["days_old"] = float(age[1])
        if used := re.search(r" used (\d+)d", text):
            options["used_days_ago"] = int(used[1])
        if " unused" in text:
            options["used_days_ago"] = None
        found.append(worlds.key(KEYS[text[:2]], **options))
    return found


def secret(cell: str) -> SecretState | None:
    """`current K2, backout K1, retained K1`."""
    if not cell:
        return None
    options: dict[str, Any] = {"record": {}}
    for text in words(cell):
        what, _, name = text.partition(" ")
        if text in SECRETS:
            options |= SECRETS[text]
        elif what in ("deactivated", "retained"):
            days = 6 if what == "retained" else None
            options["record"] |= worlds.record(KEYS[name], retained_days=days)
        elif what == "marked":
            options["record"][Tag.EXPOSED_KEYS] = KEYS[name]
        else:
            options[what] = FOREIGN if name == "foreign" else worlds.ours(KEYS[name])
    return worlds.secret(**options)


def intent(text: str) -> Intent:
    """`BACK_OUT`, `EMERGENCY for K1`, `72h old before it K1 K2 old K2`."""
    before = re.search(r"before it ((?:K\d ?)*|none)", text)
    old = re.search(r" old (K\d)", text)
    age = re.search(r"(\d+)h old", text)
    about = re.search(r" for (K\d)", text)
    return worlds.intent(
        before=tuple(KEYS[name] for name in re.findall(r"K\d", before[1])) if before else (K1,),
        old=KEYS[old[1]] if old else K1,
        action=next((name for name in ("BACK_OUT", "RETIRE") if name in text), "ROTATE"),
        mode="EMERGENCY" if "EMERGENCY" in text else "STANDARD",
        minutes_ago=60 * int(age[1]) if age else 60,
        exposed=KEYS[about[1]] if about else None,
    )


def claim(text: str) -> Claim:
    """`dead free in 30s`, `running EMERGENCY for K1`, `unknown 25h old`."""
    free = re.search(r"free in (-?\d+)s", text)
    found = worlds.claim(
        ClaimantState[text.split(maxsplit=1)[0].upper()],
        of=intent(text),
        free_in_seconds=int(free[1]) if free else -60,
        stopped_by_takeover="stopped" in text,
    )
    return replace(found, intent=None) if "not ours" in text else found


def world(row: dict[str, str]) -> World:
    options: dict[str, Any] = {}
    for text in words(row["claim, and more"]):
        if text in USERS:
            options |= USERS[text]
        elif text.startswith("decided"):
            options["last_intent"] = intent(text)
        elif text != "impossible timing":
            options |= {"claim": claim(text), "holding": text.endswith(" held")}
    return worlds.world(*keys(row["keys"]), secret=secret(row["secret"]), **options)


def answer(found: Decision) -> str:
    """A decision as the table writes it."""
    if found.step in (Step.REJECT, Step.SKIP, Step.WAIT, Step.STOP_CLAIMANT):
        return str(found.step)
    names = {key_id: name for name, key_id in KEYS.items()}
    places = zip(("old", "new", "room"), ids_of(found), strict=True)
    used = [f"{place} {names[key_id]}" for place, key_id in places if key_id]
    return ", ".join([found.step, *used, *(["urgent"] if found.old_exposed else [])])


def ids_of(decision: Decision) -> tuple[str | None, str | None, str | None]:
    return decision.old_key_id, decision.new_key_id, decision.room_key_id


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["case"])
def test_a_row_of_the_table(row: dict[str, str]) -> None:
    policy = IMPOSSIBLE if "impossible timing" in row["claim, and more"] else POLICY
    found = decide(world(row), ASKS[row["asked"]], policy)
    assert answer(found) == row["answer"], found
    assert row["says"] in found.reason


def test_the_table_has_every_step_and_no_name_twice() -> None:
    assert {row["answer"].partition(",")[0] for row in ROWS} == set(Step)
    assert len({row["case"] for row in ROWS}) == len(ROWS)
