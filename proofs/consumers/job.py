"""Runs the shell steps of a GitHub Actions job as a runner does, and is its identity provider.

Played: variables of the workflow, the job and the step, GITHUB_ENV, RUNNER_TEMP, `shell: bash`,
masks, and the endpoint that hands out the job's identity. A step with `uses` is an error.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from proofs.consumers.commands import AWS, COMMAND_SECONDS, Did, Repeated
from proofs.consumers.programs import environment
from proofs.consumers.readers import filled, identity_token
from proofs.stack.support import MachineUser, Stack

FOLDER = "github-actions"
WORKFLOW = f"{FOLDER}/rotate-safe-job.yml"
JOB = "with-a-machine-user"
MASK = "::add-mask::"
WORK_OF_A_JOB = 3
"""How often a job repeats its work before the next job begins: rotations happen within one."""


class Issuer:
    """GitHub's endpoint for identity tokens: for one job, with that job's bearer token."""

    BEARER = "request-token-of-the-job"

    def __init__(self, subject: str) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = parse_qs(urlsplit(self.path).query)
                allowed = self.headers["Authorization"] == f"bearer {Issuer.BEARER}"
                good = allowed and asked.get("audience") == ["sts.amazonaws.com"]
                token = identity_token("https://token.actions.githubusercontent.com", subject)
                body = json.dumps({"value": token}).encode() if good else b"{}"
                self.send_response(200 if good else 401)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def variables(self) -> dict[str, str]:
        """The variables that a job with the permission `id-token: write` has."""
        return {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"http://127.0.0.1:{self._server.server_port}/?v=2",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": self.BEARER,
        }

    def stop(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


@dataclass(frozen=True)
class Stepped:
    """How a step ended, and its log with the job's masks."""

    status: int
    log: str


@dataclass
class Job:
    """One run of the job, on a runner of its own."""

    workflow: dict[str, Any]
    directory: Path
    variables: dict[str, str]
    masked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        assert self.workflow["defaults"] == {"run": {"shell": "bash"}}
        self.directory.mkdir()
        job = self.workflow["jobs"][JOB]
        self.steps: list[dict[str, Any]] = job["steps"]
        self.variables = self.variables | job["env"] | {"RUNNER_TEMP": str(self.directory)}
        if job["permissions"].get("id-token") != "write":
            del self.variables["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]

    def run(self, step: dict[str, Any]) -> Stepped:
        """Run a step; its additions to GITHUB_ENV are there for the steps after it."""
        assert set(step) <= {"name", "env", "run"}, step
        assert "${{" not in step["run"]  # an expression in a script invites injection
        script = self.directory / "step.sh"
        script.write_text(step["run"], encoding="utf-8")
        added = self.directory / "github-env"
        added.write_text("")
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],  # noqa: S607
            env=self.variables | step.get("env", {}) | {"GITHUB_ENV": str(added)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        for line in added.read_text().splitlines():
            name, equals, value = line.partition("=")
            assert equals, line
            self.variables[name] = value
        return Stepped(done.returncode, self._shown(done.stdout))

    def _shown(self, output: str) -> str:
        shown = []
        for line in output.splitlines(keepends=True):
            if line.startswith(MASK):
                self.masked.append(line.removeprefix(MASK).strip())
                continue
            for secret in self.masked:
                line = line.replace(secret, "***")  # noqa: PLW2901
            shown.append(line)
        return "".join(shown)


class Repository:
    """A repository whose job is started again and again; `log` is what GitHub would show."""

    def __init__(self, stack: Stack, user: MachineUser, directory: Path, issuer: Issuer) -> None:
        self._workflow = yaml.safe_load(filled(stack, user, WORKFLOW))
        self._directory = directory
        path = f"{AWS.parent}{os.pathsep}{os.environ['PATH']}"
        self._variables = environment(stack.aws, directory / "none") | issuer.variables
        self._variables |= {"PATH": path}
        self._jobs = 0
        self._works = 0
        self.log = ""

    def job(self) -> Job:
        """Return a new run of the job, of which no step has run."""
        self._jobs += 1
        return Job(self._workflow, self._directory / f"job-{self._jobs}", dict(self._variables))

    def once(self) -> Did:
        """Do the work of a job once more; at times as the next job."""
        if self._works % WORK_OF_A_JOB == 0:
            self._job = self.job()
        self._works += 1
        failed, errors = 0, ""
        # The first step of a job is the preparation; the others work.
        steps = self._job.steps[min(1, (self._works - 1) % WORK_OF_A_JOB) :]
        for step in steps:
            done = self._job.run(step)
            self.log += done.log
            if done.status:
                failed += 1
                errors += f"{step['name']}: {done.log}"
        return Did(calls=len(steps) - failed, failed_calls=failed, errors=errors)


def github_actions(
    stack: Stack, user: MachineUser, directory: Path, issuer: Issuer
) -> tuple[Repeated, Repository]:
    """A repository's jobs, one after the other."""
    repository = Repository(stack, user, directory, issuer)
    errors = directory / "jobs.stderr"
    return Repeated("github_actions", stack, user, errors, repository.once), repository
