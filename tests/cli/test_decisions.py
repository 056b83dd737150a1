"""What plan, status, onboard and offboard make of facts: pure."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from keyturn.aws import iam, secrets
from keyturn.model.errors import AwsRefused
from keyturn.model.moments import iso
from keyturn.model.world import Key, Label, LastResult, SecretState, Tag
from keyturn.rotate.beginning import assess
from keyturn.rotate.decision import Ask, Step
from keyturn_cli import app as wiring
from keyturn_cli import aws, onboard, plan, start, status, users
from keyturn_cli.errors import CliError
from keyturn_cli.onboard import Facts, Given
from keyturn_cli.runs import Run, Visit
from keyturn_cli.stack import Stack
from keyturn_cli.users import MachineUser
from tests.unit import worlds
from tests.unit.worlds import K1, K2, MARK, NOW, POLICY, key, ours, secret, world

STACK = Stack("keyturn", {"SecretNamePrefix": "machine-user/", "ConsumerPolicyArn": "arn:policy"})
SETTINGS = replace(worlds.SETTINGS, managed_user_path="/machines/")
GIVEN = Given(K1, SecretStr("hush"))


def test_of_two_active_keys_the_exposed_one_must_be_named_and_the_whole_ids_can_be_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """People see masked ids only."""
    monkeypatch.setattr(iam, "list_keys", lambda _: iam.KeyRing(NOW, (key(K1), key(K2))))
    with pytest.raises(CliError, match="keyturn status ci --json shows the whole ids"):
        start.exposed_key("ci", None)
    assert start.exposed_key("ci", K2) == K2


# --- plan -----------------------------------------------------------------------------------------


def planned(one: Key, held: SecretState | None, *missing_alarms: str) -> plan.Plan:
    seen = world(one, secret=held)
    decision = assess(seen, Ask(), POLICY, missing=lambda: missing_alarms)
    return plan.outlook(seen, decision, POLICY)


def test_the_old_key_goes_when_it_was_quiet_for_the_period_and_all_lateness() -> None:
    made = planned(key(K1, used_days_ago=0.5), secret(ours(K1)))
    assert made.step is Step.ISSUE
    quiet = timedelta(seconds=93_600 + 900 + 14_400)
    assert made.earliest_deactivation == NOW - timedelta(days=0.5) + quiet
    assert made.latest_end == NOW + timedelta(seconds=604_800 + 108_000)
    assert "neither a health URL nor an alarm" in made.notes[-1]
    assert not made.changes_nothing


def test_a_key_that_is_quiet_already_may_go_at_once() -> None:
    made = planned(key(K1, used_days_ago=20), secret(ours(K1)))
    assert made.earliest_deactivation == NOW


def test_an_adoption_is_warned_about() -> None:
    made = planned(key(K1), None)
    assert any("keyturn onboard --existing-secret-stdin" in note for note in made.notes)


def test_an_alarm_that_does_not_exist_is_a_rejection_as_in_check_request() -> None:
    made = planned(key(K1), secret(ours(K1)), "gone")
    assert (made.step, made.changes_nothing) == (Step.REJECT, True)
    assert "gone" in made.reason


def test_a_skip_promises_no_dates() -> None:
    made = planned(key(K1, days_old=0.1), secret(ours(K1)))
    assert (made.step, made.earliest_deactivation, made.notes) == (Step.SKIP, None, ())


def test_every_step_of_the_decision_table_has_words() -> None:
    assert {*plan._STEPS} == {*Step}


def test_a_plan_as_json_has_whole_ids_and_all_durations() -> None:
    made = plan.as_json(planned(key(K1), secret(ours(K1))))
    assert (made["oldAccessKeyId"], made["step"]) == (K1, "ISSUE")
    assert made["timing"]["quietPeriodSeconds"] == 93_600


# --- status ---------------------------------------------------------------------------------------


def test_a_row_at_rest() -> None:
    row = status.Row("ci", (key(K1),), K1, LastResult("ROTATED", NOW - timedelta(days=3)))
    assert status.summary(row, NOW) == (
        "ci", "...1111 100 d", "2 h 24 min ago (s3)", "ROTATED 3 d ago", "at rest",
    )  # fmt: skip


def test_a_row_in_flight_tells_what_it_waits_for() -> None:
    run = Run(
        "arn",
        path=(Visit("Wait For Consumers", "Wait", NOW, NOW),),
        next="WAIT",
        answered_by="Check Pickup",
        why="no consumer has used the new key yet",
    )
    row = status.Row("ci", (key(K1), key(K2, active=False)), in_flight=True, run=run)
    *_, last, going_on = status.summary(row, NOW)
    assert last == "none yet"
    assert going_on == "Wait For Consumers: no consumer has used the new key yet"
    assert status.as_json(row)["waitsFor"] == "no consumer has used the new key yet"


def test_a_dead_claim_and_a_foreign_claim_are_not_at_rest() -> None:
    dead = status.Row("ci", in_flight=True, run=Run("arn", status="ABORTED"))
    assert "ended ABORTED without deciding" in status.summary(dead, NOW)[-1]
    assert status.summary(status.Row("ci", in_flight=True), NOW)[-1].startswith("claimed by")


def test_a_user_whose_secret_is_being_deleted_is_not_shown_as_at_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = replace(secret(ours(K1)), scheduled_for_deletion=True)
    monkeypatch.setattr(users, "look", lambda *_: MachineUser("ci", NOW, (key(K1),), gone))
    assert status.summary(status.of_one(STACK, "ci"), NOW)[-1] == (
        "the secret is scheduled for deletion"
    )


def test_what_could_not_be_found_out_is_said() -> None:
    row = status.Row("ci", trouble="iam:ListAccessKeys: AccessDenied: no")
    assert status.summary(row, NOW)[1] == "?"
    assert "AccessDenied" in status.summary(row, NOW)[-1]


@pytest.mark.parametrize(
    ("tag", "outcome"),
    [
        ("ROTATED 2026-11-20T12:00:00.000Z " + "a" * 32, "ROTATED"),
        ("ROTATED", None),
        ("", None),
        ("ROTATED yesterday", None),
        ("ROTATED 0001-01-01T00:00:00+14:00", None),
    ],
)
def test_the_last_result_is_read_from_our_own_record_only(tag: str, outcome: str | None) -> None:
    read = SecretState("arn", "name", tags={"keyturn:last-result": tag}).last_result
    assert (read.outcome if read else None) == outcome


def test_a_last_result_without_a_time_zone_is_shown_too() -> None:
    tags = {"keyturn:last-result": "ROTATED 2026-11-20T12:00:00"}
    row = status.Row("ci", last=SecretState("arn", "name", tags=tags).last_result)
    assert "ROTATED" in status.summary(row, NOW)[-2]


def test_a_key_is_named_by_its_labels() -> None:
    state = secret(ours(K2), backout=ours(K1), exposed=ours(K1))
    found = MachineUser("ci", NOW, (key(K1), key(K2)), state)
    assert [found.role(one) for one in found.keys] == ["way back, exposed", "current"]


OFFBOARDED = {Tag.OFFBOARDED: "2026-01-01T00:00:00.000Z"}


def test_who_was_offboarded_is_not_shown_unless_claimed_or_managed_again() -> None:
    asked: list[str] = []

    def is_managed(user: str) -> bool:
        asked.append(user)
        return user == "again"

    claimed = {Label.CLAIM.value: "intent-" + "a" * 32}
    found = [
        status.Listed("ours", "arn", {}, None),
        status.Listed("gone", "arn", {}, None, offboarded=True),
        status.Listed("held", "arn", claimed, None, offboarded=True),
        status.Listed("again", "arn", {}, None, offboarded=True),
    ]
    left_out = [one.user for one in found if status.passed_over(one, is_managed)]
    assert left_out == ["gone"]
    assert asked == ["gone", "again"]


def test_who_may_not_ask_who_is_managed_again_is_shown_all_who_are_marked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not known is not the same as no."""

    def denied(_: object) -> None:
        raise AwsRefused("iam:GetUser: AccessDenied: no")

    marked = status.Listed("ci", "arn", {}, None, offboarded=True)
    monkeypatch.setattr(Stack, "settings", lambda _: SETTINGS)
    monkeypatch.setattr(iam, "get_user", lambda _: None)
    assert status.passed_over(marked, status._managed_again(STACK))
    monkeypatch.setattr(iam, "get_user", denied)
    assert not status.passed_over(marked, status._managed_again(STACK))
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(Stack, "settings", denied)
    assert not status.passed_over(marked, status._managed_again(STACK))
    assert "so all who are marked offboarded are shown" in capsys.readouterr().err


