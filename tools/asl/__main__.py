"""Makes, checks and draws the state machines: `python -m tools.asl build`, `lint` and `diagram`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tools import template
from tools.asl import source
from tools.asl.definition import Definition
from tools.asl.diagram import diagram
from tools.asl.lint import Finding, error_names, lint

ERRORS = template.ROOT / "functions" / "keyturn" / "model" / "errors.py"
FOLDER = template.ROOT / "statemachine"


def lint_file(path: Path) -> list[Finding]:
    """Lint one source against the template and the exceptions of this checkout."""
    try:
        definition = Definition.load(path)
    except ValueError as error:
        return [Finding(path, 1, "", str(error))]
    inside = source.made_from(path).resolve().relative_to(template.ROOT).as_posix()
    return lint(
        definition,
        errors=error_names(ERRORS),
        substitutions=template.substitutions(template.load(), inside),
    )


def build(*, check: bool) -> int:
    """Write the stale definitions, or name them; returns the exit status."""
    try:
        changed = source.stale(FOLDER)
    except ValueError as error:
        print(error)
        return 1
    for path, wanted in changed.items():
        name = path.relative_to(template.ROOT)
        if check:
            print(f"{name}: not what its source makes; run 'make docs'")
        else:
            path.write_text(wanted, encoding="utf-8")
            print(f"wrote {name}")
    return 1 if changed and check else 0


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.asl", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("build", help="make the definitions from their sources")
    command.add_argument("--check", action="store_true", help="change nothing; fail if stale")
    command = commands.add_parser("lint", help="check the sources")
    command.add_argument("files", nargs="*", type=Path, default=source.sources(FOLDER))
    command = commands.add_parser("diagram", help="print a definition as a Mermaid flowchart")
    command.add_argument("file", type=Path)
    command.add_argument("--only", default="", help="an overview: states with commas between them")
    options = parser.parse_args(arguments)
    if options.command == "diagram":
        only = [name.strip() for name in options.only.split(",") if name.strip()]
        sys.stdout.write(diagram(Definition.load(options.file), only=only))
        return 0
    if options.command == "build":
        return build(check=options.check)
    findings = [finding for path in options.files for finding in lint_file(path)]
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
