"""docs/benchmarks.md: made from docs/benchmarks.json, which a run of `make bench` writes.

A test makes the page again from the committed figures, so that neither can be edited by hand
unnoticed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import costs, prices
from benchmarks.audits import HOW
from benchmarks.figures import number
from keyturn.fleet.choosing import BATCH
from proofs.simulation import defaults
from proofs.simulation.ending import Ended
from proofs.simulation.report import span

# The number of the issue that set the bounds of a part.
_SET_BY = {
    "package": 2, "startup": 2, "rotations": 2, "audit": 4, "fleet-calls": 4, "fleet": 4,
    "paths": 5, "starts": 5, "audits": 5,
}  # fmt: skip

PAGE, FIGURES = "docs/benchmarks.md", "docs/benchmarks.json"

Document = Mapping[str, Any]
Row = Sequence[object]


def write(root: Path, document: Document) -> None:
    """Write the figures and the page."""
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    (root / FIGURES).write_text(text, encoding="utf-8")
    (root / PAGE).write_text(render(json.loads(text)), encoding="utf-8")


def render(document: Document) -> str:
    """Return the page."""
    parts = [_flowing(part(document)) for part in _PARTS]
    return "\n\n".join(part for part in parts if part) + "\n"


def _flowing(text: str) -> str:
    """Put each paragraph on one line: where its lines break depends on the figures in them."""
    blocks = text.split("\n\n")
    kept = ("|", "#", "`" * 3, "<!--", "1. ")
    return "\n\n".join(
        block if block.startswith(kept) else block.replace("\n", " ") for block in blocks
    )


def _table(head: Row, rows: Iterable[Row], *, numbers: Iterable[int] = ()) -> str:
    """Return a table; the columns named in `numbers` (from 0) are aligned to the right."""
    rule = ["--:" if at in set(numbers) else "---" for at in range(len(head))]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in [head, rule, *rows])


def _data(document: Document, part: str) -> Any:
    return document["data"].get(part)


# --- parts ----------------------------------------------------------------------------------------


def _head(document: Document) -> str:
    on = ", ".join(f"{name} {value}" for name, value in document["measuredOn"].items())
    seconds = sum(document["seconds"].values())
    left_out = ", ".join(document["leftOut"])
    whole = f" Left out: {left_out}." if left_out else ""
    return f"""# Benchmarks

<!-- Made by `make bench ARGS=--write-docs` from docs/benchmarks.json; do not edit either. -->

Measured on {document["at"]} on {on}; the whole run took {span(seconds)}.{whole} What is said of
AWS here was measured on the embedded AWS (`localaws/`), which runs the template, the definitions
and the handlers as they are. Counts are the same on AWS; seconds are not, see each part.

To repeat it, and to write this page anew:

```sh
make bench ARGS=--write-docs
```

`make bench ARGS=--help` lists the parts, which can be run one by one (`--only`) or left out
(`--without`)."""


def _bounds(document: Document) -> str:
    rows = [
        (
            figure["name"],
            f"{number(figure['value'])} {figure['unit']}".strip(),
            f"{number(figure['bound'])} {figure['unit']}".strip(),
            _SET_BY.get(part, ""),
            "**missed**" if figure["missed"] else "kept",
            figure["note"],
        )
        for part, figures in document["figures"].items()
        for figure in figures
        if figure["bound"] is not None
    ]
    return f"""## Promises

The bounds that issues set, and what was measured. `make bench` ends with status 1 when one is
missed.

{_table(("figure", "measured", "at most", "issue", "", "how"), rows, numbers=(1, 2))}"""


def _others(document: Document) -> str:
    rows = [
        (figure["name"], f"{number(figure['value'])} {figure['unit']}".strip(), figure["note"])
        for figures in document["figures"].values()
        for figure in figures
        if figure["bound"] is None
    ]
    return f"""## Other figures

{_table(("figure", "measured", "how"), rows, numbers=(1,))}"""


def _paths(document: Document) -> str:
    paths = _data(document, "paths")
    if not paths:
        return ""
    rows = [
        (
            path["path"] if not at else "",
            one["walk"],
            ", ".join(f"{name} {count}" for name, count in one["looks"].items()) or "-",
            one["transitions"],
            one["invocations"],
            path["byRules"] if not at else "",
            sum(path["calls"].values()) if not at else "",
            number(one["overhead"]) if _has_waits(one) else "",
        )
        for path in paths
        for at, one in enumerate(path["executions"])
    ]
    head = (
        "path", "execution", "looks", "transitions", "invocations", "by rules", "API calls",
        "s beyond waits",
    )  # fmt: skip
    services = _table(
        ("API call", *range(1, len(paths) + 1)),
        [
            (name, *(path["calls"].get(name, "") for path in paths))
            for name in sorted({name for path in paths for name in path["calls"]})
        ],
        numbers=range(1, len(paths) + 1),
    )
    numbered = "\n".join(f"{at}. {path['path']}" for at, path in enumerate(paths, start=1))
    return f"""## What a rotation takes, by path

