"""docs/benchmarks.md: page.md with the figures of docs/benchmarks.json, which `make bench` writes.

A test makes the page again from the committed figures, so that neither can be edited by hand
unnoticed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Formatter
from typing import Any

from benchmarks import costs
from benchmarks.audits import HOW
from benchmarks.figures import Figure, number, table
from benchmarks.prices import AS_OF, Price
from keyturn.fleet.choosing import BATCH
from proofs.simulation import defaults
from proofs.simulation.report import span

PAGE, FIGURES = "docs/benchmarks.md", "docs/benchmarks.json"
TEXT = Path(__file__).with_name("page.md").read_text(encoding="utf-8")

Document = Mapping[str, Any]


def write(root: Path, document: Document) -> None:
    """Write the figures and the page."""
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    (root / FIGURES).write_text(text, encoding="utf-8")
    (root / PAGE).write_text(render(json.loads(text)), encoding="utf-8")


def render(document: Document) -> str:
    """Return the page, without the sections whose figures were not measured."""
    known = values(document)
    sections = TEXT.split("\n\n## ")
    kept = [section.format(**known) for section in sections if fields(section) <= known.keys()]
    return "\n\n## ".join(kept)


def fields(text: str) -> set[str]:
    """Return the names of the values that a text needs."""
    return {name.split(".")[0] for _, name, *_ in Formatter().parse(text) if name}


def values(document: Document) -> dict[str, Any]:
    """Return what can be put into the page's text: names, tables and numbers."""
    data = document["data"]
    figures = [Figure(**one) for each in document["figures"].values() for one in each]
    left_out = ", ".join(document["leftOut"])
    return {
        "at": document["at"],
        "on": ", ".join(f"{name} {value}" for name, value in document["measuredOn"].items()),
        "took": span(sum(document["seconds"].values())),
        "left_out": f" Left out: {left_out}." if left_out else "",
        "bounds": _bounds(figures),
        **(_paths(data["paths"]) if "paths" in data else {}),
        **(_looks(data["looks"]) if "looks" in data else {}),
        **(_cost(data) if {"paths", "looks"} <= data.keys() else {}),
        **(_audits(data["audits"]) if "audits" in data else {}),
        **({"starts": _starts(data["starts"]["functions"])} if "starts" in data else {}),
        "others": table(
            ("figure", "measured", "how"),
            [(one.name, one.shown, one.note) for one in figures if one.bound is None],
            numbers=(1,),
        ),
    }


def _bounds(figures: Sequence[Figure]) -> str:
    head = ("figure", "measured", "at most", "", "how")
    rows = [
        (one.name, one.shown, one.at_most, "**missed**" if one.missed else "kept", one.note)
        for one in figures
        if one.bound is not None
    ]
    return table(head, rows, numbers=(1, 2))


def _paths(paths: Sequence[dict[str, Any]]) -> dict[str, str]:
    rows = [
        (
            path["path"] if not at else "",
            one["walk"],
            ", ".join(f"{name} {count}" for name, count in one["looks"].items()) or "-",
            one["transitions"],
            one["invocations"],
            path["byRules"] if not at else "",
            sum(path["calls"].values()) if not at else "",
            "" if one["walk"].startswith("fleet run") else number(one["overhead"]),
        )
        for path in paths
        for at, one in enumerate(path["executions"])
    ]
    head = (
        "path", "execution", "looks", "transitions", "invocations", "by rules", "API calls",
        "s beyond waits",
    )  # fmt: skip
    numbers = range(1, len(paths) + 1)
    called = sorted({name for path in paths for name in path["calls"]})
    calls = [(name, *(path["calls"].get(name, "") for path in paths)) for name in called]
    return {
        "paths": table(head, rows, numbers=range(3, 8)),
        "path_numbers": "\n".join(f"{at}. {path['path']}" for at, path in enumerate(paths, 1)),
        "calls": table(("API call", *numbers), calls, numbers=numbers),
    }


