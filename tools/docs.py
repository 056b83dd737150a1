"""Fills in the generated parts of the documentation, so that it cannot drift from the code.

`python -m tools.docs` writes, `python -m tools.docs --check` only says what is stale. A generated
part stands between two comments of a Markdown file:

    <!-- diagram:rotate_key -->  the state machine as a picture
    <!-- parameters -->          the template's parameters as a table
    <!-- events -->              the inputs in events/ as a table
    <!-- cli -->                 the help of every command of keyturn
    <!-- alarms -->              the template's alarms as a table

and ends with a comment of the same word: `<!-- /diagram -->`. A diagram can be an overview of a few
states, in the order in which they are named:

    <!-- diagram:rotate_key only: Check Request, Issue New Key, Rotated -->
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools import template
from tools.asl.definition import Definition
from tools.asl.diagram import diagram

OPENING = re.compile(
    r"^<!-- (diagram|parameters|events|alarms|cli)(?::(\w+))?(?: only: ([^\n]+?))? -->$",
    re.MULTILINE,
)


def pages(root: Path) -> list[Path]:
    """The Markdown files that may have generated parts."""
    return [*sorted(root.glob("*.md")), *sorted(root.glob("docs/**/*.md"))]


def render(text: str, root: Path) -> str:
    """A page's text with its generated parts made anew; ValueError if one does not end."""
    done, position = "", 0
    while opening := OPENING.search(text, position):
        word, machine, only = opening.groups(default="")
        closing = f"<!-- /{word} -->"
        end = text.find(closing, opening.end())
        if end < 0:
            raise ValueError(f"{opening[0]} has no {closing} after it")
        part = "".join(_part(word, machine, only, root))
        done += f"{text[position : opening.end()]}\n{part}{closing}"
        position = end + len(closing)
    return done + text[position:]


def _part(word: str, machine: str, only: str, root: Path) -> Iterator[str]:
    if word == "parameters":
        return _parameters(root)
    if word == "events":
        return _events(root)
    if word == "cli":
        return _cli()
    if word == "alarms":
        return _alarms(root)
    return _diagram(root, machine, [name.strip() for name in only.split(",") if name.strip()])


def _diagram(root: Path, machine: str, only: list[str]) -> Iterator[str]:
    definition = Definition.load(root / "statemachine" / f"{machine}.asl.json")
    yield f"```mermaid\n{diagram(definition, only=only)}```\n"


def _parameters(root: Path) -> Iterator[str]:
    yield "| parameter | default | meaning |\n|---|---|---|\n"
    for name, parameter in template.load(root / "template.yaml")["Parameters"].items():
        default = parameter.get("Default", "(required)")
        shown = f"`{default}`" if default != "" else "(empty)"
        yield f"| `{name}` | {shown} | {_in_a_cell(parameter.get('Description', ''))} |\n"


def _alarms(root: Path) -> Iterator[str]:
    yield "| alarm | what happened, and what to do |\n|---|---|\n"
    for name, resource in template.load(root / "template.yaml")["Resources"].items():
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            yield f"| `{name}` | {_in_a_cell(resource['Properties']['AlarmDescription'])} |\n"


def _in_a_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _events(root: Path) -> Iterator[str]:
    yield "| file | input |\n|---|---|\n"
    for path in sorted((root / "events").glob("*.json")):
        yield f"| `events/{path.name}` | {_shown(json.loads(path.read_text(encoding='utf-8')))} |\n"


def _shown(event: dict[str, Any]) -> str:
    """An execution's input as it is; what EventBridge delivers, by its name."""
    if "detail-type" in event:
        return f"the event `{event['detail-type']}` of `{event['source']}`"
    content = json.dumps(event).replace("|", "\\|")
    return f"`{content}`"


def _cli() -> Iterator[str]:
    for folder in ("cli", "functions"):
        sys.path.insert(0, str(template.ROOT / folder))
    from typer.testing import CliRunner  # noqa: PLC0415 - takes long, and only this part needs it

    from keyturn_cli.app import app, paths  # noqa: PLC0415 - found only now

    for path in paths():
        done = CliRunner().invoke(
            app, [*path, "--help"], prog_name="keyturn", env={"COLUMNS": "90"}, color=False
        )
        name = " ".join(["keyturn", *path])
        yield f"### {name}\n\n```\n{done.stdout.rstrip()}\n```\n\n"


def stale(root: Path) -> dict[Path, str]:
    """The pages whose generated parts are not up to date, each with what it should be."""
    result = {}
    for page in pages(root):
        text = page.read_text(encoding="utf-8")
        if (wanted := render(text, root)) != text:
            result[page] = wanted
    return result


def main(arguments: list[str] | None = None) -> int:
    """Write the stale pages, or with --check name them; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.docs", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if stale")
    options = parser.parse_args(arguments)
    changed = stale(template.ROOT)
    for page, wanted in changed.items():
        name = page.relative_to(template.ROOT)
        if options.check:
            print(f"{name}: generated parts are stale; run 'make docs'")
        else:
            page.write_text(wanted, encoding="utf-8")
            print(f"wrote {name}")
    return 1 if changed and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
