"""Draws the figures: who is cut off under which rule, and how long the old key is waited for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape

from proofs.simulation.population import SHARES
from proofs.simulation.report import Results, share, span
from proofs.simulation.tally import Tally, merged, percentile
from proofs.simulation.variants import BEST

_WIDTH, _LEFT, _RIGHT = 960, 208, 28
_INK, _SOFT, _RULE, _PAPER = "#1f2933", "#5f6c7b", "#d9dfe5", "#ffffff"
# What ended the worst cut-off of a rotation, worst first.
_ENDS = (
    ("nobody", "until a person comes", "#a4243b"),
    ("restart", "until its next restart", "#e07a3f"),
    ("itself", "until it read again by itself", "#f2c879"),
    ("watch", "until the watch reversed it", "#3d8c7d"),
)
_BAR, _STEP = 22, 38
_CELL_HEIGHT = 26


def draw(results: Results) -> str:
    """Return the picture as SVG."""
    bars = list(_bars(results, 104))
    matrix_top = 104 + _STEP * len(_rows(results)) + 74
    matrix = list(_matrix(results, matrix_top))
    height = matrix_top + 30 + _CELL_HEIGHT * len(SHARES) + 44
    told = (
        f"{results.rotations:,} simulated rotations by each rule"
        + (f", {results.swept_rotations:,} with an alarm" if BEST in results.swept else "")
        + f", seed {results.seed}; the population is made up, see the text"
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" role="img" '
        'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif">',
        "<title>Who is cut off by a rotation, under which rule</title>",
        f'<rect width="{_WIDTH}" height="{height}" rx="8" fill="{_PAPER}"/>',
        _text(24, 36, "Rotations that cut a consumer off", size=19, weight=600),
        *_legend(24, 62),
        *bars,
        _text(24, matrix_top - 26, "The same by kind of user: cut off and not reversed by a watch",
              size=15, weight=600),
        *matrix,
        _text(24, height - 16, told, size=12, fill=_SOFT),
        "</svg>",
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


def _legend(left: float, y: float) -> Iterator[str]:
    for _, name, colour in _ENDS:
        yield f'<rect x="{left}" y="{y - 10}" width="12" height="12" rx="2" fill="{colour}"/>'
        yield _text(left + 18, y, name, size=12, fill=_SOFT)
        left += 18 + 6.6 * len(name) + 22


def _rows(results: Results) -> list[tuple[str, Tally]]:
    rows = [(rule, results.of_rule(rule)) for rule in results.rules]
    if BEST in results.swept:
        rows.insert(1, ("with " + BEST, merged(results.swept[BEST].values())))
    return rows


def _bars(results: Results, top: float) -> Iterator[str]:
    rows = _rows(results)
    tallies = [tally for _, tally in rows]
    most = max((tally.cut.total() / tally.rotations for tally in tallies), default=0)
    step = 0.2 if most > 0.4 else 0.1
    scale = step * max(1, math.ceil(most / step))
    # Room at the right for the time that each rule waits.
    wide = _WIDTH - _LEFT - 250
    bottom = top + _STEP * len(tallies) - 8
    ticks = round(scale / step)
    for tick in range(ticks + 1):
        x = _LEFT + wide * tick / ticks
        yield f'<line x1="{x:.1f}" y1="{top - 8}" x2="{x:.1f}" y2="{bottom}" stroke="{_RULE}"/>'
        label = f"{100 * scale * tick / ticks:.0f}%"
        yield _text(x, bottom + 16, label, size=11, fill=_SOFT, anchor="middle")
    heading = "old key inactive after (median)"
    yield _text(_WIDTH - _RIGHT, top - 14, heading, size=11, fill=_SOFT, anchor="end")
    for row, (rule, tally) in enumerate(rows):
        y = top + row * _STEP
        weight = 600 if row == 0 else 400
        yield _text(_LEFT - 12, y + 16, rule, size=14, anchor="end", weight=weight)
        x = float(_LEFT)
        for end, _, colour in _ENDS:
            width = wide * tally.cut[end] / tally.rotations / scale
            if width:
                yield _rect(x, y, width, _BAR, colour)
            x += width
        yield _text(x + 8, y + 16, share(tally.cut.total(), tally.rotations), size=13, weight=600)
        waited = span(percentile(tally.gone_after, 0.5))
        yield _text(_WIDTH - _RIGHT, y + 16, waited, size=13, fill=_SOFT, anchor="end")


def _matrix(results: Results, top: float) -> Iterator[str]:
    wide = (_WIDTH - _LEFT - _RIGHT) / len(results.rules)
    for column, rule in enumerate(results.rules):
        weight = 600 if column == 0 else 400
        x = _LEFT + (column + 0.5) * wide
        yield _text(x, top + 6, rule, size=12, anchor="middle", weight=weight)
    for row, kind in enumerate(SHARES):
        y = top + 18 + row * _CELL_HEIGHT
        yield _text(_LEFT - 12, y + 17, kind.value, size=13, anchor="end")
        for column, rule in enumerate(results.rules):
            tally = results.tallies.get((rule, kind), Tally())
            part = tally.unreversed / tally.rotations if tally.rotations else 0.0
            x = _LEFT + column * wide
            yield _rect(x + 1.5, y + 1.5, wide - 3, _CELL_HEIGHT - 3, _heat(part))
            ink = "#ffffff" if part > 0.45 else _INK
            told = share(tally.unreversed, tally.rotations) if tally.rotations else "-"
            yield _text(x + wide / 2, y + 17, told, size=12, fill=ink, anchor="middle")


def _heat(part: float) -> str:
    """Return a colour from pale green (none at all) over pale to dark red."""
    if part == 0:
        return "#e3f1ee"
    low, high = (253, 236, 224), (164, 36, 59)
    depth = math.sqrt(part)
    mixed = (round(a + (b - a) * depth) for a, b in zip(low, high, strict=True))
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def _rect(x: float, y: float, width: float, height: float, fill: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'rx="2" fill="{fill}"/>'
    )


def _text(
    x: float,
    y: float,
    content: str,
    *,
    size: int,
    fill: str = _INK,
    anchor: str = "start",
    weight: int = 400,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}" '
        f'text-anchor="{anchor}" font-weight="{weight}">{escape(content)}</text>'
    )
