"""Runs cases side by side on one embedded AWS, each with a user and a consumer of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field

from botocore.exceptions import ClientError
from pydantic import SecretStr

from localaws.launcher import ADMIN_ACCESS_KEY_ID, ADMIN_SECRET_ACCESS_KEY
from proofs.faults.consumer import ConsumerProcess, Report
from proofs.faults.executions import Executions
from proofs.faults.journeys import Health, Journey, Traveller
from proofs.faults.matrix import Point, points
from proofs.faults.observer import UNCHANGED, Observed, Run, violations
from proofs.stack.outcomes import STILL_FENCED
from proofs.stack.support import PARAMETERS, Ended, MachineUser, Stack

QUIET_SECONDS = float(PARAMETERS["QuietPeriodSeconds"])
FURTHER_ROTATES = 12
FINISHED = "finishing the back-out"
INTERFERED = "interfered"
# What an EMERGENCY or a person cuts off must not be what reads the secret.
READER = (ADMIN_ACCESS_KEY_ID, ADMIN_SECRET_ACCESS_KEY)


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
    report: Report
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
        self.executions.close()
        self.health.close()

    def record(self, journeys: Iterable[Journey]) -> Iterator[Point]:
        """Run every journey undisturbed; yields the points of each."""
        cases = [Case(f"clean {journey.name}", "clean", journey) for journey in journeys]
        since: dict[str, float] = {}

        def note(on: Traveller) -> None:
            since[on.user.name] = time.time()

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
        except BaseException:  # Ctrl-C, or the caller has seen enough: nobody waits for the rest
            self.executions.give_up()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _guarded(self, case: Case) -> Result:
        """Run a case; whatever goes wrong with it is a violation of this case alone."""
        began = time.monotonic()
        try:
            return self._run(case)
        except (AssertionError, ClientError) as problem:
            told = [f"the case could not be finished: {problem}"]
            return Result(case, "", "", False, told, Report(), time.monotonic() - began)

    def _run(self, case: Case) -> Result:
        began = time.monotonic()
        stack, journey = self.stack, case.journey
        # Old enough to be rotated, not so old that it counts as unused for want of a recorded use.
        user = stack.user(key=journey.key, days_old=30)
        self.executions.owns(user.access_key_id, user.name)
        consumer = self._consumer(user, case) if journey.key else None
        on = Traveller(stack, self.health, user)
        try:
            journey.prepare(on)
            since = time.time()
            case.disturb(on)
            journey.begin(on)
            case.meanwhile(on)
            problems = self._rest(case, user.name, since)
            struck = bool(stack.aws.control.faults_fired(user=user.name))
            stack.aws.control.clear_faults(user=user.name)
            self.health.heal(user.name)
            runs = self.executions.runs(user.name)
            rests = [(len(stack.aws.control.changes(user.name)), time.time())]
            if consumer is None:
                consumer = self._consumer(self._first_key_of(user), case)
            further, told = self._rotate_on(case, on)
            problems += told
            if further is not None:
                problems += self._rest(case, user.name, since)
                rests.append((len(stack.aws.control.changes(user.name)), time.time()))
        finally:
            report = Report() if consumer is None else consumer.stop()
        seen = Observed(
            changes=stack.aws.control.changes(user.name),
            runs=self.executions.runs(user.name),
            rests=rests,
            quiet_seconds=QUIET_SECONDS,
            exposed=frozenset({user.access_key_id} if journey.emergency else ()),
            interfered=case.kind == INTERFERED,
        )
        problems += violations(seen)
        if "CLAIM" in seen.changes[-1].labels:
            problems.append("after a further ROTATE somebody still holds the claim")
        seconds = time.monotonic() - began
        return Result(case, user.name, _end_of(runs), struck, problems, report, seconds, runs)

    def _consumer(self, user: MachineUser, case: Case) -> ConsumerProcess:
        return ConsumerProcess(
            self.stack.aws.endpoint_url,
            user.secret_name,
            user.access_key_id,
            user.secret_access_key.get_secret_value(),
            reader=READER if case.journey.emergency or case.kind == INTERFERED else None,
        )

    def _first_key_of(self, user: MachineUser) -> MachineUser:
        """The user with the key that was issued to it, if one was: what a person hands out."""
        for _ in range(FURTHER_ROTATES):
            try:
                found = self.stack.secrets.get_secret_value(SecretId=user.secret_name)
                value = json.loads(found["SecretString"])
                return MachineUser(
                    user.name, value["AccessKeyId"], SecretStr(value["SecretAccessKey"])
                )
            except (ClientError, KeyError):
                self.stack.rotate(user.name, force=True)
        raise AssertionError(f"no key can be issued to {user.name}")

    def _rest(self, case: Case, user: str, since: float) -> list[str]:
        if not self.executions.rest(user, since=since):
            return ["did not come to rest within 400 seconds"]
        missing = [] if case.orphaned else self.executions.unrecovered(user)
        return [f"nothing was started to recover {arn}" for arn in missing]

    def _rotate_on(self, case: Case, on: Traveller) -> tuple[Ended | None, list[str]]:
        """ROTATE with force until ROTATED, doing nothing but what a rejection says."""
        mended = False
        for _ in range(FURTHER_ROTATES):
            ended = self.stack.rotate(on.user.name, force=True, reason="a further one")
            if ended.result.get("outcome") in ("ROTATED", "ISSUED"):
                return ended, []
            reason = str(ended.result.get("reason"))
            if ended.error == "RequestRejected" and STILL_FENCED in reason:
                time.sleep(1)  # the rejection says when; the fence of this stack is short
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
