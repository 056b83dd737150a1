"""Every rule with its boundary: exactly at it, and a second over."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import pytest

from keyturn.audit.model import Need, Rule, SecretFacts, Severity, Status, Thresholds, Unavailable
from keyturn.model.passwords import PasswordPolicy
from tests.unit.credential_reports import (
    ACCOUNT,
    GOOD_POLICY,
    ago,
    audited,
    found,
    key,
    lines,
    password,
    root,
    user,
)

FRESH = ago(1)


def managed(name: str = "ci", *, in_flight: bool = False) -> dict[str, SecretFacts]:
    return {name: SecretFacts(name, "arn:aws:secretsmanager:::secret:x", in_flight)}


# Boundaries


def both(rule: Rule, cells: Callable[[float], dict[str, str]]) -> list[Any]:
    """A user who is still within the limit, and one whose date is a second older."""
    return [(rule, cells(0), 0), (rule, cells(1), 1)]


def made(slot: int, seconds: float) -> dict[str, str]:
    """A console user, and a key that was made so much later."""
    created = {"user_creation_time": ago(5, 20), **password(FRESH, FRESH)}
    return {**created, **key(slot, ago(5, 20 - seconds), active="false")}


@pytest.mark.parametrize(
    ("rule", "cells", "count"),
    [
        *both(Rule.KEY_NOT_ROTATED, lambda s: key(1, ago(90, s), FRESH)),
        *both(Rule.KEY_NOT_ROTATED, lambda s: key(2, ago(90, s), FRESH)),
        # An inactive key is never too old, and no second one.
        (Rule.KEY_NOT_ROTATED, key(1, ago(900), ago(900), active="false"), 0),
        (Rule.TWO_ACTIVE_KEYS, {**key(1, FRESH, active="false"), **key(2, FRESH, FRESH)}, 0),
        (Rule.TWO_ACTIVE_KEYS, {**key(1, FRESH, FRESH), **key(2, FRESH, active="false")}, 0),
        *both(Rule.UNUSED_CREDENTIAL, lambda s: key(1, ago(200), ago(90, s - 1))),
        *both(Rule.UNUSED_CREDENTIAL, lambda s: key(2, ago(90, s - 1))),
        *both(Rule.UNUSED_CREDENTIAL, lambda s: password(ago(90, s - 1), ago(200))),
        *both(
            Rule.UNUSED_CREDENTIAL,
            lambda s: password("no_information", ago(90, s - 1)),
        ),
        *both(Rule.UNUSED_CREDENTIAL, lambda s: password("N/A", ago(90, s - 1))),
        # A recent use wins over an old creation, and a recent change over no use; but a change is
        # not a use: once there was a use, only uses count.
        (Rule.UNUSED_CREDENTIAL, key(1, ago(900), FRESH), 0),
        (Rule.UNUSED_CREDENTIAL, password("no_information", FRESH), 0),
        (Rule.UNUSED_CREDENTIAL, password(ago(100), FRESH), 1),
        (Rule.UNUSED_CREDENTIAL, key(1, ago(900), ago(900), active="false"), 0),
        (Rule.UNUSED_CREDENTIAL, {"password_last_used": ago(900)}, 0),
        *[
            (Rule.KEY_AT_USER_CREATION, made(slot, seconds), count)
            for slot in (1, 2)
            for seconds, count in ((0, 1), (10, 1), (11, 0))
        ],
        (Rule.PASSWORD_WITHOUT_MFA, password(FRESH, FRESH, "false"), 1),
        (
            Rule.PASSWORD_WITHOUT_MFA,
            {**password(FRESH, FRESH, "False"), "password_enabled": "TRUE"},
            1,
        ),
        (Rule.PASSWORD_WITHOUT_MFA, password(FRESH, FRESH, "true"), 0),
        (Rule.PASSWORD_WITHOUT_MFA, {"mfa_active": "false"}, 0),
        *both(Rule.OLD_PASSWORD, lambda s: password(FRESH, ago(90, s))),
        *both(
            Rule.OLD_PASSWORD,
            lambda s: {"user_creation_time": ago(90, s), **password(FRESH, "N/A")},
        ),
        (Rule.OLD_PASSWORD, {**password(FRESH, ago(900)), "password_enabled": "false"}, 0),
    ],
)
def test_every_rule_finds_what_is_over_its_limit(
    rule: Rule, cells: dict[str, str], count: int
) -> None:
    assert len(found(user(**cells), rule=rule)) == count


# key-not-rotated


def test_a_finding_says_what_it_was_decided_on() -> None:
    (finding,) = found(user(**key(2, ago(90, 1), FRESH)), rule=Rule.KEY_NOT_ROTATED)
    assert finding.credential == "access_key_2"
    assert finding.age_days == 90
    assert finding.tier == "91 to 365 days"
    assert finding.severity is Severity.MEDIUM
    assert finding.dates[1] == ("access_key_2_last_rotated", ago(90, 1))
    assert "Security Hub IAM.3" in finding.compliance
    assert "CIS AWS Foundations v3.0 1.14" in finding.compliance


def test_the_age_limit_is_a_parameter() -> None:
    old = user(**key(1, ago(45, 1), FRESH))
    assert found(old, rule=Rule.KEY_NOT_ROTATED, thresholds=Thresholds(max_key_age_days=45))
    assert not found(old, rule=Rule.KEY_NOT_ROTATED, thresholds=Thresholds(max_key_age_days=46))


@pytest.mark.parametrize(
    ("days", "seconds", "tier"),
    [
        (30, 0, "up to 30 days"),
        (30, 1, "31 to 90 days"),
        (90, 0, "31 to 90 days"),
        (90, 1, "91 to 365 days"),
        (365, 0, "91 to 365 days"),
        (365, 1, "over 365 days"),
        (1826, 0, "over 365 days"),
        (1826, 1, "over 5 years"),
    ],
)
def test_age_tiers_end_with_the_last_second_of_their_last_day(
    days: int, seconds: int, tier: str
) -> None:
    kept, report = audited(user(**key(1, ago(days, seconds), FRESH)))
    assert [record.tier for record in kept.keys] == [tier]
    assert dict(report.tables.key_tiers) == {
        name: int(name == tier) for name, _ in report.tables.key_tiers
    }
    assert report.tables.oldest_key_days == days


def test_a_key_over_a_year_old_is_worse() -> None:
    (finding,) = found(user(**key(1, ago(365, 1), FRESH)), rule=Rule.KEY_NOT_ROTATED)
    assert finding.severity is Severity.HIGH


def test_a_managed_users_old_key_is_rotated_an_unmanaged_ones_is_for_a_person() -> None:
    old = user(**key(1, ago(91), FRESH))
    (mine,) = found(old, rule=Rule.KEY_NOT_ROTATED, managed=managed())
    (foreign,) = found(old, rule=Rule.KEY_NOT_ROTATED)
    (running,) = found(old, rule=Rule.KEY_NOT_ROTATED, managed=managed(in_flight=True))
    assert mine.managed
    assert "start-execution" in mine.next
    assert """--input '{"userName": "ci"}'""" in mine.next
    assert not foreign.managed
    assert "aws iam update-access-key --user-name=ci --access-key-id ID" in foreign.next
    assert running.next.startswith("Nothing now")


def test_a_user_outside_the_managed_path_is_not_managed() -> None:
    old = user(path="/people/", **key(1, ago(91), FRESH))
    (finding,) = found(old, rule=Rule.KEY_NOT_ROTATED, managed=managed(), managed_path="/machine/")
    assert not finding.managed


# two-active-keys


def test_two_active_keys_are_dated_by_the_younger() -> None:
    both = user(**key(1, ago(31), FRESH), **key(2, ago(80), FRESH))
    (finding,) = found(both, rule=Rule.TWO_ACTIVE_KEYS)
    assert finding.age_days == 31
    assert finding.tier == "31 to 90 days"
    assert finding.severity is Severity.MEDIUM


def test_two_keys_of_a_rotation_in_flight_are_told_apart() -> None:
    both = user(**key(1, ago(1), FRESH), **key(2, ago(80), FRESH))
    (running,) = found(both, rule=Rule.TWO_ACTIVE_KEYS, managed=managed(in_flight=True))
    assert running.severity is Severity.LOW
    assert "rotating" in running.detail
    (left,) = found(both, rule=Rule.TWO_ACTIVE_KEYS, managed=managed())
    assert left.severity is Severity.MEDIUM


@pytest.mark.parametrize("days", [30, 90, 365])
def test_long_lasting_pairs_are_a_share_of_the_users_who_are_that_old(days: int) -> None:
    def pair(name: str, key_seconds: int, user_seconds: int) -> dict[str, str]:
        return user(
            name,
            user_creation_time=ago(days, user_seconds),
            **key(1, ago(days, key_seconds), FRESH),
            **key(2, ago(days, 1), FRESH),
        )

    _, report = audited(
        pair("a", 1, 1),
        pair("b", 0, 0),  # the younger key is exactly that old: not over; the user is old enough
        pair("c", 0, -1),  # a second too young to be counted at all
    )
    (measure,) = (one for one in report.tables.measures if one.id == f"two-active-keys-{days}")
    assert (measure.count, measure.of, measure.unknown) == (1, 2, 0)
    (all_pairs,) = (one for one in report.tables.measures if one.id == "two-active-keys")
    assert (all_pairs.count, all_pairs.of) == (3, 3)


# unused-credential


@pytest.mark.parametrize(("seconds", "count"), [(-1, 0), (0, 1)])
def test_45_days_can_be_asked_for(seconds: int, count: int) -> None:
    row = user(**key(1, ago(200), ago(45, seconds)))
    thresholds = Thresholds(unused_after_days=45)
    assert len(found(row, rule=Rule.UNUSED_CREDENTIAL, thresholds=thresholds)) == count


def test_a_password_without_any_date_counts_from_the_users_creation() -> None:
    row = user(user_creation_time=ago(90), **password("N/A", "N/A"))
    (finding,) = found(row, rule=Rule.UNUSED_CREDENTIAL)
    assert ("user_creation_time", ago(90)) in finding.dates


# unused-user


@pytest.mark.parametrize(("seconds", "count"), [(-1, 0), (0, 1)])
def test_a_user_is_unused_when_everything_is(seconds: int, count: int) -> None:
    last = ago(90, seconds)
    row = user(**key(1, ago(300), last), **key(2, ago(300), ago(200)), **password(ago(95), FRESH))
    findings = found(row, rule=Rule.UNUSED_USER)
    assert len(findings) == count
    for finding in findings:
        assert finding.age_days == 90
        assert ("access_key_1_last_used_date", last) in finding.dates


def test_a_user_with_nothing_that_works_is_unused_however_young() -> None:
    row = user(user_creation_time=FRESH, **key(1, FRESH, FRESH, active="false"))
    (finding,) = found(row, rule=Rule.UNUSED_USER)
    assert finding.severity is Severity.LOW
    _, report = audited(row)
    counts = {measure.id: measure.count for measure in report.tables.measures}
    assert (counts["users-unused-90"], counts["users-unused-365"]) == (1, 1)


@pytest.mark.parametrize(("seconds", "count"), [(-1, 0), (0, 1)])
def test_a_year_without_use_is_counted_apart(seconds: int, count: int) -> None:
    _, report = audited(user(**key(1, ago(390), ago(365, seconds))))
    counts = {measure.id: measure.count for measure in report.tables.measures}
    assert (counts["users-unused-90"], counts["users-unused-365"]) == (1, count)


# key-at-user-creation


def test_two_keys_at_creation_are_one_finding_and_machines_are_none() -> None:
    keys = {**key(1, ago(5)), **key(2, ago(5, -3))}
    (finding,) = found(
        user(user_creation_time=ago(5), **password(FRESH, FRESH), **keys),
        rule=Rule.KEY_AT_USER_CREATION,
    )
    assert finding.credential is None
    for slot in (1, 2):
        (finding,) = found(user(**made(slot, 0)), rule=Rule.KEY_AT_USER_CREATION)
        assert finding.credential == f"access_key_{slot}"
    assert not found(user(user_creation_time=ago(5), **keys), rule=Rule.KEY_AT_USER_CREATION)


def test_what_a_running_rotation_decides_about_is_left_to_it() -> None:
    facts = {"ci": SecretFacts("ci", "arn", in_flight=True)}
    row = user("ci", **key(1, ago(91), ago(91)), **key(2, ago(5), active="false"))
    kept, _ = audited(row, managed=facts)
    for finding in kept.findings:
        if finding.user == "ci":
            assert finding.next == "Nothing now: a rotation of this user is running."
    (inactive,) = (record for record in kept.keys if not record.active)
    assert (inactive.need, inactive.advice) == (
        Need.REMOVE,
        "Inactive. Keyturn's running rotation decides about it.",
    )


def test_a_limit_before_the_year_1_is_reached_by_nothing() -> None:
    limits = Thresholds(max_key_age_days=10**9, unused_after_days=800_000)
    row = user(**key(1, "0001-01-02T00:00:00Z", "0001-01-02T00:00:00Z"))
    kept, _ = audited(row, thresholds=limits)
    rules = {one.rule for one in kept.findings if one.user == "ci"}
    assert rules == {Rule.UNUSED_USER}


# the root user


def test_the_root_user_is_judged_by_the_root_rules_only_and_is_no_user() -> None:
    awful = root(
        mfa_active="false",
        password_enabled="true",
        password_last_changed=ago(900),
        **key(1, ago(900), ago(900)),
        **key(2, ago(800)),
    )
    kept, report = audited(text=lines(awful))
    assert [(one.rule, one.status, one.severity) for one in kept.findings] == [
        (Rule.ROOT_ACCESS_KEY, Status.FINDING, Severity.CRITICAL),
        (Rule.ROOT_ACCESS_KEY, Status.FINDING, Severity.CRITICAL),
        (Rule.ROOT_PASSWORD_ROTATION, Status.UNKNOWN, Severity.HIGH),
    ]
    assert kept.findings[0].age_days == 900
    assert not kept.keys
    (counts,) = report.accounts
    assert (counts.users, counts.rows, counts.keys) == (0, 1, 0)
    assert counts.root.active_keys == 2
    assert counts.root.mfa is False
    assert report.tables.users == 0


def test_the_root_passwords_age_is_unknown_and_its_last_use_and_mfa_are_told() -> None:
    kept, report = audited(text=lines(root(password_last_used=ago(3))))
    (finding,) = kept.findings
    assert (finding.rule, finding.status) == (Rule.ROOT_PASSWORD_ROTATION, Status.UNKNOWN)
    assert ago(3) in finding.detail
    assert "MFA is on" in finding.detail
    assert Rule.ROOT_PASSWORD_ROTATION in {one.rule for one in report.accounts[0].not_judged}


def test_a_report_without_the_root_user_is_not_a_pass() -> None:
    kept, report = audited(text=lines(user(**key(1, FRESH, FRESH))))
    assert {(one.rule, one.status) for one in kept.findings} == {
        (Rule.ROOT_ACCESS_KEY, Status.UNKNOWN),
        (Rule.ROOT_PASSWORD_ROTATION, Status.UNKNOWN),
    }
    assert Rule.ROOT_ACCESS_KEY in {one.rule for one in report.accounts[0].not_judged}


# the password policy


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (GOOD_POLICY, None),
        (PasswordPolicy(91, 14, 1), "after 91 days"),
        (PasswordPolicy(None, 14, 1), "never"),
        (PasswordPolicy(0, 14, 1), "never"),
        (PasswordPolicy(90, 13, 1), "13"),
        (PasswordPolicy(90, None, 1), "not set"),
        (PasswordPolicy(90, 14, None), "used again"),
        (PasswordPolicy(90, 14, 0), "used again"),
        (None, "no password policy"),
    ],
)
def test_the_password_policy(policy: PasswordPolicy | None, words: str | None) -> None:
    findings = found(rule=Rule.PASSWORD_POLICY, policy=policy)
    assert len(findings) == (words is not None)
    if words:
        assert words in findings[0].detail
        assert findings[0].user is None
        assert findings[0].account_id == ACCOUNT


def test_sources_that_could_not_be_read_are_named_with_their_rules() -> None:
    both = user(**key(1, FRESH, FRESH), **key(2, FRESH, FRESH))
    kept, report = audited(
        both, managed=Unavailable("ListSecrets: denied"), policy=Unavailable("policy: denied")
    )
    (finding,) = (one for one in kept.findings if one.rule is Rule.PASSWORD_POLICY)
    assert finding.status is Status.UNKNOWN
    assert "policy: denied" in finding.detail
    (counts,) = report.accounts
    told = {(one.rule, one.source) for one in counts.not_judged}
    assert (Rule.PASSWORD_POLICY, "password policy") in told
    assert (Rule.TWO_ACTIVE_KEYS, "secrets") in told
    # Two active keys stay a finding: only whether a rotation explains them is not known.
    two = {one.user: one for one in kept.findings if one.rule is Rule.TWO_ACTIVE_KEYS}
    assert (two["ci"].status, two["ci"].managed) == (Status.FINDING, None)
    assert two["ci"].next.startswith("First see whether Keyturn manages the user")
    # All three files are made of the findings, so that all of them tell.
    assert (two[None].status, two[None].detail) == (
        Status.UNKNOWN,
        "Rotations in flight are not told apart, managed users are not known: ListSecrets: denied",
    )
    assert {record.managed for record in kept.keys} == {None}


def test_whoever_may_be_managed_is_not_sent_to_a_key_that_a_rotation_may_need() -> None:
    old = {"ci": user("ci", **key(1, ago(91), ago(91)), **key(2, FRESH, active="false"))}
    old["outside"] = user("outside", path="/people/", **key(1, ago(91), FRESH))
    kept, report = audited(*old.values(), managed=Unavailable("denied"), managed_path="/machine/")
    steps = {(one.user, one.rule): one.next for one in kept.findings}
    for rule in (Rule.KEY_NOT_ROTATED, Rule.UNUSED_CREDENTIAL, Rule.UNUSED_USER):
        assert steps["ci", rule].startswith("First see whether Keyturn manages the user")
    # Nobody outside of the path is managed, with or without a secret.
    assert steps["outside", Rule.KEY_NOT_ROTATED].startswith("Let Keyturn manage it")
    managed = {(record.user, record.slot): record.managed for record in kept.keys}
    assert managed == {("ci", 1): None, ("ci", 2): None, ("outside", 1): False}
    (inactive,) = (record for record in kept.keys if not record.active)
    assert "when Keyturn does not manage the user" in inactive.advice
    assert report.accounts[0].managed_users == 0


# broken cells


@pytest.mark.parametrize("broken", ["garbage", "", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00"])
@pytest.mark.parametrize(
    ("column", "rules"),
    [
        ("access_key_1_last_rotated", {Rule.KEY_NOT_ROTATED, Rule.KEY_AT_USER_CREATION}),
        ("access_key_1_last_used_date", {Rule.UNUSED_CREDENTIAL}),
        ("password_last_used", {Rule.UNUSED_CREDENTIAL}),
        ("password_last_changed", {Rule.OLD_PASSWORD}),
        ("user_creation_time", {Rule.KEY_AT_USER_CREATION}),
        ("mfa_active", {Rule.PASSWORD_WITHOUT_MFA}),
        (
            "access_key_1_active",
            set(),  # a young key that is in use is no finding, active or not
        ),
    ],
)
def test_a_broken_cell_makes_the_rules_that_need_it_unknown(
    broken: str, column: str, rules: set[Rule]
) -> None:
    row = user(**password(FRESH, FRESH), **key(1, FRESH, FRESH))
    kept, _ = audited({**row, column: broken})
    unknown = {
        one.rule: one for one in kept.findings if one.status is Status.UNKNOWN and one.user == "ci"
    }
    assert set(unknown) == rules
    for finding in unknown.values():
        assert finding.detail.startswith("Line 3: ")
        assert f"{column} is {broken!r}" in finding.detail


def test_a_date_later_than_the_report_is_broken_and_not_young() -> None:
    row = user(**key(1, ago(-2), FRESH))
    (finding,) = found(row, rule=Rule.KEY_NOT_ROTATED, status=Status.UNKNOWN)
    assert "later than the report" in finding.detail
    # Clocks differ a little.
    kept, _ = audited(user(**key(1, ago(-0.5), FRESH)))
    assert kept.keys[0].age_days == 0


def test_an_active_key_without_a_date_is_unknown() -> None:
    row = user(**key(1, "N/A"))
    (finding,) = found(row, rule=Rule.KEY_NOT_ROTATED, status=Status.UNKNOWN)
    assert "although there is a key" in finding.detail


def test_both_suffixes_of_utc_and_other_offsets_are_dates() -> None:
    for suffix in ("Z", "+00:00"):
        for seconds, count in ((0, 0), (1, 1)):
            row = user(**key(1, ago(90, seconds, suffix=suffix), FRESH))
            assert len(found(row, rule=Rule.KEY_NOT_ROTATED)) == count
    late = user(**key(1, ago(90, suffix="+00:01"), FRESH))
    assert found(late, rule=Rule.KEY_NOT_ROTATED)


# need


@pytest.mark.parametrize(
    ("cells", "need"),
    [
        (key(1, ago(100), ago(90)), Need.REMOVE),
        (key(1, ago(100), ago(89)), Need.UNKNOWN),
        (key(1, ago(100), FRESH, active="false"), Need.REMOVE),
        ({**key(1, ago(100), FRESH), **password(FRESH, FRESH)}, Need.IDENTITY_CENTER),
        ({**key(1, ago(100), ago(91)), **password(FRESH, FRESH)}, Need.REMOVE),
        (key(1, ago(100), "garbage"), Need.UNKNOWN),
    ],
)
def test_whether_a_key_need_exist(cells: dict[str, str], need: Need) -> None:
    kept, _ = audited(user(**cells))
    assert [record.need for record in kept.keys] == [need]


def test_what_the_report_cannot_tell_is_said() -> None:
    kept, _ = audited(user(**key(1, ago(100), FRESH)))
    (record,) = kept.keys
    assert "outside AWS: IAM Roles Anywhere" in record.advice
    assert "inside AWS: a role" in record.advice
    assert (record.last_used_service, record.last_used_region) == ("s3", "eu-west-1")


# names


@pytest.mark.parametrize(
    "name", ["-rf", "=1+1", "@a", "+b", "a,b", "a.b_c-d=e@f+g", "x" * 64, "$(id)", "a b'c"]
)
def test_commands_hold_one_whole_user_name(name: str) -> None:
    row = user(name, **key(1, ago(91), FRESH))
    (finding,) = found(row, rule=Rule.KEY_NOT_ROTATED)
    assert finding.user == name
    command = finding.next.split("`")[1]
    assert shlex.split(command)[-1] == f"--user-name={name}"
