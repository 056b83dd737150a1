"""Reads template.yaml as plain data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent


# libyaml's parser, where it is there, is ten times as quick.
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML with CloudFormation's short forms, each read as a mapping from its name to its value."""


def _short_form(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        return {suffix: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {suffix: loader.construct_sequence(node, deep=True)}
    return {suffix: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _short_form)


def load(path: Path = ROOT / "template.yaml") -> dict[str, Any]:
    """The template's content; ``!Ref X`` becomes ``{"Ref": "X"}``, ``!Sub`` and others alike."""
    with path.open(encoding="utf-8") as file:
        content: dict[str, Any] = yaml.load(file, Loader=_Loader)  # noqa: S506 - a SafeLoader
    return content


def environment(**changed: object) -> dict[str, str]:
    """The variables that every function has, with the defaults of the parameters.

    What is computed at the deployment is `unset`.
    """
    content = load()
    parameters = content["Parameters"]
    found = {}
    for name, setting in content["Globals"]["Function"]["Environment"]["Variables"].items():
        found[name] = setting
        if isinstance(setting, dict):
            found[name] = str(parameters.get(setting.get("Ref"), {}).get("Default", "")) or "unset"
    return found | {name: str(value) for name, value in changed.items()}


def substitutions(template: dict[str, Any], definition: str) -> set[str] | None:
    """Names that the state machine with this definition file substitutes; None if there is none."""
    for resource in template.get("Resources", {}).values():
        properties = resource.get("Properties", {})
        if properties.get("DefinitionUri") in (definition, f"./{definition}"):
            return set(properties.get("DefinitionSubstitutions", {}))
    return None
