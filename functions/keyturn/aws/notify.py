"""Tells people, by the stack's topic."""

from __future__ import annotations

from keyturn.aws import calls
from keyturn.model.environment import Environment


def tell(subject: str, message: str) -> None:
    """Publish a message.

    Args:
        subject: ASCII, at most 100 characters.
        message: without whole key ids.

    Raises:
        AwsRefused, AwsThrottled: as any call.
    """
    with calls.translated("sns:Publish"):
        calls.sns().publish(
            TopicArn=Environment().text("NOTIFICATION_TOPIC_ARN"), Subject=subject, Message=message
        )
