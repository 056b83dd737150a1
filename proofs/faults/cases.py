"""Every case: the matrix of calls and faults, and what no call's fault can show."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from localaws.model import FaultRule
from proofs.faults.journeys import JOURNEYS, Journey, Traveller
from proofs.faults.matrix import AGAIN_FAULTS, FAULTS, Point
from proofs.faults.runner import INTERFERED, Case
from proofs.stack.scenarios import recovery_of, stop
from proofs.stack.support import Stack

Step = Callable[[Traveller], None]

HURT = JOURNEYS["back-out"]


def _start(on: Traveller) -> None:
    on.running = on.stack.start(on.user.name)


def _start_retiring(on: Traveller) -> None:
    on.running = on.stack.start(on.user.name, timing={"retentionSeconds": 1})


def _start_back_out(on: Traveller) -> None:
    on.running = on.stack.start(on.user.name, action="BACK_OUT")


def _start_emergency(on: Traveller) -> None:
    on.running = on.stack.start(mode="EMERGENCY", accessKeyId=on.user.access_key_id)


PLAIN = Journey("rotation", "ROTATED", _start)
RETIRING = Journey("rotation", "ROTATED", _start_retiring)
BY_HAND = Journey(
    "back-out by hand",
    "BACKED_OUT",
    _start_back_out,
    prepare=JOURNEYS["back-out by hand"].prepare,
)


# --- the matrix ----------------------------------------------------------------------------------


def matrix(points: Iterable[Point]) -> Iterator[Case]:
    """One case for each fault of each point.

    The same call of a function occurs on several journeys. Every fault strikes it on the first
    one; on the others only the calls that change something are struck again, by fewer.
    """
    seen: set[tuple[str, str, int]] = set()
    for point in points:
        place = (point.place, point.action, point.nth)
        again = place in seen
        if again and (point.reads or point.action == "lambda:InvokeFunction"):
            continue
        seen.add(place)
        for fault in point.faults:
            if not again or fault in AGAIN_FAULTS:
                yield _struck(point, fault)


def _struck(point: Point, fault: str) -> Case:
    def arm(on: Traveller) -> None:
        on.stack.aws.control.inject(point.rule(fault, on.user.name))

    return Case(
        f"{point}, {fault}",
        fault,
        JOURNEYS[point.journey],
        disturb=arm,
        orphaned=point.place.endswith("StartBackOut"),
    )


# --- StopExecution in every state ----------------------------------------------------------------

# A Lambda task is over in milliseconds: its invocation is held for as long as it takes to stop the
# execution, and goes on afterwards, as on AWS. That has to be within the stack's FenceSeconds.
HELD_SECONDS = 6.0
FENCE_SECONDS = 10
# Many start at once.
REACHED_WITHIN_SECONDS = 300


def stops(stack: Stack) -> Iterator[Case]:
    """StopExecution in every Task and Wait state that the journeys come through."""
    definition = json.loads(
        stack.machines.describe_state_machine(stateMachineArn=stack.rotate_arn)["definition"]
    )
    for state, given in definition["States"].items():
        if given["Type"] not in ("Task", "Wait") or state in _NOT_ON_A_JOURNEY:
            continue
        yield Case(
            f"stopped in {state}",
            "stopped",
            _journey_through(state),
            disturb=_holding(state) if given["Type"] == "Task" else _nothing,
            meanwhile=_stopping_in(state),
        )


# States of other journeys, and those that only a fault leads to: `stops_off_the_way` has them.
_NOT_ON_A_JOURNEY = {
    "Wait To Take Over Again",
    "Wait Before Discarding",
    "Discard New Key",
    "Wait Out Own Calls",
    "Wait To Retry Back-Out",
    "Wait To Close Again",
    "Deactivate Exposed Key",
    "Wait To Deactivate Again",
    "Start Retirement",
    "Announce Outcome",
    "Tell People",
    "Take Over",
    "Stop Claimant",
    "Wait Out The Claimant",
}
_BACK_OUT_STATES = {
    "Reactivate Old Key",
    "Prove Old Key",
    "Restore Old Version",
    "Wait For Return",
    "Check Return",
    "Deactivate New Key",
}
_HEALTH_STATES = {"Check Health Before Deactivation", "Check Health"}


def _journey_through(state: str) -> Journey:
    if state in _BACK_OUT_STATES | _HEALTH_STATES:
        return Journey("back-out", "BACKED_OUT", _start, prepare=HURT.prepare, hurt=True)
    return PLAIN


def _holding(state: str) -> Step:
    def hold(on: Traveller) -> None:
        on.stack.aws.control.inject(
            FaultRule(
                action="lambda:InvokeFunction",
                kind="delay",
                delay_seconds=HELD_SECONDS,
                user=on.user.name,
                state=state,
            )
        )

    return hold


def _stopping_in(state: str) -> Step:
    def stop_there(on: Traveller) -> None:
        on.stack.reaches(on.running, state, within_seconds=REACHED_WITHIN_SECONDS)
        stop(on.stack, on.running)

    return stop_there


def stops_off_the_way() -> Iterator[Case]:
    """StopExecution where a rotation comes only by a fault, by hand, or after its decision."""
    refused = "refused"
    for state, action in (
        ("Announce Outcome", "events:PutEvents"),
        ("Tell People", "sns:Publish"),
        ("Start Retirement", "states:StartExecution"),
    ):
        yield _stopped(state, RETIRING, _delaying(action))
    for state in ("Stop Claimant", "Wait Out The Claimant", "Take Over"):
        yield _stopped(state, BY_HAND, _nothing if state.startswith("Wait") else _holding(state))
    yield _stopped(
        "Discard New Key", PLAIN, _failing("Publish New Key", refused), _holding("Discard New Key")
    )
    yield _stopped("Wait Before Discarding", PLAIN, _failing("Publish New Key"))
    yield _stopped("Wait Out Own Calls", PLAIN, _failing("Check Watch"))
    yield _stopped("Wait To Close Again", PLAIN, _failing("Close Rotation"))
    hurt = Journey("back-out", "BACKED_OUT", _start, prepare=HURT.prepare, hurt=True)
    yield _stopped("Wait To Retry Back-Out", hurt, _failing("Reactivate Old Key"))
    yield _stopped("Wait To Take Over Again", BY_HAND, _failing("Take Over"))
    # Before the claim the EMERGENCY would look again.
    without_new_key = _failing("Issue New Key", refused, action="iam:CreateAccessKey")
    for state, disturbance in (
        ("Deactivate Exposed Key", _holding("Deactivate Exposed Key")),
        ("Wait To Deactivate Again", _failing("Deactivate Exposed Key")),
    ):
        emergency = Journey("emergency", "ROTATED", _start_emergency, emergency=True)
        yield _stopped(state, emergency, without_new_key, disturbance)


def _stopped(state: str, journey: Journey, *disturbances: Step) -> Case:
    def disturb(on: Traveller) -> None:
        for step in disturbances:
            step(on)

    def stop_there(on: Traveller) -> None:
        _stopping_in(state)(on)
        on.stack.aws.control.clear_faults(user=on.user.name)
        if state == "Stop Claimant":
            # The rotation that was to be stopped may go on waiting: the person tries again.
            on.stack.start(on.user.name, action="BACK_OUT")

    return Case(f"stopped in {state}", "stopped", journey, disturb=disturb, meanwhile=stop_there)


def _nothing(_: Traveller) -> None:
    """Disturb nothing."""


def _failing(
    state: str, fault: str = "error before", *, action: str = "secretsmanager:DescribeSecret"
) -> Step:
    """Every such call of a state fails until cleared."""

    def fail(on: Traveller) -> None:
        on.stack.aws.control.inject(
            replace(
                FAULTS[fault],
                action=action,
                user=on.user.name,
                state=state,
                count=1_000,
            )
        )

    return fail


def _delaying(action: str) -> Step:
    """Hold an SDK integration; the first StartExecution for a user is the test's own."""

    def delay(on: Traveller) -> None:
        on.stack.aws.control.inject(
            FaultRule(
                action=action,
                kind="delay",
                delay_seconds=HELD_SECONDS,
                user=on.user.name,
                nth=2 if action == "states:StartExecution" else 1,
            )
        )

    return delay


