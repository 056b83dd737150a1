"""Draws a definition as a Mermaid flowchart, which GitHub shows as a picture.

Choices are diamonds, waits are rounded and dashed, good ends green, failures red; dotted arrows are
errors that a state catches.
"""

from __future__ import annotations

from collections.abc import Iterator

from tools.asl.definition import Arrow, Definition, Scope, arrows

SHAPES = {
    "Choice": ('{"', '"}'),
    "Fail": ('(["', '"])'),
    "Pass": ('("', '")'),
    "Succeed": ('(["', '"])'),
    "Wait": ('(["', '"])'),
}
CLASSES = (
    "classDef choice fill:#fff8dc,stroke:#b8860b,color:#222",
    "classDef wait fill:#eef3ff,stroke:#4a6fa5,stroke-dasharray:4 3,color:#222",
    "classDef succeed fill:#e3f5e3,stroke:#2e7d32,color:#222",
    "classDef fail fill:#fde3e3,stroke:#c62828,color:#222",
)
LONGEST_LABEL = 40


def diagram(definition: Definition, *, overview: bool = False) -> str:
    """The Mermaid text of a definition; an overview leaves out what only errors lead to."""
    lines = ["flowchart TD", *_scope(definition.root, "s", "    ", overview=overview)]
    return "\n".join([*lines, *(f"    {line}" for line in CLASSES)]) + "\n"


def _scope(scope: Scope, prefix: str, indent: str, *, overview: bool) -> Iterator[str]:
    shown = scope.reachable(errors=not overview)
    ids = {name: f"{prefix}{number}" for number, name in enumerate(scope.states, 1)}
    for name in shown:
        kind = scope.states[name]["Type"]
        inner = list(scope.inner(name))
        if inner:
            yield f'{indent}subgraph {ids[name]}["{_text(name)}"]'
            for number, part in enumerate(inner):
                letter = chr(ord("a") + number)
                yield from _scope(part, ids[name] + letter, indent + "    ", overview=overview)
            yield f"{indent}end"
        else:
            left, right = SHAPES.get(kind, ('["', '"]'))
            style = f":::{kind.lower()}" if any(f" {kind.lower()} " in c for c in CLASSES) else ""
            yield f"{indent}{ids[name]}{left}{_text(name)}{right}{style}"
    for name in shown:
        for target, label, dotted in _joined(list(arrows(scope.states[name])), overview=overview):
            line = "-.->" if dotted else "-->"
            text = f'|"{_text(label)}"|' if label else ""
            yield f"{indent}{ids[name]} {line}{text} {ids[target]}"


def _joined(ways: list[Arrow], *, overview: bool) -> Iterator[tuple[str, str, bool]]:
    """One arrow per target and style, because parallel arrows are what makes a picture hard."""
    labels: dict[tuple[str, bool], list[str]] = {}
    for arrow in ways:
        dotted = arrow.kind == "catch"
        if not (dotted and overview):
            labels.setdefault((arrow.target, dotted), []).append(arrow.label)
    for (target, dotted), texts in labels.items():
        label = ", ".join(text for text in texts if text).replace("States.ALL", "any error")
        if len(label) > LONGEST_LABEL:
            label = "certain errors" if dotted and "any error" not in label else ""
        if dotted and "any error" in label:
            label = "any error"
        yield target, label, dotted


def _text(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;")
