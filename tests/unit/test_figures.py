"""What `make bench` prints, and when it ends with status 1."""

from __future__ import annotations

import re

import pytest

from benchmarks import __main__ as bench
from benchmarks.figures import Figure

KEPT = Figure("kept", 3.0, "s", 6.0, "a note")
MISSED = Figure("missed", 6.01, "s", 6.0)
UNKNOWN = Figure("unknown", None, "MB", 8, "pip: no network")
INFORMATION = Figure("information", 22, "")


def test_a_bound_that_is_not_shown_to_be_kept_is_missed() -> None:
    missed = [figure.name for figure in (KEPT, MISSED, UNKNOWN, INFORMATION) if figure.missed]
    assert missed == ["missed", "unknown"]
    assert not Figure("at the bound", 6.0, "s", 6.0).missed


def test_the_bound_is_shown_beside_the_figure() -> None:
    assert [figure.line() for figure in (KEPT, MISSED, UNKNOWN, INFORMATION)] == [
        "KEPT    kept: 3 s (at most 6 s); a note",
        "MISSED  missed: 6.01 s (at most 6 s)",
        "MISSED  unknown: - MB (at most 8 MB); pip: no network",
        "        information: 22",
    ]


@pytest.mark.parametrize(("figure", "status"), [(KEPT, 0), (MISSED, 1), (UNKNOWN, 1)])
def test_the_status_says_whether_a_bound_was_missed(
    figure: Figure,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(bench._PARTS, "package", lambda: [figure])
    assert bench.main(["--only", "package"]) == status
    first, last = capsys.readouterr().out.splitlines()
    assert first == figure.line()
    assert re.search(r"\bcores [1-9]", last)
