"""Audits the account that the stack is in, and leaves reports and facts in the report bucket."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keyturn.audit.counts import AccountCounts
from keyturn.audit.errors import ReportError
from keyturn.audit.model import AccountSource, SecretFacts, Status, Unavailable
from keyturn.audit.outputs import Files
from keyturn.audit.run import audit as judge
from keyturn.aws import metrics as measures
from keyturn.aws import reports, s3, secrets
from keyturn.aws.log import logger
from keyturn.aws.metrics import Measure
from keyturn.fleet import central, facts
from keyturn.fleet.run import FleetRun
from keyturn.fleet.settings import FleetSettings
from keyturn.model.errors import AuditFailed, AwsRefused
from keyturn.model.moments import iso
from keyturn.model.passwords import PasswordPolicy

_REPORT_NAME = "credential-report.csv"


def audit(run: FleetRun, settings: FleetSettings, *, asked_for: Sequence[str]) -> dict[str, Any]:
    """Audit the account and return a small summary for the state machine.

    IAM calls: three, however many users there are; and one ListSecrets for each 100 secrets.

    Raises:
        AuditFailed: the credential report could not be had, or is broken (account, column, line).
        AwsRefused: the report was denied. Of a denied second source the report says so instead.
    """
    report = reports.credential_report()
    policy = _policy()
    listed = _secrets(settings)
    source = AccountSource(
        lines=report.lines(),
        at=report.at,
        account_id=run.account_id,
        managed=listed,
        managed_path=settings.rotations.managed_user_path,
        password_policy=policy,
    )
    with tempfile.TemporaryDirectory() as folder, Files(Path(folder)) as files:
        try:
            judged = judge([source], settings.thresholds, sink=files)
        except ReportError as error:
            raise AuditFailed(str(error)) from None
        written = [*files.write(judged).values(), Path(folder, _REPORT_NAME)]
        written[-1].write_bytes(report.content)
        central.send(settings.central_bucket, source, written[-1])
        for prefix in (run.audit_prefix, run.latest_prefix):
            for path in written:
                s3.upload(settings.report_bucket, prefix + path.name, path)
    known = {} if isinstance(listed, Unavailable) else listed
    users = [
        user.dump()
        for user in facts.users_of(report.lines(), known, settings.rotations.managed_user_path)
        if user.managed or user.name in {*asked_for}
    ]
    unavailable = listed.why if isinstance(listed, Unavailable) else None
    document = {"reportAt": iso(report.at), "unavailable": unavailable, "users": users}
    s3.write_json(settings.report_bucket, run.facts_key, document)
    (counts,) = judged.accounts
    if unavailable is None:
        _measure(counts)
    return _summary(counts)


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


def _measure(counts: AccountCounts) -> None:
    """Write the metrics of the managed users' keys."""
    measures.write(
        {
            Measure.MANAGED_USERS: counts.managed_users,
            Measure.OLDEST_MANAGED_KEY: counts.oldest_managed_key_age_days or 0,
            Measure.MANAGED_KEYS_OVER_AGE: counts.managed_keys_over_age,
            Measure.ROTATIONS_IN_FLIGHT: counts.rotations_in_flight,
        }
    )


def _summary(counts: AccountCounts) -> dict[str, Any]:
    """Return what the digest says of the audit: small, however many users there are."""
    findings: Counter[str] = Counter()
    for (rule, status, _), count in counts.findings.items():
        findings[rule if status is Status.FINDING else f"{rule} (not judged)"] += count
    return {
        "users": counts.users,
        "managed": counts.managed_users,
        "managedKeysOverAge": counts.managed_keys_over_age,
        "findings": dict(findings),
        "unavailable": [f"{source}: {why}" for source, why in counts.unavailable],
    }
