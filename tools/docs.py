"""Fills in the generated parts of the documentation, so that it cannot drift from the code.

`python -m tools.docs` writes, `python -m tools.docs --check` only says what is stale. A generated
part stands between two comments of a Markdown file:

    <!-- diagram:rotate_key -->           the state machine as a picture
    <!-- diagram:rotate_key:overview -->  the same without what only errors lead to
    <!-- parameters -->                   the template's parameters as a table
    <!-- events -->                       the inputs in events/ as a table

and ends with a comment of the same word: `<!-- /diagram -->`.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tools import template
from tools.asl.definition import Definition
from tools.asl.diagram import diagram

OPENING = re.compile(r"^<!-- (diagram|parameters|events)(?::([\w:]+))? -->$", re.MULTILINE)


def pages(root: Path) -> list[Path]:
    """The Markdown files that may have generated parts."""
    return [*sorted(root.glob("*.md")), *sorted(root.glob("docs/**/*.md"))]


def render(text: str, root: Path) -> str:
    """A page's text with its generated parts made anew; ValueError if one does not end."""
    done, position = "", 0
    while opening := OPENING.search(text, position):
        word, argument = opening.groups()
        closing = f"<!-- /{word} -->"
        end = text.find(closing, opening.end())
        if end < 0:
            raise ValueError(f"{opening[0]} has no {closing} after it")
        done += f"{text[position : opening.end()]}\n{_part(word, argument or '', root)}{closing}"
        position = end + len(closing)
    return done + text[position:]


def _part(word: str, argument: str, root: Path) -> str:
    if word == "parameters":
        return "".join(_parameters(root))
    if word == "events":
        return "".join(_events(root))
    name, _, kind = argument.partition(":")
    definition = Definition.load(root / "statemachine" / f"{name}.asl.json")
    return f"```mermaid\n{diagram(definition, overview=kind == 'overview')}```\n"


def _parameters(root: Path) -> Iterator[str]:
    yield "| parameter | default | meaning |\n|---|---|---|\n"
    for name, parameter in template.load(root / "template.yaml")["Parameters"].items():
        default = parameter.get("Default", "(required)")
        shown = f"`{default}`" if default != "" else "(empty)"
        meaning = " ".join(parameter.get("Description", "").split()).replace("|", "\\|")
        yield f"| `{name}` | {shown} | {meaning} |\n"


def _events(root: Path) -> Iterator[str]:
    yield "| file | input |\n|---|---|\n"
    for path in sorted((root / "events").glob("*.json")):
        content = json.dumps(json.loads(path.read_text(encoding="utf-8"))).replace("|", "\\|")
        yield f"| `events/{path.name}` | `{content}` |\n"


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
