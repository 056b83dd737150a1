"""What a rotation and a month cost: the formula, with the counts and the prices put in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.figures import Figure
from benchmarks.prices import Price
from benchmarks.walks import BATCH as BATCH_WALK
from benchmarks.walks import FLEET, WALKS
from keyturn.aws.metrics import Measure
from keyturn.fleet.choosing import BATCH
from keyturn.model.outcomes import OUTCOMES
from proofs.simulation import defaults
from proofs.simulation.ending import Ended
from tools import template

USERS = 1_000
DAYS_A_MONTH = 30.4375
DAY = 86_400
MOST_A_MONTH = 19
"""Dollars for so many users, beside their secrets."""

# Assumed, because no emulator can tell what Lambda bills. Most invocations are cold: a rotation
# looks once an hour. The figures of the cold starts are further down on the page.
SECONDS_AN_INVOCATION = 3.0
LOG_BYTES_AN_INVOCATION = 3_000
MEGABYTES = 512
AUDIT_MEGABYTES, AUDIT_SECONDS = 1_024, 10.0
REPORT_MEGABYTES_A_USER, REPORT_DAYS = 0.003, 90
CALLS_A_LOOK = 1
"""Of Secrets Manager; where the user has alarms, as many of CloudWatch."""

# A metric costs something in the hours in which it has data: these have it in one hour a day, and
# the others are taken to have it in every hour. The last is written in another account.
_ONCE_A_DAY = {
    Measure.MANAGED_USERS,
    Measure.OLDEST_MANAGED_KEY,
    Measure.MANAGED_KEYS_OVER_AGE,
    Measure.REPORTS_NOT_SENT,
}
_ELSEWHERE = {Measure.ACCOUNTS_NOT_JUDGED}

USUAL = "rotated, and the old key retired"
# The paths that are priced: with the looks of the simulated rotations that ended so, or with those
# of the usual ones (None) at the loops that the path has.
_PRICED = {
    USUAL: Ended.DONE,
    "backed out: nobody moved": Ended.BACKED_OUT,
    "backed out: an alarm in the watch": None,
    "backed out by hand after a rotation": None,
    "recovery of a dead execution": None,
    "EMERGENCY": None,
    "first key": None,
    "skipped: not due": None,
    "rejected": None,
}


@dataclass(frozen=True)
class Priced:
    """A rotation by a path: what it takes, and what that costs in dollars."""

    transitions: int
    invocations: int
    secret_calls: int
    other: float
    """Dollars for all but transitions and functions."""

    @property
    def parts(self) -> tuple[float, float, float]:
        """Dollars for the transitions, the functions and all other."""
        transitions = self.transitions * Price.TRANSITION.each
        return transitions, functions(self.invocations), self.other

    @property
    def dollars(self) -> float:
        """All of it."""
        return sum(self.parts)


def functions(
    invocations: float, seconds: float = SECONDS_AN_INVOCATION, megabytes: int = MEGABYTES
) -> float:
    """Return the dollars of invocations: requests, duration, logs and traces."""
    return invocations * (
        Price.REQUEST.each
        + seconds * megabytes / 1_024 * Price.GIGABYTE_SECOND.each
        + LOG_BYTES_AN_INVOCATION / 1e9 * Price.LOG_GIGABYTE.each
        + Price.TRACE.each
    )


def formula() -> str:
    """Return the formula of a rotation's cost in words of one letter."""
    return (
        f"T x {Price.TRANSITION.each:.6f} + I x {functions(1):.6f} + "
        f"S x {Price.SECRET_CALL.each:.6f} + E x {Price.EVENT.each:.6f} + "
        f"N x {Price.NOTIFICATION.each + Price.EMAIL.each:.6f}"
    )


def rotation(path: Mapping[str, Any], looks: Mapping[str, int]) -> Priced:
    """Price a counted path, with another number of looks than it was counted with."""
    walks = [WALKS[one["walk"]] for one in path["executions"]]
    counted = {name: count for one in path["executions"] for name, count in one["looks"].items()}
    more = CALLS_A_LOOK * sum(looks.get(name, count) - count for name, count in counted.items())

    def calls(service: str) -> int:
        return sum(n for name, n in path["calls"].items() if name.startswith(f"{service}:"))

    secret_calls = calls("secretsmanager") + more
    alarm_looks = calls("cloudwatch") + more if calls("cloudwatch") else 0
    return Priced(
        sum(walk.transitions(looks) for walk in walks),
        sum(walk.invocations(looks) for walk in walks) + path["byRules"],
        secret_calls,
        secret_calls * Price.SECRET_CALL.each
        + alarm_looks * Price.ALARM_LOOK.each
        + calls("events") * Price.EVENT.each
        + calls("sns") * (Price.NOTIFICATION.each + Price.EMAIL.each),
    )


