"""What a rotation and a month cost: the formula, with the counts and the prices put in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks import prices
from benchmarks.walks import BATCH as BATCH_WALK
from benchmarks.walks import FLEET, WALKS
from keyturn.aws.metrics import OF_OUTCOMES, OF_THE_AUDIT
from keyturn.fleet.choosing import BATCH
from keyturn.model.rotation import Outcome
from proofs.simulation import defaults
from tools import template

USERS = 1_000
DAYS_A_MONTH = 30.4375
DAY = 86_400

# Assumed, because no emulator can tell what Lambda bills. Most invocations are cold: a rotation
# looks once an hour. The figures of the cold starts are further down on the page.
SECONDS_AN_INVOCATION = 3.0
LOG_BYTES_AN_INVOCATION = 3_000
MEGABYTES = 512
AUDIT_MEGABYTES, AUDIT_SECONDS = 1_024, 10.0
REPORT_MEGABYTES_A_USER, REPORT_DAYS = 0.003, 90
RULES_A_ROTATION = 2  # the recorder, at the start and at the end
SECRET_CALLS_A_LOOK = 1


@dataclass(frozen=True)
class Priced:
    """A rotation by a path: what it takes, and what that costs in dollars."""

    transitions: int
    invocations: int
    secret_calls: int
    transitions_cost: float
    functions_cost: float
    other_cost: float

    @property
    def dollars(self) -> float:
        """All of it."""
        return self.transitions_cost + self.functions_cost + self.other_cost


def functions(invocations: float, seconds: float = SECONDS_AN_INVOCATION,
              megabytes: int = MEGABYTES) -> float:  # fmt: skip
    """Return the dollars of invocations: requests, duration, logs and traces."""
    each = (
        prices.REQUEST.each
        + seconds * megabytes / 1_024 * prices.GIGABYTE_SECOND.each
        + LOG_BYTES_AN_INVOCATION / 1e9 * prices.LOG_GIGABYTE.each
        + prices.TRACE.each
    )
    return invocations * each


def formula() -> str:
    """Return the formula of a rotation's cost in words of one letter."""
    parts = (
        ("T", f"{prices.TRANSITION.each:.6f}"),
        ("I", f"{functions(1):.6f}"),
        ("S", f"{prices.SECRET_CALL.each:.6f}"),
        ("E", f"{prices.EVENT.each:.6f}"),
        ("N", f"{prices.NOTIFICATION.each + prices.EMAIL.each:.6f}"),
    )
    return " + ".join(f"{letter} x {price}" for letter, price in parts)


def rotation(path: Mapping[str, Any], looks: Mapping[str, int]) -> Priced:
    """Price a counted path, with another number of looks than it was counted with."""
    walks = [WALKS[one["walk"]] for one in path["executions"]]
    transitions = sum(walk.transitions(looks) for walk in walks)
    invocations = sum(walk.invocations(looks) for walk in walks) + path["byRules"]
    counted = {name: count for one in path["executions"] for name, count in one["looks"].items()}
    calls = path["calls"]
    more = sum(
        (count - counted.get(name, 0)) * SECRET_CALLS_A_LOOK
        for name, count in looks.items()
        if name in counted
    )
    secret_calls = _of(calls, "secretsmanager") + more
    other = (
        secret_calls * prices.SECRET_CALL.each
        + _of(calls, "events") * prices.EVENT.each
        + _of(calls, "sns") * (prices.NOTIFICATION.each + prices.EMAIL.each)
    )
    return Priced(
        transitions,
        invocations,
        secret_calls,
        transitions * prices.TRANSITION.each,
        functions(invocations),
        other,
    )


def _of(calls: Mapping[str, int], service: str) -> int:
    return sum(count for name, count in calls.items() if name.startswith(f"{service}:"))


def days_between_rotations() -> float:
    """Return the age at which a key is rotated with the template's defaults, in days."""
    return defaults.fleet().due_after_seconds / DAY


def month(one: Priced, batch_looks: int, users: int = USERS) -> list[tuple[str, str, float]]:
    """Return the parts of a month's cost: what, how it is computed, dollars."""
    days = days_between_rotations()
    rotations = users * DAYS_A_MONTH / days
    a_day = rotations / DAYS_A_MONTH
    batches = max(1, -(-int(a_day) // BATCH))
    batch = {"batch": batch_looks}
    fleet_transitions = FLEET.transitions({}) + batches * BATCH_WALK.transitions(batch)
    fleet_invocations = FLEET.invocations({}) - 1 + batches * BATCH_WALK.invocations(batch)
    fleet = DAYS_A_MONTH * (
        fleet_transitions * prices.TRANSITION.each
        + functions(fleet_invocations)
        + functions(1, AUDIT_SECONDS, AUDIT_MEGABYTES)
    )
    megabytes = users * REPORT_MEGABYTES_A_USER
    puts = 10 + batches * (batch_looks + 2)
    store = megabytes / 1_000 * REPORT_DAYS * prices.STORED.each + DAYS_A_MONTH * puts * (
        prices.PUT.each + prices.GET.each
    )
    metrics, alarms, dashboards = _watched()
    return [
        (
            "rotations",
            f"{users:,} users x {DAYS_A_MONTH} days / {days:.1f} days = {rotations:.0f} rotations "
            f"x ${one.dollars:.4f}",
            rotations * one.dollars,
        ),
        (
            "fleet runs",
            f"one a day: {fleet_transitions} transitions, {fleet_invocations + 1} invocations",
            fleet,
        ),
        (
            "report bucket",
            f"{megabytes:.0f} MB a day kept {REPORT_DAYS} days; {puts} writes and reads a day",
            store,
        ),
        (
            "alarms and dashboard",
            f"{alarms} alarms, {dashboards} dashboard",
            alarms * prices.ALARM.each + dashboards * prices.DASHBOARD.each,
        ),
        (
            "metrics, at most",
            f"{metrics} metrics, as if each had data in every hour",
            metrics * prices.METRIC.each,
        ),
        (
            "secrets",
            f"{users:,}, whether they are rotated or not",
            users * prices.SECRET.each,
        ),
    ]


def _watched() -> tuple[int, int, int]:
    """Return how many metrics, alarms and dashboards a stack has.

    Of each function: calls, errors and cold starts. The others are of outcomes, one of them for
    each outcome, and of the audit.
    """
    kinds = [resource["Type"] for resource in template.load()["Resources"].values()]
    others = len({*OF_OUTCOMES, *OF_THE_AUDIT}) + len(Outcome)
    return (
        3 * kinds.count("AWS::Serverless::Function") + others,
        kinds.count("AWS::CloudWatch::Alarm"),
        kinds.count("AWS::CloudWatch::Dashboard"),
    )