Each path was taken once on the embedded AWS, with durations of seconds. Transitions and
invocations are counted in the histories, API calls as they arrived on the wire: those of the
functions' and the machines' roles, and the probes of the keys. "By rules" are the functions that
EventBridge invokes: one records each start and each end, one looks whether a dead execution has to
be backed out. A look more at the pickup is 3 transitions and 1 invocation, in the watch 4 and 1
(with a health URL 5 and 2), in a back-out 3 and 1; the number of looks is what the durations make
it. Every execution passed exactly the states that the formula (`benchmarks/walks.py`) says for as
many looks; of the children of a fleet run's Map, the emulator keeps the tasks only.

{_table(head, rows, numbers=range(3, 8))}

The API calls by path:

{numbered}

{services}"""


def _has_waits(one: Mapping[str, Any]) -> bool:
    return not one["walk"].startswith("fleet run")


def _looks(document: Document) -> str:
    looks = _data(document, "looks")
    if not looks:
        return ""
    policy = defaults.policy()
    rows = [
        (
            ending,
            found["rotations"],
            *(_median(found, name) for name in ("pickup", "watch", "return")),
        )
        for ending, found in looks["endings"].items()
    ]
    head = ("how it ended", "rotations", "pickup", "watch", "return")
    return f"""## How often a rotation looks

With the default durations (quiet period {span(policy.quiet_period_seconds)}, watch
{span(policy.watch_seconds)}, a look every {span(policy.poll_min_seconds)} growing to every
{span(policy.poll_max_seconds)}), on the simulated clock: {looks["users"]:,} users of the population
of [verification.md](verification.md), seed {looks["seed"]}, by Keyturn's own functions. Median
looks, and the 90th percentile in brackets.

{_table(head, rows, numbers=range(1, 5))}

A fleet run looks {looks["batch"]} times at a batch of {BATCH} users, whose slowest rotation
it waits for."""


def _median(found: Mapping[str, Any], name: str) -> str:
    if name not in found["median"]:
        return ""
    return f"{found['median'][name]} ({found['p90'][name]})"


COSTED = (
    ("rotated, and the old key retired", Ended.DONE),
    ("backed out: nobody moved", Ended.BACKED_OUT),
    ("backed out: an alarm in the watch", None),
    ("backed out by hand after a rotation", None),
    ("recovery of a dead execution", None),
    ("EMERGENCY", None),
    ("first key", None),
    ("skipped: not due", None),
    ("rejected", None),
)


def _cost(document: Document) -> str:
    paths, looks = _data(document, "paths"), _data(document, "looks")
    if not paths or not looks:
        return ""
    by_name = {path["path"]: path for path in paths}
    done = looks["endings"][Ended.DONE.value]["median"]
    gone = looks["endings"].get(Ended.BACKED_OUT.value, {"median": {}})["median"]
    usual = done | {"return": gone.get("return", 0)}
    medians = {name: found["median"] for name, found in looks["endings"].items()}
    priced = {
        name: costs.rotation(
            by_name[name], medians[how.value] if how else _only(by_name[name], usual)
        )
        for name, how in COSTED
        if name in by_name and (how is None or how.value in looks["endings"])
    }
    rows = [
        (
            name, one.transitions, one.invocations, one.secret_calls,
            f"${one.transitions_cost:.4f}", f"${one.functions_cost:.4f}", f"${one.other_cost:.4f}",
            f"**${one.dollars:.4f}**",
        )
        for name, one in priced.items()
    ]  # fmt: skip
    head = (
        "path", "transitions", "invocations", "Secrets Manager calls", "transitions", "functions",
        "other", "in all",
    )  # fmt: skip
    parts = costs.month(priced["rotated, and the old key retired"], looks["batch"])
    monthly = [(what, how, f"${dollars:.2f}") for what, how, dollars in parts]
    without_secrets = sum(dollars for what, _, dollars in parts if what != "secrets")
    total = sum(dollars for _, _, dollars in parts)
    monthly += [
        ("**in all, without the secrets**", "", f"**${without_secrets:.2f}**"),
        ("**in all**", "", f"**${total:.2f}**"),
    ]
    months = _table(("part", "how", "dollars"), monthly, numbers=(2,))
    small = by_name["rotated"]["executions"][0]
    return f"""## What it costs

