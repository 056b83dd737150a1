"""Draws a definition as a Mermaid flowchart, which GitHub shows as a picture.

Choices are diamonds, waits are rounded and dashed, good ends green, failures red; dotted arrows are
errors that a state catches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from tools.asl.definition import Arrow, Definition, Scope, arrows

SHAPES = {
    "Choice": ('{"', '"}:::choice'),
    "Fail": ('(["', '"]):::fail'),
    "Pass": ('("', '")'),
    "Succeed": ('(["', '"]):::succeed'),
    "Wait": ('(["', '"]):::wait'),
}
CLASSES = (
    "classDef choice fill:#fff8dc,stroke:#b8860b,color:#222",
    "classDef wait fill:#eef3ff,stroke:#4a6fa5,stroke-dasharray:4 3,color:#222",
    "classDef succeed fill:#e3f5e3,stroke:#2e7d32,color:#222",
    "classDef fail fill:#fde3e3,stroke:#c62828,color:#222",
)
LONGEST_LABEL = 40


def diagram(definition: Definition, *, only: Sequence[str] = ()) -> str:
    """The Mermaid text of a definition.

    With `only`, an overview: just these states, without caught errors. A way from one to another
    through states that are left out is one arrow, unless it goes through a Choice: then it is left
    out, because an arrow past a question would say too much.
    """
    root = definition.root
    if unknown := [name for name in only if name not in root.states]:
        raise ValueError(f"{definition.path}: no such states: {', '.join(unknown)}")
    body = _overview(root, only) if only else _scope(root, "s", "    ")
    return "\n".join(["flowchart TD", *body, *(f"    {line}" for line in CLASSES)]) + "\n"


def _scope(scope: Scope, prefix: str, indent: str) -> Iterator[str]:
    ids = _ids(scope.states, prefix)
    shown = scope.reachable()
    for name in shown:
        inner = list(scope.inner(name))
        if inner:
            yield f'{indent}subgraph {ids[name]}["{_text(name)}"]'
            for number, part in enumerate(inner):
                yield from _scope(part, ids[name] + chr(ord("a") + number), indent + "    ")
            yield f"{indent}end"
        else:
            yield f"{indent}{_node(scope, name, ids)}"
    for name in shown:
        for line in _lines(ids[name], arrows(scope.states[name]), ids):
            yield f"{indent}{line}"


def _overview(scope: Scope, only: Sequence[str]) -> Iterator[str]:
    ids = _ids(only, "s")
    for name in only:
        yield f"    {_node(scope, name, ids)}"
    for name in only:
        for line in _lines(ids[name], _contracted(scope, name, set(only)), ids):
            yield f"    {line}"


def _contracted(scope: Scope, name: str, shown: set[str]) -> Iterator[Arrow]:
    """The ways from a state to the next ones that are shown."""
    for arrow in arrows(scope.states[name]):
        target, seen = arrow.target, {name}
        while target not in shown and target not in seen:
            seen.add(target)
            target = scope.states[target].get("Next", target)  # a Choice has none: the way ends
        if target in shown and arrow.kind != "catch":
            yield replace(arrow, target=target)


def _ids(names: Iterable[str], prefix: str) -> dict[str, str]:
    return {name: f"{prefix}{number}" for number, name in enumerate(names, 1)}


def _node(scope: Scope, name: str, ids: dict[str, str]) -> str:
    left, right = SHAPES.get(scope.states[name]["Type"], ('["', '"]'))
    return f"{ids[name]}{left}{_text(name)}{right}"


def _lines(source: str, ways: Iterable[Arrow], ids: dict[str, str]) -> Iterator[str]:
    """One line per target and style: parallel arrows are what makes a picture hard to read."""
    labels: dict[tuple[str, bool], list[str]] = {}
    for arrow in ways:
        texts = labels.setdefault((arrow.target, arrow.kind == "catch"), [])
        if arrow.label and arrow.label not in texts:
            texts.append(arrow.label)
    for (target, caught), texts in labels.items():
        label = " / ".join(texts)
        if len(labels) == 1 and not caught:
            label = ""  # whatever the answer
        elif caught and "States.ALL" in label:
            label = "any error"
        elif len(label) > LONGEST_LABEL:
            label = "certain errors" if caught else ""
        line = "-.->" if caught else "-->"
        text = f'|"{_text(label)}"|' if label else ""
        yield f"{source} {line}{text} {ids[target]}"


def _text(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;")
