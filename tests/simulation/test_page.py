"""The tables, the picture, and the page that they are written into."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from proofs.simulation import __main__ as command
from proofs.simulation import page, picture, report
from proofs.simulation.clock import DAY, HOUR
from proofs.simulation.report import Results
from proofs.simulation.runner import run
from proofs.simulation.tally import percentile
from proofs.simulation.variants import RULES, Variant, main_run, sweep

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def results() -> Results:
    return Results(
        tallies=run(main_run(), rotations=60, seed=1),
        swept={"the defaults": run(Variant(), rotations=20, seed=1)},
        rotations=60,
        swept_rotations=20,
        seed=1,
        measured_on="a test",
        command="again",
    )


def test_every_part_of_the_page_is_generated_and_complete(results: Results) -> None:
    text = (ROOT / page.PAGE).read_text(encoding="utf-8")
    rendered = page.render(text, results)
    assert "Measured on a test: 60 rotations" in rendered
    for rule in RULES:
        assert f"| {rule} |" in rendered
    assert page.render(rendered, results) == rendered
    assert text.count("<!-- simulation:") == text.count("<!-- /simulation -->") == 6


def test_the_page_was_measured_with_todays_defaults() -> None:
    text = (ROOT / page.PAGE).read_text(encoding="utf-8")
    assert page.measured_policy() in text, "run the command in docs/verification.md again"


def test_the_page_shows_its_picture_and_that_is_well_formed(results: Results) -> None:
    text = (ROOT / page.PAGE).read_text(encoding="utf-8")
    assert "](images/verification.svg)" in text
    committed = ElementTree.parse(ROOT / page.IMAGE).getroot()  # noqa: S314 - our own file
    drawn = ElementTree.fromstring(picture.draw(results))  # noqa: S314 - likewise
    assert committed.tag == drawn.tag == "{http://www.w3.org/2000/svg}svg"


def test_tables_are_rectangular(results: Results) -> None:
    for table in (
        report.rules_table(results),
        report.worst_table(results),
        report.kinds_table(results),
        report.endings_table(results),
        report.sweep_table(results),
    ):
        assert len({len(row) for row in table}) == 1
        assert len(report.text(table).splitlines()) == len(table)
        assert len(report.markdown(table).splitlines()) == len(table) + 1


def test_json_has_every_rule_and_no_infinity(results: Results) -> None:
    document = json.loads(json.dumps(report.document(results), allow_nan=False))
    assert list(document["rules"]) == list(RULES)
    assert document["rules"]["Keyturn"]["all"]["rotations"] == 60


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(30, "30 s"), (90, "1.5 min"), (5_400, "1.5 h"), (47 * HOUR, "47.0 h"), (2 * DAY, "2.0 d")],
)
def test_durations_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert report.span(seconds) == said


@pytest.mark.parametrize(
    ("part", "said"), [(0, "0"), (1, "0.01%"), (40, "0.4%"), (9_999, "99.9%"), (10_000, "100%")]
)
def test_a_share_never_hides_a_few(part: int, said: str) -> None:
    assert report.share(part, 10_000) == said


def test_percentiles_are_by_nearest_rank() -> None:
    assert percentile([4, 1, 3, 2], 0.5) == 2
    assert percentile([4, 1, 3, 2], 1) == 4
    assert percentile([], 0.5) is None


def test_the_variations_have_names_of_their_own() -> None:
    names = [variant.name for variant in sweep()]
    assert len(set(names)) == len(names)


def test_the_command_prints_the_tables_and_how_to_repeat_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--rotations", "20", "--processes", "1"]
    assert command.main(arguments) == 0
    printed = capsys.readouterr().out
    assert re.search(r"not reversed +\d", printed)
    assert "--rotations 20 --seed 1" in printed
    assert command.main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rotations"] == 20