def rotations(data: Mapping[str, Any]) -> dict[str, Priced]:
    """Price the counted paths with the looks that the default durations make.

    data: what the parts measured; empty without the paths and the looks.
    """
    if not {"paths", "looks"} <= data.keys():
        return {}
    paths = {path["path"]: path for path in data["paths"]}
    medians = {name: found["median"] for name, found in data["looks"]["endings"].items()}
    back = medians.get(Ended.BACKED_OUT.value, {}).get("return", 0)
    usual = medians[Ended.DONE.value] | {"return": back}
    return {
        name: rotation(paths[name], medians[how.value] if how else _at_loops(paths[name], usual))
        for name, how in _PRICED.items()
        if name in paths and (how is None or how.value in medians)
    }


def _at_loops(path: Mapping[str, Any], usual: Mapping[str, int]) -> dict[str, int]:
    """Return the looks at the loops that a path has; an alarm's first look ends the watch."""
    counted = {name for one in path["executions"] for name in one["looks"]}
    cut_short = {"watch": 1} if path["path"].startswith("backed out: an alarm") else {}
    return {name: n for name, n in {**usual, **cut_short}.items() if name in counted}


def days_between_rotations() -> float:
    """Return the age at which a key is rotated with the template's defaults, in days."""
    return defaults.fleet().due_after_seconds / DAY


def month(one: Priced, batch_looks: int, users: int = USERS) -> list[tuple[str, str, float]]:
    """Return the parts of a month's cost: what, how it is computed, dollars; the secrets last."""
    days = days_between_rotations()
    rotations = users * DAYS_A_MONTH / days
    batches = max(1, -(-int(users / days) // BATCH))
    batch = {"batch": batch_looks}
    fleet_transitions = FLEET.transitions({}) + batches * BATCH_WALK.transitions(batch)
    fleet_invocations = FLEET.invocations({}) - 1 + batches * BATCH_WALK.invocations(batch)
    fleet = DAYS_A_MONTH * (
        fleet_transitions * Price.TRANSITION.each
        + functions(fleet_invocations)
        + functions(1, AUDIT_SECONDS, AUDIT_MEGABYTES)
    )
    megabytes = users * REPORT_MEGABYTES_A_USER
    puts = 10 + batches * (batch_looks + 2)
    store = megabytes / 1_000 * REPORT_DAYS * Price.STORED.each
    store += DAYS_A_MONTH * puts * (Price.PUT.each + Price.GET.each)
    kinds = [resource["Type"] for resource in template.load()["Resources"].values()]
    alarms = kinds.count("AWS::CloudWatch::Alarm")
    dashboards = kinds.count("AWS::CloudWatch::Dashboard")
    always = len({*Measure} - _ONCE_A_DAY - _ELSEWHERE - {Measure.EXECUTIONS}) + len(OUTCOMES)
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
            alarms * Price.ALARM.each + dashboards * Price.DASHBOARD.each,
        ),
        (
            "metrics, at most",
            f"{always} metrics, as if each had data in every hour; {len(_ONCE_A_DAY)} of the "
            "audit, with data in one hour a day",
            (always + len(_ONCE_A_DAY) / 24) * Price.METRIC.each,
        ),
        ("secrets", f"{users:,}, whether they are rotated or not", users * Price.SECRET.each),
    ]


def figures(data: Mapping[str, Any]) -> list[Figure]:
    """Return what a month costs, of what the parts measured; nothing without paths and looks."""
    priced = rotations(data)
    if not priced:
        return []
    parts = month(priced[USUAL], data["looks"]["batch"])
    dollars = round(sum(dollars for *_, dollars in parts[:-1]), 2)
    name = f"{USERS:,} users: a month, beside their secrets"
    return [Figure(name, dollars, "USD", MOST_A_MONTH, "list prices; see What it costs")]
