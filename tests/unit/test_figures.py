"""What `make bench` prints, and when it ends with status 1."""

from __future__ import annotations

import json

import pytest

from benchmarks import __main__ as bench
from benchmarks.figures import Figure, table

KEPT = Figure("kept", 3.0, "s", 6.0, "a note")
MISSED = Figure("missed", 6.01, "s", 6.0)
UNKNOWN = Figure("unknown", None, "MB", 8, "pip: no network")
INFORMATION = Figure("information", 22, "")


def test_a_bound_that_is_not_shown_to_be_kept_is_missed() -> None:
    missed = [figure.name for figure in (KEPT, MISSED, UNKNOWN, INFORMATION) if figure.missed]
    assert missed == ["missed", "unknown"]
    assert not Figure("at the bound", 6.0, "s", 6.0).missed


def test_the_table_shows_the_bound_beside_the_figure() -> None:
    lines = table([KEPT, MISSED, UNKNOWN, INFORMATION]).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["kept", "3", "s", "<=", "6", "s", "ok", "a", "note"],
        ["missed", "6.01", "s", "<=", "6", "s", "MISSED"],
        ["unknown", "-", "MB", "<=", "8", "MB", "MISSED", "pip:", "no", "network"],
        ["information", "22"],
    ]


@pytest.mark.parametrize(("figure", "status"), [(KEPT, 0), (MISSED, 1), (UNKNOWN, 1)])
def test_the_status_says_whether_a_bound_was_missed(
    figure: Figure,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(bench._PARTS, "package", lambda: [figure])
    assert bench.main(["--only", "package", "--json"]) == status
    document = json.loads(capsys.readouterr().out)
    assert document["figures"][0]["missed"] is bool(status)
    assert int(document["machine"]["cores"]) > 0
