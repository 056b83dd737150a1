"""Fills in the generated parts of docs/verification.md and draws its picture.

A generated part stands between two comments: `<!-- simulation:rules -->` and
`<!-- /simulation -->`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from proofs.simulation import defaults, picture, report
from proofs.simulation.report import Results

PAGE, IMAGE = "docs/verification.md", "docs/images/verification.svg"
_PART = re.compile(r"(<!-- simulation:(\w+) -->\n).*?(<!-- /simulation -->)", re.DOTALL)


def write(root: Path, results: Results) -> None:
    """Fill in the page and draw the picture."""
    path = root / PAGE
    path.write_text(render(path.read_text(encoding="utf-8"), results), encoding="utf-8")
    image = root / IMAGE
    image.parent.mkdir(parents=True, exist_ok=True)
    image.write_text(picture.draw(results), encoding="utf-8")


def render(text: str, results: Results) -> str:
    """Return a page's text with its generated parts made anew."""
    return _PART.sub(
        lambda part: f"{part[1]}\n{_PARTS[part[2]](results)}\n{part[3]}",
        text,
    )


def measured_policy() -> str:
    """Return the durations that the figures depend on, in words."""
    policy = defaults.policy()
    names = ("quiet_period", "coarseness", "lag", "pickup_timeout", "watch", "backout_grace")
    told = ", ".join(
        f"{name.replace('_', ' ')} {getattr(policy, f'{name}_seconds'):,} s" for name in names
    )
    return f"Defaults: {told}."


def _how(results: Results) -> str:
    return (
        f"Measured on {results.measured_on}: {results.rotations:,} rotations by each rule, seed "
        f"{results.seed}; the variations are {results.swept_rotations:,} rotations each. "
        f"{measured_policy()}\n\nTo repeat it:\n\n```sh\n{results.command} --write-docs\n```\n"
    )


_PARTS: dict[str, Callable[[Results], str]] = {
    "how": _how,
    "rules": lambda results: report.markdown(report.rules_table(results)),
    "worst": lambda results: report.markdown(report.worst_table(results)),
    "kinds": lambda results: report.markdown(report.kinds_table(results)),
    "endings": lambda results: report.markdown(report.endings_table(results)),
    "sweep": lambda results: report.markdown(report.sweep_table(results)),
}