def test_the_status_of_one_who_is_marked_offboarded_says_how_to_undo_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    marked = secret(ours(K1), record=OFFBOARDED)
    monkeypatch.setattr(users, "look", lambda *_: MachineUser("ci", NOW, (key(K1),), marked))
    row = status.of_one(STACK, "ci")
    assert status.summary(row, NOW)[-1] == (
        "at rest; offboarded, so fleet runs pass it over: keyturn onboard ci takes it in again"
    )
    assert status.as_json(row)["offboarded"] is True


def test_the_plan_of_one_who_is_marked_offboarded_says_so_whatever_the_step() -> None:
    for one in (key(K1), key(K1, days_old=0.1)):
        made = planned(one, secret(ours(K1), record=OFFBOARDED))
        assert "keyturn onboard u takes the tag off" in made.notes[0]


# --- onboard and offboard -------------------------------------------------------------------------


def facts(**given: object) -> Facts:
    base = Facts(
        user="ci",
        arn="arn:aws:iam::123456789012:user/machines/ci",
        path="/machines/",
        tags={},
        keys=(key(K1),),
        console_password=False,
        policy=False,
        secret=None,
    )
    return replace(base, **given)  # type: ignore[arg-type]


def kinds(given: Facts, key_given: Given | None = None) -> list[str]:
    return [change.kind for change in onboard.onboarding(given, STACK, SETTINGS, key_given)]


