"""List prices of AWS in us-east-1, in US dollars, from memory: check them before you rely on them.

Free tiers are left out, so a small account pays less. AWS charges nothing for calls of IAM and STS,
for events of its own services on the default bus, and for StartExecution and DescribeExecution.
"""

from __future__ import annotations

from enum import Enum

AS_OF = "2026-11"
"""When the prices were written down."""


class Price(Enum):
    """The price of so many units: the service, what it is called there, dollars, units, unit."""

    TRANSITION = ("Step Functions", "Standard", 0.025, 1_000, "state transitions")
    REQUEST = ("Lambda", "requests", 0.20, 1_000_000, "invocations")
    GIGABYTE_SECOND = ("Lambda", "duration, arm64", 13.3334, 1_000_000, "GB-seconds")
    SECRET = ("Secrets Manager", "secrets", 0.40, 1, "secret and month")
    SECRET_CALL = ("Secrets Manager", "calls", 0.05, 10_000, "API calls")
    EVENT = ("EventBridge", "own events", 1.00, 1_000_000, "events")
    NOTIFICATION = ("SNS", "publishing", 0.50, 1_000_000, "requests")
    EMAIL = ("SNS", "by e-mail", 2.00, 100_000, "messages")
    METRIC = ("CloudWatch", "custom metrics", 0.30, 1, "metric and month")
    ALARM = ("CloudWatch", "alarms", 0.10, 1, "alarm and month")
    ALARM_LOOK = ("CloudWatch", "DescribeAlarms", 0.01, 1_000, "API calls")
    DASHBOARD = ("CloudWatch", "dashboards", 3.00, 1, "dashboard and month")
    LOG_GIGABYTE = ("CloudWatch", "logs", 0.50, 1, "GB taken in")
    TRACE = ("X-Ray", "traces", 5.00, 1_000_000, "traces recorded")
    PUT = ("S3", "writes", 0.005, 1_000, "PUT requests")
    GET = ("S3", "reads", 0.0004, 1_000, "GET requests")
    STORED = ("S3", "Standard", 0.023, 1, "GB and month")

    @property
    def each(self) -> float:
        """Dollars for one unit."""
        _, _, dollars, per, _ = self.value
        return dollars / per
