"""A fleet run of 5,000 users: what its states hold, what its digest says, what is not known."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from keyturn.audit.model import SecretFacts
from keyturn.fleet.choosing import Chosen, batches, choose
from keyturn.fleet.digest import MOST_LINES, Ended, Told, digest, ended_of, result
from keyturn.fleet.facts import FleetUser, secret_facts, users_of
from keyturn.fleet.run import FleetRun
from keyturn.fleet.waiting import answer
from keyturn.fleet.watching import Batch, Stand, begin
from keyturn.model.settings import MAX_POLLS
from keyturn.model.world import SecretState
from tests.unit.fleets import ACCOUNT, CLOCK, DAY, NOW, RUN, settings, user

STATE_LIMIT = 256 * 1024
MACHINE = f"arn:aws:states:eu-west-1:{ACCOUNT}:stateMachine:keyturn-RotateKey"
LONGEST_NAME = "n" * 59


def plan_of(count: int, limit: int = 5_000) -> dict[str, Any]:
    users = [user(f"{LONGEST_NAME}{number:05}", 80 + number % 300) for number in range(count)]
    plan = choose(users, clock=CLOCK, attempts={}, limit=limit)
    return {"dryRun": False, "managed": count, **plan.dump()}


def size(document: object) -> int:
    return len(json.dumps(document).encode())


def told(plan: dict[str, Any], ended: list[Ended], **changed: Any) -> Told:
    audit = {"users": 5_000, "managed": plan["managed"], "findings": {}, "unavailable": []}
    report = {"reportBucket": "reports", "reportPrefix": RUN.audit_prefix}
    return Told(RUN, plan, ended, **{"audit": audit, "report": report, **changed})


# Sizes


@pytest.mark.parametrize("limit", [50, 5_000])
def test_no_state_of_a_run_over_5000_users_comes_near_256_kib(limit: int) -> None:
    plan = plan_of(5_000, limit)
    divided = batches(plan["chosen"])
    assert sum(map(len, divided)) == limit
    between = {"run": RUN.dump(), "batches": list(range(len(divided)))}
    assert size(between) < 4_096
    for users in divided:  # what a child hands from state to state, beside numbers
        batch = begin(map(Chosen.load, users), MACHINE, now=NOW, until=NOW + DAY)
        assert size(answer(batch, settings(), now=NOW)) < 256
    ended = [Ended(item["userName"], "REJECTED", "r" * 300, "a" * 150) for item in plan["chosen"]]
    assert size(result(told(plan, ended), NOW)) < 4_096
    message = digest(told(plan, ended))
    assert size(message) < 64 * 1024 < STATE_LIMIT  # also what SNS takes
    assert len(message["subject"]) <= 100
    assert message["subject"].isascii()


def test_what_grows_is_read_back_as_it_was_written() -> None:
    who = user("ci", 3, 100, last_result="BACKED_OUT", last_result_at=NOW)
    assert FleetUser.load(json.loads(json.dumps(who.dump()))) == who
    batch = begin([Chosen("ci", "rotate-1", "why")], MACHINE, now=NOW, until=NOW + DAY)
    batch.rotations[0] = batch.rotations[0].started(new=True).ended("ROTATED", "done")
    assert Batch.load(json.loads(json.dumps(batch.dump()))) == batch
    assert FleetRun.load(json.loads(json.dumps(RUN.dump()))) == RUN


# Watching a batch


def batch_of(*stands: Stand) -> Batch:
    chosen = [Chosen(f"u{number}", f"rotate-{number}", "why") for number in range(len(stands))]
    batch = begin(chosen, MACHINE, now=NOW, until=NOW + DAY)
    batch.rotations = [
        replace(rotation, stand=stand)
        for rotation, stand in zip(batch.rotations, stands, strict=True)
    ]
    return batch


def test_a_batch_is_watched_until_all_have_ended() -> None:
    batch = batch_of(Stand.RUNNING, Stand.ENDED)
    said = answer(batch, settings(), now=NOW)
    assert (said["next"], said["running"], batch.done) == ("WAIT", 1, False)
    batch.rotations[0] = batch.rotations[0].ended("ROTATED", "")
    assert answer(batch, settings(), now=NOW)["next"] == "DONE"
    assert batch.done


def test_a_batch_is_left_when_the_longest_time_of_a_rotation_is_over() -> None:
    batch = batch_of(Stand.RUNNING)
    assert answer(batch, settings(), now=NOW + DAY - timedelta(seconds=1))["next"] == "WAIT"
    assert answer(batch, settings(), now=NOW + DAY)["next"] == "DONE"


def test_a_batch_looks_at_growing_intervals_and_no_more_often_than_its_history_bears() -> None:
    batch = batch_of(Stand.RUNNING)
    batch.until = NOW + timedelta(seconds=settings().longest_rotation_seconds)
    now, waits = NOW, []
    while (said := answer(batch, settings(), now=now))["next"] == "WAIT":
        waits.append(said["waitSeconds"])
        now += timedelta(seconds=said["waitSeconds"])
    assert 300 <= waits[0] < 1_000
    assert max(waits) <= 3_600
    assert len(waits) < MAX_POLLS
    assert now >= batch.until


# What is known at the end

CHOSEN = [{"userName": f"u{number}"} for number in range(3)]


def outcomes(*batches_: Batch | None) -> list[str]:
    return [item.outcome for item in ended_of(CHOSEN, batches_)]


def test_who_still_runs_when_the_time_is_over_is_told_as_still_running() -> None:
    batch = batch_of(Stand.RUNNING, Stand.RUNNING, Stand.NOT_STARTED)
    batch.rotations[0] = batch.rotations[0].ended("ROTATED", "")
    batch.done = True
    assert outcomes(batch) == ["ROTATED", "STILL_RUNNING", "NOT_STARTED"]


def test_a_batch_that_died_leaves_its_users_not_known_and_never_rotated() -> None:
    batch = batch_of(Stand.ENDED, Stand.RUNNING, Stand.PENDING)
    assert outcomes(batch) == ["NOT_KNOWN"] * 3
    assert outcomes(None) == ["NOT_KNOWN"] * 3


def test_key_ids_in_reasons_are_masked() -> None:
    batch = batch_of(Stand.RUNNING, Stand.RUNNING, Stand.RUNNING)
    ended = batch.rotations[0].ended("FAILED", "key AKIAIOSFODNN7EXAMPLE " + "x" * 1_000)
    assert "AKIA" not in ended.reason
    assert "...MPLE" in ended.reason
    assert len(ended.reason) == 300
    assert "AKIA" not in batch.rotations[1].not_started("AKIAIOSFODNN7EXAMPLE").reason


# The digest


def test_the_digest_names_whom_to_look_at_and_counts_the_others() -> None:
    plan = plan_of(3, limit=2)
    ended = [
        Ended("a", "ROTATED", "fine"),
        Ended("b", "BACKED_OUT", "the health URL turned bad"),
    ]
    audit = {"findings": {"key-not-rotated": 7}, "unavailable": ["iam:X: AccessDenied: no"]}
    message = digest(told(plan, ended, audit=audit))["message"]
    for words in (
        "of 2 chosen users 1 rotated, 1 backed out.",
        "Findings of the audit: 7 key-not-rotated.",
        "Not judged: iam:X: AccessDenied: no.",
        "- b: BACKED_OUT: the health URL turned bad",
        "Left alone: 1 beyond the limit of this run.",
        f"Report: s3://reports/{RUN.audit_prefix}",
        f"Execution: {RUN.arn}",
    ):
        assert words in message
    assert "- a:" not in message


def test_a_long_digest_says_how_many_more_there_are() -> None:
    ended = [Ended(f"user-{number}", "REJECTED", "no") for number in range(MOST_LINES + 7)]
    message = digest(told(plan_of(60), ended))["message"]
    assert "- and 7 more, in the report bucket" in message
    assert message.count("REJECTED") == MOST_LINES


def test_a_dry_run_names_whom_it_would_rotate() -> None:
    plan = plan_of(2) | {"dryRun": True}
    message = digest(told(plan, []))
    assert "dry run, 2 rotations would be started; 2 users are managed" in message["subject"]
    assert f"- {LONGEST_NAME}00000: fleet run of 2026-11-21" in message["message"]
    assert result(told(plan, []), NOW)["outcome"] == "DRY_RUN"


def test_a_run_that_failed_says_that_its_rotations_go_on() -> None:
    failed = told(plan_of(1), [Ended("a", "NOT_KNOWN", "lost")], failure="States.Permissions: no")
    found = result(failed, NOW)
    assert (found["outcome"], found["reason"]) == ("FAILED", "States.Permissions: no")
    assert "go on by themselves" in digest(failed)["message"]


def test_a_run_with_nobody_to_rotate_says_so() -> None:
    message = digest(replace(told(plan_of(0), []), report={}))
    assert "none of 0 managed users had to be rotated" in message["subject"]
    assert "Report:" not in message["message"]


def test_a_batch_without_its_times_is_an_error() -> None:
    with pytest.raises(ValueError, match="times"):
        Batch.load(batch_of(Stand.RUNNING).dump() | {"until": "soon"})


# The facts

HEADER = (
    "user,arn,user_creation_time,access_key_1_active,access_key_1_last_rotated,"
    "access_key_2_active,access_key_2_last_rotated"
)


def facts_of(row: str, path: str = "/", **secret: Any) -> list[FleetUser]:
    known = {"ci": SecretFacts("ci", "arn", **{"in_flight": False, **secret})} if secret else {}
    return users_of([HEADER, row], known, path)


ROW = "ci,arn:aws:iam::1:user/machine/ci,2025-01-01T00:00:00Z,{},{},{},{}"
ONE_KEY = ROW.format("true", "2026-01-01T00:00:00+00:00", "false", "N/A")


def test_managed_is_who_lies_below_the_path_and_has_a_secret() -> None:
    assert [one.managed for one in facts_of(ONE_KEY, in_flight=False)] == [True]
    assert [one.managed for one in facts_of(ONE_KEY, "/machine/", in_flight=False)] == [True]
    assert [one.managed for one in facts_of(ONE_KEY, "/other/", in_flight=False)] == [False]
    assert [one.managed for one in facts_of(ONE_KEY)] == [False]


def test_only_active_keys_count_and_root_is_no_user() -> None:
    (one,) = facts_of(ROW.format("FALSE", "2020-01-01T00:00:00Z", "TRUE", "2026-01-01T00:00:00Z"))
    assert one.oldest_key == NOW.replace(month=1, day=1, hour=0)
    assert (
        facts_of("<root_account>,arn:aws:iam::1:root,2020-01-01T00:00:00Z,true,N/A,false,N/A") == []
    )


@pytest.mark.parametrize("date", ["N/A", "no_information", "", "yesterday"])
def test_an_active_key_without_a_date_is_not_overlooked(date: str) -> None:
    (one,) = facts_of(ROW.format("true", date, "false", "N/A"))
    assert one.unclear_keys


@pytest.mark.parametrize("row", ["ci", "ci,arn:aws:iam::1:user/ci", f"{ONE_KEY},more,and more"])
def test_nobody_is_chosen_by_a_damaged_row(row: str) -> None:
    assert facts_of(row, in_flight=False) == []


def secret(name: str = "machine-user/ci", **changed: Any) -> SecretState:
    return SecretState(arn=f"arn:{name}", name=name, **changed)


def test_a_secret_tells_whether_a_rotation_is_at_work_and_how_the_last_one_ended() -> None:
    tags = {"keyturn:last-result": f"BACKED_OUT 2026-11-20T10:00:00.000Z {'0' * 32}"}
    found = secret_facts([secret(labels={"CLAIM": "v"}, tags=tags)], "machine-user/")
    assert found == {"ci": SecretFacts("ci", "arn:machine-user/ci", True, "BACKED_OUT", NOW - DAY)}
    assert secret_facts([secret()], "machine-user/")["ci"].last_result_at is None


@pytest.mark.parametrize(
    "text", ["", "BACKED_OUT", "BACKED_OUT soon", "   ", "FAILED 0001-01-01T00:00:00+14:00"]
)
def test_a_tag_that_somebody_changed_does_no_harm(text: str) -> None:
    found = secret_facts([secret(tags={"keyturn:last-result": text})], "machine-user/")
    assert found["ci"].last_result_at is None


@pytest.mark.parametrize(
    "other",
    [
        secret("machine-user/team/ci"),
        secret("machine-user/"),
        secret("other/ci"),
        secret("Machine-user/ci"),
        secret(owning_service="rds"),
        secret(scheduled_for_deletion=True),
        secret(tags={"keyturn:offboarded": "2026-01-01T00:00:00Z"}),
    ],
)
def test_secrets_of_others_are_not_ours(other: SecretState) -> None:
    assert secret_facts([other], "machine-user/") == {}
