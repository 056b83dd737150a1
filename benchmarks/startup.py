"""What a cold start costs: importing a handler against what no function on AWS can do without."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.figures import Figure
from tools import template

_FUNCTIONS = Path(__file__).parent.parent / "functions"
_ROUNDS = 15
_NOTHING = "pass"
_BASELINE = "import boto3; boto3.client('iam')"
BOUND = 1.4
_LIKE_LAMBDA = {
    "PATH": os.environ.get("PATH", ""),
    "PYTHONPATH": str(_FUNCTIONS),
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_ACCESS_KEY_ID": "benchmark",
    "AWS_SECRET_ACCESS_KEY": "benchmark",
    # The handlers trace when it is set, so leaving it out would flatter the figure.
    "LAMBDA_TASK_ROOT": str(_FUNCTIONS),
    "POWERTOOLS_SERVICE_NAME": "keyturn",
    "POWERTOOLS_METRICS_NAMESPACE": "Keyturn",
}


def measure(rounds: int = _ROUNDS) -> list[Figure]:
    """Import every handler once, then the heaviest against the baseline, by turns."""
    handlers = [f"import {name}" for name in _modules()]
    heaviest = max(handlers, key=lambda code: min(_run(code) for _ in range(3)))
    seconds: dict[str, list[float]] = {_NOTHING: [], _BASELINE: [], heaviest: []}
    for _ in range(rounds):
        # By turns, so that whatever else this computer does hits all of them alike.
        for code, taken in seconds.items():
            taken.append(_run(code))
    empty, baseline, handler = (statistics.median(taken) for taken in seconds.values())
    name = heaviest.rsplit(".", 1)[-1]
    told = f"{(handler - empty) * 1000:.0f} ms against {(baseline - empty) * 1000:.0f} ms"
    note = f"{name}, with tracing as on Lambda; {told}; median of {rounds} fresh interpreters"
    ratio = round((handler - empty) / (baseline - empty), 2)
    return [Figure("import of the heaviest handler / boto3 and a client", ratio, "", BOUND, note)]


def _modules() -> list[str]:
    """Return the modules of the handlers that the templates name."""
    found = set()
    for path in ("template.yaml", "organization/template.yaml"):
        for resource in template.load(template.ROOT / path)["Resources"].values():
            if handler := resource["Properties"].get("Handler"):
                found.add(handler.rpartition(".")[0])
    return sorted(found)


def _run(code: str) -> float:
    """Run code in a fresh interpreter, in an environment like Lambda's; return the seconds."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=_LIKE_LAMBDA, check=True)
    return time.perf_counter() - began
