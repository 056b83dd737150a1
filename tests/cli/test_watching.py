"""What a watch makes of an execution's history: pure, with the clock passed in."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    EndpointConnectionError,
    ReadTimeoutError,
)
from rich.console import Console

from keyturn.aws import iam
from keyturn.model.errors import AwsRefused, AwsThrottled
from keyturn.model.world import Key, LastUse
from keyturn_cli import aws, runs, start, watch
from keyturn_cli.runs import Run
from keyturn_cli.watch import JsonLines, Lines, Seen, changes, drawn, follow, view
from tests.unit.worlds import K1, K2, NOW, key
from tools import template

ARN = "arn:aws:states:eu-west-1:123456789012:execution:keyturn-RotateKey:one"
BEGAN = NOW - timedelta(hours=3)


class History:
    """Events as GetExecutionHistory has them, a minute apart."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def add(self, kind: str, **details: Any) -> History:
        at = BEGAN + timedelta(minutes=len(self.events))
        self.events.append({"id": len(self.events) + 1, "timestamp": at, "type": kind, **details})
        return self

    def enter(self, state: str, kind: str = "Task") -> History:
        return self.add(f"{kind}StateEntered", stateEnteredEventDetails={"name": state})

    def exit(self, state: str, kind: str = "Task") -> History:
        return self.add(f"{kind}StateExited", stateExitedEventDetails={"name": state})

    def answer(self, following: str, why: str, wait: int = 0) -> History:
        rotation = {
            "userName": "ci",
            "action": "ROTATE",
            "why": why,
            "oldAccessKeyId": K1,
            "newAccessKeyId": K2,
            "policy": {"fenceSeconds": 120},
        }
        payload = {"next": following, "rotation": rotation, "waitSeconds": wait}
        output = json.dumps({"Payload": payload})
        return self.add("TaskSucceeded", taskSucceededEventDetails={"output": output})

    def waits(self, why: str) -> History:
        """One turn of the loop that waits for consumers, up to the next wait."""
        self.exit("Wait For Consumers", "Wait").enter("Check Pickup").answer("WAIT", why, 600)
        self.exit("Check Pickup").enter("Picked Up?", "Choice").exit("Picked Up?", "Choice")
        return self.enter("Wait For Consumers", "Wait")


def published() -> History:
    history = History().enter("Check Request").answer("ISSUE", "rotating").exit("Check Request")
    history.enter("Publish New Key").answer("WAIT", "rotating", 300).exit("Publish New Key")
    return history.enter("Wait For Consumers", "Wait")


def run_of(history: History, **found: Any) -> Run:
    described = {"status": "RUNNING", "startDate": BEGAN, "input": '{"userName": "ci"}', **found}
    return Run(ARN).told(history.events).described(described)


def keys(*, old_active: bool = True) -> tuple[Key, ...]:
    used = LastUse(NOW - timedelta(minutes=5), "s3", "eu-west-1")
    return (key(K1, active=old_active), replace(key(K2, days_old=0.1), last_use=used))


# --- the run ------------------------------------------------------------------------------------


def test_before_the_first_look_a_wait_tells_its_purpose() -> None:
    run = run_of(published())
    assert run.waits_for == "the consumers have to use the new key and to leave the old one"


def test_a_look_tells_what_is_missing_and_when_the_next_one_is() -> None:
    run = run_of(published().waits(f"the old key {K1} has been used too recently"))
    assert run.waits_for == "the old key ...1111 has been used too recently"
    here = run.here
    assert here is not None
    assert (here.state, here.times) == ("Wait For Consumers", 2)
    assert run.next_look_at == here.last_at + timedelta(seconds=600)


def test_during_the_first_look_it_still_waits_for_the_consumers() -> None:
    history = published().exit("Wait For Consumers", "Wait").enter("Check Pickup")
    assert "the consumers have to use" in run_of(history).waits_for
    assert run_of(history).next_look_at is None


