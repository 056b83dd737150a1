"""MiniStack on a clock that is moved: its threads and waits, its schedules, its signatures.

Gaps in MiniStack 1.5.33 that this closes, on a moved clock only:
- rules and schedules are looked at every ten seconds, and so miss what a jump passes over (here:
  a jump ends where the next one is due);
- a request that was signed by somebody who lives in real time is expired (here: it is good by
  either time).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import time_machine
from ministack.core import sigv4
from ministack.services import eventbridge, lambda_svc, scheduler, sns
from ministack.services import stepfunctions as sfn

from localaws.clock import Schedule, clock


def install() -> None:
    """Let MiniStack live on the moved clock, and start it."""
    for module in (sfn, lambda_svc, eventbridge, sns):
        clock.adopt(module)
    for module in (eventbridge, scheduler):
        module.start_scheduler = _nothing
    sigv4.request_time_failure = _by_either_time(sigv4.request_time_failure)
    clock.start(
        [
            Schedule(lambda: min(_rules(), default=None), eventbridge._tick_scheduled_rules),
            Schedule(lambda: min(_schedules(), default=None), scheduler._tick_schedules),
        ]
    )


def _nothing() -> None:
    """The clock itself looks when the schedules are due."""


def _rules() -> Iterator[float]:
    """When each rule with a schedule is due next, in Unix time."""
    for key, rule in list(eventbridge._rules._data.items()):
        if rule.get("State") == "ENABLED":
            yield from _due(rule, "CreationTime", eventbridge._rule_last_fired, key)


def _schedules() -> Iterator[float]:
    """When each schedule of EventBridge Scheduler is due next, in Unix time."""
    for key, schedule in list(scheduler._schedules._data.items()):
        if schedule.get("State") != "ENABLED":
            continue
        begins, ends = (
            scheduler._to_epoch(schedule.get(name)) for name in ("StartDate", "EndDate")
        )
        once = scheduler._at_time_epoch(schedule.get("ScheduleExpression", ""))
        if once is not None:
            found = [] if key in scheduler._schedule_last_fired else [once]
        else:
            found = [*_due(schedule, "CreationDate", scheduler._schedule_last_fired, key)]
        for at in found:
            if ends is None or at <= ends:
                yield max(at, begins or at)


def _due(entry: dict[str, Any], created: str, fired: dict[Any, float], key: Any) -> Iterator[float]:
    """When a rate or cron expression is due next; counted as MiniStack does, which looks then."""
    expression = entry.get("ScheduleExpression", "")
    interval = eventbridge._parse_rate_seconds(expression)
    if interval is not None:
        yield fired.setdefault(key, entry.get(created, clock.now())) + interval
        return
    fields = eventbridge._parse_cron_fields(expression)
    if fields is not None:
        last = dt.datetime.fromtimestamp(fired.setdefault(key, clock.now()), dt.UTC)
        following = eventbridge._cron_next_fire(fields, last)
        if following is not None:
            yield following.timestamp()


Failure = tuple[str, str] | None


def _by_either_time(original: Callable[..., Failure]) -> Callable[..., Failure]:
    def failure(signature: Any, *, now: dt.datetime | None = None) -> Failure:
        real = time_machine.escape_hatch.datetime.datetime.now(dt.UTC)
        return original(signature, now=now) and original(signature, now=real)

    return failure
