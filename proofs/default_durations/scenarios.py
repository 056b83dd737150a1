"""What a rotation does with the template's default durations, days and weeks, seen from outside.

Each scenario takes a target and drives it through the contract: stack outputs, inputs, results,
labels, events. No state's name and nothing of the emulator is used here.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from botocore.exceptions import ClientError

from proofs.default_durations.hands import DAY, HOUR, Hands, Told
from proofs.default_durations.target import Target
from proofs.stack.outcomes import assert_outcome
from proofs.stack.support import MachineUser

# The template's defaults, in seconds.
PICKUP_TIMEOUT = 604_800
QUIET = 266_400 + 960 + 14_400  # with how coarse and how late last-used data may be
WATCH = 280_800
GRACE = 3_600
RETENTION = 604_800
POLL_MAX = 3_600

# The size of a history. One look is a Wait (2 events), a Task (5) and a Choice (2). They grow from
# 5 minutes to an hour apart in the first 7 looks; the jitter then leaves at least 48 minutes.
LOOK = 9
FIRST_LOOKS = 7
SHORTEST = 0.8 * POLL_MAX
# Asking the health URL is one more Task and two more Choices in a look.
HEALTH = 9
# All other states of a rotation or a back-out: 20 Tasks of 5 events, and as many Choices.
STEPS = 150

WHOLE_WAY = "proven published deactivated"

Scenario = Callable[[Target], None]
scenarios: dict[str, Scenario] = {}


def scenario(function: Callable[[Hands], None]) -> Callable[[Hands], None]:
    """Register a scenario (a decorator)."""

    def run(target: Target) -> None:
        with Hands(target) as hands:
            function(hands)

    scenarios[function.__name__] = run
    return function


def assert_size(ended: Told, *, waits: float, loops: int, look: int = LOOK) -> None:
    """The history is as long as looks at an interval of an hour make it, and no longer.

    waits: the seconds that it waited in its loops. loops: how many these were.
    """
    most = (waits / SHORTEST + FIRST_LOOKS * loops) * look + STEPS
    assert waits / POLL_MAX * LOOK <= ended.events <= most, (ended.events, most)


def assert_back(hands: Hands, user: MachineUser, ended: Told, *, new: str) -> None:
    """The old key is active and in AWSCURRENT; nothing is open."""
    assert hands.keys(user.name) == {
        user.access_key_id: "Active",
        ended.result["newAccessKeyId"]: new,
    }
    assert hands.current_key(user.name) == user.access_key_id
    assert not {"CLAIM", "AWSPENDING", "BACKOUT"} & hands.labels(user.name).keys()


def assert_forward(hands: Hands, user: MachineUser, ended: Told) -> None:
    """The new key is active and in AWSCURRENT, the old one inactive; nothing is open."""
    new = ended.result["newAccessKeyId"]
    assert hands.keys(user.name) == {user.access_key_id: "Inactive", new: "Active"}
    assert hands.current_key(user.name) == new
    assert not {"CLAIM", "AWSPENDING"} & hands.labels(user.name).keys()


def assert_in_time(ended: Told) -> None:
    """The old key was really quiet before it was deactivated, and the watch was as long as said."""
    # Its last use can be up to half a day older than the publishing; the consumer moves within
    # half a day after it, and the data comes up to four hours late.
    assert QUIET - 12 * HOUR <= ended.seconds("published", "deactivated") <= QUIET + 18 * HOUR
    assert WATCH <= ended.seconds("deactivated", "ended") <= WATCH + 2 * POLL_MAX


def tag(hands: Hands, user: MachineUser, key: str, value: str) -> None:
    """Tag the user's secret."""
    hands.secrets.tag_resource(SecretId=user.secret_name, Tags=[{"Key": key, "Value": value}])


