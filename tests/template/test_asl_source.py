"""The sources of the state machines: how they become definitions, and that these are up to date."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.asl import source
from tools.asl.__main__ import FOLDER, lint_file
from tools.asl.definition import Definition

SHARED = "x-ends:\n  - &done {Comment: over, Type: Succeed}\n"
TOY = 'StartAt: Done\nx-own: [&why "all ${Things} are done"]\nStates:\n  Done: {<<: *done}\n'


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    (tmp_path / source.SHARED).write_text(SHARED, encoding="utf-8")
    path = tmp_path / "toy.yaml"
    path.write_text(TOY, encoding="utf-8")
    return path


def test_no_definition_is_stale() -> None:
    assert [path.name for path in source.stale(FOLDER)] == [], "run 'make docs'"


def test_each_definition_has_a_source_and_each_source_a_definition() -> None:
    machines = [path.stem for path in source.sources(FOLDER)]
    made = sorted(path.name for path in FOLDER.glob("*.asl.json"))
    assert machines == ["retire_key", "rotate_fleet", "rotate_key"]
    assert made == [f"{machine}.asl.json" for machine in machines]


def test_what_only_holds_anchors_is_left_out_and_the_type_comes_first(toy: Path) -> None:
    assert source.rendered(toy) == json.dumps(
        {"StartAt": "Done", "States": {"Done": {"Type": "Succeed", "Comment": "over"}}}, indent=2
    ) + "\n"  # fmt: skip
    assert Definition.load(toy).tokens() == set()  # ${Things} stands in what is left out


def test_a_definition_is_stale_until_it_is_what_its_source_makes(toy: Path) -> None:
    definition = source.made_from(toy)
    assert source.stale(toy.parent) == {definition: source.rendered(toy)}
    definition.write_text(source.rendered(toy), encoding="utf-8")
    assert source.stale(toy.parent) == {}
    toy.write_text(TOY.replace("<<: *done", "<<: *done, Output: 1"), encoding="utf-8")
    assert list(source.stale(toy.parent)) == [definition]


def test_two_states_with_one_name_are_an_error_on_the_line_of_the_second(toy: Path) -> None:
    toy.write_text(f"{TOY}  Done: {{Type: Fail}}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"toy\.yaml:5: 'Done' is twice"):
        source.content(toy)
    assert "toy.yaml:5" in str(lint_file(toy)[0])


def test_an_error_in_what_is_shared_names_that_file(toy: Path) -> None:
    toy.with_name(source.SHARED).write_text("x-ends:\n  - &done {Type: Succeed\n: \n")
    with pytest.raises(ValueError, match=r"shared\.yaml:\d"):
        source.content(toy)


def test_a_finding_names_the_line_of_the_source() -> None:
    definition = Definition.load(FOLDER / "rotate_key.yaml")
    lines = definition.text.splitlines()
    for state in definition.root.states:
        assert lines[definition.line_of(state) - 1].startswith(f"  {state}:")
