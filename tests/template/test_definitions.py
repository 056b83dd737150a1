"""The real template and state machine definitions pass their linters."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools import template
from tools.asl.__main__ import ERRORS, lint_file
from tools.asl.definition import Definition
from tools.asl.lint import error_names, named_errors

FOLDER = template.ROOT / "statemachine"
MACHINES = ("retire_key", "rotate_key")

# Errors that no definition names: the base class, which is never raised itself, and defects of a
# deployment or of the code, for which States.ALL is the right answer.
LEFT_TO_STATES_ALL = {"KeyturnError", "SettingMissing", "UnexpectedFailure"}


@pytest.mark.parametrize("machine", MACHINES)
def test_the_definition_has_no_findings(machine: str) -> None:
    assert [str(finding) for finding in lint_file(FOLDER / f"{machine}.asl.json")] == []


def test_every_definition_is_known_here() -> None:
    found = {path.name.removesuffix(".asl.json") for path in FOLDER.iterdir()}
    assert found == set(MACHINES)


def test_every_exception_is_one_that_a_definition_expects() -> None:
    named = set()
    for machine in MACHINES:
        named |= named_errors(Definition.load(FOLDER / f"{machine}.asl.json"))
    assert error_names(ERRORS) - named - LEFT_TO_STATES_ALL == set()


def test_the_template_has_no_findings() -> None:
    command = [str(Path(sys.executable).with_name("cfn-lint")), "template.yaml"]
    result = subprocess.run(command, cwd=template.ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")
