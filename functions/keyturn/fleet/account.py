"""Audits the account that the stack is in, and leaves reports and facts in the report bucket."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from keyturn import central
from keyturn.audit.errors import ReportError
from keyturn.audit.model import AccountSource, PasswordPolicy, SecretFacts, Unavailable
from keyturn.audit.outputs import Files
from keyturn.audit.run import audit as judge
from keyturn.aws import reports, s3, secrets
from keyturn.entry import logger
from keyturn.errors import AuditFailed, AwsRefused
from keyturn.fleet import facts
from keyturn.fleet.facts import FleetUser
from keyturn.fleet.run import Run
from keyturn.fleet.settings import DAY_SECONDS, FleetSettings
from keyturn.rotation import iso

_REPORT_NAME = "credential-report.csv"


def audit(run: Run, settings: FleetSettings, *, asked_for: Sequence[str]) -> dict[str, Any]:
    """Audit the account and return a small summary for the state machine.

    IAM calls: three, however many users there are; and one ListSecrets for each 100 secrets.

    Raises:
        AuditFailed: the credential report could not be had, or is broken (account, column, line).
        AwsRefused: the report was denied. Of a denied second source the report says so instead.
    """
    report = reports.credential_report()
    policy = _policy()
    listed = _secrets(settings)
    lines = report.content.decode("utf-8").splitlines(keepends=True)
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        try:
            users = facts.users_of(
                lines,
                {} if isinstance(listed, Unavailable) else listed,
                settings.rotations.managed_user_path,
            )
            managed = [user for user in users if user.managed]
            source = AccountSource(
                lines=lines,
                at=report.at,
                account_id=run.account_id,
                managed=_of(managed, listed),
                password_policy=policy,
            )
            files = Files(directory)
            judged = judge([source], settings.thresholds, sink=files)
        except ReportError as error:
            raise AuditFailed(f"the credential report cannot be read: {error}") from None
        written = files.write(judged)
        csv_path = directory / _REPORT_NAME
        csv_path.write_bytes(report.content)
        central.send(settings.central_bucket, source, csv_path)
        for prefix in (run.audit_prefix, run.latest_prefix):
            for path in (*written.values(), csv_path):
                s3.upload(settings.report_bucket, prefix + path.name, path)
    unavailable = listed.why if isinstance(listed, Unavailable) else None
    s3.write_json(
        settings.report_bucket,
        run.facts_key,
        {
            "reportAt": iso(report.at),
            "unavailable": unavailable,
            "users": [user.dump() for user in users if user.managed or user.name in {*asked_for}],
        },
    )
    if unavailable is None:
        _measure(managed, run, settings)
    return _summary(users, managed, policy, listed, judged.summary())


def _policy() -> PasswordPolicy | Unavailable | None:
    try:
        return reports.password_policy()
    except AwsRefused as refused:
        return _unavailable(refused)


def _secrets(settings: FleetSettings) -> dict[str, SecretFacts] | Unavailable:
    prefix = settings.rotations.secret_name_prefix
    try:
        return facts.secret_facts(secrets.listed(prefix), prefix)
    except AwsRefused as refused:
        return _unavailable(refused)


def _unavailable(refused: AwsRefused) -> Unavailable:
    logger.warning("a source of the audit could not be read", why=str(refused))
    return Unavailable(str(refused))


def _of(
    managed: Sequence[FleetUser], listed: Mapping[str, SecretFacts] | Unavailable
) -> Mapping[str, SecretFacts] | Unavailable:
    if isinstance(listed, Unavailable):
        return listed
    return {user.name: listed[user.name] for user in managed}


def _measure(managed: Sequence[FleetUser], run: Run, settings: FleetSettings) -> None:
    """Write the metrics of the managed users' keys, without the dimension of the function."""
    ages = [
        (run.started_at - at).total_seconds() / DAY_SECONDS
        for user in managed
        for at in user.active_keys
    ]
    over = sum(age > settings.max_key_age_days for age in ages)
    numbers = EphemeralMetrics()
    for name, value in (
        ("ManagedUsers", len(managed)),
        ("OldestManagedKeyAgeDays", int(max(ages, default=0))),
        ("ManagedKeysOverAge", over),
        ("RotationsInFlight", sum(user.in_flight for user in managed)),
    ):
        numbers.add_metric(name=name, unit=MetricUnit.Count, value=value)
    numbers.flush_metrics()


def _summary(
    users: Sequence[FleetUser],
    managed: Sequence[FleetUser],
    policy: PasswordPolicy | Unavailable | None,
    listed: Mapping[str, SecretFacts] | Unavailable,
    report: Mapping[str, Any],
) -> dict[str, Any]:
    findings: Counter[str] = Counter()
    return {
        "users": len(users),
        "managed": len(managed),
        "findings": dict(findings),
        "unavailable": [
            source.why for source in (policy, listed) if isinstance(source, Unavailable)
        ],
    }