def works(hands: Hands, user: MachineUser) -> bool:
    """Whether the user's first key authenticates."""
    client = hands.aws.client(
        "sts",
        access_key_id=user.access_key_id,
        secret_access_key=user.secret_access_key.get_secret_value(),
    )
    try:
        client.get_caller_identity()
    except ClientError:
        return False
    return True


def is_deactivated(hands: Hands, user: MachineUser) -> bool:
    """Whether the user's first key is inactive."""
    return hands.keys(user.name)[user.access_key_id] == "Inactive"


# --- forward --------------------------------------------------------------------------------------


@scenario
def rotated_and_the_old_key_retired(hands: Hands) -> None:
    user = hands.old_user()
    with hands.working(user) as one, hands.working(user, for_days=0) as other:
        ended = hands.rotate(user.name, reason="yearly")
        assert_outcome(ended, "ROTATED", user=user.name, times=WHOLE_WAY)
        assert_forward(hands, user, ended)
        assert_in_time(ended)
        evidence = ended.result["evidence"]
        assert evidence["newKeyConsumerUse"]["service"] == "sqs"
        assert evidence["requestReason"] == "yearly"
        assert_size(ended, waits=ended.seconds("published", "ended"), loops=2)

        (retirement,) = hands.others_of(hands.retire_arn, user.name)
        retired = hands.ended(retirement)
        assert (retired.status, retired.result["outcome"]) == ("SUCCEEDED", "DELETED")
        assert RETENTION <= retired.seconds("started", "ended") <= RETENTION + HOUR
        assert retired.events <= STEPS
        assert hands.keys(user.name) == {ended.result["newAccessKeyId"]: "Active"}
        assert "BACKOUT" not in hands.labels(user.name)
    for consumer in (one, other):
        assert consumer.counts.errors == 0
        assert consumer.counts.access_key_id == ended.result["newAccessKeyId"]


@scenario
def rotated_with_a_health_url(hands: Hands) -> None:
    user = hands.old_user()
    with hands.target.health_url(lambda: True) as url, hands.working(user) as consumer:
        tag(hands, user, "keyturn:health-url", url)
        ended = hands.rotate(user.name)
        assert consumer.counts.errors == 0
    assert_outcome(ended, "ROTATED", user=user.name, times=WHOLE_WAY)
    assert_forward(hands, user, ended)
    assert_in_time(ended)
    assert ended.result["evidence"]["health"]["status"] == 200
    waits = ended.seconds("published", "ended")
    assert_size(ended, waits=waits, loops=2, look=LOOK + HEALTH)


@scenario
def a_first_key_is_issued(hands: Hands) -> None:
    user = hands.user(key=False)
    ended = hands.rotate(user.name)
    assert_outcome(ended, "ISSUED", user=user.name, times="proven published")
    assert hands.keys(user.name) == {ended.result["newAccessKeyId"]: "Active"}
    assert hands.current_key(user.name) == ended.result["newAccessKeyId"]
    assert ended.seconds("started", "ended") < HOUR  # nobody is to be waited for
    assert ended.events <= STEPS


# --- the wait for the consumers -------------------------------------------------------------------


@scenario
def nobody_moved(hands: Hands) -> None:
    user = hands.old_user()
    with hands.working(user, moves=False) as consumer:
        ended = hands.rotate(user.name)
        assert consumer.counts.errors == 0
    assert_outcome(
        ended,
        "BACKED_OUT",
        user=user.name,
        error="RotationBackedOut",
        reason="no consumer used the new key",
        times="proven published",
    )
    assert_back(hands, user, ended, new="Inactive")
    # It waits the timeout out; the new key goes when it has been quiet since the return.
    waited = ended.seconds("published", "ended")
    assert PICKUP_TIMEOUT + GRACE + QUIET <= waited <= PICKUP_TIMEOUT + GRACE + QUIET + 6 * POLL_MAX
    assert ended.result["evidence"]["newKeyConsumerUse"] is None
    assert_size(ended, waits=waited, loops=2)