CARED_FOR: Mapping[str, str] = {"keyturn:managed": "eu-west-1"}


def test_the_tag_which_lets_the_stack_in_comes_last() -> None:
    assert kinds(facts(), GIVEN) == ["create", "store", "attach", "tag"]


def test_what_is_done_already_is_not_done_again() -> None:
    done = facts(tags=CARED_FOR, policy=True, secret=secret(ours(K1)))
    assert kinds(done) == []
    assert kinds(done, GIVEN) == []
    assert kinds(facts(tags=CARED_FOR, policy=True, secret=secret()), GIVEN) == ["store"]


def labelled(state: SecretState, label: Label) -> SecretState:
    return replace(state, labels={**state.labels, label.value: "intent-" + "a" * 32})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"user": "a,b"}, "no comma"),
        ({"path": "/people/"}, "works below /machines/"),
        ({"tags": {"keyturn:managed": "us-east-1"}}, "another stack manages"),
        ({"secret": replace(secret(), scheduled_for_deletion=True)}, "restore it first"),
        ({"secret": replace(secret(), rotation_enabled=True)}, "cancel-rotate-secret"),
        ({"secret": replace(secret(), owning_service="rds")}, "belongs to rds"),
        ({"secret": labelled(secret(), Label.CLAIM)}, "is being rotated"),
        ({"secret": secret(ours(K2)), "keys": (key(K1), key(K2))}, "holds another active key"),
    ],
)
def test_onboarding_is_refused_with_what_to_mend(given: dict[str, object], words: str) -> None:
    with pytest.raises(CliError, match=words):
        kinds(facts(**given), GIVEN)


def test_a_dead_key_in_the_secret_gives_way_to_the_present_one() -> None:
    stale = facts(tags=CARED_FOR, policy=True, secret=secret(ours(K2)))
    assert kinds(stale, GIVEN) == ["store"]


def test_a_person_is_told_what_is_odd_before_saying_yes() -> None:
    said = onboard.remarks(facts(console_password=True, keys=(key(K1), key(K2))), None)
    assert [line.split(":")[0][:30] for line in said] == [
        "ci has a console password",
        "the secret does not hold the p",
        "two keys are active, so there ",
    ]
    assert onboard.remarks(facts(secret=secret(ours(K1))), None) == []


def test_offboarding_undoes_only_what_is_there() -> None:
    def undone(given: Facts, days: int | None = None) -> list[str]:
        changes = onboard.offboarding(given, STACK, SETTINGS, delete_secret_after_days=days)
        return [change.kind for change in changes]

    assert undone(facts()) == []
    cared_for = facts(tags=CARED_FOR, policy=True, secret=secret(ours(K1)))
    assert undone(cared_for) == ["untag", "detach", "mark"]
    assert undone(cared_for, 7) == ["untag", "detach", "delete"]
    marked = secret(ours(K1), record={Tag.OFFBOARDED: "2026-01-01T00:00:00Z"})
    assert undone(facts(secret=marked)) == []
    assert undone(facts(secret=secret(scheduled_for_deletion=True)), 7) == []

    claimed = labelled(secret(), Label.CLAIM)
    with pytest.raises(CliError, match="undo it first: keyturn back-out ci"):
        undone(facts(tags=CARED_FOR, secret=claimed))
    # A back-out of a user without the tag is refused.
    with pytest.raises(CliError, match="first: keyturn onboard ci, then keyturn back-out ci"):
        undone(facts(secret=claimed))
    with pytest.raises(CliError, match="another stack manages"):
        undone(facts(tags={"keyturn:managed": "us-east-1"}))


