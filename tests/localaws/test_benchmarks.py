"""The benchmarks that count on the embedded AWS, in small: that they count what is there."""

from __future__ import annotations

import pytest

from benchmarks import audits, paths, walks

pytestmark = [pytest.mark.emulator, pytest.mark.slow, pytest.mark.xdist_group("benchmarks")]


def test_audits_of_the_same_users_find_the_same_keys_with_different_numbers_of_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(audits, "_install", lambda _: (None, "pip ended with status 1"))
    results = audits.measure((10, 20))
    told = {(run["audit"], run["users"]): run for run in results.data["runs"]}
    assert told[audits.KEYTURN, 10]["calls"] == told[audits.KEYTURN, 20]["calls"] == 4
    assert told[audits.PLAIN, 10]["calls"] == 1 + 2 * 10
    assert told[audits.PLAIN, 20]["calls"] == 1 + 2 * 20
    assert {run["found"] for run in results.data["runs"] if run["users"] == 20} == {6}
    assert "could not be installed: pip ended with status 1" in results.data["leftOut"]


def test_paths_are_counted_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    few = ("first key", "skipped: not due", "rejected")
    monkeypatch.setattr(paths, "PATHS", {name: paths.PATHS[name] for name in few})
    results = paths.measure()
    assert not [figure.name for figure in results.figures if figure.missed]
    first, skipped, rejected = results.data
    assert first["calls"]["iam:CreateAccessKey"] == 1
    assert first["calls"]["sts:GetCallerIdentity"] == 3
    assert skipped["executions"][0]["transitions"] == walks.WALKS["skipped"].transitions({})
    # The recorder at the start and at the end; and the rule for those that fail.
    assert (skipped["byRules"], rejected["byRules"]) == (2, 3)
