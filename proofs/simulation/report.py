"""The figures as tables: for a terminal, for Markdown, and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proofs.simulation.clock import DAY, HOUR, MINUTE
from proofs.simulation.ending import Ended
from proofs.simulation.population import SHARES, Kind
from proofs.simulation.runner import Tallies
from proofs.simulation.tally import WORST, Tally, merged, percentile
from proofs.simulation.variants import KEYTURN, RULES

Table = list[list[str]]


@dataclass(frozen=True)
class Results:
    """What was measured, and how to measure it again."""

    tallies: Tallies
    swept: Mapping[str, Tallies]
    rotations: int
    swept_rotations: int
    seed: int
    measured_on: str
    command: str

    def of_rule(self, rule: str) -> Tally:
        """Return a rule's sum over all kinds."""
        return merged(tally for (name, _), tally in self.tallies.items() if name == rule)

    @property
    def rules(self) -> list[str]:
        """The rules that were run, Keyturn first."""
        return [rule for rule in RULES if any(name == rule for name, _ in self.tallies)]


def span(seconds: float | None) -> str:
    """Return a duration as people say it.

    >>> [span(value) for value in (30, 5_400, 200_000, None)]
    ['30 s', '1.5 h', '2.3 d', '-']
    """
    if seconds is None:
        return "-"
    for unit, name in ((2 * DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= unit:
            return f"{seconds / (DAY if name == 'd' else unit):.1f} {name}"
    return f"{seconds:.0f} s"


def share(part: int, of: int) -> str:
    """Return a percentage that never shows a few as none, nor almost all as all.

    >>> [share(part, 10_000) for part in (0, 1, 40, 9_999, 10_000)]
    ['0', '0.01%', '0.4%', '99.9%', '100%']
    """
    if not part:
        return "0"
    percent = 100 * part / of
    if percent < 0.1:
        return f"{max(percent, 0.01):.2f}%"
    if percent > 99.9:
        return "100%" if part == of else "99.9%"
    return f"{percent:.1f}%"


def rules_table(results: Results) -> Table:
    """Return what each rule did to all users."""
    columns: dict[str, Callable[[Tally], str]] = {
        "rotations that cut off a consumer": lambda t: _count(t.cut.total(), t),
        "reversed by the watch": lambda t: _count(t.cut["watch"], t),
        "not reversed": lambda t: _count(t.unreversed, t),
        "of these: the consumer would have moved within 7 days": lambda t: _count(t.moving, t),
        "of these: all consumers call within the quiet period": lambda t: _count(t.within, t),
        "cut-offs that last until a person comes": lambda t: share(t.endless, len(t.lasted)),
        "the others last: median": lambda t: span(percentile(t.finite, 0.5)),
        "the others last: 95th percentile": lambda t: span(percentile(t.finite, 0.95)),
        "the others last: longest": lambda t: span(percentile(t.finite, 1)),
        "no decision: a person is asked": lambda t: _count(t.undecided, t),
        "went back to the old key": lambda t: _count(t.backed_out, t),
        "publishing to deactivation: median": lambda t: span(percentile(t.gone_after, 0.5)),
        "publishing to deactivation: 95th percentile": lambda t: span(
            percentile(t.gone_after, 0.95)
        ),
    }
    tallies = [results.of_rule(rule) for rule in results.rules]
    return [["", *results.rules]] + [
        [name, *(show(tally) for tally in tallies)] for name, show in columns.items()
    ]


def worst_table(results: Results) -> Table:
    """Return what ended the worst cut-off of each rotation."""
    names = {
        "watch": "reversed by the watch",
        "itself": "the consumer, which read again by itself",
        "restart": "its next restart, hours to weeks later",
        "nobody": "nothing: until a person comes",
    }
    rows = [["the worst cut-off of a rotation was ended by", *results.rules]]
    for end in WORST:
        tallies = (results.of_rule(rule) for rule in results.rules)
        rows.append([names[end], *(_count(tally.cut[end], tally) for tally in tallies)])
    return rows


def kinds_table(results: Results) -> Table:
    """Return the share of each kind's rotations with a cut-off that no watch reversed."""
    rows = [["users", "rotations", *results.rules]]
    for kind in SHARES:
        tallies = [results.tallies.get((rule, kind), Tally()) for rule in results.rules]
        cells = [share(tally.unreversed, tally.rotations) for tally in tallies]
        rows.append([kind.value, f"{tallies[0].rotations:,}", *cells])
    return rows


def endings_table(results: Results) -> Table:
    """Return how Keyturn's rotations ended, by kind, and how soon the old key was inactive."""
    shown = [how for how in Ended if results.of_rule(KEYTURN).endings[how]]
    heads = ["users", *(how.value for how in shown), "publishing to deactivation: median", "95th"]
    rows = [heads]
    for kind in SHARES:
        tally = results.tallies.get((KEYTURN, kind), Tally())
        rows.append(
            [
                kind.value,
                *(share(tally.endings[how], tally.rotations) for how in shown),
                span(percentile(tally.gone_after, 0.5)),
                span(percentile(tally.gone_after, 0.95)),
            ]
        )
    return rows


def sweep_table(results: Results) -> Table:
    """Return what Keyturn did under changed assumptions and durations."""
    rows = [
        [
            "Keyturn with",
            "cut off, not reversed",
            "of these: all call within the quiet period",
            "of these: the rejected new key",
            "reversed by the watch",
            "a person is asked",
            "went back",
            "deactivation: median",
            "95th",
        ]
    ]
    for name, tallies in results.swept.items():
        tally = merged(tallies.values())
        counts = (tally.unreversed, tally.within, tally.rejected, tally.cut["watch"])
        cells = [share(count, tally.rotations) for count in counts]
        cells += [share(count, tally.rotations) for count in (tally.undecided, tally.backed_out)]
        cells += [span(percentile(tally.gone_after, part)) for part in (0.5, 0.95)]
        rows.append([name, *cells])
    return rows


def text(table: Table) -> str:
    """Return a table for a terminal."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = []
    for row in table:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown(table: Table) -> str:
    """Return a table for Markdown, numbers to the right."""
    head, *rows = table
    lines = [head, ["---", *(["---:"] * (len(head) - 1))], *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines) + "\n"


def document(results: Results) -> dict[str, Any]:
    """Return everything as JSON; null where there is nothing to tell."""
    return {
        "rotations": results.rotations,
        "seed": results.seed,
        "measuredOn": results.measured_on,
        "command": results.command,
        "rules": {
            rule: {"all": _figures(results.of_rule(rule))}
            | {
                kind.value: _figures(results.tallies[rule, kind])
                for kind in Kind
                if (rule, kind) in results.tallies
            }
            for rule in results.rules
        },
        "sweep": {name: _figures(merged(tally.values())) for name, tally in results.swept.items()},
    }


def _figures(tally: Tally) -> dict[str, Any]:
    def part(values: Sequence[float], wanted: float) -> float | None:
        found = percentile(values, wanted)
        return None if found is None else round(found, 1)

    return {
        "rotations": tally.rotations,
        "endings": {how.value: count for how, count in sorted(tally.endings.items())},
        "cutOff": {end: tally.cut[end] for end in WORST},
        "notReversedWithinQuietPeriod": tally.within,
        "notReversedWouldHaveMoved": tally.moving,
        "notReversedRejectedNewKey": tally.rejected,
        "cutOffsUntilAPerson": tally.endless,
        "otherCutOffsSeconds": {name: part(tally.finite, at) for name, at in _PARTS.items()},
        "secondsToDeactivation": {name: part(tally.gone_after, at) for name, at in _PARTS.items()},
    }


_PARTS = {"median": 0.5, "95th": 0.95, "longest": 1.0}


def _count(count: int, tally: Tally) -> str:
    return f"{count:,} ({share(count, tally.rotations)})" if count else "0"
