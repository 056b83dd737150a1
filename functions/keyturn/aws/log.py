"""The log of a function: structured, in CloudWatch Logs. Never a secret, never an event."""

from aws_lambda_powertools import Logger

logger = Logger()
