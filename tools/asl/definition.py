"""A state machine definition, seen as what the linter and the diagram need: states and arrows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.asl import source

State = dict[str, Any]

# Fields that hold states of their own, which are scopes of their own.
INNER = ("ItemProcessor", "Iterator", "Branches")


@dataclass(frozen=True)
class Arrow:
    """A way out of a state: to which one, why, and which variables it assigns on the way."""

    target: str
    kind: str  # next, choice, default or catch
    label: str
    assigns: frozenset[str]


@dataclass(frozen=True)
class Expression:
    """A string value of a state, with the path of the field that holds it."""

    where: str
    text: str

    @property
    def is_jsonata(self) -> bool:
        """Whether Step Functions would evaluate it."""
        return self.text.startswith("{%") and self.text.endswith("%}")

    @property
    def code(self) -> str:
        """The JSONata inside ``{% %}``, with each ``${Token}`` standing in as a number."""
        return re.sub(r"\$\{\w+\}", "0", self.text[2:-2]).strip()


@dataclass(frozen=True)
class Scope:
    """States that can point at one another: the machine's, or those inside one Map or branch."""

    start_at: str
    states: dict[str, State]
    outer: str | None = None  # the Map or Parallel state that it is inside
    sees_outer_variables: bool = True

    def reachable(self) -> list[str]:
        """Names of the states that can be reached, in the definition's order."""
        seen: set[str] = set()
        todo = [self.start_at]
        while todo:
            name = todo.pop()
            if name in seen or name not in self.states:
                continue
            seen.add(name)
            todo += [arrow.target for arrow in arrows(self.states[name])]
        return [name for name in self.states if name in seen]

    def inner(self, name: str) -> Iterator[Scope]:
        """The scopes inside one state."""
        state = self.states[name]
        for field in INNER:
            value = state.get(field) or []
            for part in value if isinstance(value, list) else [value]:
                mode = part.get("ProcessorConfig", {}).get("Mode", "INLINE")
                yield Scope(part["StartAt"], part["States"], name, mode != "DISTRIBUTED")


@dataclass(frozen=True)
class Definition:
    """One machine: an ``.asl.json`` file, or the source that it is made from."""

    path: Path
    text: str
    content: dict[str, Any]

    @classmethod
    def load(cls, path: Path) -> Definition:
        """Read a file; raises ValueError when it is not valid JSON or YAML."""
        text = path.read_text(encoding="utf-8")
        return cls(path, text, source.content(path) if path.suffix == ".yaml" else json.loads(text))

    @property
    def root(self) -> Scope:
        """The scope of the machine itself."""
        return Scope(self.content["StartAt"], self.content["States"])

    def scopes(self) -> Iterator[Scope]:
        """All scopes, outer before inner."""
        todo = [self.root]
        while todo:
            scope = todo.pop(0)
            yield scope
            todo += [inner for name in scope.states for inner in scope.inner(name)]

    def tokens(self) -> set[str]:
        """Names of the ``${Token}`` placeholders."""
        return set(re.findall(r"\$\{(\w+)\}", json.dumps(self.content)))

    def line_of(self, state: str) -> int:
        """The line on which a state begins, for messages that an editor can follow."""
        found = re.search(rf'^ +"?{re.escape(state)}"?:', self.text, re.MULTILINE)
        return self.text.count("\n", 0, found.start()) + 1 if found else 1


def _answer(condition: str) -> str:
    """A condition in a word or two: the literals that it compares with."""
    literals = re.findall(r"'([^']+)'", condition)
    words = [text.replace("_", " ").lower() if text.isupper() else text for text in literals]
    return " / ".join(words)


def arrows(state: State) -> Iterator[Arrow]:
    """All ways out of a state, the regular ones first."""
    assigns = frozenset(state.get("Assign", {}))
    if "Next" in state:
        yield Arrow(state["Next"], "next", "", assigns)
    rules = state.get("Choices", [])
    labels = [_answer(rule.get("Condition", "")) for rule in rules]
    yes_or_no = labels == [""]  # one question without a literal to name the answer by
    for rule, label in zip(rules, labels, strict=True):
        # A matching rule's Assign replaces the state's own.
        assigned = frozenset(rule["Assign"]) if "Assign" in rule else assigns
        yield Arrow(rule.get("Next", ""), "choice", "yes" if yes_or_no else label, assigned)
    if "Default" in state:
        yield Arrow(state["Default"], "default", "no" if yes_or_no else "otherwise", assigns)
    for catcher in state.get("Catch", []):
        label = ", ".join(catcher.get("ErrorEquals", []))
        yield Arrow(catcher.get("Next", ""), "catch", label, frozenset(catcher.get("Assign", {})))


def leaves(state: State) -> Iterator[tuple[str, Any]]:
    """All plain values of a state with their paths, except comments and the states inside it."""

    def walk(value: Any, where: str) -> Iterator[tuple[str, Any]]:
        if isinstance(value, dict):
            for key, item in value.items():
                if key != "Comment":
                    yield from walk(item, f"{where}/{key}" if where else key)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                yield from walk(item, f"{where}/{index}")
        else:
            yield where, value

    yield from walk({key: value for key, value in state.items() if key not in INNER}, "")


def expressions(state: State) -> Iterator[Expression]:
    """All string values of a state."""
    return (Expression(where, value) for where, value in leaves(state) if isinstance(value, str))
