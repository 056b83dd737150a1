"""Runs cases side by side on one embedded AWS, each with a user and a consumer of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass, field

from botocore.exceptions import ClientError
from pydantic import SecretStr

from localaws.consumer import Consumer, Counts
from proofs.faults.executions import Executions
from proofs.faults.journeys import Health, Journey, Traveller
from proofs.faults.matrix import Point, points
from proofs.faults.observer import UNCHANGED, Observed, Run, violations
from proofs.stack.outcomes import STILL_FENCED
from proofs.stack.support import PARAMETERS as stack_parameters
from proofs.stack.support import Ended, MachineUser, Stack

# Those of the other tests in half minutes: on a moved clock they take no longer, and what a busy
# computer takes for its work is nothing beside them. It looks less often, as with the defaults, and
# the fence outlasts a call that is held.
HALF_MINUTE = 30
PARAMETERS = {
    name: str(HALF_MINUTE * int(value)) if name.endswith("Seconds") else value
    for name, value in stack_parameters.items()
} | {"PollMinSeconds": "60", "PollMaxSeconds": "120", "FenceSeconds": "300"}
QUIET_SECONDS = float(PARAMETERS["QuietPeriodSeconds"])
FENCE_SECONDS = float(PARAMETERS["FenceSeconds"])
# A consumer calls, and looks into its secret, every so often; it looks so often before it fails.
INTERVAL_SECONDS = 30
RETRIES = 10
FURTHER_ROTATES = 12
FINISHED = "finishing the back-out"
INTERFERED = "interfered"


@dataclass(frozen=True)
class Case:
    """One case: a journey, and what goes wrong on it.

    kind: the row of the table. disturb: what happens right before `begin` (faults are armed,
    mostly); meanwhile: what happens after it (somebody stops, deletes, starts a second one).
    allowed: words of a rejection that may answer a further ROTATE, because a person has to act;
    `mend` is then that person. person: whether somebody interferes, so that the result and the
    world need not agree. orphaned: whether nothing may come to recover a dead execution.
    """

    name: str
    kind: str
    journey: Journey
    disturb: Callable[[Traveller], None] = lambda _: None
    meanwhile: Callable[[Traveller], None] = lambda _: None
    allowed: tuple[str, ...] = ()
    mend: Callable[[Traveller], None] | None = None
    orphaned: bool = False


@dataclass
class Result:
    """How a case went. `end` is how it came to rest before the further ROTATE."""

    case: Case
    user: str
    end: str
    struck: bool
    violations: list[str]
    consumer: Counts
    seconds: float
    runs: list[Run] = field(default_factory=list)


class Runner:
    """The stack with what the cases share."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.executions = Executions(stack)
        self.health = Health(stack)
        self.drawn_from = 0
        """How many cases the matrix has, when only a part of them is run."""

    def close(self) -> None:
        """Stop what runs in this process."""
        self.health.close()

    def record(self, journeys: Iterable[Journey]) -> Iterator[Point]:
        """Run every journey undisturbed; yields the points of each."""
        cases = [Case(f"clean {journey.name}", "clean", journey) for journey in journeys]
        since: dict[str, float] = {}

        def note(on: Traveller) -> None:
            since[on.user.name] = self.stack.aws.control.now()

        noted = [Case(case.name, case.kind, case.journey, disturb=note) for case in cases]
        results = list(self.run(noted, at_once=len(noted)))
        for result in sorted(results, key=lambda result: noted.index(result.case)):
            journey = result.case.journey
            assert not result.violations, f"{result.case.name}: {result.violations}"
            assert result.end == journey.ends, f"{result.case.name} ends {result.end}"
            rested = max(run.ended for run in result.runs) + 1
            calls = self.stack.aws.control.calls(about=result.user, since=since[result.user])
            yield from points(journey.name, (call for call in calls if call.time < rested))

    def run(self, cases: Iterable[Case], *, at_once: int) -> Iterator[Result]:
        """Run cases side by side; yields results as they come."""
        pool = ThreadPoolExecutor(at_once)
        futures = [pool.submit(self._guarded, case) for case in cases]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _guarded(self, case: Case) -> Result:
        """Run a case; whatever goes wrong with it is a violation of this case alone."""
        began = time.monotonic()
        try:
            return self._run(case)
        except (AssertionError, ClientError) as problem:
            told = [f"the case could not be finished: {problem}"]
            return Result(case, "", "", False, told, Counts(), time.monotonic() - began)

    def _run(self, case: Case) -> Result:
        began = time.monotonic()
        control = self.stack.aws.control
        with control.join() as here, ExitStack() as at_end:
            # Old enough to be rotated, not so old that it counts as unused for want of a recorded
            # use.
            user = self.stack.user(key=case.journey.key, days_old=30)
            self.executions.owns(user.access_key_id, user.name)
            on = Traveller(self.stack, self.health, user, here)
            consumer = self._consumer(on, case, at_end) if case.journey.key else None
            case.journey.prepare(on)
            case.disturb(on)
            case.journey.begin(on)
            case.meanwhile(on)
            problems = self._rest(case, on)
            struck = bool(control.faults_fired(user=user.name))
            control.clear_faults(user=user.name)
            self.health.heal(user.name)
            runs = self.executions.runs(user.name)
            rests = [(len(control.changes(user.name)), control.now())]
            if consumer is None:
                on.user = self._first_key_of(on)
                consumer = self._consumer(on, case, at_end)
            further, told = self._rotate_on(case, on)
            problems += told
            if further is not None:
                problems += self._rest(case, on)
                rests.append((len(control.changes(user.name)), control.now()))
        seen = Observed(
            changes=control.changes(user.name),
            runs=self.executions.runs(user.name),
            rests=rests,
            quiet_seconds=QUIET_SECONDS,
            exposed=frozenset({user.access_key_id} if case.journey.emergency else ()),
            interfered=case.kind == INTERFERED,
        )
        problems += violations(seen)
        if "CLAIM" in seen.changes[-1].labels:
            problems.append("after a further ROTATE somebody still holds the claim")
        seconds = time.monotonic() - began
        return Result(
            case, user.name, _end_of(runs), struck, problems, consumer.counts, seconds, runs
        )

    def _consumer(self, on: Traveller, case: Case, at_end: ExitStack) -> Consumer:
        """Somebody who works with the user's key all the time, until `at_end`."""
        # What an EMERGENCY or a person cuts off must not be what reads the secret.
        reads_itself = not case.journey.emergency and case.kind != INTERFERED
        consumer = Consumer(
            client=self.stack.aws.client,
            secret_name=on.user.secret_name,
            access_key_id=on.user.access_key_id,
            secret_access_key=on.user.secret_access_key,
            interval_seconds=INTERVAL_SECONDS,
            refresh_seconds=0,
            retries=RETRIES,
            works_first=True,
            reader=None if reads_itself else self.stack.secrets,
            joined=self.stack.aws.control.join(passive=True),
        )
        at_end.callback(consumer.stop)
        return consumer.start()

    def _first_key_of(self, on: Traveller) -> MachineUser:
        """The user with the key that was issued to it, if one was: what a person hands out."""
        for _ in range(FURTHER_ROTATES):
            try:
                found = self.stack.secrets.get_secret_value(SecretId=on.user.secret_name)
                value = json.loads(found["SecretString"])
                return MachineUser(
                    on.user.name, value["AccessKeyId"], SecretStr(value["SecretAccessKey"])
                )
            except (ClientError, KeyError):
                on.rotate(force=True)
        raise AssertionError(f"no key can be issued to {on.user.name}")

    def _rest(self, case: Case, on: Traveller) -> list[str]:
        if not self.executions.rest(on.user.name, on.time):
            return ["did not come to rest within hours"]
        missing = [] if case.orphaned else self.executions.unrecovered(on.user.name)
        return [f"nothing was started to recover {arn}" for arn in missing]

    def _rotate_on(self, case: Case, on: Traveller) -> tuple[Ended | None, list[str]]:
        """ROTATE with force until ROTATED, doing nothing but what a rejection says."""
        mended = False
        for _ in range(FURTHER_ROTATES):
            ended = on.rotate(force=True, reason="a further one")
            if ended.result.get("outcome") in ("ROTATED", "ISSUED"):
                return ended, []
            reason = str(ended.result.get("reason"))
            if ended.error == "RequestRejected" and STILL_FENCED in reason:
                on.time.sleep(FENCE_SECONDS)  # the rejection says when
                continue
            if ended.error == "RotationBackedOut" and FINISHED in reason:
                continue  # what it found was an unfinished back-out; it has finished it
            if not mended and case.mend and any(words in reason for words in case.allowed):
                case.mend(on)
                mended = True
                continue
            return ended, [f"a further ROTATE ended {ended.status} {ended.error}: {reason}"]
        return None, ["a further ROTATE never got its turn"]


def _end_of(runs: list[Run]) -> str:
    """How a user came to rest: the outcome of the last execution that did something."""
    told = [run for run in runs if run.rotates and run.outcome not in (*UNCHANGED, "")]
    if told:
        return max(told, key=lambda run: run.ended).outcome
    return "REJECTED" if any(run.outcome == "REJECTED" for run in runs) else "nothing"
