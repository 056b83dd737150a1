"""What others need to carry the project on: workflows, hooks and the changelog hold together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools import changelog

ROOT = Path(__file__).parent.parent.parent
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def steps(workflow: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: str(path.stem))
def test_every_action_is_pinned_to_a_commit(workflow: Path) -> None:
    used = [step["uses"] for step in steps(workflow) if "uses" in step]
    assert used
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action) for action in used), used


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: str(path.stem))
def test_every_make_target_that_a_workflow_runs_exists(workflow: Path) -> None:
    run = " ".join(step.get("run", "") for step in steps(workflow))
    wanted = set(re.findall(r"\bmake ([a-z]+)", run))
    assert wanted
    assert wanted <= TARGETS


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: str(path.stem))
def test_a_workflow_may_only_read_unless_a_job_says_why(workflow: Path) -> None:
    parsed = yaml.safe_load(workflow.read_text(encoding="utf-8"))
    assert parsed["permissions"] == {"contents": "read"}
    assert all("timeout-minutes" in job for job in parsed["jobs"].values())


def test_issue_forms_warn_of_secrets() -> None:
    form = (ROOT / ".github/ISSUE_TEMPLATE/bug.yml").read_text(encoding="utf-8")
    assert "Never paste a secret access key" in form
    assert yaml.safe_load(form)["body"]


def test_an_entry_of_the_changelog_is_found_with_and_without_v() -> None:
    text = "# Changelog\n\n## [Unreleased]\n\n## [1.1.0] - 2026-02-01\n\n- b\n\n## [1.0.0]\n\n- a\n"
    assert changelog.entry(text, "v1.1.0") == "- b\n"
    assert changelog.entry(text, "1.0.0") == "- a\n"


@pytest.mark.parametrize("version", ["2.0.0", "Unreleased"])
def test_a_version_without_an_entry_is_refused(version: str) -> None:
    text = "## [Unreleased]\n\n## [1.0.0]\n\n- a\n"
    with pytest.raises(LookupError, match="no entry"):
        changelog.entry(text, version)