The prices are list prices of us-east-1 without free tiers, written down from memory in
{prices.AS_OF}: **none of them was checked against AWS's pages, so check them** (last table of this
part). With T transitions, I invocations, S calls of Secrets Manager, E events and N notifications
(each with one e-mail), a rotation costs so many dollars:

```text
{costs.formula()}
```

An invocation is a request, {costs.SECONDS_AN_INVOCATION:g} s of {costs.MEGABYTES} MB,
{costs.LOG_BYTES_AN_INVOCATION / 1_000:g} kB of logs and a trace. The seconds and the logs are
assumed, on the high side: hardly any environment stays warm for an hour. Calls of IAM and STS cost
nothing.

By count: the rotation that was counted above, with {small["looks"]["pickup"]} and
{small["looks"]["watch"]} looks, took {small["transitions"]} transitions and {small["invocations"]}
invocations, and so says the formula for as many looks. By formula, with the looks that the default
durations make (medians, see above):

{_table(head, rows, numbers=range(1, 8))}

A month of {costs.USERS:,} users, each rotated when its key is {costs.days_between_rotations():.1f}
days old (what the defaults make of {defaults.fleet().max_key_age_days} days), with a fleet run
every day and every rotation ending as in the first line:

{months}

The secrets are what the consumers read, with or without Keyturn.

{_prices()}"""


def _prices() -> str:
    rows = [
        (
            price.what,
            f"{price.dollars:g}",
            f"{price.per:,} {price.unit}" if price.per > 1 else price.unit,
            price.source,
            "yes" if price.confirmed else "no",
        )
        for price in prices.PRICES
    ]
    return _table(("price", "dollars", "per", "check at", "confirmed"), rows, numbers=(1,))


def _only(path: Mapping[str, Any], usual: Mapping[str, int]) -> dict[str, int]:
    """Return the looks at the loops that a path has; a first look ends what is cut short."""
    counted = {name for one in path["executions"] for name in one["looks"]}
    cut_short = path["path"].startswith("backed out: an alarm")
    return {
        name: 1 if cut_short and name == "watch" else count
        for name, count in usual.items()
        if name in counted
    }


def _starts(document: Document) -> str:
    starts = _data(document, "starts")
    if not starts:
        return ""
    rows = [
        (
            one["function"],
            *(
                (f"{one['init']:.0f}", f"{one['cold']:.0f}", f"{one['init'] + one['cold']:.0f}")
                if one["init"] is not None
                else ("-", "-", "-")
            ),
            f"{one['warm']:.0f}" if one["warm"] is not None else "-",
            one["colds"],
            one["warms"],
        )
        for one in starts["functions"]
    ]
    head = ("function", "imports", "first call", "cold, in all", "warm", "cold starts", "warm ones")
    return f"""## Cold and warm starts

Milliseconds, medians. In a process that has loaded nothing: importing the handler's module, then
its first invocation (which makes the clients), then later ones. The events are those of real
executions, all calls go to the embedded AWS on the same computer. **Lambda differs**: its
processors are slower in proportion to the memory, its calls go over a network, and loading the
package from where Lambda keeps it comes on top; what can be read here is which functions start
slowly, and what an import costs against the work. The first call of RetireOldKey is a check before
the wait, which asks AWS nothing.

{_table(head, rows, numbers=range(1, 7))}"""


def _audits(document: Document) -> str:
    audits = _data(document, "audits")
    if not audits:
        return ""
    names = list(dict.fromkeys(one["audit"] for one in audits["runs"]))
    counts = sorted({one["users"] for one in audits["runs"]})
    by = {(one["audit"], one["users"]): one for one in audits["runs"]}
    rows = [
        (
            name,
            *(
                f"{by[name, users]['calls']:,} / {by[name, users]['seconds']:.2f} s"
                if (name, users) in by
                else "-"
                for users in counts
            ),
        )
        for name in names
    ]
    calls = _table(
        ("audit", "API calls"),
        [
            (name, ", ".join(f"{call} {n:,}" for call, n in by[name, counts[-1]]["byName"].items()))
            for name in names
            if (name, counts[-1]) in by
        ],
    )
    missing = f"\n\n{audits['leftOut']}" if audits["leftOut"] else ""
    return f"""## The audit beside others

All on the same embedded AWS in one run, each over the same users: API calls on the wire and
seconds from end to end, by number of users.

{_table(("audit", *(f"{users:,} users" for users in counts)), rows, numbers=range(1, 9))}

{HOW}{missing}

The calls for {counts[-1]:,} users:

{calls}"""


_PARTS: tuple[Callable[[Document], str], ...] = (
    _head,
    _bounds,
    _paths,
    _looks,
    _cost,
    _audits,
    _starts,
    _others,
)
