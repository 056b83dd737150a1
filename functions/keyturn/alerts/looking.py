"""Looks up whose an alert is, and what is known about that user."""

from __future__ import annotations

from keyturn.alerts.deciding import Facts, Stack
from keyturn.alerts.reading import Alert, Wish
from keyturn.aws import iam, secrets
from keyturn.model.errors import RequestRejected
from keyturn.model.request import is_user_name
from keyturn.model.world import is_managed


def look_up(alert: Alert, stack: Stack) -> Facts:
    """Return the facts for one alert.

    Raises:
        AwsThrottled, AwsRefused: an unanswered question is an error, so that the event is
            delivered again, or kept for a person.
    """
    if alert.account_id not in (None, stack.account_id):
        return Facts(None, f"it is about the account {alert.account_id}, not this one")
    name = alert.user_name
    if alert.user_id:
        name = iam.name_of(alert.user_id, path=stack.settings.managed_user_path)
        if name is None:
            path = stack.settings.managed_user_path
            return Facts(None, f"no IAM user below {path} has the id {alert.user_id}")
    elif alert.key_id and name is None:
        try:
            name = iam.owner_of(alert.key_id)
        except RequestRejected as unknown:
            return Facts(None, str(unknown))
    user = iam.get_user(name) if name and is_user_name(name) else None
    if user is None:
        return Facts(None, "the IAM user that it names does not exist in this account")
    may_rotate = alert.wish in (Wish.ROTATE, Wish.ASK_SETTING)  # nothing else needs the secret
    if not may_rotate or "," in user.name or not is_managed(user, stack.settings):
        return Facts(user)
    return Facts(user, secret=secrets.describe(stack.settings.secret_name(user.name)))