def _looks(looks: dict[str, Any]) -> dict[str, Any]:
    policy, names = defaults.policy(), ("pickup", "watch", "return")

    def median(found: Mapping[str, Any], name: str) -> str:
        return f"{found['median'][name]} ({found['p90'][name]})" if name in found["median"] else ""

    rows = [
        (ending, found["rotations"], *(median(found, name) for name in names))
        for ending, found in looks["endings"].items()
    ]
    return {
        "quiet": span(policy.quiet_period_seconds),
        "watch": span(policy.watch_seconds),
        "poll_min": span(policy.poll_min_seconds),
        "poll_max": span(policy.poll_max_seconds),
        "looks": table(("how it ended", "rotations", *names), rows, numbers=range(1, 5)),
        "batch_users": BATCH,
        **{name: looks[name] for name in ("users", "seed", "batch")},
    }


def _cost(data: Document) -> dict[str, Any]:
    priced = costs.rotations(data)
    rows = [
        (name, one.transitions, one.invocations, one.secret_calls,
         *(f"${dollars:.4f}" for dollars in one.parts), f"**${one.dollars:.4f}**")
        for name, one in priced.items()
    ]  # fmt: skip
    head = (
        "path", "transitions", "invocations", "Secrets Manager calls", "transitions", "functions",
        "other", "in all",
    )  # fmt: skip
    parts = costs.month(priced[costs.USUAL], data["looks"]["batch"])
    monthly = [(what, how, f"${dollars:.2f}") for what, how, dollars in parts]
    for what, some in (("in all, without the secrets", parts[:-1]), ("in all", parts)):
        monthly.append((f"**{what}**", "", f"**${sum(dollars for *_, dollars in some):.2f}**"))
    prices = [
        (service, what, f"{dollars:g}", f"{per:,} {unit}" if per > 1 else unit)
        for service, what, dollars, per, unit in (price.value for price in Price)
    ]
    return {
        "costs": costs,
        "prices_as_of": AS_OF,
        "formula": costs.formula(),
        "costs_by_path": table(head, rows, numbers=range(1, 8)),
        "days": costs.days_between_rotations(),
        "max_days": defaults.fleet().max_key_age_days,
        "month": table(("part", "how", "dollars"), monthly, numbers=(2,)),
        "prices": table(("service", "price", "dollars", "per"), prices, numbers=(2,)),
    }


def _starts(functions: Sequence[dict[str, Any]]) -> str:
    def shown(value: float | None) -> str:
        return "-" if value is None else f"{value:.0f}"

    rows = [
        (
            one["function"], shown(one["init"]), shown(one["cold"]),
            shown(None if one["init"] is None else one["init"] + one["cold"]),
            shown(one["warm"]), one["colds"], one["warms"],
        )
        for one in functions
    ]  # fmt: skip
    head = ("function", "imports", "first call", "cold, in all", "warm", "cold starts", "warm ones")
    return table(head, rows, numbers=range(1, 7))


def _audits(audits: dict[str, Any]) -> dict[str, Any]:
    counts = sorted({one["users"] for one in audits["runs"]})
    by = {(one["audit"], one["users"]): one for one in audits["runs"]}
    names = list(dict.fromkeys(name for name, _ in by))

    def shown(name: str, users: int) -> str:
        one = by.get((name, users))
        return f"{one['calls']:,} / {one['seconds']:.2f} s" if one else "-"

    rows = [(name, *(shown(name, users) for users in counts)) for name in names]
    calls = [
        (name, ", ".join(f"{call} {n:,}" for call, n in by[name, counts[-1]]["byName"].items()))
        for name in names
        if (name, counts[-1]) in by
    ]
    how = " ".join(HOW.split("\n"))
    return {
        "audits": table(("audit", *(f"{n:,} users" for n in counts)), rows, numbers=range(1, 9)),
        "audits_how": f"{how}\n\n{audits['leftOut']}" if audits["leftOut"] else how,
        "audit_users": counts[-1],
        "audit_calls": table(("audit", "API calls"), calls),
    }
