"""IAM's credential report and password policy: three calls, however many users there are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from botocore.exceptions import ClientError

from keyturn.aws import calls
from keyturn.model.errors import AuditFailed
from keyturn.model.passwords import PasswordPolicy

# A report of 50 rows took IAM about 2 seconds.
_FIRST_WAIT_SECONDS = 2.0
_LONGEST_WAIT_SECONDS = 20.0
_GROWTH = 1.5
DEADLINE_SECONDS = 240.0

# IAM API reference, GetCredentialReport: the codes on the wire, and the names of the exceptions.
_NOT_READY = frozenset({"ReportInProgress", "CredentialReportNotReadyException"})
_NONE_THERE = frozenset(
    {
        "ReportNotPresent",
        "ReportExpired",
        "CredentialReportNotPresentException",
        "CredentialReportExpiredException",
    }
)
# GenerateCredentialReport: somebody else is generating one, which serves us as well.
_BUSY = "LimitExceeded"


@dataclass(frozen=True)
class CredentialReport:
    """The report as IAM made it; `at` is when (up to 4 hours ago)."""

    content: bytes
    at: datetime

    def lines(self) -> Iterator[str]:
        """Yield the lines as text; UnicodeDecodeError only where the audit names the line."""
        for line in self.content.splitlines(keepends=True):
            yield line.decode("utf-8")


def next_wait(tries: int) -> float:
    """Return the seconds to wait before the report is asked for again."""
    return min(_FIRST_WAIT_SECONDS * _GROWTH**tries, _LONGEST_WAIT_SECONDS)


def credential_report(
    *,
    deadline_seconds: float = DEADLINE_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> CredentialReport:
    """Have a report generated, wait for it, and return it.

    Usually two calls: one that starts or finds a report, one that gets it.

    Raises:
        AuditFailed: there was none within the deadline.
        AwsRefused, AwsThrottled: as any call.
    """
    ends = clock() + deadline_seconds
    complete = _generate()
    tries = 0
    while True:
        if not complete:
            wait = next_wait(tries)
            if clock() + wait > ends:
                raise AuditFailed(
                    f"IAM had no credential report after {deadline_seconds:.0f} seconds; "
                    "nothing was started, start the run again later"
                )
            sleep(wait)
        tries += 1
        report = _get()
        if isinstance(report, CredentialReport):
            return report
        # A report may be replaced or expire between the two calls: then it is made anew.
        complete = False
        if report in _NONE_THERE:
            _generate()


def password_policy() -> PasswordPolicy | None:
    """Return the account's password policy, None when it has none."""
    with calls.translated("iam:GetAccountPasswordPolicy"):
        try:
            found = calls.iam().get_account_password_policy()["PasswordPolicy"]
        except ClientError as error:
            if calls.error_code(error) == "NoSuchEntity":
                return None
            raise
    return PasswordPolicy(
        max_age_days=found.get("MaxPasswordAge"),
        minimum_length=found.get("MinimumPasswordLength"),
        reuse_prevention=found.get("PasswordReusePrevention"),
    )


def _generate() -> bool:
    """Ask for a report; return whether there is one that can be got at once."""
    with calls.translated("iam:GenerateCredentialReport"):
        try:
            return calls.iam().generate_credential_report()["State"] == "COMPLETE"
        except ClientError as error:
            if calls.error_code(error) == _BUSY:
                return False
            raise


def _get() -> CredentialReport | str:
    """Return the report, or the code that says why there is none yet."""
    with calls.translated("iam:GetCredentialReport"):
        try:
            found = calls.iam().get_credential_report()
        except ClientError as error:
            code = calls.error_code(error)
            if code in _NOT_READY | _NONE_THERE:
                return code
            raise
    return CredentialReport(found["Content"], found["GeneratedTime"].astimezone(UTC))
