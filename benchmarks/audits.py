"""Audits of the same users by Keyturn, by Cloud Custodian, and by a plain loop over the users.

All three answer the same question, which active keys are older than 90 days, on one embedded AWS,
one after the other, each as a process of its own. Cloud Custodian pins versions that Keyturn does
not have, so it is installed for the moment into an environment of its own; where that cannot be
done, its column is left out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import localaws
from benchmarks.figures import Figure, Results
from localaws.model import CredentialReportModel
from proofs.stack.support import eventually

_ROOT = Path(__file__).resolve().parent.parent
USERS = (10, 100, 1_000)
DAYS = 90
_OLD_OF_TEN, _MANAGED_OF_TEN = 3, 1
_PREFIX = "machine-user/"
CUSTODIAN = "c7n==0.9.53"
_POLICY = f"""policies:
  - name: old-keys
    resource: aws.iam-user
    filters:
      - type: credential
        key: access_keys.last_rotated
        value: {DAYS}
        value_type: age
        op: greater-than
"""
KEYTURN, PLAIN = "Keyturn", "a plain loop over the users"
HOW = f"""Each audit is a process of its own, from its start to its end, imports included, and
finds the keys older than {DAYS} days; all have to find the same number. Three of ten users have
one. A credential report is there already (a first one takes IAM some seconds; Keyturn then looks
after 2 s, Cloud Custodian after 10 s). Keyturn also judges its other rules, reads the password
policy and the secrets of the managed users (every tenth), and writes its reports. The plain loop
was written for this comparison: ListUsers, then ListAccessKeys for each user and
GetAccessKeyLastUsed for each key. On AWS each call takes longer than here, so there the number of
calls weighs more."""


@dataclass(frozen=True)
class _Audit:
    """How an audit is run: a command, and how many old keys it found, from its work directory."""

    name: str
    command: Sequence[str]
    found: Callable[[Path], int]
    environment: Mapping[str, str]


def measure(users: Sequence[int] = USERS) -> Results:
    """Run every audit for each number of users."""
    with tempfile.TemporaryDirectory(prefix="keyturn-bench-") as scratch, localaws.start() as aws:
        audits, left_out = _audits(Path(scratch))
        runs = []
        for before, total in zip((0, *users), users, strict=False):
            _populate(aws, range(before, total))
            _make_report(aws)
            runs += [_run(aws, audit, total, Path(scratch)) for audit in audits]
    data = {"runs": runs, "leftOut": left_out}
    return Results(_figures(runs, users), data)


def _audits(scratch: Path) -> tuple[list[_Audit], str]:
    """Return the audits that can be run, and in words what cannot."""
    ours = {"PYTHONPATH": f"{_ROOT / 'functions'}{os.pathsep}{_ROOT}"}
    own = [sys.executable, "-m", "benchmarks.audits"]
    audits = [
        _Audit(KEYTURN, [*own, "keyturn"], _from_text, ours),
        _Audit(PLAIN, [*own, "plain"], _from_text, ours),
    ]
    custodian, problem = _install(scratch / "custodian")
    if custodian is None:
        return audits, f"Cloud Custodian ({CUSTODIAN}) could not be installed: {problem}."
    (scratch / "policy.yml").write_text(_POLICY, encoding="utf-8")
    command = [
        str(custodian), "run", "--output-dir", "out", "--cache-period", "0",
        "--region", "us-east-1", str(scratch / "policy.yml"),
    ]  # fmt: skip
    name = f"Cloud Custodian {CUSTODIAN.rpartition('=')[2]}, `credential` filter"
    return [*audits, _Audit(name, command, _from_custodian, {})], ""


def _install(folder: Path) -> tuple[Path | None, str]:
    """Install Cloud Custodian into an environment of its own; return it, or what went wrong."""
    venv.create(folder, with_pip=True)
    done = subprocess.run(
        [folder / "bin" / "python", "-m", "pip", "install", "--quiet",
         "--disable-pip-version-check", "--no-input", CUSTODIAN],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        # Its message may name a package index, which is nobody's business here.
        return None, f"pip ended with status {done.returncode}"
    return folder / "bin" / "custodian", ""


def _run(aws: localaws.LocalAws, audit: _Audit, users: int, scratch: Path) -> dict[str, Any]:
    work = scratch / f"{users}-{audit.name.split()[0]}"
    work.mkdir()
    path = {"PATH": os.environ.get("PATH", ""), "HOME": str(work)}
    since, began = time.time(), time.monotonic()
    done = subprocess.run(
        audit.command,
        cwd=work,
        env={**path, **aws.environment(), **audit.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - began
    if done.returncode:
        raise RuntimeError(f"{audit.name} ended with status {done.returncode}: {done.stderr}")
    (work / "stdout").write_text(done.stdout, encoding="utf-8")
    found, expected = audit.found(work), users * _OLD_OF_TEN // 10
    if found != expected:
        raise RuntimeError(f"{audit.name} found {found} old keys of {expected}: {done.stderr}")
    calls = Counter(f"{call.service}:{call.action}" for call in aws.control.calls(since=since))
    return {
        "audit": audit.name,
        "users": users,
        "calls": calls.total(),
        "byName": dict(sorted(calls.items())),
        "seconds": round(seconds, 2),
        "found": found,
    }


def _from_text(work: Path) -> int:
    return int((work / "stdout").read_text(encoding="utf-8"))


def _from_custodian(work: Path) -> int:
    users = json.loads((work / "out" / "old-keys" / "resources.json").read_text(encoding="utf-8"))
    return sum(len(user["c7n:matched-keys"]) for user in users)


def _figures(runs: Sequence[Mapping[str, Any]], users: Sequence[int]) -> list[Figure]:
    most = users[-1]
    at = {run["audit"]: run for run in runs if run["users"] == most}
    ours, others = at.pop(KEYTURN), at
    name = f"audit of {most:,} users"
    told = "; ".join(
        f"{other}: {run['calls']:,} calls, {run['seconds']} s" for other, run in others.items()
    )
    managed = most * _MANAGED_OF_TEN // 10
    return [
        Figure(
            f"{name}: API calls", ours["calls"], "", 3 + max(1, -(-managed // 100)), told
        ),
        Figure(
            f"{name}: seconds", ours["seconds"], "s",
            min(run["seconds"] for run in others.values()), "no slower than the others"
        ),
    ]  # fmt: skip


# --- the account ----------------------------------------------------------------------------------


def _populate(aws: localaws.LocalAws, numbers: range) -> None:
    """Make users with a key each, some of them old; each tenth has a secret."""
    iam, secrets = aws.client("iam"), aws.client("secretsmanager")

    def make(number: int) -> None:
        name = f"user-{number:05}"
        iam.create_user(UserName=name)
        key = iam.create_access_key(UserName=name)["AccessKey"]["AccessKeyId"]
        if number % 10 < _OLD_OF_TEN:
            aws.control.backdate_key(key, datetime.now(UTC) - timedelta(days=DAYS + 10))
        if number % 10 < _MANAGED_OF_TEN:
            secrets.create_secret(Name=_PREFIX + name, SecretString="{}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make, numbers))


def _make_report(aws: localaws.LocalAws) -> None:
    """Have a credential report made that shows all users, and that is reused as on AWS."""
    aws.control.set_credential_report(CredentialReportModel(reuse_seconds=14_400))
    iam, since, asked = aws.client("iam"), time.time(), 0

    def there() -> bool:
        nonlocal asked
        asked += 1
        return bool(iam.generate_credential_report()["State"] == "COMPLETE")

    eventually(there, what="a credential report is there")
    action = "iam:GenerateCredentialReport"
    eventually(
        # A call is recorded after it is answered: these must not be counted as an audit's.
        lambda: len(aws.control.calls(since=since, action=action)) >= asked,
        what="the calls that made the report are recorded",
    )


# --- the audits that are a process of this module -------------------------------------------------


def _by_keyturn() -> int:
    """Audit as the function AuditAccount does, with its adapters; the reports stay here."""
    from keyturn.audit.model import AccountSource, Rule, Status, Thresholds  # noqa: PLC0415
    from keyturn.audit.outputs import Files  # noqa: PLC0415
    from keyturn.audit.run import audit  # noqa: PLC0415
    from keyturn.aws import reports, secrets  # noqa: PLC0415 - not in the plain loop's process
    from keyturn.fleet.facts import secret_facts  # noqa: PLC0415

    report = reports.credential_report()
    policy = reports.password_policy()
    source = AccountSource(
        lines=report.content.decode().splitlines(keepends=True),
        at=report.at,
        managed=secret_facts(secrets.listed(_PREFIX), _PREFIX),
        password_policy=policy,
    )
    with tempfile.TemporaryDirectory() as folder, Files(Path(folder)) as files:
        judged = audit([source], Thresholds(max_key_age_days=DAYS), sink=files)
        files.write(judged)
    return sum(
        count
        for (rule, status, _), count in judged.findings.items()
        if rule == Rule.KEY_NOT_ROTATED and status is Status.FINDING
    )


def _by_plain_loop() -> int:
    """Ask IAM for each user's keys and each key's last use, as most scripts do."""
    import boto3  # noqa: PLC0415 - in this process alone

    iam = boto3.client("iam")
    now, old = datetime.now(UTC), 0
    for page in iam.get_paginator("list_users").paginate():
        for user in page["Users"]:
            for key in iam.list_access_keys(UserName=user["UserName"])["AccessKeyMetadata"]:
                iam.get_access_key_last_used(AccessKeyId=key["AccessKeyId"])
                is_old = now - key["CreateDate"] > timedelta(days=DAYS)
                old += key["Status"] == "Active" and is_old
    return old


if __name__ == "__main__":
    print({"keyturn": _by_keyturn, "plain": _by_plain_loop}[sys.argv[1]]())
