"""Command line: `python -m tools.asl lint FILE...` and `python -m tools.asl diagram FILE`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tools import template
from tools.asl.definition import Definition
from tools.asl.diagram import diagram
from tools.asl.lint import Finding, error_names, lint

ERRORS = template.ROOT / "functions" / "keyturn" / "model" / "errors.py"


def lint_file(path: Path) -> list[Finding]:
    """Lint one definition against the template and the exceptions of this checkout."""
    try:
        definition = Definition.load(path)
    except ValueError as error:
        return [Finding(path, getattr(error, "lineno", 1), "", f"not JSON: {error}")]
    inside = path.resolve().relative_to(template.ROOT).as_posix()
    return lint(
        definition,
        errors=error_names(ERRORS),
        substitutions=template.substitutions(template.load(), inside),
    )


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.asl", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("lint", help="check definitions")
    command.add_argument("files", nargs="+", type=Path)
    command = commands.add_parser("diagram", help="print a definition as a Mermaid flowchart")
    command.add_argument("file", type=Path)
    command.add_argument("--only", default="", help="an overview: states with commas between them")
    options = parser.parse_args(arguments)
    if options.command == "diagram":
        only = [name.strip() for name in options.only.split(",") if name.strip()]
        sys.stdout.write(diagram(Definition.load(options.file), only=only))
        return 0
    findings = [finding for path in options.files for finding in lint_file(path)]
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
