"""Decides what an alert leads to: an execution, words for people, both, or neither.

A pure function over what was looked up. Whoever is not known to be managed is never touched, and
never passed over in silence.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keyturn.alerts.reading import Alert, Reading, Wish
from keyturn.model.identifiers import emergency_name, masked, rotation_name
from keyturn.model.settings import Settings
from keyturn.model.world import Label, SecretState, User, cools_down, is_managed
from keyturn.rotate.announce import Announcement, worded


@dataclass(frozen=True)
class Facts:
    """What was looked up for one alert.

    `user` is None when IAM does not tell whose the key is, or knows no such user; `unknown` then
    says so in words. `secret` is None when the user has none.
    """

    user: User | None
    unknown: str = ""
    secret: SecretState | None = None


@dataclass(frozen=True)
class Stack:
    """The stack that decides: its account, its machine, its settings, and its GuardDutyAction."""

    account_id: str
    machine_arn: str
    settings: Settings
    guard_duty_action: str


@dataclass(frozen=True)
class Start:
    """An execution of RotateKey to start; its name makes a second delivery harmless."""

    name: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Response:
    """What to do: start, tell people, both or neither; `why` is for the log.

    With a start, people are told only when it was the first of its name.
    """

    why: str
    start: Start | None = None
    tell: Announcement | None = None


def decide(reading: Reading, alert: Alert, facts: Facts, stack: Stack, now: datetime) -> Response:
    """Return what follows from one alert."""
    wish = alert.wish
    if wish is Wish.ASK_SETTING:
        wish = Wish.TELL if stack.guard_duty_action == "NOTIFY" else Wish(stack.guard_duty_action)
    problem = _problem(facts, stack.settings)
    if problem or facts.user is None:
        return _only_tell(reading, alert, problem, _by_hand(alert, facts, stack))
    if wish is Wish.TELL:
        return _only_tell(reading, alert, "", _by_machine(alert, facts.user, stack))
    if wish is Wish.EMERGENCY:
        if alert.key_id is None:
            temporary = "it names temporary credentials, not the key behind them"
            return _only_tell(reading, alert, temporary, _by_machine(alert, facts.user, stack))
        return _emergency(reading, alert, facts.user, alert.key_id)
    return _rotation(reading, alert, facts.user, facts, stack, now=now)


def _problem(facts: Facts, settings: Settings) -> str:
    """Why the user cannot be rotated, or "" when it can."""
    user = facts.user
    if user is None:
        return facts.unknown
    if not is_managed(user, settings):
        return (
            f"the IAM user {user.name} is not managed by this stack: it lacks the tag "
            f"{settings.managed_tag_key} = {settings.managed_tag_value}, or its path is not below "
            f"{settings.managed_user_path}"
        )
    if "," in user.name:
        return f"Secrets Manager cannot name a secret of the IAM user {user.name} (a comma)"
    return ""


def _emergency(reading: Reading, alert: Alert, user: User, key_id: str) -> Response:
    start = Start(
        emergency_name(key_id, reading.day),
        {"userName": user.name, "accessKeyId": key_id, "mode": "EMERGENCY"}
        | {"reason": f"{alert.what} {reading.name}"},
    )
    message = (
        f"What happened: {alert.what}\n"
        f"What is done: the key {masked(key_id)} of {user.name} is replaced and deactivated at "
        f"once by the execution {start.name}, which announces its end. The key is never activated "
        "again by itself.\n"
        "Next: see that the consumers work. One that reads its secret with this very key is locked "
        "out: hand it the new key. AWS may have attached a quarantine policy to the user: detach "
        "it when the execution has ended."
    )
    return Response("emergency", start, _worded("Exposed Key", user.name, message, reading))


def _rotation(
    reading: Reading, alert: Alert, user: User, facts: Facts, stack: Stack, *, now: datetime
) -> Response:
    secret = facts.secret
    if secret is not None and secret.scheduled_for_deletion:
        return _only_tell(
            reading,
            alert,
            f"the secret of {user.name} is scheduled for deletion",
            "restore it (`aws secretsmanager restore-secret`), or take the managed tag off the "
            "user, if it is not to be rotated any more.",
        )
    waiting = _is_waiting(secret, now) if secret else ""
    if waiting:
        return _also_tell(Response(waiting), reading, alert, user.name, f"nothing: {waiting}")
    start = Start(
        rotation_name(user.arn, user.created_at, reading.day),
        {"userName": user.name, "reason": f"{alert.what} {reading.name}"},
    )
    if secret is None:
        return Response(
            "rotation of a user without a secret", start, _no_secret(reading, alert, user, stack)
        )
    done = f"a rotation of {user.name} was started: the execution {start.name}"
    return _also_tell(Response("rotation", start), reading, alert, user.name, done)


def _no_secret(reading: Reading, alert: Alert, user: User, stack: Stack) -> Announcement:
    """Managed is who has the tag; but nobody reads a secret that does not exist yet."""
    name = f"{stack.settings.secret_name_prefix}{user.name}"
    message = (
        f"What happened: {alert.what}\n"
        f"What is done: a rotation of {user.name} was started. The user has no secret: the new key "
        f"will be in {name}, which no consumer reads yet.\n"
        f"Next: point the consumers at the secret {name} before the pickup timeout is over. The "
        "old key stays active until they have moved; if they do not, you are told."
    )
    return _worded(_title(alert), user.name, message, reading)


def _is_waiting(secret: SecretState, now: datetime) -> str:
    """Why no rotation is started now, or ""."""
    if secret.version(Label.CLAIM):
        return "a rotation of the user is under way"
    last = secret.last_result
    if last and cools_down(last.at, now):
        return f"the user's last rotation ended {last.outcome} on {last.at:%Y-%m-%d}"
    return ""


def _also_tell(
    verdict: Response, reading: Reading, alert: Alert, user_name: str, done: str
) -> Response:
    """Of a suspicion people hear whatever is done about it; of a rotation that is due, at its end.

    Of a rotation that is started they hear once, however often the finding is sent.
    """
    if alert.wish is not Wish.ASK_SETTING or (alert.told_before and not verdict.start):
        return verdict
    message = (
        f"What happened: {alert.what}\nWhat is done: {done}.\n"
        "Next: find out who used the key. If it is in strange hands, start an EMERGENCY: a "
        "rotation gives the consumers days, and whoever has the key as well."
    )
    return Response(
        verdict.why, verdict.start, _worded("Suspicious Key", user_name, message, reading)
    )


def _only_tell(reading: Reading, alert: Alert, problem: str, following: str) -> Response:
    why = problem or "a person decides"
    if alert.told_before:
        return Response(f"told before: {why}")
    subject = alert.user_name or alert.user_id or f"key {masked(alert.key_id)}"
    reason = f" ({problem})" if problem else ""
    message = (
        f"What happened: {alert.what}\nWhat is done: nothing was started or changed{reason}.\n"
        f"Next: {following}"
    )
    return Response(why, tell=_worded(_title(alert), subject, message, reading))


def _title(alert: Alert) -> str:
    if alert.wish is Wish.ASK_SETTING:
        return "Suspicious Key"
    return "Key Too Old" if alert.wish is Wish.ROTATE else "Exposed Key"


def _worded(title: str, subject: str, message: str, reading: Reading) -> Announcement:
    return worded(title, subject, f"{message}\nEvent: {reading.name}")


def _by_hand(alert: Alert, facts: Facts, stack: Stack) -> str:
    """What a person does for a user that Keyturn does not touch."""
    name = (facts.user.name if facts.user else alert.user_name) or "<user>"
    where = ""
    if alert.account_id not in (None, stack.account_id):
        where = f"with credentials of the account {alert.account_id}: "
    if alert.wish is not Wish.ROTATE and alert.key_id:
        return (
            f"{where}`aws iam get-access-key-last-used --access-key-id <key id>` says whose the "
            f"key {masked(alert.key_id)} is (its whole id is in the event). If it is in strange "
            f"hands: `aws iam update-access-key --user-name {name} --access-key-id <key id> "
            "--status Inactive` ends its use, and cuts off whoever works with it."
        )
    managed = (
        f"`aws iam tag-user --user-name {name} --tags "
        f"Key={stack.settings.managed_tag_key},Value={stack.settings.managed_tag_value}`"
    )
    return (
        f"{where}rotate the key by hand (`aws iam create-access-key --user-name {name}`, hand the "
        "new key over, then `aws iam update-access-key --status Inactive` for the old one), delete "
        f"it if nobody needs it, or let Keyturn do it: `keyturn onboard {name}`, or see Onboarding "
        f"in the README, then {managed}. In Security Hub, set the finding's workflow status to "
        "NOTIFIED to hear no more of it."
    )


def _by_machine(alert: Alert, user: User, stack: Stack) -> str:
    """What a person starts for a managed user."""
    rotate = _command(stack, userName=user.name)
    exposed = _command(stack, userName=user.name, accessKeyId="<key id>", mode="EMERGENCY")
    return (
        f"find out who used the key {masked(alert.key_id)} of {user.name}. If it is in strange "
        f"hands: {exposed} deactivates it at once, and cuts off consumers that have not read the "
        f"new one. If it may be: {rotate} gives the consumers time."
    )


def _command(stack: Stack, **data: str) -> str:
    return (
        f"`aws stepfunctions start-execution --state-machine-arn {stack.machine_arn} "
        f"--input '{json.dumps(data)}'`"
    )


def problems_in_words(reading: Reading) -> Announcement:
    """Return what people are told of an event that is serious and could not be understood."""
    message = (
        f"What happened: {reading.name} could not be understood: {'; '.join(reading.problems)}.\n"
        "What is done: nothing was started or changed for what is named here.\n"
        "Next: look the event up (AWS Health dashboard), find the key and its user, and start an "
        "EMERGENCY for it by hand if it is exposed."
    )
    return worded("Exposed Key", "an event that was not understood", message)