# --- several executions at the same moment -------------------------------------------------------


def races() -> Iterator[Case]:
    """Two and ten executions for one user, started at the same moment."""
    for count in (2, 10):
        yield Case(
            f"{count} rotations at once",
            "raced",
            Journey("rotation", "ROTATED", _starting(count, {})),
        )
    yield Case(
        "a rotation and a back-out at once",
        "raced",
        Journey("rotation", "ROTATED", _both({}, {"action": "BACK_OUT"})),
    )
    for number in (2, 5):
        yield Case(
            f"{number} back-outs by hand at once",
            "raced",
            Journey(
                "back-out by hand",
                "BACKED_OUT",
                _starting(number, {"action": "BACK_OUT"}),
                prepare=JOURNEYS["back-out by hand"].prepare,
            ),
        )
    yield Case(
        "a back-out by hand while the automatic one begins",
        "raced",
        Journey(
            "recovery",
            "BACKED_OUT",
            _stop_and_back_out,
            prepare=JOURNEYS["recovery"].prepare,
        ),
    )
    yield Case(
        "a rotation while the automatic back-out begins",
        "raced",
        Journey("recovery", "BACKED_OUT", _stop_and_rotate, prepare=JOURNEYS["recovery"].prepare),
    )


def _at_once(on: Traveller, inputs: list[dict[str, object]]) -> None:
    barrier = threading.Barrier(len(inputs))

    def start(fields: dict[str, object]) -> None:
        barrier.wait()
        on.stack.start(on.user.name, **fields)

    threads = [threading.Thread(target=start, args=(fields,)) for fields in inputs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _starting(count: int, fields: dict[str, object]) -> Step:
    return lambda on: _at_once(on, [fields] * count)


def _both(one: dict[str, object], other: dict[str, object]) -> Step:
    return lambda on: _at_once(on, [one, other])


def _stop_and_back_out(on: Traveller) -> None:
    stop(on.stack, on.running)
    on.stack.start(on.user.name, action="BACK_OUT")


def _stop_and_rotate(on: Traveller) -> None:
    stop(on.stack, on.running)
    on.stack.start(on.user.name, force=True)


# --- a person, and other rotators ----------------------------------------------------------------


@dataclass(frozen=True)
class Moment:
    """When somebody interferes: a state, and the timing that holds the execution there."""

    name: str
    state: str
    timing: tuple[tuple[str, int], ...] = ()
    held: bool = False


BEFORE = Moment("before the publishing", "Prove New Key", held=True)
WAITING = Moment("while waiting for the consumers", "Wait For Consumers")
WATCHED = Moment("while watching", "Watch Consumers")
MOMENTS = (BEFORE, WAITING, WATCHED)


def _keys(on: Traveller) -> tuple[str | None, str | None]:
    """The old key, and the new one if there is one yet."""
    keys = on.stack.keys(on.user.name)
    new = [key for key in keys if key != on.user.access_key_id]
    return (on.user.access_key_id if on.user.access_key_id in keys else None), (
        new[0] if new else None
    )


def _deactivate(on: Traveller, key: str | None) -> None:
    if key:
        on.stack.iam.update_access_key(UserName=on.user.name, AccessKeyId=key, Status="Inactive")


def _delete(on: Traveller, key: str | None) -> None:
    if key:
        on.stack.iam.delete_access_key(UserName=on.user.name, AccessKeyId=key)


def _reactivate_all(on: Traveller) -> None:
    for key in on.stack.keys(on.user.name):
        on.stack.iam.update_access_key(UserName=on.user.name, AccessKeyId=key, Status="Active")


def _delete_what_is_not_in_charge(on: Traveller) -> None:
    """Do what a rejection for want of room says: find out who uses the key, then delete it."""
    current = on.stack.current_key(on.user.name)
    for key in on.stack.keys(on.user.name):
        if key != current:
            _delete(on, key)


def _remove_foreign_pending(on: Traveller) -> None:
    version = on.stack.labels(on.user.name)["AWSPENDING"]
    on.stack.secrets.update_secret_version_stage(
        SecretId=on.user.secret_name, VersionStage="AWSPENDING", RemoveFromVersionId=version
    )


def _foreign_pending(on: Traveller) -> None:
    on.stack.secrets.put_secret_value(
        SecretId=on.user.secret_name,
        SecretString=json.dumps({"username": "x", "password": "of another rotation"}),
        VersionStages=["AWSPENDING"],
    )


def _native(on: Traveller) -> None:
    """Another rotator: a key of its own in a version of its own, AWSCURRENT at once."""
    keys = on.stack.keys(on.user.name)
    if len(keys) == 2:
        return
    made = on.stack.iam.create_access_key(UserName=on.user.name)["AccessKey"]
    on.stack.secrets.put_secret_value(
        SecretId=on.user.secret_name,
        SecretString=json.dumps(
            {"AccessKeyId": made["AccessKeyId"], "SecretAccessKey": made["SecretAccessKey"]}
        ),
    )


def _take_current_back(on: Traveller) -> None:
    """Another rotator: what AWSCURRENT held before is put back, under a version of its own."""
    on.stack.secrets.put_secret_value(
        SecretId=on.user.secret_name,
        SecretString=json.dumps(
            {
                "AccessKeyId": on.user.access_key_id,
                "SecretAccessKey": on.user.secret_access_key.get_secret_value(),
            }
        ),
    )


@dataclass(frozen=True)
class Act:
    """What somebody does, what a further ROTATE may then ask for, and how that is done."""

    name: str
    act: Step
    allowed: tuple[str, ...] = ()
    mend: Step | None = None


ACTS = (
    Act("deletes the old key", lambda on: _delete(on, _keys(on)[0])),
    Act(
        "deletes the new key",
        lambda on: _delete(on, _keys(on)[1]),
        ("BACK_OUT", "reactivate"),
        _reactivate_all,
    ),
    Act(
        "deactivates the old key",
        lambda on: _deactivate(on, _keys(on)[0]),
        ("there is no room", "reactivate", "BACK_OUT"),
        _delete_what_is_not_in_charge,
    ),
    Act(
        "deactivates the new key",
        lambda on: _deactivate(on, _keys(on)[1]),
        ("there is no room",),
        _delete_what_is_not_in_charge,
    ),
    Act("puts a foreign AWSPENDING", _foreign_pending, ("AWSPENDING",), _remove_foreign_pending),
    Act(
        "moves AWSCURRENT back",
        _take_current_back,
        ("there is no room", "two active keys"),
        _delete_what_is_not_in_charge,
    ),
)


def interferences() -> Iterator[Case]:
    """A person or a foreign process acts once in the middle of a rotation."""
    for moment in MOMENTS:
        for act in ACTS:
            yield Case(
                f"somebody {act.name} {moment.name}",
                INTERFERED,
                PLAIN,
                disturb=_hold_at(moment),
                meanwhile=_acting(moment, act),
                allowed=act.allowed,
                mend=act.mend,
            )
    yield Case(
        "somebody creates a key before the rotation does",
        INTERFERED,
        PLAIN,
        disturb=_second_key,
        allowed=("there is no room",),
        mend=_delete_what_is_not_in_charge,
    )
    yield Case(
        "a native rotation puts a key of its own in AWSCURRENT",
        INTERFERED,
        PLAIN,
        disturb=_native,
        allowed=("there is no room",),
        mend=_delete_what_is_not_in_charge,
    )


def _second_key(on: Traveller) -> None:
    on.stack.add_key(on.user.name, days_old=0)


def _hold_at(moment: Moment) -> Step:
    if not moment.held:
        return lambda _: None
    return _holding(moment.state)


def _acting(moment: Moment, act: Act) -> Step:
    def interfere(on: Traveller) -> None:
        on.stack.reaches(on.running, moment.state, within_seconds=REACHED_WITHIN_SECONDS)
        act.act(on)

    return interfere


# --- faults during a back-out that is itself a recovery ------------------------------------------


def deaths_of_recoveries() -> Iterator[Case]:
    """The automatic back-out dies too: the next generation goes on."""
    for state in (
        "Take Over",
        "Reactivate Old Key",
        "Restore Old Version",
        "Wait For Return",
        "Close Rotation",
    ):
        yield Case(
            f"the automatic back-out is stopped in {state}",
            "stopped",
            JOURNEYS["recovery"],
            disturb=_nothing if state.startswith("Wait") else _holding(state),
            meanwhile=_stopping_the_recovery_in(state),
        )


def _stopping_the_recovery_in(state: str) -> Step:
    def stop_there(on: Traveller) -> None:
        recovery = recovery_of(on.stack, on.running)
        on.stack.reaches(recovery, state, within_seconds=REACHED_WITHIN_SECONDS)
        stop(on.stack, recovery)

    return stop_there


def others(stack: Stack) -> list[Case]:
    """Every case that is not in the matrix."""
    return [
        *stops(stack),
        *stops_off_the_way(),
        *deaths_of_recoveries(),
        *races(),
        *interferences(),
    ]
