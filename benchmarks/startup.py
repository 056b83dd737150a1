"""What a cold start costs: importing a handler against what no function on AWS can do without."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.figures import Figure

_FUNCTIONS = Path(__file__).parent.parent / "functions"
_ROUNDS = 15
_NOTHING = "pass"
_BASELINE = "import boto3; boto3.client('iam')"
BOUND = 1.4


def measure(rounds: int = _ROUNDS) -> list[Figure]:
    """Import every handler once, then the heaviest against the baseline, by turns."""
    handlers = [
        f"import keyturn.handlers.{path.parent.name}.{path.stem}"
        for path in sorted((_FUNCTIONS / "keyturn" / "handlers").glob("*/*.py"))
        if path.stem != "__init__"
    ]
    heaviest = max(handlers, key=lambda code: min(_run(code) for _ in range(3)))
    seconds: dict[str, list[float]] = {_NOTHING: [], _BASELINE: [], heaviest: []}
    for _ in range(rounds):
        # By turns, so that whatever else this computer does hits all of them alike.
        for code, taken in seconds.items():
            taken.append(_run(code))
    empty, baseline, handler = (statistics.median(taken) for taken in seconds.values())
    name = heaviest.rsplit(".", 1)[-1]
    ratio = (handler - empty) / (baseline - empty)
    told = f"{(handler - empty) * 1000:.0f} ms against {(baseline - empty) * 1000:.0f} ms"
    return [
        Figure(
            "import of the heaviest handler / boto3 and a client",
            round(ratio, 2),
            "",
            BOUND,
            f"{name}, with tracing as on Lambda; {told}; median of {rounds} fresh interpreters",
        )
    ]


def _run(code: str) -> float:
    """Run code in a fresh interpreter, in an environment like Lambda's; return the seconds."""
    environment = {
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
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    return time.perf_counter() - began
