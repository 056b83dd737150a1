"""Decides whether a dead execution is backed out, and by what: a pure function over its event."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from keyturn.model import outcomes
from keyturn.model.identifiers import recovery_name

MAX_GENERATIONS = 3


@dataclass(frozen=True)
class Recovery:
    """What is done about an execution that ended badly; `why` is for the log.

    With a `name`, an execution with this name and `data` is started. A `problem` is told to people.
    """

    why: str
    name: str = ""
    data: dict[str, Any] | None = None
    problem: str = ""


def recovery(detail: dict[str, Any], machine_arn: str) -> Recovery:
    """Return what follows from the `detail` of a status event."""
    dead, status = detail["executionArn"], detail.get("status")
    if not outcomes.is_execution_of(machine_arn, dead):
        return Recovery("not an execution of this stack's RotateKey")
    if outcomes.has_decided(detail):
        return Recovery("the execution had decided")
    given = _input(detail)
    subject = _subject(given)
    if not subject:
        problem = f"{dead} ended ({status}) and its event names no user"
        return Recovery("no user is named", problem=problem)
    generation = 1 + _generation(given)
    if generation > MAX_GENERATIONS:
        problem = f"{dead} was the third attempt to back out a dead rotation; a person has to"
        return Recovery("too many generations", problem=problem)
    return Recovery(
        f"generation {generation}",
        recovery_name(dead, outcomes.redrives(detail)),
        {
            **subject,
            "action": "BACK_OUT",
            "reason": f"{dead} ended as {status} without deciding",
            "recovery": {"executionArn": dead, "generation": generation, **_also(given)},
        },
    )


def _subject(given: dict[str, Any]) -> dict[str, str]:
    for name in ("userName", "accessKeyId"):
        value = given.get(name)
        if isinstance(value, str) and value:
            return {name: value}
    return {}


def _generation(given: dict[str, Any]) -> int:
    recovery = given.get("recovery")
    if recovery is None:
        return 0
    generation = recovery.get("generation") if isinstance(recovery, dict) else None
    # What cannot be counted counts as the last one: a person looks, and no chain grows.
    return generation if isinstance(generation, int) and generation > 0 else MAX_GENERATIONS


def _also(given: dict[str, Any]) -> dict[str, list[str]]:
    """Return whom the dead execution was to back out: it may have died before it took over."""
    recovery = given.get("recovery")
    if not isinstance(recovery, dict):
        return {}
    earlier = recovery.get("also")
    found = [recovery.get("executionArn"), *(earlier if isinstance(earlier, list) else ())]
    arns = [arn for arn in found if isinstance(arn, str) and arn]
    return {"also": arns[:MAX_GENERATIONS]} if arns else {}


def _input(detail: dict[str, Any]) -> dict[str, Any]:
    try:
        given = json.loads(detail.get("input") or "{}")
    except ValueError:
        return {}
    return given if isinstance(given, dict) else {}
