"""Charts as inline SVG: no script, no image, and every number is there as text too."""

from __future__ import annotations

from collections.abc import Sequence

from keyturn.audit.page.markup import number, share, text

_ROW = 44


def tiers(counts: Sequence[tuple[str, int]]) -> str:
    """Active keys by age, as one bar for each tier, the youngest first."""
    whole = sum(count for _, count in counts)
    words = ", ".join(f"{label}: {number(count)}" for label, count in counts)
    parts = [
        f'<svg height="{_ROW * len(counts)}" role="img" aria-labelledby="tiers-title tiers-desc">'
        f'<title id="tiers-title">Active access keys by age</title>'
        f'<desc id="tiers-desc">{text(words)}</desc>'
    ]
    for index, (label, count) in enumerate(counts):
        top = index * _ROW
        parts.append(
            f'<text x="0" y="{top + 14}">{text(label)}</text>'
            f'<text x="100%" y="{top + 14}" class="end">{number(count)}'
            f'<tspan class="q"> \u00b7 {share(count, whole)}</tspan></text>'
            f'<rect class="track" y="{top + 21}" width="100%" height="10" rx="3"/>'
            f'<rect class="t{index + 1}" y="{top + 21}" width="{_width(count, whole)}" height="10"'
            ' rx="3"/>'
        )
    return "".join([*parts, "</svg>"])


def pair(count: int, whole: int, other: int, other_whole: int) -> str:
    """Two thin bars, this report's over the study's; the table beside it has the numbers."""
    return (
        '<svg height="18" aria-hidden="true">'
        '<rect class="track" width="100%" height="7" rx="2"/>'
        f'<rect class="bar" width="{_width(count, whole)}" height="7" rx="2"/>'
        '<rect class="track" y="10" width="100%" height="7" rx="2"/>'
        f'<rect class="other" y="10" width="{_width(other, other_whole)}" height="7" rx="2"/></svg>'
    )


def _width(part: int, whole: int) -> str:
    """In percent; something is never drawn as nothing."""
    if not part or not whole:
        return "0"
    return f"{max(100 * part / whole, 0.5):.2f}%"