def test_in_a_back_out_it_waits_for_the_return_and_says_what_led_to_it() -> None:
    history = published().exit("Wait For Consumers", "Wait").enter("Restore Old Version")
    history.answer("WAIT", "the alarm went off", 60).exit("Restore Old Version")
    history.enter("Wait For Return", "Wait").exit("Wait For Return", "Wait").enter("Check Return")
    history.answer("WAIT", "the alarm went off", 60).exit("Check Return")
    run = run_of(history.enter("Wait For Return", "Wait"))
    assert run.waits_for == ("the consumers have to return to the old key (the alarm went off)")


def test_of_states_entered_at_the_same_moment_the_later_event_counts() -> None:
    history = published().waits("no consumer has used the new key yet")
    for event in history.events:
        event["timestamp"] = BEGAN
    run = run_of(history)
    assert run.here is not None
    assert run.here.state == "Wait For Consumers"
    assert run.waits_for == "no consumer has used the new key yet"


@pytest.mark.parametrize("events", range(6, 24))
def test_from_the_publishing_on_it_always_says_what_it_waits_for(events: int) -> None:
    """Whenever somebody looks, also between two states."""
    history = published().waits("no consumer has used the new key yet")
    history.waits("the old key has been used too recently")
    history.events = history.events[: events + 1]
    assert run_of(history).waits_for


def test_a_wait_of_the_fence_is_as_long_as_the_fence() -> None:
    history = published().exit("Wait For Consumers", "Wait").enter("Wait Out Own Calls", "Wait")
    run = run_of(history)
    assert run.here is not None
    assert run.next_look_at == run.here.last_at + timedelta(seconds=120)


def test_newer_events_are_taken_in_and_older_ones_are_not_counted_twice() -> None:
    history = published()
    run = run_of(history)
    history.waits("no consumer has used the new key yet")
    again = run.told(history.events)
    assert again == run_of(history).told(history.events)
    assert [visit.times for visit in again.path if visit.state == "Check Request"] == [1]


def test_the_failure_of_a_task_is_trouble_until_something_succeeds() -> None:
    cause = json.dumps({"errorMessage": f"the key {K1} is in use", "errorType": "X"})
    history = published().add(
        "TaskFailed", taskFailedEventDetails={"error": "AwsThrottled", "cause": cause}
    )
    assert run_of(history).trouble == "AwsThrottled: the key ...1111 is in use"
    assert run_of(history.answer("WAIT", "waiting")).trouble == ""


@pytest.mark.parametrize("output", ["not JSON", "[]", '{"Payload": 3}', None])
def test_an_answer_that_is_none_changes_nothing(output: str | None) -> None:
    history = published()
    before = run_of(history)
    history.add("TaskSucceeded", taskSucceededEventDetails={"output": output})
    assert replace(run_of(history), last_event=0) == replace(before, last_event=0)


def test_an_execution_that_died_without_a_result_ends_as_step_functions_says() -> None:
    run = run_of(published(), status="TIMED_OUT", stopDate=NOW)
    assert (run.running, run.outcome, run.reason) == (False, "TIMED_OUT", "rotating")
    assert run.next_look_at is None


def test_a_failed_execution_has_its_result_in_the_cause() -> None:
    cause = json.dumps({"outcome": "BACKED_OUT", "reason": f"nobody used {K2}"})
    run = run_of(published(), status="FAILED", cause=cause, stopDate=NOW)
    assert (run.outcome, run.reason) == ("BACKED_OUT", "nobody used ...2222")


def test_a_cause_that_is_no_result_is_the_reason() -> None:
    run = run_of(published(), status="ABORTED", cause="stopped by hand", stopDate=NOW)
    assert (run.outcome, run.reason) == ("ABORTED", "stopped by hand")


# --- what is shown --------------------------------------------------------------------------------


