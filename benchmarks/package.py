"""How large the package of the functions is: what a new execution environment has to load."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from benchmarks.figures import Figure

_FUNCTIONS = Path(__file__).parent.parent / "functions"
_MEGABYTE = 1_000_000
BOUND_MB = 8
# The functions ship these two, pinned (functions/requirements.in says why), although Lambda has
# some version of them; they are what every Python function on AWS weighs.
LEFT_OUT = ("boto3", "botocore")


def measure() -> list[Figure]:
    """Install what the functions ship as for Lambda, zip it, and weigh it."""
    name, note = "package without boto3, botocore", "zipped, python3.13 arm64"
    with tempfile.TemporaryDirectory(prefix="keyturn-bench-") as scratch:
        target = Path(scratch) / "package"
        if problem := _install(target):
            return [Figure(name, None, "MB", BOUND_MB, problem)]
        whole = _zipped(Path(scratch) / "whole.zip", target, ())
        light = _zipped(Path(scratch) / "light.zip", target, LEFT_OUT)
    return [
        Figure(name, light, "MB", BOUND_MB, f"{note}; nothing else is left out"),
        Figure("package as it is shipped", whole, "MB", note=note),
    ]


def _install(target: Path) -> str:
    """Install the pinned dependencies; return what went wrong, in words."""
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
        "--no-compile", "--no-deps", "--require-hashes", "--only-binary", ":all:",
        "--platform", "manylinux2014_aarch64", "--platform", "manylinux_2_28_aarch64",
        "--implementation", "cp", "--python-version", "3.13",
        "--target", str(target), "--requirement", str(_FUNCTIONS / "requirements.txt"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stderr.strip().splitlines()
    return "" if done.returncode == 0 else f"pip: {lines[-1] if lines else done.returncode}"


def _zipped(path: Path, dependencies: Path, without: tuple[str, ...]) -> float:
    """Zip the dependencies and the sources; return the size in MB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for root in (dependencies, _FUNCTIONS):
            for file in sorted(root.rglob("*")):
                name = file.relative_to(root)
                left_out = "__pycache__" in name.parts or name.parts[0].startswith(without)
                if file.is_file() and not left_out:
                    archive.write(file, name)
    return path.stat().st_size / _MEGABYTE
