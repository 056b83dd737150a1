"""Makes the definitions from the sources that people edit: YAML with anchors and comments.

    statemachine/shared.yaml      what the machines share, put before the text of each of them
    statemachine/rotate_key.yaml  one machine
    statemachine/rotate_key.asl.json  what `python -m tools.asl build` makes of the two

Top-level fields whose name begins with ``x-`` hold anchors, and are left out of the definition.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

SHARED = "shared.yaml"

# What a reader looks for first. The other fields of a state stay in the order of the source.
_FIRST = ("Type", "ErrorEquals", "Condition", "Comment")


class _Loader(yaml.SafeLoader):
    """YAML in which no field may stand twice: of two states with one name, one would be lost."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        names = set()
        for key, _ in node.value:
            if key.value in names:
                raise yaml.MarkedYAMLError(None, None, f"{key.value!r} is twice", key.start_mark)
            names.add(key.value)
        return node


def sources(folder: Path) -> list[Path]:
    """The machines' sources in a folder."""
    return sorted(path for path in folder.glob("*.yaml") if path.name != SHARED)


def made_from(source: Path) -> Path:
    """The definition that is made from a source."""
    return source.with_suffix(".asl.json")


def content(source: Path) -> dict[str, Any]:
    """A source's definition; raises ValueError with the place when it is not valid YAML."""
    shared = source.with_name(SHARED)
    before = shared.read_text(encoding="utf-8") if shared.exists() else ""
    try:
        # A SafeLoader, which makes plain data only.
        found = yaml.load(before + source.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 - before.count("\n") if error.problem_mark else 1
        where = f"{source}:{line}" if line > 0 else f"{shared}:{line + before.count(chr(10))}"
        raise ValueError(f"{where}: {error.problem}") from error
    return {name: _ordered(value) for name, value in found.items() if not name.startswith("x-")}


def rendered(source: Path) -> str:
    """The text of the definition that is made from a source."""
    return json.dumps(content(source), indent=2, ensure_ascii=False) + "\n"


def stale(folder: Path) -> dict[Path, str]:
    """The definitions that are not what their sources make, each with what it should be."""
    result = {}
    for source in sources(folder):
        path, wanted = made_from(source), rendered(source)
        if not path.exists() or path.read_text(encoding="utf-8") != wanted:
            result[path] = wanted
    return result


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        names = [*(name for name in _FIRST if name in value), *value]
        return {name: _ordered(value[name]) for name in dict.fromkeys(names)}
    return [_ordered(item) for item in value] if isinstance(value, list) else value
