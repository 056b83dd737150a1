"""List prices of AWS in us-east-1, in US dollars, from memory: check them before you rely on them.

There was no way to look at AWS's price lists while this was written. Each price names where to
check it. Free tiers are left out, so a small account pays less.
"""

from __future__ import annotations

from dataclasses import dataclass

AS_OF = "2026-11"
"""When the prices were written down."""


@dataclass(frozen=True)
class Price:
    """A price of so many units. `confirmed` says whether AWS's own page was seen with it."""

    what: str
    dollars: float
    per: int
    unit: str
    source: str
    confirmed: bool = False

    @property
    def each(self) -> float:
        """Dollars for one unit."""
        return self.dollars / self.per


TRANSITION = Price(
    "Step Functions, Standard", 0.025, 1_000, "state transitions", "Step Functions pricing page"
)
REQUEST = Price("Lambda requests", 0.20, 1_000_000, "invocations", "Lambda pricing page")
GIGABYTE_SECOND = Price(
    "Lambda duration, arm64", 13.3334, 1_000_000, "GB-seconds", "Lambda pricing page"
)
SECRET = Price("Secrets Manager", 0.40, 1, "secret and month", "Secrets Manager pricing page")
SECRET_CALL = Price("Secrets Manager", 0.05, 10_000, "API calls", "Secrets Manager pricing page")
EVENT = Price("EventBridge, own events", 1.00, 1_000_000, "events", "EventBridge pricing page")
NOTIFICATION = Price("SNS", 0.50, 1_000_000, "requests", "SNS pricing page")
EMAIL = Price("SNS, by e-mail", 2.00, 100_000, "messages", "SNS pricing page")
METRIC = Price("CloudWatch metrics", 0.30, 1, "metric and month", "CloudWatch pricing page")
ALARM = Price("CloudWatch alarms", 0.10, 1, "alarm and month", "CloudWatch pricing page")
DASHBOARD = Price("CloudWatch", 3.00, 1, "dashboard and month", "CloudWatch pricing page")
ALARM_LOOK = Price(
    "CloudWatch", 0.01, 1_000, "API calls (DescribeAlarms)", "CloudWatch pricing page"
)
LOG_GIGABYTE = Price("CloudWatch Logs", 0.50, 1, "GB taken in", "CloudWatch pricing page")
TRACE = Price("X-Ray", 5.00, 1_000_000, "traces recorded", "X-Ray pricing page")
PUT = Price("S3", 0.005, 1_000, "PUT requests", "S3 pricing page")
GET = Price("S3", 0.0004, 1_000, "GET requests", "S3 pricing page")
STORED = Price("S3 Standard", 0.023, 1, "GB and month", "S3 pricing page")

PRICES = (
    TRANSITION, REQUEST, GIGABYTE_SECOND, SECRET, SECRET_CALL, EVENT, NOTIFICATION, EMAIL, METRIC,
    ALARM, DASHBOARD, ALARM_LOOK, LOG_GIGABYTE, TRACE, PUT, GET, STORED,
)  # fmt: skip

# What AWS charges nothing for: calls of IAM and STS, events of AWS's own services on the default
# bus, StartExecution and DescribeExecution.
FREE = ("iam", "sts", "states", "events", "sns")
