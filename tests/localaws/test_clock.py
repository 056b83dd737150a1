"""A clock that is moved: time goes on to the next timer when nobody is busy."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

import localaws
from localaws.consumer import Consumer
from localaws.control import Joined
from localaws.model import CredentialReportModel, LastUsedModel
from tests.localaws.support import TOY, Toy, eventually

pytestmark = [pytest.mark.emulator, pytest.mark.xdist_group("moved clock")]

HOUR, DAY = 3600, 86_400
# What a jump may add to a timer, in seconds: what is done before and after it takes real time.
LATE = 60


@pytest.fixture(scope="module")
def moved() -> Iterator[Toy]:
    """The toy stack in an emulator whose clock is moved."""
    with localaws.start(clock="moved") as aws:
        outputs = localaws.deploy(
            aws, stack_name="toy", template=TOY, parameters={"WaitSeconds": str(3 * DAY)}
        )
        yield Toy(aws, outputs)


@pytest.fixture
def here(moved: Toy) -> Iterator[Joined]:
    """The test takes part in the moved time."""
    with moved.aws.control.join() as joined:
        yield joined


def waiting(toy: Toy, name: str, **state: Any) -> str:
    """A machine with one state of waiting."""
    return toy.machine(
        name, {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "End": True, **state}}}
    )


def lasted(described: dict[str, Any]) -> float:
    """The seconds that an execution took by its own dates."""
    return float((described["stopDate"] - described["startDate"]).total_seconds())


def queue(toy: Toy, name: str) -> tuple[str, str]:
    """A queue: its URL and ARN."""
    sqs = toy.aws.client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    return url, f"arn:aws:sqs:{toy.aws.region}:{toy.aws.account_id}:{name}"


def received(toy: Toy, url: str) -> list[dict[str, Any]]:
    """The messages that are in a queue."""
    found = []
    while (
        more := toy.aws.client("sqs")
        .receive_message(QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["SentTimestamp"])
        .get("Messages")
    ):
        found += more
        for message in more:
            toy.aws.client("sqs").delete_message(
                QueueUrl=url, ReceiptHandle=message["ReceiptHandle"]
            )
    return found


# --- executions -----------------------------------------------------------------------------------


def test_a_wait_of_weeks_is_over_at_once(moved: Toy, name: str) -> None:
    began = time.monotonic()
    ended = moved.finished(moved.start({}, waiting(moved, name, Seconds=20 * DAY)))
    assert ended["status"] == "SUCCEEDED"
    assert 20 * DAY <= lasted(ended) < 20 * DAY + LATE
    assert time.monotonic() - began < LATE


def test_time_does_not_jump_while_somebody_is_busy(moved: Toy, here: Joined, name: str) -> None:
    arn = moved.start({}, waiting(moved, name, Seconds=DAY))
    before = moved.aws.control.now()
    time.sleep(0.5)
    assert 0.5 <= moved.aws.control.now() - before < LATE
    assert moved.described(arn)["status"] == "RUNNING"
    here.sleep(DAY - HOUR)
    assert moved.described(arn)["status"] == "RUNNING"
    here.sleep(2 * HOUR)
    assert moved.described(arn)["status"] == "SUCCEEDED"


def test_two_who_sleep_wake_in_the_order_of_their_timers(moved: Toy, here: Joined) -> None:
    order: list[str] = []

    def sleep(joined: Joined, hours: int) -> None:
        with joined:
            joined.sleep(hours * HOUR)
            order.append(f"{hours}")

    with ThreadPoolExecutor() as pool:
        for hours in (3, 1, 2):
            pool.submit(sleep, moved.aws.control.join(), hours)
        here.leave()
    assert order == ["1", "2", "3"]


def test_parents_of_branches_and_items_are_not_busy(moved: Toy, name: str) -> None:
    wait = {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": DAY, "End": True}}}
    definition = {
        "QueryLanguage": "JSONata",
        "StartAt": "Both",
        "States": {
            "Both": {"Type": "Parallel", "Branches": [wait, wait], "Next": "Each"},
            "Each": {
                "Type": "Map",
                "Items": [1, 2, 3, 4],
                "MaxConcurrency": 2,
                "ItemProcessor": wait,
                "End": True,
            },
        },
    }
    ended = moved.finished(moved.start({}, moved.machine(name, definition)))
    assert ended["status"] == "SUCCEEDED"
    assert 3 * DAY <= lasted(ended) < 3 * DAY + LATE


def test_the_time_limit_of_a_machine_is_a_timer_too(moved: Toy, name: str) -> None:
    definition = {
        "StartAt": "W",
        "TimeoutSeconds": DAY,
        "States": {"W": {"Type": "Wait", "Seconds": 2 * DAY, "End": True}},
    }
    ended = moved.finished(moved.start({}, moved.machine(name, definition)))
    assert ended["status"] == "TIMED_OUT"
    assert DAY <= lasted(ended) < DAY + LATE


def test_a_stopped_execution_leaves_no_timer(moved: Toy, here: Joined, name: str) -> None:
    arn = moved.start({}, waiting(moved, name, Seconds=300 * DAY))
    moved.aws.client("stepfunctions").stop_execution(executionArn=arn)
    here.leave()
    before = moved.aws.control.now()
    time.sleep(0.5)
    assert moved.aws.control.now() - before < DAY


def test_retriers_wait_by_the_clock(moved: Toy, name: str) -> None:
    hourly = {
        "ErrorEquals": ["ToyError"],
        "IntervalSeconds": HOUR,
        "BackoffRate": 1,
        "MaxAttempts": 5,
    }
    task = moved.task(Retry=[hourly])
    ended = moved.run(name, {"StartAt": "T", "States": {"T": task}}, {"do": "raise"})
    assert (ended["status"], ended["error"]) == ("FAILED", "ToyError")
    assert 5 * HOUR <= lasted(ended) < 5 * HOUR + LATE


# --- functions ------------------------------------------------------------------------------------


def test_functions_live_in_the_moved_time(moved: Toy, here: Joined) -> None:
    for _ in range(2):  # a cold start, and a warm one after a jump
        told = moved.invoke({"do": "time"})
        assert abs(told["time"] - moved.aws.control.now()) < LATE
        assert abs(told["utcnow"] - moved.aws.control.now()) < LATE
        here.sleep(30 * DAY)


def test_the_time_limit_of_a_function_is_real(moved: Toy, here: Joined) -> None:
    began = time.monotonic()
    answer = moved.invoke({"do": "sleep", "seconds": 5}, "SleeperName")
    assert answer["errorType"] == "Sandbox.Timedout"
    assert time.monotonic() - began < 5
    assert moved.invoke({})["remaining"] > 1000


def test_asynchronous_invocations_are_repeated_as_aws_does(
    moved: Toy, here: Joined, name: str
) -> None:
    url, arn = queue(moved, name)
    functions, function = moved.aws.client("lambda"), moved.outputs["ActorName"]
    functions.put_function_event_invoke_config(
        FunctionName=function, DestinationConfig={"OnFailure": {"Destination": arn}}
    )
    began = moved.aws.control.now()
    functions.invoke(FunctionName=function, InvocationType="Event", Payload=b'{"do": "raise"}')
    here.sleep(HOUR)
    tries = [
        made.time - began
        for made in moved.aws.control.invocations(since=began)
        if made.function == function
    ]
    assert [round(at / 60) for at in tries] == [0, 1, 3]
    assert len(received(moved, url)) == 1
    functions.delete_function_event_invoke_config(FunctionName=function)


# --- schedules ------------------------------------------------------------------------------------


def sent_at(toy: Toy, url: str) -> list[float]:
    return sorted(int(found["Attributes"]["SentTimestamp"]) / 1000 for found in received(toy, url))


def test_a_rate_fires_at_each_of_its_times(moved: Toy, here: Joined, name: str) -> None:
    url, arn = queue(moved, name)
    began = moved.aws.control.now()
    moved.aws.client("scheduler").create_schedule(
        Name=name,
        ScheduleExpression="rate(6 hours)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": arn, "RoleArn": "arn:aws:iam::123456789012:role/any"},
    )
    here.sleep(DAY + HOUR)
    moved.aws.client("scheduler").delete_schedule(Name=name)
    times = sent_at(moved, url)
    assert [round((at - began) / HOUR) for at in times] == [6, 12, 18, 24]
    assert all((at - began) % (6 * HOUR) < LATE for at in times)


def test_a_cron_rule_fires_at_its_hour(moved: Toy, here: Joined, name: str) -> None:
    url, arn = queue(moved, name)
    events = moved.aws.client("events")
    events.put_rule(Name=name, ScheduleExpression="cron(30 4 * * ? *)")
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])
    here.sleep(3 * DAY)
    events.disable_rule(Name=name)
    times = [datetime.fromtimestamp(at, UTC) for at in sent_at(moved, url)]
    assert len(times) == 3
    assert all((at.hour, at.minute) == (4, 30) for at in times)


def test_schedules_alone_do_not_make_time_jump(moved: Toy, name: str) -> None:
    moved.aws.client("events").put_rule(Name=name, ScheduleExpression="rate(1 day)")
    before = moved.aws.control.now()
    time.sleep(0.5)
    assert moved.aws.control.now() - before < DAY
    moved.aws.client("events").delete_rule(Name=name)


# --- IAM ------------------------------------------------------------------------------------------


def test_last_used_data_comes_late_by_the_clock(moved: Toy, here: Joined, name: str) -> None:
    iam, key = moved.aws.client("iam"), moved.user(name)
    moved.aws.control.set_last_used(LastUsedModel(lag_seconds=4 * HOUR), user=name)
    used = moved.aws.control.now()
    moved.client("sts", key).get_caller_identity()

    def shown() -> datetime | None:
        found = iam.get_access_key_last_used(AccessKeyId=key.id)["AccessKeyLastUsed"]
        when: datetime | None = found.get("LastUsedDate")
        return when

    here.sleep(4 * HOUR - LATE)
    assert shown() is None
    here.sleep(2 * LATE)
    when = shown()
    assert when is not None
    assert abs(when.timestamp() - used) < LATE
    assert (
        abs(
            iam.list_access_keys(UserName=name)["AccessKeyMetadata"][0]["CreateDate"].timestamp()
            - used
        )
        < LATE
    )


def test_a_credential_report_is_reused_for_hours(moved: Toy, here: Joined) -> None:
    iam = moved.aws.client("iam")
    moved.aws.control.set_credential_report(
        CredentialReportModel(generation_seconds=30, reuse_seconds=4 * HOUR)
    )
    iam.generate_credential_report()
    here.sleep(31)
    first = iam.get_credential_report()["GeneratedTime"]
    here.sleep(3 * HOUR)
    assert iam.generate_credential_report()["State"] == "COMPLETE"
    here.sleep(HOUR)
    assert iam.generate_credential_report()["State"] == "STARTED"
    here.sleep(31)
    assert iam.get_credential_report()["GeneratedTime"] - first >= timedelta(hours=4)


# --- who takes part from outside ------------------------------------------------------------------


def test_somebody_is_woken_when_an_execution_enters_a_state(
    moved: Toy, here: Joined, name: str
) -> None:
    one_more = {"Type": "Wait", "Seconds": DAY}
    states = {"A": {**one_more, "Next": "B"}, "B": {**one_more, "End": True}}
    machine = moved.machine(name, {"StartAt": "A", "States": states})
    arn, began = moved.start({}, machine), moved.aws.control.now()

    def passed() -> float:
        return round((moved.aws.control.now() - began) / DAY, 2)

    assert here.until(arn, "B", seconds=5 * DAY)
    assert passed() == 1
    assert here.until(arn, "A", seconds=5 * DAY)  # it has entered that before
    assert not here.until(arn, seconds=HOUR)  # it has not ended yet
    assert passed() == 1.04
    assert here.until(arn, seconds=5 * DAY)
    assert passed() == 2
    assert not here.until(arn, "C", seconds=5 * DAY)  # it never did
    stopped = moved.start({}, machine)
    moved.aws.client("stepfunctions").stop_execution(executionArn=stopped)
    assert here.until(stopped, seconds=5 * DAY)
    assert passed() == 2


def test_a_consumer_works_by_the_clock_and_stops_at_once(
    moved: Toy, here: Joined, name: str
) -> None:
    key = moved.user(name)
    moved.allow(name, {"Effect": "Allow", "Action": "sqs:ListQueues", "Resource": "*"})
    consumer = Consumer(
        client=moved.aws.client,
        secret_name="none",
        access_key_id=key.id,
        secret_access_key=SecretStr(key.secret),
        interval_seconds=6 * HOUR,
        refresh_seconds=None,
        joined=moved.aws.control.join(passive=True),
    ).start()
    eventually(lambda: consumer.counts.calls == 1)
    here.sleep(DAY + HOUR)
    assert consumer.counts.calls == 5
    began = time.monotonic()
    consumer.stop()  # while it sleeps for hours, and this test is busy
    assert time.monotonic() - began < 10
    assert consumer.counts.errors == 0


def test_consumers_alone_do_not_make_time_jump(moved: Toy) -> None:
    with moved.aws.control.join(passive=True) as passive, ThreadPoolExecutor() as pool:
        before = moved.aws.control.now()
        asleep = pool.submit(passive.sleep, 100 * DAY)
        time.sleep(0.5)
        assert moved.aws.control.now() - before < DAY
        passive.leave()
        asleep.result(timeout=10)