def test_nothing_is_taken_away_from_who_was_claimed_while_a_person_read_the_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = facts(tags=CARED_FOR, policy=True, secret=secret(ours(K1)))
    changes = onboard.offboarding(before, STACK, SETTINGS, delete_secret_after_days=None)
    done: list[str] = []
    how = {kind: partial(done.append, kind) for kind in ("untag", "detach", "mark")}
    now = {"secret": labelled(secret(ours(K1)), Label.CLAIM)}
    monkeypatch.setattr(secrets, "describe", lambda _: now["secret"])

    def carried_out() -> list[str]:
        onboard.carry_out(
            changes, how, notes=[], yes=True,
            look_again=lambda: onboard.assert_still_at_rest(STACK, SETTINGS, before),
        )  # fmt: skip
        return done

    with pytest.raises(CliError, match="is in flight"):
        carried_out()
    assert done == []
    now["secret"] = secret(ours(K1))
    assert carried_out() == ["untag", "detach", "mark"]


def test_the_command_looks_again_before_it_offboards(monkeypatch: pytest.MonkeyPatch) -> None:
    before = facts(tags=CARED_FOR, policy=True, secret=secret(ours(K1)))
    monkeypatch.setattr("keyturn_cli.stack.find", lambda _: STACK)
    monkeypatch.setattr(Stack, "settings", lambda _: SETTINGS)
    monkeypatch.setattr(onboard, "look", lambda *_: before)
    monkeypatch.setattr(secrets, "describe", lambda _: labelled(secret(ours(K1)), Label.CLAIM))
    nothing = SimpleNamespace()
    monkeypatch.setattr(aws, "iam", lambda: nothing)
    monkeypatch.setattr(aws, "secretsmanager", lambda: nothing)
    done = CliRunner().invoke(wiring.app, ["offboard", "ci", "--yes", "--region", "eu-west-1"])
    assert done.exit_code == 2
    assert "in flight" in done.stderr
    assert "done: " not in done.stdout


def test_the_mark_is_not_older_than_the_last_result() -> None:
    """The result has AWS's clock, and one after the mark would undo it."""
    ahead = datetime.now(UTC) + timedelta(hours=1)
    state = secret(record={Tag.LAST_RESULT: f"ROTATED {iso(ahead)} {MARK}"})
    assert iso(onboard._mark(facts(secret=state))) == iso(ahead)
    assert onboard._mark(facts(secret=secret())) <= datetime.now(UTC)


def test_who_comes_back_counts_again_before_it_may_be_touched() -> None:
    """Fleet, audit and status know users by their secrets, and pass the marked ones over."""
    marked = secret(ours(K1), record={Tag.OFFBOARDED: "2026-01-01T00:00:00Z"})
    changes = onboard.onboarding(facts(secret=marked), STACK, SETTINGS, None)
    assert [change.kind for change in changes] == ["attach", "unmark", "tag"]


def key_json(key_id: object, value: object = "hush") -> str:
    return json.dumps({"AccessKeyId": key_id, "SecretAccessKey": value})


@pytest.mark.parametrize(
    ("text", "named", "words"),
    [
        ("", None, "no secret access key was given"),
        ("hush", None, "say which one it is"),
        (key_json(None), None, "holds no JSON object"),
        (key_json(K1, None), None, "holds no JSON object"),
        (key_json(K1, 7), None, "holds no JSON object"),
        ("{hush", None, "holds no JSON object"),
        (key_json(K2), K1, r"another key than --access-key-id names \(...1111\)"),
    ],
)
def test_what_is_no_key_or_not_the_one_named_is_refused_without_repeating_it(
    monkeypatch: pytest.MonkeyPatch, text: str, named: str | None, words: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    with pytest.raises(CliError, match=words) as refused:
        onboard.read_given(facts(keys=(key(K1), key(K2))), named)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("named", [None, K2])
def test_a_key_as_a_json_object_names_itself(
    monkeypatch: pytest.MonkeyPatch, named: str | None
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(key_json(K2)))
    given = onboard.read_given(facts(keys=(key(K1), key(K2))), named)
    assert (given.access_key_id, given.secret.get_secret_value()) == (K2, "hush")


def test_ctrl_d_at_the_prompt_gives_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(prompt: str) -> str:
        raise EOFError

    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("getpass.getpass", ended)
    with pytest.raises(CliError, match="no secret access key was given"):
        onboard.read_given(facts(), None)


def test_a_given_key_does_not_print_itself() -> None:
    assert "hush" not in repr(GIVEN)