@scenario
def both_keys_in_use_at_the_timeout(hands: Hands) -> None:
    user = hands.old_user()
    with hands.working(user) as quick, hands.working(user, moves=False, for_days=0) as straggler:
        ended = hands.rotate(user.name)
        assert (quick.counts.errors, straggler.counts.errors) == (0, 0)
    assert_outcome(
        ended,
        "NEEDS_ATTENTION",
        user=user.name,
        error="AttentionNeeded",
        reason="the old key has been used too recently",
        times="proven published",
    )
    new = ended.result["newAccessKeyId"]
    assert hands.keys(user.name) == {user.access_key_id: "Active", new: "Active"}
    assert hands.current_key(user.name) == new
    assert hands.labels(user.name).keys() >= {"BACKOUT"}
    waited = ended.seconds("published", "ended")
    assert PICKUP_TIMEOUT <= waited <= PICKUP_TIMEOUT + HOUR
    assert ended.result["evidence"]["newKeyConsumerUse"]["service"] == "sqs"
    assert_size(ended, waits=waited, loops=1)


# --- after the deactivation -----------------------------------------------------------------------


@scenario
def silent_in_the_watch(hands: Hands) -> None:
    user = hands.old_user()
    with hands.working(user) as consumer:
        arn = hands.start(user.name)
        hands.sleep(1.5 * DAY)  # it moves, and then works no more
        assert consumer.counts.access_key_id != user.access_key_id
    ended = hands.ended(arn)
    assert_outcome(
        ended,
        "NEEDS_ATTENTION",
        user=user.name,
        error="AttentionNeeded",
        reason="silent",
        times="proven published deactivated reactivated",
    )
    new = ended.result["newAccessKeyId"]
    assert hands.keys(user.name) == {user.access_key_id: "Active", new: "Active"}
    assert hands.current_key(user.name) == new
    assert WATCH <= ended.seconds("deactivated", "reactivated") <= WATCH + HOUR
    assert_size(ended, waits=ended.seconds("published", "ended"), loops=2)


@scenario
def bad_health_in_the_watch(hands: Hands) -> None:
    user = hands.old_user()
    # Like a service of which one rare job still has the old key.
    with (
        hands.target.health_url(lambda: works(hands, user)) as url,
        hands.working(user) as consumer,
    ):
        tag(hands, user, "keyturn:health-url", url)
        ended = hands.rotate(user.name)
        assert consumer.counts.errors <= 1  # its first call after the new key went, if any
    assert_outcome(
        ended,
        "BACKED_OUT",
        user=user.name,
        error="RotationBackedOut",
        reason="bad 2 times in a row: status 503",
        times="proven published deactivated reactivated",
    )
    assert_back(hands, user, ended, new="Inactive")
    assert ended.seconds("deactivated", "reactivated") <= HOUR  # two looks, five minutes apart
    waits = ended.seconds("published", "ended")
    assert_size(ended, waits=waits, loops=3, look=LOOK + HEALTH)


@scenario
def an_alarm_in_the_watch(hands: Hands) -> None:
    user = hands.old_user()
    alarm = hands.new_alarm(user.name)
    tag(hands, user, "keyturn:alarm-1", alarm)
    with hands.working(user) as consumer:
        arn = hands.start(user.name)
        hands.sleep_until(lambda: is_deactivated(hands, user), within=7 * DAY)
        hands.goes_off(alarm)
        ended = hands.ended(arn)
        assert consumer.counts.errors == 0
    assert_outcome(
        ended,
        "BACKED_OUT",
        user=user.name,
        error="RotationBackedOut",
        reason=f"the alarm {alarm} was bad: in ALARM",
        times="proven published deactivated reactivated",
    )
    assert_back(hands, user, ended, new="Inactive")
    assert ended.result["evidence"]["alarmsNotOk"] == [alarm]
    assert_size(ended, waits=ended.seconds("published", "ended"), loops=3)


# --- interventions --------------------------------------------------------------------------------


