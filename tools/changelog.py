"""Prints the changelog's entry of one version: `python -m tools.changelog v1.2.0`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

CHANGELOG = Path(__file__).resolve().parent.parent / "CHANGELOG.md"
_HEADING = re.compile(r"^## \[(?P<version>[^\]]+)\]", re.MULTILINE)


def entry(text: str, version: str) -> str:
    """Return the entry of a version (with or without a leading v), without its heading.

    Raises:
        LookupError: the changelog has no entry of that version, or an empty one.
    """
    wanted = version.removeprefix("v")
    headings = list(_HEADING.finditer(text))
    for heading, following in zip(headings, [*headings[1:], None], strict=True):
        if heading["version"] == wanted:
            body = text[
                text.index("\n", heading.start()) : following.start() if following else None
            ]
            if body.strip():
                return body.strip() + "\n"
    raise LookupError(
        f"CHANGELOG.md has no entry of version {wanted}; write one before tagging the release"
    )


def main(arguments: list[str]) -> int:
    """Print the entry of the version given; 1 when there is none."""
    try:
        print(entry(CHANGELOG.read_text(encoding="utf-8"), arguments[0]), end="")
    except LookupError as error:
        print(f"changelog: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