def shown(seen: Seen, now: datetime = NOW) -> str:
    console = Console(width=100, file=io.StringIO(), no_color=True, highlight=False)
    console.print(drawn(view(seen, now)))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_the_view_tells_path_wait_next_look_and_both_keys() -> None:
    run = run_of(published().waits("no consumer has used the new key yet"))
    now = run.here.last_at + timedelta(minutes=4) if run.here else NOW
    text = shown(Seen(run, now, keys(), {"AWSCURRENT": "on ...2222"}), now)
    assert "ROTATE ci   RUNNING" in text
    assert "✓ Publish New Key" in text
    assert "▶ Wait For Consumers 2 times, for 4 min" in text
    assert "Picked Up?" not in text
    assert "waits: no consumer has used the new key yet   (next look in 6 min)" in text
    assert "old key  ...1111  Active" in text
    assert "new key  ...2222  Active" in text
    assert "by s3" in text
    assert "AWSCURRENT on ...2222" in text
    assert K1 not in text
    assert K2 not in text


def test_the_clock_of_the_view_goes_on_between_two_looks() -> None:
    run = run_of(published().waits("no consumer has used the new key yet"))
    assert run.here is not None
    for minutes, words in ((1, "for 1 min"), (9, "for 9 min"), (15, "next look now")):
        now = run.here.last_at + timedelta(minutes=minutes)
        assert words in shown(Seen(run, now), now)


def test_the_view_of_an_end_tells_outcome_and_reason_and_marks_what_failed() -> None:
    history = published().exit("Wait For Consumers", "Wait").enter("Rotation Backed Out", "Fail")
    result = json.dumps({"outcome": "BACKED_OUT", "reason": "no consumer used the new key"})
    run = run_of(history, status="FAILED", cause=result, stopDate=NOW)
    text = shown(Seen(run, NOW))
    assert "✗ Rotation Backed Out" in text
    assert "BACKED_OUT: no consumer used the new key" in text
    assert "waits:" not in text


def test_plain_lines_tell_each_change_once() -> None:
    told: set[str] = set()
    first = Seen(run_of(published()), NOW, keys())
    lines = list(changes(None, first, told))
    assert [line.split(" ", 2)[2] for line in lines] == [
        "Check Request: looks at everything and decides how to begin",
        "Publish New Key: points AWSCURRENT at the new key",
        "Wait For Consumers: to use the new key and leave the old one",
        "  waits: the consumers have to use the new key and to leave the old one",
        "  old key ...1111 is Active",
        "  new key ...2222 is Active",
    ]
    assert list(changes(first, first, told)) == []
    gone = Seen(first.run, NOW, (key(K2),))
    assert [line.split(" ", 2)[2] for line in changes(first, gone, told)] == [
        "  key ...1111 is deleted"
    ]


def test_a_refused_start_is_not_told_as_deleted_keys() -> None:
    """The keys of a refused start are not looked at again."""
    first = Seen(run_of(published()), NOW, keys())
    said = " ".join(changes(first, Seen(first.run, NOW), set()))
    assert "deleted" not in said


def test_the_refusal_of_a_user_that_does_not_exist_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_such_user(user: str) -> None:
        raise AwsRefused(f"iam:ListAccessKeys: NoSuchEntity: no user {user}")

    run = run_of(History().enter("Check Request"))
    monkeypatch.setattr(runs, "fetch", lambda _: run)
    monkeypatch.setattr(iam, "list_keys", no_such_user)
    assert watch.look(run, "machine-user/").run is run


