"""How fast a credential report is audited, and in how much memory.

The report is made up: deterministic rows in shares close to those of the study that the audit's
tables compare with, sorted by name as IAM sorts them. Seconds are CPU seconds of one process, each
measurement in a fresh interpreter, so that the others on this computer matter less.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.figures import Figure

_ROOT = Path(__file__).parent.parent
SMALL, LARGE = 5_000, 1_000_000
RULES_BOUND = 1_000_000 / 100_000  # microseconds a row
ALL_BOUND = 1_000_000 / 30_000
MEMORY_BOUND_MB = 16
_AT = datetime(2026, 11, 21, 12, tzinfo=UTC)


def measure() -> list[Figure]:
    """Audit 5,000 and 1,000,000 rows: counts only, and with all outputs, the page too."""
    with tempfile.TemporaryDirectory(prefix="keyturn-bench-") as scratch:
        paths = {rows: write(Path(scratch), rows) for rows in (SMALL, LARGE)}
        rules = {rows: _run("rules", path, scratch) for rows, path in paths.items()}
        everything = {rows: _run("all", path, scratch) for rows, path in paths.items()}
    return [
        *(_speed("rules and CSV parsing", rules[rows], RULES_BOUND) for rows in paths),
        *(_speed("all outputs and the page", everything[rows], ALL_BOUND) for rows in paths),
        _memory("rules", rules),
        _memory("all outputs", everything),
    ]


def _speed(what: str, told: dict[str, float], bound: float) -> Figure:
    each = told["seconds"] / told["rows"] * 1_000_000
    note = f"{1_000_000 / each:,.0f} rows/s of one core's time"
    if "findings" in told:
        note += f"; {told['findings'] + told['keys']:,.0f} findings and keys"
    # The bound holds for the many rows; 5,000 are over before the interpreter is warm.
    limit = bound if told["rows"] > SMALL else None
    return Figure(
        f"audit of {told['rows']:,.0f} rows: {what}", round(each, 2), "us/row", limit, note
    )


def _memory(what: str, told: dict[int, dict[str, float]]) -> Figure:
    small, large = told[SMALL]["megabytes"], told[LARGE]["megabytes"]
    return Figure(
        f"audit: peak memory at {LARGE:,} over {SMALL:,} rows, {what}",
        round(large - small, 1),
        "MB",
        MEMORY_BOUND_MB,
        f"{large:.0f} MB against {small:.0f} MB",
    )


def _run(what: str, path: Path, scratch: str) -> dict[str, float]:
    """Measure in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.audit", what, str(path), scratch],
        cwd=_ROOT,
        env={
            "PATH": os.environ.get("PATH", ""),
            "PYTHONPATH": f"{_ROOT / 'functions'}{os.pathsep}{_ROOT}",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    told: dict[str, float] = json.loads(done.stdout)
    return told


def inside(what: str, path: Path, scratch: Path) -> dict[str, float]:
    """Audit a file: `rules` only counts, `all` writes everything."""
    # Not in the process that only starts others.
    from keyturn.audit.model import AccountSource, Thresholds  # noqa: PLC0415
    from keyturn.audit.outputs import Files  # noqa: PLC0415
    from keyturn.audit.run import audit  # noqa: PLC0415

    with path.open(encoding="utf-8", newline="") as lines:
        source = AccountSource(lines=lines, at=_AT, name=path.name)
        files = Files(scratch / f"out-{path.stem}") if what == "all" else None
        began = time.process_time()
        report = audit([source], Thresholds(), sink=files)
        if files:
            files.write(report)
        seconds = time.process_time() - began
    told = {
        "seconds": seconds,
        "rows": report.accounts[0].users,
        "megabytes": _peak_megabytes(),
    }
    if files:
        told |= {"findings": report.findings_total, "keys": report.total("keys")}
    return told


def _peak_megabytes() -> float:
    """Return the most memory that this process had at a time."""
    status = Path("/proc/self/status")
    if status.exists():
        # Linux's ru_maxrss begins with that of the process which started this one.
        (line,) = (one for one in status.read_text().splitlines() if one.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1_000_000
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_000_000


# The report


def write(folder: Path, rows: int) -> Path:
    """Write a report with so many users."""
    path = folder / f"{rows}.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        for line in generated(rows):
            file.write(line)
    return path


def generated(rows: int) -> Iterator[str]:
    """Return the lines of a report; the same ones for the same number of rows."""
    chance = random.Random(20210124)  # noqa: S311 - the same report in every run
    key = ["active", "last_rotated", "last_used_date", "last_used_region", "last_used_service"]
    yield ",".join([
        "user", "arn", "user_creation_time", "password_enabled", "password_last_used",
        "password_last_changed", "password_next_rotation", "mfa_active",
        *(f"access_key_{slot}_{name}" for slot in (1, 2) for name in key),
        "cert_1_active", "cert_1_last_rotated", "cert_2_active", "cert_2_last_rotated",
    ]) + "\n"  # fmt: skip
    certificates = "false,N/A,false,N/A\n"
    none = "false,N/A,N/A,N/A,N/A"
    yield (
        f"<root_account>,arn:aws:iam::123456789012:root,{_ago(3000 * 86400)},not_supported,"
        f"{_ago(86400)},not_supported,not_supported,true,{none},{none},{certificates}"
    )
    for number in range(rows):
        yield f"{_user(chance, number)},{certificates}"


def _user(chance: random.Random, number: int) -> str:
    age = chance.randrange(1, 2500 * 86400)
    name = f"machine-{number:07}"
    console = chance.random() < 0.15
    password = "false,N/A,N/A,N/A,false"  # noqa: S105 - cells
    if console:
        used = _ago(chance.randrange(age)) if chance.random() < 0.9 else "no_information"
        mfa = "true" if chance.random() < 0.6 else "false"
        password = f"true,{used},{_ago(chance.randrange(age))},N/A,{mfa}"
    none = "false,N/A,N/A,N/A,N/A"
    first = second = none
    kind = chance.random()
    if kind < 0.82:
        made = age if chance.random() < 0.2 else chance.randrange(age)
        first = _key(chance, made, 0.88)
        if kind < 0.15:
            second = _key(chance, chance.randrange(made + 1), 0.5)
    return (
        f"{name},arn:aws:iam::123456789012:user/machine/{name},{_ago(age)},{password},"
        f"{first},{second}"
    )


def _key(chance: random.Random, made: int, active: float) -> str:
    state = "true" if chance.random() < active else "false"
    kind = chance.random()
    if kind < 0.15:
        return f"{state},{_ago(made)},N/A,N/A,N/A"
    # Most keys in use were used lately; the others at some time since they were made.
    used = chance.randrange(min(made, 7 * 86400) + 1) if kind < 0.65 else chance.randrange(made + 1)
    return f"{state},{_ago(made)},{_ago(used)},eu-central-1,s3"


def _ago(seconds: int) -> str:
    return (_AT - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    print(json.dumps(inside(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))))
