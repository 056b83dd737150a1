"""Central collection: what an account's audit leaves in the bucket of the collecting account.

Two objects under accounts/<account>/: the credential report as IAM made it, and the context that it
is judged in. The collecting account judges them again, together with those of all other accounts
(`keyturn.fleet.organization`).
"""

from __future__ import annotations

from pathlib import Path

from keyturn.audit.context import dump_context
from keyturn.audit.model import AccountSource
from keyturn.aws import s3
from keyturn.aws.log import logger
from keyturn.aws.metrics import Measure, write
from keyturn.model.errors import AwsRefused, AwsThrottled
from keyturn.model.moments import iso

PREFIX = "accounts/"
REPORT = "credential-report.csv"
CONTEXT = "context.json"
# On both objects: two of different audits do not belong together.
REPORT_AT = "report-at"


def send(bucket: str, source: AccountSource, report: Path) -> None:
    """Send the report (CSV) and its context to the collecting account; no bucket, no sending.

    The context is written beside the report. A failure is logged and counted, never raised: the
    rotations of this account must not depend on another account, which notices by itself that a
    report is missing.
    """
    if not bucket:
        return
    context = report.with_name(CONTEXT)
    context.write_text(dump_context(source), encoding="utf-8")
    metadata = {REPORT_AT: iso(source.at)}
    try:
        for path, name in ((report, REPORT), (context, CONTEXT)):
            s3.upload(bucket, f"{PREFIX}{source.account_id}/{name}", path, metadata=metadata)
    except (AwsRefused, AwsThrottled) as error:
        logger.warning("the report was not sent to the collecting account", why=str(error))
        write({Measure.REPORTS_NOT_SENT: 1})