def test_json_has_whole_ids_and_says_nothing_when_only_the_clock_has_moved(
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen = JsonLines()
    seen = Seen(run_of(published()), NOW, keys())
    screen.show(seen)
    screen.show(replace(seen, now=NOW + timedelta(seconds=5)))
    (line,) = capsys.readouterr().out.splitlines()
    printed = json.loads(line)
    assert [one["accessKeyId"] for one in printed["keys"]] == [K1, K2]
    assert (printed["state"], printed["userName"]) == ("Wait For Consumers", "ci")
    assert printed["path"][0]["enteredAt"] == "2026-11-21T09:00:00.000Z"


# --- when to look ---------------------------------------------------------------------------------


class Waits:
    """A screen that notes how long it was to wait."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def show(self, seen: Seen) -> None:
        pass

    def wait(self, seconds: float) -> None:
        self.seconds.append(round(seconds, 2))


def test_looks_come_every_two_seconds_growing_to_fifteen_and_anew_after_a_change() -> None:
    looks = iter([1] * 12 + [2, 2, 3])
    waits = Waits()

    def look(run: Run) -> Seen:
        return Seen(replace(run, last_event=next(looks)), NOW)

    seen = follow(look, Run(ARN), waits, until=lambda run: run.last_event == 3)
    assert seen.run.last_event == 3
    assert waits.seconds[:4] == [2.0, 2.5, 3.12, 3.91]
    assert waits.seconds[11] == 15.0
    assert waits.seconds[12:] == [2.0, 2.5]


def test_a_while_without_aws_is_waited_out_but_not_for_ever() -> None:
    failures = iter([True, True, False])

    def look(run: Run) -> Seen:
        if next(failures, True):
            raise AwsThrottled("states:DescribeExecution: no answer")
        return Seen(replace(run, status="SUCCEEDED"), NOW)

    assert follow(look, Run(ARN), Waits(), until=lambda run: not run.running).run.outcome
    with pytest.raises(AwsThrottled):
        follow(look, Run(ARN), Waits(), until=lambda run: not run.running)


class StepFunctions:
    """A client that first fails so often, and then tells of an execution that has succeeded."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = iter(errors)

    def describe_execution(self, **_: str) -> dict[str, Any]:
        for error in self._errors:
            raise error
        return {"status": "SUCCEEDED", "startDate": BEGAN}

    def get_execution_history(self, **_: object) -> dict[str, Any]:
        for error in self._errors:
            raise error
        return {"events": []}

    def get_paginator(self, _: str) -> StepFunctions:
        return self

    def paginate(self, **_: object) -> list[dict[str, Any]]:
        return [self.get_execution_history()]


OUTAGE = [
    EndpointConnectionError(endpoint_url="https://states.eu-west-1.amazonaws.com"),
    ReadTimeoutError(endpoint_url="https://states.eu-west-1.amazonaws.com"),
    ClientError({"Error": {"Code": "ServiceUnavailable"}}, "DescribeExecution"),
]


def test_the_network_may_be_away_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    client = StepFunctions(*OUTAGE)
    monkeypatch.setattr(aws, "stepfunctions", lambda: client)
    waits = Waits()
    seen = follow(
        lambda run: Seen(runs.fetch(run), NOW), Run(ARN), waits, until=lambda run: not run.running
    )
    assert seen.run.status == "SUCCEEDED"
    assert waits.seconds == [15.0] * len(OUTAGE)


@pytest.mark.parametrize("look", [lambda: runs.fetch(Run(ARN)), lambda: runs.glance(ARN)])
def test_an_outage_is_no_reason_to_think_anything_of_an_execution(
    monkeypatch: pytest.MonkeyPatch, look: Callable[[], Run]
) -> None:
    for error in OUTAGE:
        client = StepFunctions(error)
        monkeypatch.setattr(aws, "stepfunctions", lambda client=client: client)
        with pytest.raises(AwsThrottled):
            look()


def test_lost_credentials_are_not_waited_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = CredentialRetrievalError(provider="custom-process", error_msg="token=hush")
    monkeypatch.setattr(aws, "stepfunctions", lambda: StepFunctions(lost))
    with pytest.raises(AwsRefused, match=r"no usable credentials \(CredentialRetrievalError\)"):
        watch.to_the_end(Run(ARN), "machine-user/")
    said = capsys.readouterr().err
    assert said == f"keyturn: the execution goes on. See it again: keyturn watch {ARN}\n"


@pytest.mark.parametrize(("status", "exit_status"), [("SUCCEEDED", 0), ("FAILED", 1)])
def test_a_watch_leaves_with_the_outcome(
    monkeypatch: pytest.MonkeyPatch, status: str, exit_status: int
) -> None:
    def look(run: Run, prefix: str) -> Seen:
        return Seen(replace(run, status=status), NOW)

    monkeypatch.setattr(watch, "look", look)
    assert watch.to_the_end(Run(ARN), "machine-user/") == exit_status


def test_ctrl_c_says_that_the_execution_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def look(run: Run, prefix: str) -> Seen:
        raise KeyboardInterrupt

    monkeypatch.setattr(watch, "look", look)
    assert watch.to_the_end(Run(ARN), "machine-user/") == 130
    said = capsys.readouterr().err
    assert said == f"keyturn: left; the execution goes on. See it again: keyturn watch {ARN}\n"


def test_a_pipe_gets_lines_and_not_a_live_view() -> None:
    with watch.screen() as screen:
        assert isinstance(screen, Lines)


def test_times_are_those_of_utc_whatever_zone_the_answers_have() -> None:
    run = run_of(published())
    assert run.started_at is not None
    assert run.started_at.tzinfo is UTC


# --- the beginning --------------------------------------------------------------------------------


def test_a_start_is_accepted_when_no_refusal_can_follow_any_more() -> None:
    """The states of the definition on the ways from its start to a refusal."""
    path = template.ROOT / "statemachine" / "rotate_key.asl.json"
    definition = json.loads(path.read_text(encoding="utf-8"))
    # Where these lead, the execution has the claim and goes on.
    accepted_after = ("New Key Issued?", "Where To Continue?", "Was It Published?")
    going_on = {
        way["Next"]
        for name in accepted_after
        for way in definition["States"][name]["Choices"]
        if way["Next"] not in ("Announce Outcome", "Wait Out The Claimant", "Request Rejected")
    } - {"Issue New Key"}
    over = "How Did It End?"
    found: set[str] = set()
    ahead = [definition["StartAt"]]
    while ahead:
        name = ahead.pop()
        if name in found or name in {*going_on, over}:
            continue
        found.add(name)
        state = definition["States"][name]
        ways = [*state.get("Choices", []), *state.get("Catch", [])]
        ahead += [way["Next"] for way in ways] + [state.get("Default")] * ("Default" in state)
        if "Next" in state:
            ahead.append(state["Next"])
    states = definition["States"]
    took_time = {name for name in found if states[name]["Type"] not in ("Choice", "Fail")}
    assert took_time == start._UNDECIDED
    assert {name for name in took_time if states[name]["Type"] == "Wait"} < start._SLOW


def begun(monkeypatch: pytest.MonkeyPatch, *looks: Run) -> int:
    """Report a start that is seen like this, look by look."""
    seen = iter(looks)
    monkeypatch.setattr(runs, "fetch", lambda _: next(seen))
    monkeypatch.setattr(start.Beginning, "wait", lambda *_: None)
    return start.report_beginning(Run(ARN), "machine-user/", as_json=False)


def stopping() -> History:
    history = History().enter("Check Request").answer("STOP_CLAIMANT", "undoing")
    history.exit("Check Request").enter("Stop Claimant").answer("WAIT", "undoing", 124)
    return history.exit("Stop Claimant").enter("Wait Out The Claimant", "Wait")


def test_a_start_that_waits_for_another_execution_is_not_accepted_yet_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting = run_of(stopping())
    cause = json.dumps({"outcome": "REJECTED", "reason": "another execution was faster"})
    refused = run_of(stopping(), status="FAILED", cause=cause, stopDate=NOW)
    assert begun(monkeypatch, waiting, waiting, refused) == 1
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == "REJECTED: another execution was faster"
    (line,) = said.err.splitlines()
    assert line.startswith("keyturn: Wait Out The Claimant: no call of the execution that was")


def test_a_start_is_accepted_once_it_has_taken_over(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    history = stopping().exit("Wait Out The Claimant", "Wait").enter("Check Request")
    history.answer("BACK_OUT", "undoing").exit("Check Request").enter("Take Over")
    before = run_of(history)
    history.answer("BACK_OUT", "undoing").exit("Take Over").enter("Reactivate Old Key")
    assert begun(monkeypatch, run_of(stopping()), before, run_of(history)) == 0
    assert "Follow it: keyturn watch ci" in capsys.readouterr().out


def test_an_ordinary_start_says_nothing_while_it_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looked_at = run_of(History().enter("Check Request"))
    assert begun(monkeypatch, looked_at, run_of(published())) == 0
    assert capsys.readouterr().err == ""
