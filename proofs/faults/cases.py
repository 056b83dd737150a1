"""Every case: the matrix of calls and faults, and what no call's fault can show."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from keyturn.model.identifiers import recovery_name
from localaws.model import FaultRule
from proofs.faults.journeys import JOURNEYS, Journey, Traveller, starting, stop_it
from proofs.faults.matrix import AGAIN_FAULTS, FAULTS, Point
from proofs.faults.runner import INTERFERED, Case
from proofs.stack.support import Stack

Step = Callable[[Traveller], None]

PLAIN = Journey("rotation", "ROTATED", starting())
RETIRING = JOURNEYS["rotation"]
BACK_OUT = JOURNEYS["back-out"]
BY_HAND = JOURNEYS["back-out by hand"]
RECOVERY = JOURNEYS["recovery"]
EMERGENCY = JOURNEYS["emergency"]


def _nothing(_: Traveller) -> None:
    """Do nothing."""


def _all(*steps: Step) -> Step:
    def do(on: Traveller) -> None:
        for step in steps:
            step(on)

    return do


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


# --- what keeps an execution where it is ----------------------------------------------------------

# A Lambda task is over in milliseconds: its invocation is held until the execution has been
# stopped, and goes on afterwards, as on AWS. That has to be within the stack's FenceSeconds.
HELD_SECONDS = 3.0


def _holding(state: str) -> Step:
    """Hold the invocation of a state."""
    return _delaying(state=state, action="lambda:InvokeFunction")


def _delaying(**where: Any) -> Step:
    """Hold a call of the state machine."""

    def hold(on: Traveller) -> None:
        on.stack.aws.control.inject(
            FaultRule(kind="delay", delay_seconds=HELD_SECONDS, user=on.user.name, **where)
        )

    return hold


def _failing(
    state: str, fault: str = "error before", *, action: str = "secretsmanager:DescribeSecret"
) -> Step:
    """Every such call of a state fails until cleared."""

    def fail(on: Traveller) -> None:
        on.stack.aws.control.inject(
            replace(FAULTS[fault], action=action, user=on.user.name, state=state, count=1_000)
        )

    return fail


# --- StopExecution in every state ----------------------------------------------------------------

# After the claim: before it the EMERGENCY would look again.
WITHOUT_NEW_KEY = _failing("Issue New Key", "refused", action="iam:CreateAccessKey")
# States that only a fault leads to, a person, or a decision that was made already.
OFF_THE_WAY = {
    # The first StartExecution for a user is the test's own.
    "Start Retirement": (RETIRING, _delaying(action="states:StartExecution", nth=2)),
    "Announce Outcome": (RETIRING, _delaying(action="events:PutEvents")),
    "Tell People": (RETIRING, _delaying(action="sns:Publish")),
    "Stop Claimant": (BY_HAND, _holding("Stop Claimant")),
    "Wait Out The Claimant": (BY_HAND, _nothing),
    "Take Over": (BY_HAND, _holding("Take Over")),
    "Wait To Take Over Again": (BY_HAND, _failing("Take Over")),
    "Discard New Key": (
        PLAIN,
        _all(_failing("Publish New Key", "refused"), _holding("Discard New Key")),
    ),
    "Wait Before Discarding": (PLAIN, _failing("Publish New Key")),
    "Wait Out Own Calls": (PLAIN, _failing("Check Watch")),
    "Wait To Close Again": (PLAIN, _failing("Close Rotation")),
    "Wait To Retry Back-Out": (BACK_OUT, _failing("Reactivate Old Key")),
    "Deactivate Exposed Key": (
        EMERGENCY,
        _all(WITHOUT_NEW_KEY, _holding("Deactivate Exposed Key")),
    ),
    "Wait To Deactivate Again": (
        EMERGENCY,
        _all(WITHOUT_NEW_KEY, _failing("Deactivate Exposed Key")),
    ),
}
ON_THE_WAY_BACK = {
    "Reactivate Old Key",
    "Prove Old Key",
    "Restore Old Version",
    "Wait For Return",
    "Check Return",
    "Deactivate New Key",
    "Check Health Before Deactivation",
    "Check Health",
}


def stops(stack: Stack) -> Iterator[Case]:
    """StopExecution in every Task and Wait state of the rotation."""
    definition = json.loads(
        stack.machines.describe_state_machine(stateMachineArn=stack.rotate_arn)["definition"]
    )
    for state, given in definition["States"].items():
        if given["Type"] not in ("Task", "Wait"):
            continue
        on_the_way = (
            BACK_OUT if state in ON_THE_WAY_BACK else PLAIN,
            _holding(state) if given["Type"] == "Task" else _nothing,
        )
        journey, disturbance = OFF_THE_WAY.get(state, on_the_way)
        yield Case(
            f"stopped in {state}",
            "stopped",
            journey,
            disturb=disturbance,
            meanwhile=_stopping_in(state),
        )


def _stopping_in(state: str) -> Step:
    def stop_there(on: Traveller) -> None:
        on.reaches(state)
        stop_it(on)
        if state in OFF_THE_WAY:
            on.stack.aws.control.clear_faults(user=on.user.name)
        if state == "Stop Claimant":
            # The rotation that was to be stopped may go on waiting: the person tries again.
            on.start(action="BACK_OUT")

    return stop_there


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
            RECOVERY,
            disturb=_nothing if state.startswith("Wait") else _holding(state),
            meanwhile=_stopping_the_recovery_in(state),
        )


def _stopping_the_recovery_in(state: str) -> Step:
    def stop_there(on: Traveller) -> None:
        on.running = f"{on.running.rsplit(':', 1)[0]}:{recovery_name(on.running)}"
        on.reaches(state)
        stop_it(on)

    return stop_there


# --- several executions at the same moment -------------------------------------------------------


ROTATE: dict[str, object] = {}
BY_A_PERSON: dict[str, object] = {"action": "BACK_OUT"}


def races() -> Iterator[Case]:
    """Two and ten executions for one user, started at the same moment, or with a recovery."""
    for name, journey, begin in (
        ("2 rotations at once", PLAIN, _at_once(ROTATE, ROTATE)),
        ("10 rotations at once", PLAIN, _at_once(*[ROTATE] * 10)),
        ("a rotation and a back-out at once", PLAIN, _at_once(ROTATE, BY_A_PERSON)),
        ("2 back-outs by hand at once", BY_HAND, _at_once(*[BY_A_PERSON] * 2)),
        ("5 back-outs by hand at once", BY_HAND, _at_once(*[BY_A_PERSON] * 5)),
        (
            "a back-out by hand while the automatic one begins",
            RECOVERY,
            _all(stop_it, starting(**BY_A_PERSON)),
        ),
        (
            "a rotation while the automatic back-out begins",
            RECOVERY,
            _all(stop_it, starting(force=True)),
        ),
    ):
        yield Case(name, "raced", replace(journey, begin=begin))


def _at_once(*inputs: dict[str, object]) -> Step:
    def start_all(on: Traveller) -> None:
        barrier = threading.Barrier(len(inputs))

        def start(fields: dict[str, object]) -> None:
            barrier.wait()
            on.stack.start(on.user.name, **fields)

        with ThreadPoolExecutor(len(inputs)) as pool:
            list(pool.map(start, inputs))

    return start_all


# --- a person, and other rotators ----------------------------------------------------------------


# When somebody interferes: the state, and what holds the execution there.
MOMENTS: dict[str, tuple[str, Step]] = {
    "before the publishing": ("Prove New Key", _holding("Prove New Key")),
    "while waiting for the consumers": ("Wait For Consumers", _nothing),
    "while watching": ("Watch Consumers", _nothing),
}


def _old(on: Traveller) -> str:
    return on.user.access_key_id


def _new(on: Traveller) -> str:
    (new,) = on.stack.keys(on.user.name).keys() - {_old(on)}
    return new


def _deactivating(which: Callable[[Traveller], str]) -> Step:
    return lambda on: on.stack.iam.update_access_key(
        UserName=on.user.name, AccessKeyId=which(on), Status="Inactive"
    )


def _deleting(which: Callable[[Traveller], str]) -> Step:
    return lambda on: on.stack.iam.delete_access_key(UserName=on.user.name, AccessKeyId=which(on))


def _reactivate_all(on: Traveller) -> None:
    for key in on.stack.keys(on.user.name):
        on.stack.iam.update_access_key(UserName=on.user.name, AccessKeyId=key, Status="Active")


def _delete_what_is_not_in_charge(on: Traveller) -> None:
    """Do what a rejection for want of room says: find out who uses the key, then delete it."""
    current = on.stack.current_key(on.user.name)
    for key in on.stack.keys(on.user.name):
        if key != current:
            on.stack.iam.delete_access_key(UserName=on.user.name, AccessKeyId=key)


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


def _put_in_charge(on: Traveller, key: str, secret: str) -> None:
    on.stack.secrets.put_secret_value(
        SecretId=on.user.secret_name,
        SecretString=json.dumps({"AccessKeyId": key, "SecretAccessKey": secret}),
    )


def _native(on: Traveller) -> None:
    """Another rotator: a key of its own in a version of its own, AWSCURRENT at once."""
    made = on.stack.iam.create_access_key(UserName=on.user.name)["AccessKey"]
    _put_in_charge(on, made["AccessKeyId"], made["SecretAccessKey"])


def _take_current_back(on: Traveller) -> None:
    """Another rotator: what AWSCURRENT held before is put back, under a version of its own."""
    _put_in_charge(on, _old(on), on.user.secret_access_key.get_secret_value())


@dataclass(frozen=True)
class Act:
    """What somebody does, what a further ROTATE may then ask for, and how that is done."""

    name: str
    act: Step
    allowed: tuple[str, ...] = ()
    mend: Step | None = None


NO_ROOM = ("there is no room",)
ACTS = (
    Act("deletes the old key", _deleting(_old)),
    Act("deletes the new key", _deleting(_new), ("BACK_OUT", "reactivate"), _reactivate_all),
    Act(
        "deactivates the old key",
        _deactivating(_old),
        (*NO_ROOM, "reactivate", "BACK_OUT"),
        _delete_what_is_not_in_charge,
    ),
    Act("deactivates the new key", _deactivating(_new), NO_ROOM, _delete_what_is_not_in_charge),
    Act("puts a foreign AWSPENDING", _foreign_pending, ("AWSPENDING",), _remove_foreign_pending),
    Act(
        "moves AWSCURRENT back",
        _take_current_back,
        (*NO_ROOM, "two active keys"),
        _delete_what_is_not_in_charge,
    ),
)


def interferences() -> Iterator[Case]:
    """A person or a foreign process acts once in the middle of a rotation, or before it."""
    for when, (state, held) in MOMENTS.items():
        for act in ACTS:
            yield Case(
                f"somebody {act.name} {when}",
                INTERFERED,
                PLAIN,
                disturb=held,
                meanwhile=_acting(state, act),
                allowed=act.allowed,
                mend=act.mend,
            )
    for name, disturbance in (
        ("somebody creates a key before the rotation does", _second_key),
        ("a native rotation puts a key of its own in AWSCURRENT", _native),
    ):
        yield Case(
            name,
            INTERFERED,
            PLAIN,
            disturb=disturbance,
            allowed=NO_ROOM,
            mend=_delete_what_is_not_in_charge,
        )


def _acting(state: str, act: Act) -> Step:
    def interfere(on: Traveller) -> None:
        on.reaches(state)
        act.act(on)

    return interfere


def _second_key(on: Traveller) -> None:
    on.stack.add_key(on.user.name, days_old=0)


def others(stack: Stack) -> list[Case]:
    """Every case that is not in the matrix."""
    return [
        *stops(stack),
        *deaths_of_recoveries(),
        *races(),
        *interferences(),
    ]
