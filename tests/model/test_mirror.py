"""The calls that the model makes, against those that the handlers make, state by state."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from proofs.model import faults, starts
from proofs.model.effects import follow
from proofs.model.state import RETIRE, ROTATE, World
from tests.integration.account import PREFIX, Account, Execution

DEFINITION = Path(__file__).resolve().parents[2] / "statemachine" / "rotate_key.asl.json"

_CHANGES = (
    "CreateAccessKey",
    "DeleteAccessKey",
    "PutSecretValue",
    "TagResource",
    "UntagResource",
    "UpdateAccessKey",
    "UpdateSecretVersionStage",
)
_TAGS = {"keyturn:deactivated-key": "deactivated", "keyturn:last-result": "last-result"}


def changes(account: Account) -> list[str]:
    """Return the changing calls since the last time, in the model's words, and forget them."""
    found = [(name, params) for name, params in account.wire.calls if name in _CHANGES]
    account.wire.forget()
    return [worded(name, params) for name, params in found]


def worded(name: str, params: dict[str, Any]) -> str:
    if name == "UpdateSecretVersionStage":
        return f"{name} {params['VersionStage']}"
    if name == "PutSecretValue":
        return f"{name} {params['VersionStages'][0]}"
    if name in ("TagResource", "UntagResource"):
        keys = params.get("TagKeys") or [tag["Key"] for tag in params["Tags"]]
        return f"{name} {next(word for key, word in _TAGS.items() if key in keys)}"
    return name


def modelled(world: World, kind: str, *choices: str) -> dict[str, list[str]]:
    """Return the changing calls of an undisturbed run of the model, by state."""
    _, state = starts.start(world, kind)
    made, _ = follow(state, len(state.executions) - 1, choices)
    return by_state(made)


def by_state(made: list[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for at, call in made:
        found.setdefault(at, []).append(call)
    return found


@pytest.fixture
def run(account: Account) -> Execution:
    """An execution that has published."""
    account.rotatable()
    return account.execution()


def call(account: Account, run: Execution, handler: str, **fields: Any) -> list[str]:
    account.wire.forget()
    run.call(handler, **fields)
    return changes(account)


def publish(account: Account, run: Execution) -> dict[str, list[str]]:
    run.call("check_request")
    found = {"Issue New Key": call(account, run, "issue_new_key")}
    run.call("prove_new_key")
    found["Publish New Key"] = call(account, run, "publish_new_key")
    return found


def deactivated(account: Account, run: Execution) -> list[str]:
    assert run.rotation is not None
    account.used(run.rotation["oldAccessKeyId"], datetime.now(UTC) - timedelta(days=3))
    account.used(run.rotation["newAccessKeyId"], datetime.now(UTC))
    run.call("check_pickup")
    return call(account, run, "deactivate_key", which="OLD")


def test_errors_are_caught_as_the_state_machine_catches_them() -> None:
    states = json.loads(DEFINITION.read_text(encoding="utf-8"))["States"]
    for name, (to, _) in faults.CATCH.items():
        place, _, call = to.partition(": ")
        met = after_a_catch(states, name)
        assert place in met, name
        if call == "wait":
            assert any(states[each]["Type"] == "Wait" for each in met), name
    for name in set(faults.ENDS) & set(states):
        assert "Announce Outcome" in after_a_catch(states, name), name
    for name in faults.GIVES_UP:
        rules = states[states[name]["Next"]]["Choices"]
        assert {"closing": "BackoutIncomplete"} in [rule.get("Assign") for rule in rules], name


def after_a_catch(states: dict[str, Any], name: str) -> set[str]:
    """Return the states that a States.ALL of a state leads to, up to the next Task of each way."""
    met: set[str] = set()
    ahead = [states[name]["Catch"][-1]["Next"]]
    while ahead:
        at = ahead.pop()
        if at not in met:
            met.add(at)
            state = states[at]
            choices = [choice["Next"] for choice in state.get("Choices", [])]
            onward = [*choices, state.get("Default"), state.get("Next")]
            ahead += [each for each in onward if each and state["Type"] != "Task"]
    return met


def test_a_rotation_makes_the_same_calls(account: Account, run: Execution) -> None:
    made = publish(account, run)
    made["Deactivate Old Key"] = deactivated(account, run)
    assert run.rotation is not None
    run.rotation["outcome"] = "ROTATED"
    made["Close Rotation"] = call(account, run, "close_rotation")
    assert made == modelled(starts.STORED, ROTATE)


def test_a_back_out_makes_the_same_calls(account: Account, run: Execution) -> None:
    made = publish(account, run)
    made["Deactivate Old Key"] = deactivated(account, run)
    made["Reactivate Old Key"] = call(account, run, "reactivate_old_key")
    run.call("prove_old_key")
    made["Restore Old Version"] = call(account, run, "restore_old_version")
    made["Deactivate New Key"] = call(account, run, "deactivate_key", which="NEW")
    assert run.rotation is not None
    run.rotation["outcome"] = "BACKED_OUT"
    made["Close Rotation"] = call(account, run, "close_rotation")
    assert made == modelled(starts.STORED, ROTATE, "hurt")


def test_a_discard_makes_the_same_calls(account: Account, run: Execution) -> None:
    run.call("check_request")
    made = {"Issue New Key": call(account, run, "issue_new_key")}
    assert run.rotation is not None
    key = run.rotation["newAccessKeyId"]
    account.iam.update_access_key(UserName="ci", AccessKeyId=key, Status="Inactive")
    made["Discard New Key"] = call(account, run, "discard_new_key")
    assert made == discarded()


def discarded() -> dict[str, list[str]]:
    """Return what the model does when the new key cannot be proven: a person turns it off."""
    _, state = starts.start(starts.STORED, ROTATE, person=1)
    made, _ = follow(state, 0, (), interfering="a person deactivates key 1", at="Prove New Key")
    return by_state(made)


def test_a_retirement_makes_the_same_calls(account: Account, run: Execution) -> None:
    publish(account, run)
    deactivated(account, run)
    assert run.rotation is not None
    run.rotation["outcome"] = "ROTATED"
    run.call("close_rotation")
    new = run.rotation["newAccessKeyId"]
    account.used(new, datetime.now(UTC) + timedelta(hours=1))
    retirement = account.execution(
        userName="ci",
        oldAccessKeyId=run.rotation["oldAccessKeyId"],
        versionId=account.labels(PREFIX + "ci")["AWSCURRENT"],
        retentionSeconds=0,
    )
    made = {"Retire Old Key": call(account, retirement, "retire_old_key", phase="RETIRE", tries=0)}
    assert made == modelled(starts.RETAINED, RETIRE)
