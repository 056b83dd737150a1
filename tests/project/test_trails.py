"""docs/one-rotation.md leads through the code as it is, and its four trails are no longer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyturn.model.durations import Durations, input_field, variable
from tools import template

PAGE = template.ROOT / "docs" / "one-rotation.md"
PACKAGE = template.ROOT / "functions" / "keyturn"
GLOSSARY = template.ROOT / "docs" / "glossary.md"


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        for pattern in ("**/*.py", "**/*.yaml"):
            yield from sorted((template.ROOT / folder).glob(pattern))


def mentioning(pattern: str, *folders: str) -> set[str]:
    """The files below the folders in which a pattern is found, from the root."""
    found = re.compile(pattern)
    return {
        str(path.relative_to(template.ROOT))
        for path in sources(*folders)
        if found.search(path.read_text(encoding="utf-8"))
    }


def named_on_the_page() -> set[Path]:
    """Every file and folder that the page names; those without a folder at the root are ours."""
    names = re.findall(r"`([\w./]+(?:\.py|\.yaml|\.json|/))`", PAGE.read_text(encoding="utf-8"))
    found, folder = set(), PACKAGE
    for name in names:
        path = next(
            (at / name for at in (template.ROOT, PACKAGE, folder) if (at / name).exists()), None
        )
        if path is None and name == "rotate_key.asl.json":
            path = template.ROOT / "statemachine" / name
        assert path is not None, f"{name} does not exist"
        folder = path.parent
        found.add(path)
    return found


def test_every_file_of_the_rotation_is_on_the_page_and_every_file_on_it_exists() -> None:
    named = named_on_the_page()
    rotation = {path for path in (PACKAGE / "rotate").glob("**/*.py") if path.stem != "__init__"}
    assert rotation <= named, sorted(str(path) for path in rotation - named)


def test_durations_are_listed_in_one_place() -> None:
    """A file that spells most of the durations is a second list of them."""
    names = list(Durations.model_fields)
    spellings = [
        re.compile(rf"\b({name}|{variable(name)}|{input_field(name)})\b") for name in names
    ]
    lists = {
        str(path.relative_to(template.ROOT))
        for path in sources("functions", "cli", "tools", "demo")
        if sum(bool(at.search(path.read_text(encoding="utf-8"))) for at in spellings) > 5
    }
    assert lists == {"functions/keyturn/model/durations.py"}


def test_a_source_of_signals_is_asked_in_one_place() -> None:
    assert mentioning(
        r"keyturn\.aws import .*\balarms\b|keyturn\.aws\.alarms", "functions", "cli"
    ) == {"functions/keyturn/rotate/signals.py"}
    assert mentioning(
        r"keyturn\.aws import .*\bhealth\b|keyturn\.aws\.health", "functions", "cli"
    ) == {"functions/keyturn/handlers/rotate_key/check_health.py"}
    words = (PACKAGE / "rotate" / "evidence.py").read_text(encoding="utf-8")
    assert "alarm" not in words.lower(), "the rules know signals, not their sources"


def test_people_are_told_in_two_places() -> None:
    assert mentioning(r"sns:publish\b", "statemachine") == {"statemachine/shared.yaml"}
    assert mentioning(r"\.publish\(", "functions") == {"functions/keyturn/aws/notify.py"}


def test_the_pickup_rule_stands_once() -> None:
    assert mentioning(r"\bis_quiet\(", "functions", "cli") == {
        "functions/keyturn/rotate/evidence.py"
    }


# What the glossary replaced, and where an older name is still a name of the contract or of AWS.
REPLACED = {
    "cutover": r"(?i)\bcut[-_ ]?over\b",
    "in charge": r"(?i)\bin charge\b",
    "backout": r"keyturn backout|--backout|\bBackout(?!Incomplete\b|GraceSeconds\b)\w",
}


@pytest.mark.parametrize("term", REPLACED)
def test_a_term_has_one_spelling(term: str) -> None:
    pattern = re.compile(REPLACED[term])
    files = [
        *sources("functions", "cli", "demo", "statemachine", "proofs"),
        template.ROOT / "template.yaml",
        template.ROOT / "README.md",
        *(template.ROOT / "docs").glob("*.md"),
    ]
    found = [
        f"{path.relative_to(template.ROOT)}: {line.strip()}"
        for path in files
        if path != GLOSSARY
        for line in path.read_text(encoding="utf-8").splitlines()
        if pattern.search(line)
    ]
    assert found == []


def test_no_term_of_the_glossary_is_there_twice() -> None:
    rows = re.findall(r"^\| ([^|]+?) \| ", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE)
    terms = [term for row in rows for term in row.split(", ") if term not in ("term", "---")]
    assert len(terms) == len(set(terms)) > 50
