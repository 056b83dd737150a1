"""`sam build` makes a package that is complete, small, and made for the architecture it runs on.

Needs the Python of the functions' runtime, because the SAM CLI runs that Python's pip.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tools import template

RUNTIME = "3.13"
MACHINES = {"arm64": "aarch64", "x86_64": "x86_64"}
# The SDK is pinned and shipped; everything else must stay small, because it is what a cold start
# reads and a reviewer has to trust.
SDK = ("boto3", "botocore", "s3transfer", "jmespath")
LARGEST_ZIP = 8_000_000

# One process for all of them, so that the package is built once.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("sam_build")]


def find_python() -> Path | None:
    """A working Python of the runtime's version: on the PATH, or among those of pyenv."""
    name = f"python{RUNTIME}"
    candidates = [found] if (found := shutil.which(name)) else []
    if pyenv := shutil.which("pyenv"):
        root = (
            os.environ.get("PYENV_ROOT")
            or subprocess.run(
                [pyenv, "root"], capture_output=True, text=True, check=False
            ).stdout.strip()
        )
        candidates += map(str, sorted(Path(root, "versions").glob(f"{RUNTIME}*/bin/{name}")))
    for candidate in candidates:
        # A pyenv shim exists even where the version behind it is not chosen.
        command = [candidate, "-c", "import pip"]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return Path(candidate)
    return None


def sam_build(python: Path, folder: Path, *arguments: str) -> dict[str, Any]:
    """Run `sam build` in a copy of what is deployed; returns the built template."""
    ignored = shutil.ignore_patterns("__pycache__")
    for part in ("functions", "statemachine"):
        shutil.copytree(template.ROOT / part, folder / part, ignore=ignored)
    for part in ("template.yaml", "samconfig.toml"):
        shutil.copy(template.ROOT / part, folder)
    result = subprocess.run(
        [Path(sys.executable).parent / "sam", "build", *arguments],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
            "SAM_CLI_TELEMETRY": "0",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return template.load(folder / ".aws-sam" / "build" / "template.yaml")


def functions(content: dict[str, Any]) -> dict[str, Any]:
    """The properties of a template's functions by their names."""
    return {
        name: resource["Properties"]
        for name, resource in content["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }


@pytest.fixture(scope="module")
def python() -> Path:
    if found := find_python():
        return found
    pytest.skip(f"no Python {RUNTIME} on the PATH or in pyenv, and sam build needs it")


@pytest.fixture(scope="module")
def built(python: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The folder of one function's package, and the built template."""
    # Not pytest's tmp_path, which keeps old folders: SAM makes a copy for each function.
    with tempfile.TemporaryDirectory() as folder:
        content = sam_build(python, Path(folder))
        name = next(iter(functions(content)))
        yield Path(folder, ".aws-sam", "build", name), content


def test_every_function_is_built(built: tuple[Path, dict[str, Any]]) -> None:
    package, content = built
    missing = [name for name in functions(content) if not (package.parent / name).is_dir()]
    assert missing == []


def test_compiled_modules_are_for_the_functions_architecture(
    built: tuple[Path, dict[str, Any]],
) -> None:
    package, content = built
    wanted = MACHINES[content["Parameters"]["FunctionArchitecture"]["Default"]]
    compiled = [path.name for path in package.rglob("*.so")]
    assert compiled
    assert [name for name in compiled if wanted not in name] == []


def test_the_zip_without_the_sdk_is_small(
    built: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    package, _ = built
    archive = tmp_path / "package.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in package.rglob("*"):
            inside = path.relative_to(package)
            if not inside.parts[0].startswith(SDK):
                file.write(path, inside)
    assert archive.stat().st_size < LARGEST_ZIP


def test_every_handler_imports_from_the_package_alone(python: Path) -> None:
    """Built for this machine, so that the compiled modules can be loaded here."""
    architecture = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
    if sys.platform != "linux" or architecture not in MACHINES:
        pytest.skip("packages are made for Linux on arm64 and x86_64, and this is neither")
    first = next(iter(functions(template.load())))
    with tempfile.TemporaryDirectory() as folder:
        override = f"FunctionArchitecture={architecture}"
        content = sam_build(python, Path(folder), first, "--parameter-overrides", override)
        handlers = sorted({function["Handler"] for function in functions(content).values()})
        program = (
            "import importlib, sys\n"
            "sys.path.append(sys.argv[1])\n"
            "for handler in sys.argv[2:]:\n"
            "    module, name = handler.rsplit('.', 1)\n"
            "    assert callable(getattr(importlib.import_module(module), name)), handler\n"
        )
        package = Path(folder, ".aws-sam", "build", first)
        # -I and -S: nothing but the standard library besides the package.
        result = subprocess.run(
            [python, "-I", "-S", "-c", program, package, *handlers],
            env={"AWS_DEFAULT_REGION": "us-east-1"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert result.returncode == 0, result.stderr