@scenario
def backed_out_by_hand(hands: Hands) -> None:
    user = hands.old_user()
    with hands.working(user) as consumer:
        running = hands.start(user.name)
        hands.sleep(1 * DAY)
        ended = hands.rotate(user.name, action="BACK_OUT", reason="release day")
        assert consumer.counts.errors == 0
        assert consumer.counts.access_key_id == user.access_key_id
    stopped = hands.ended(running)
    assert (stopped.status, stopped.error) == ("ABORTED", "TakenOver")
    assert_outcome(ended, "BACKED_OUT", user=user.name)
    assert_back(hands, user, ended, new="Inactive")
    waited = ended.seconds("started", "ended")
    assert GRACE + QUIET <= waited <= GRACE + QUIET + 12 * HOUR + 6 * POLL_MAX
    assert_size(ended, waits=waited, loops=1)


@scenario
def backed_out_by_the_event_of_a_death(hands: Hands) -> None:
    user = hands.old_user()
    with hands.working(user) as consumer:
        dead = hands.start(user.name)
        hands.sleep(1 * DAY)
        hands.machines.stop_execution(executionArn=dead, error="Test", cause="stopped by a test")
        hands.sleep(HOUR)
        (back_out,) = hands.others_of(hands.rotate_arn, user.name, but=dead)
        ended = hands.ended(back_out)
        assert consumer.counts.errors == 0
        assert consumer.counts.access_key_id == user.access_key_id
    assert_outcome(ended, "BACKED_OUT", user=user.name)
    assert_back(hands, user, ended, new="Inactive")
    assert_size(ended, waits=ended.seconds("started", "ended"), loops=1)


@scenario
def an_exposed_key_in_an_open_rotation(hands: Hands) -> None:
    user = hands.old_user()
    with hands.working(user) as consumer:
        running = hands.start(user.name)
        hands.sleep(1 * DAY)
        ended = hands.rotate(
            accessKeyId=user.access_key_id, mode="EMERGENCY", reason="found on a pastebin"
        )
        assert consumer.counts.errors == 0
    assert hands.ended(running).status == "ABORTED"
    assert_outcome(ended, "ROTATED", user=user.name, times="deactivated")
    assert_forward(hands, user, ended)
    assert ended.seconds("started", "deactivated") < HOUR
    assert hands.key_in(user.name, hands.labels(user.name)["EXPOSED"]) == user.access_key_id
    assert_size(ended, waits=ended.seconds("deactivated", "ended"), loops=1)


# --- many at once ---------------------------------------------------------------------------------


def fleet_run(hands: Hands, *, users: int) -> None:
    """A fleet run rotates everybody who is due; the users of other scenarios are too young."""
    due = [hands.old_user() for _ in range(users)]
    for user in due:
        hands.target.age(user.access_key_id, 100)
    with ExitStack() as at_work:
        consumers = [at_work.enter_context(hands.working(user, for_days=0)) for user in due]
        hands.sleep(DAY)
        ended = hands.fleet()
        rotated = [hands.others_of(hands.rotate_arn, user.name) for user in due]
    assert (ended.status, ended.result["outcome"]) == ("SUCCEEDED", "COMPLETED"), ended.result
    assert ended.result["chosen"] == users
    run = hands.reports.json(f"fleet/{ended.result['runId']}/result.json")
    assert {item["userName"]: item["outcome"] for item in run["rotations"]} == {
        user.name: "ROTATED" for user in due
    }
    for user, consumer, (arn,) in zip(due, consumers, rotated, strict=True):
        one = hands.ended(arn)
        assert_outcome(one, "ROTATED", user=user.name, times=WHOLE_WAY)
        assert_forward(hands, user, one)
        assert_in_time(one)
        assert_size(one, waits=one.seconds("published", "ended"), loops=2)
        assert consumer.counts.errors == 0


@scenario
def a_fleet_run_of_five(hands: Hands) -> None:
    fleet_run(hands, users=5)
