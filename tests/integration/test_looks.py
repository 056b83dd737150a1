"""The adapters of Step Functions and CloudWatch: unknown is neither dead nor safe."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from keyturn.aws import alarms, executions, fence
from keyturn.model import outcomes
from keyturn.model.errors import AwsRefused, AwsThrottled
from keyturn.model.signals import SignalState
from tests.integration.account import Account
from tests.integration.aws_like import refuses


@pytest.fixture(autouse=True)
def open_fence() -> Iterator[None]:
    with fence.opened(fence.Fence(datetime.now(UTC))):
        yield


class TestExecutions:
    def test_a_running_one_runs(self, account: Account) -> None:
        assert executions.look_up(account.execution().arn).running is True

    def test_an_ended_one_has_ended_and_when(self, account: Account) -> None:
        execution = account.execution()
        account.dies(execution, ago=timedelta(minutes=5))
        found = executions.look_up(execution.arn)
        assert found.running is False
        assert found.ended_at is not None
        assert timedelta(minutes=4) < datetime.now(UTC) - found.ended_at < timedelta(minutes=6)

    @pytest.mark.parametrize("status", ["PENDING_REDRIVE", "SOMETHING_NEW"])
    def test_one_that_may_run_any_moment_counts_as_running(
        self, account: Account, status: str
    ) -> None:
        account.wire.next(
            "DescribeExecution", lambda _: {"status": status, "stopDate": datetime.now(UTC)}
        )
        assert executions.look_up("arn").running is True

    def test_an_end_without_a_time_is_not_yet_an_end(self, account: Account) -> None:
        account.wire.next("DescribeExecution", lambda _: {"status": "ABORTED"})
        assert executions.look_up("arn").running is True

    @pytest.mark.parametrize(
        "code", ["ExecutionDoesNotExist", "AccessDeniedException", "InvalidArn"]
    )
    def test_what_cannot_be_looked_up_is_unknown(self, account: Account, code: str) -> None:
        account.wire.next("DescribeExecution", refuses(code))
        assert executions.look_up("arn").running is None

    def test_throttling_is_no_answer_at_all(self, account: Account) -> None:
        account.wire.next("DescribeExecution", refuses("ThrottlingException"))
        with pytest.raises(AwsThrottled):
            executions.look_up("arn")

    def test_a_running_one_is_stopped_with_the_name_of_the_takeover(self, account: Account) -> None:
        execution = account.execution()
        executions.stop(execution.arn, cause="by a person")
        found = executions.look_up(execution.arn)
        assert found.running is False
        # moto does not keep the error; AWS shows it in DescribeExecution.
        stopped = dict(account.wire.calls)["StopExecution"]
        assert (stopped["error"], stopped["cause"]) == ("TakenOver", "by a person")

    def test_stopping_one_that_ended_by_itself_is_success(self, account: Account) -> None:
        execution = account.execution()
        account.dies(execution)
        account.wire.next("StopExecution", refuses("ValidationException"))
        executions.stop(execution.arn, cause="x")

    def test_one_that_cannot_be_stopped_is_an_error(self, account: Account) -> None:
        execution = account.execution()
        account.wire.next("StopExecution", refuses("AccessDeniedException"))
        with pytest.raises(AwsRefused):
            executions.stop(execution.arn, cause="x")

    def test_the_error_of_an_ended_one_is_told(self, account: Account) -> None:
        answer = {"status": "ABORTED", "stopDate": datetime.now(UTC), "error": "TakenOver"}
        account.wire.next("DescribeExecution", lambda _: answer)
        assert executions.look_up("arn").error == outcomes.TAKEN_OVER_ERROR

    def test_a_name_starts_once(self, account: Account) -> None:
        assert executions.start(account.machine_arn, "backout-1", {"userName": "ci"})
        account.wire.next("StartExecution", refuses("ExecutionAlreadyExists"))
        assert not executions.start(account.machine_arn, "backout-1", {"userName": "ci"})

    def test_a_machine_that_is_not_there_is_an_error(self, account: Account) -> None:
        account.wire.next("StartExecution", refuses("StateMachineDoesNotExist"))
        with pytest.raises(AwsRefused):
            executions.start(account.machine_arn, "x", {})


class TestAlarms:
    @pytest.fixture
    def named(self, account: Account) -> Account:
        watch = boto3.client("cloudwatch")
        for name, state in (("fine", "OK"), ("bad", "ALARM"), ("dim", "INSUFFICIENT_DATA")):
            watch.put_metric_alarm(
                AlarmName=name,
                Namespace="n",
                MetricName="m",
                Period=60,
                EvaluationPeriods=1,
                Threshold=1,
                Statistic="Sum",
                ComparisonOperator="GreaterThanThreshold",
            )
            watch.set_alarm_state(AlarmName=name, StateValue=state, StateReason="r")  # type: ignore[arg-type]
        account.wire.forget()
        return account

    def test_each_says_its_state_and_unknown_is_not_good(self, named: Account) -> None:
        found = alarms.ask(["fine", "bad", "dim", "gone"])
        assert [(signal.state, signal.words, signal.exists) for signal in found] == [
            (SignalState.OK, "in OK", True),
            (SignalState.BAD, "in ALARM", True),
            (SignalState.UNCLEAR, "in INSUFFICIENT_DATA", True),
            (SignalState.UNCLEAR, "it does not exist", False),
        ]

    def test_no_names_ask_nothing(self, named: Account) -> None:
        """DescribeAlarms without names would answer with every alarm of the account."""
        assert alarms.ask([]) == []
        assert named.wire.operations == []

    def test_composite_alarms_count(self, account: Account) -> None:
        def answer(_: Any) -> Any:
            return {"CompositeAlarms": [{"AlarmName": "all", "StateValue": "ALARM"}]}

        account.wire.next("DescribeAlarms", answer)
        assert alarms.ask(["all"])[0].state is SignalState.BAD
        assert account.wire.calls[-1][1]["AlarmTypes"] == ["MetricAlarm", "CompositeAlarm"]

    @pytest.mark.parametrize(
        ("code", "kind"), [("AccessDenied", AwsRefused), ("Throttling", AwsThrottled)]
    )
    def test_an_unanswered_question_is_an_error(
        self, account: Account, code: str, kind: type[Exception]
    ) -> None:
        account.wire.next("DescribeAlarms", refuses(code))
        with pytest.raises(kind):
            alarms.ask(["fine"])
