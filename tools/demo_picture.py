"""Draws docs/images/demo.svg: what a run of `make demo` shows, recorded while it runs.

    python -m tools.demo_picture

Takes a minute. The panels that a terminal redraws all the time are left out; the table at the end
says the same.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from demo.__main__ import run
from demo.view import LiveView

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "demo.svg"
COLUMNS = 100


class Recorder(LiveView):
    """The story in colour, kept for the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.console = Console(
            record=True,
            width=COLUMNS,
            force_terminal=True,
            color_system="truecolor",
            highlight=False,
            markup=False,
        )

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Tell a step of the set-up and how long it took, without a spinner."""
        began = time.monotonic()
        yield
        self.console.print(f"set-up: {text} ({time.monotonic() - began:.1f} s)", style="dim")

    def begin(self, at: float) -> None:
        """Start the clock, and no panels that are drawn again and again."""
        self._began = at


def picture(console: Console) -> str:
    """What a console recorded, as SVG that loads nothing from elsewhere."""
    drawn = console.export_svg(title="make demo", unique_id="demo")
    return re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)


def main() -> int:
    """Run the demo and write the picture, unless the demo broke its promise."""
    view = Recorder()
    view.console.print("$ make demo", style="bold")
    status = run(view)
    view.console.print()  # else the last line is cut off
    if status == 0:
        PICTURE.write_text(picture(view.console), encoding="utf-8")
        print(PICTURE)
    return status


if __name__ == "__main__":
    raise SystemExit(main())
