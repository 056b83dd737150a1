"""docs/benchmarks.md is what its generator makes of docs/benchmarks.json, and both are of today."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as bench
from benchmarks import costs, page, paths
from benchmarks.figures import Figure, Results
from benchmarks.prices import Price
from benchmarks.walks import WALKS

ROOT = Path(__file__).resolve().parents[2]
AGAIN = "run `make bench ARGS=--write-docs` again"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    text = (ROOT / page.FIGURES).read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def test_the_page_is_made_from_the_figures(document: dict[str, Any]) -> None:
    assert (ROOT / page.PAGE).read_text(encoding="utf-8") == page.render(document), AGAIN


def test_every_section_has_its_figures(document: dict[str, Any]) -> None:
    assert page.fields(page.TEXT) == page.values(document).keys()


def test_a_month_costs_what_was_promised_and_its_figure_is_of_todays_stack(
    document: dict[str, Any],
) -> None:
    (figure,) = costs.figures(document["data"])
    assert document["figures"]["cost"] == [figure.dump()], AGAIN
    assert figure.bound == costs.MOST_A_MONTH
    assert not figure.missed
    assert costs.figures({}) == []


def test_the_counted_executions_went_as_todays_formula_says(document: dict[str, Any]) -> None:
    executions = [one for path in document["data"]["paths"] for one in path["executions"]]
    assert {one["walk"] for one in executions} == {*WALKS}, AGAIN
    different = [one["walk"] for one in executions if paths.differs(one)]
    assert not different, AGAIN


def test_each_look_made_the_calls_that_the_cost_has(document: dict[str, Any]) -> None:
    found = {path["secretCallsALook"] for path in document["data"]["paths"]} - {None}
    assert found == {costs.CALLS_A_LOOK}, AGAIN


def test_a_count_that_is_not_the_formulas_is_noticed(document: dict[str, Any]) -> None:
    one = copy.deepcopy(document["data"]["paths"][0]["executions"][0])
    assert not paths.differs(one)
    assert paths.differs(one | {"transitions": one["transitions"] + 1})
    assert paths.differs(one | {"invocations": one["invocations"] - 1})
    assert paths.differs(one | {"asInFormula": False})


def test_every_price_is_on_the_page() -> None:
    text = (ROOT / page.PAGE).read_text(encoding="utf-8")
    for service, what, dollars, *_ in (price.value for price in Price):
        assert f"| {service} | {what} | {dollars:g} |" in text


def test_no_path_of_this_computer_is_on_the_page(document: dict[str, Any]) -> None:
    assert str(ROOT) not in json.dumps(document)


def test_a_look_more_costs_its_transitions_its_invocation_and_its_call(
    document: dict[str, Any],
) -> None:
    (path,) = [path for path in document["data"]["paths"] if path["path"] == "rotated"]
    few = costs.rotation(path, {"pickup": 1, "watch": 1})
    more = costs.rotation(path, {"pickup": 101, "watch": 1})
    assert more.transitions - few.transitions == 300
    assert more.invocations - few.invocations == 100
    assert more.secret_calls - few.secret_calls == 100
    each = 3 * Price.TRANSITION.each + costs.functions(1) + Price.SECRET_CALL.each
    assert more.dollars - few.dollars == pytest.approx(100 * each)


def test_the_counted_looks_cost_what_was_counted(document: dict[str, Any]) -> None:
    (path,) = [path for path in document["data"]["paths"] if path["path"] == "rotated"]
    (one,) = path["executions"]
    priced = costs.rotation(path, one["looks"])
    assert priced.transitions == one["transitions"]
    assert priced.invocations == one["invocations"] + path["byRules"]
    called = [n for name, n in path["calls"].items() if name.startswith("secretsmanager:")]
    assert priced.secret_calls == sum(called)


def test_a_run_writes_figures_and_page(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    figure = Figure("a figure", 1, "s", 2)
    monkeypatch.setattr(bench, "_ROOT", tmp_path)
    monkeypatch.setitem(bench._PARTS, "package", lambda: Results([figure], {"more": 1}))
    assert bench.main(["--only", "package", "--write-docs"]) == 0
    capsys.readouterr()
    written = json.loads((tmp_path / page.FIGURES).read_text(encoding="utf-8"))
    assert written["data"] == {"package": {"more": 1}}
    assert "| a figure | 1 s | 2 s | kept |" in (tmp_path / page.PAGE).read_text()


def test_a_part_can_be_left_out_and_the_page_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(bench, "_ROOT", tmp_path)
    monkeypatch.setattr(bench, "_PARTS", {"one": list, "other": list})
    assert bench.main(["--without", "other", "--write-docs"]) == 0
    capsys.readouterr()
    assert "Left out: other." in (tmp_path / page.PAGE).read_text(encoding="utf-8")
