"""Reads events of Security Hub, AWS Config, AWS Health and GuardDuty.

Whatever a value is that should be a text, a number or an object, nothing here raises: an event
that says less than it should becomes a problem in words. Values of the event are quoted only
where they match a pattern, because anybody may have put anything into them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from keyturn.model.moments import moment
from keyturn.model.request import is_user_name


class Wish(StrEnum):
    """What an event asks for. ASK_SETTING is for the stack's GuardDutyAction to say."""

    ROTATE = "ROTATE"
    EMERGENCY = "EMERGENCY"
    TELL = "TELL"
    ASK_SETTING = "ASK_SETTING"


@dataclass(frozen=True)
class Alert:
    """One affected user or key of an event.

    `what` is what was seen, as a sentence for people. The subject is `user_name`, or `user_id`
    (AIDA...), or `key_id` alone; GuardDuty names both user and key. `told_before` says that the
    same finding was sent before and people need not be told again now.
    """

    wish: Wish
    what: str
    account_id: str | None
    user_name: str | None = None
    user_id: str | None = None
    key_id: str | None = None
    told_before: bool = False


@dataclass(frozen=True)
class Reading:
    """What an event says. `day` is the UTC day of the event, for the executions' names.

    `problems` are what could not be understood, in words; `serious` says that people are told of
    them. `name` is what to call the event in messages.
    """

    name: str
    day: date
    alerts: tuple[Alert, ...] = ()
    problems: tuple[str, ...] = ()
    serious: bool = False


# An event has 256 KB, of which a finding takes 1 at the very least. More than this would not be
# looked up within the function's timeout.
MOST_ALERTS = 100

# The codes by which AWS Health says that a key IS exposed or misused. Those that only suspect it
# are for a person to judge: EMERGENCY cuts consumers off at once, and never by a guess.
EXPOSED_CODES = frozenset({"AWS_RISK_CREDENTIALS_EXPOSED", "AWS_RISK_CREDENTIALS_COMPROMISED"})

HIGH_SEVERITY = 7
"""GuardDuty User Guide, severity levels of findings: 7.0 to 8.9 is High, 9.0 and more Critical."""

_ACCOUNT = re.compile(r"[0-9]{12}")
_KEY_ID = re.compile(r"[A-Za-z0-9_]{16,128}")
_USER_ID = re.compile(r"AIDA[A-Z0-9]{12,124}")
_USER_ARN = re.compile(r"arn:[a-z-]+:iam::(?P<account>[0-9]{12}):user/(?:[!-~]*/)?(?P<name>[^/]+)")
_WORD = re.compile(r"[A-Za-z0-9_.:/!-]{1,128}")


def read(event: object, now: datetime) -> Reading:
    """Return what an event says; `now` dates an event that carries no date."""
    readers = {
        ("aws.securityhub", "Security Hub Findings - Imported"): _security_hub,
        ("aws.config", "Config Rules Compliance Change"): _config,
        ("aws.health", "AWS Health Event"): _health,
        ("aws.guardduty", "GuardDuty Finding"): _guard_duty,
    }
    source, kind = _text(event, "source"), _text(event, "detail-type")
    day = (moment(_at(event, "time")) or now).date()
    reader = readers.get((source, kind))
    if reader is None:
        return Reading("an event", day, problems=("it is of no source that starts rotations",))
    serious = reader is _health
    alerts: dict[Alert, None] = {}
    problems: dict[str, None] = {}
    for found in reader(event):
        if isinstance(found, str):
            problems[found] = None
        elif len(alerts) < MOST_ALERTS:
            alerts[found] = None
        else:
            problems[f"it names more than {MOST_ALERTS} users or keys; the rest was left out"] = (
                None
            )
            serious = True
            break
    return Reading(f"{kind} ({_name(event, 'id')})", day, tuple(alerts), tuple(problems), serious)


def _security_hub(event: object) -> Iterator[Alert | str]:
    """ASFF: a list of findings; the control's id is in the newest field that there is."""
    findings = _at(event, "detail", "findings")
    if not isinstance(findings, list) or not findings:
        yield "it has no list of findings"
        return
    for finding in findings:
        if not _is_iam_3(finding) or not _is_new_failure(finding):
            continue
        resources = _at(finding, "Resources")
        users = [
            item
            for item in (resources if isinstance(resources, list) else [])
            if _text(item, "Type") == "AwsIamUser"
        ]
        if not users:
            yield "a finding names no IAM user"
        for user in users:
            arn = _USER_ARN.fullmatch(_text(user, "Id"))
            if arn is None or not is_user_name(arn["name"]):
                yield "a finding names an IAM user without an ARN"
                continue
            yield Alert(
                Wish.ROTATE,
                "Security Hub control IAM.3 found an access key that is older than 90 days.",
                arn["account"],
                user_name=arn["name"],
                told_before=_is_old_news(finding, moment(_at(event, "time"))),
            )


def _is_iam_3(finding: object) -> bool:
    control = _text(finding, "Compliance", "SecurityControlId")
    if control:
        return control == "IAM.3"
    of_standard = _text(finding, "ProductFields", "ControlId")
    return of_standard == "IAM.3" or _text(finding, "GeneratorId").endswith("/IAM.3")


def _is_new_failure(finding: object) -> bool:
    return (
        _text(finding, "Compliance", "Status") == "FAILED"
        and _text(finding, "Workflow", "Status") == "NEW"
        and _text(finding, "RecordState") == "ACTIVE"
    )


def _is_old_news(finding: object, sent_at: datetime | None) -> bool:
    """Whether this is an update of a finding, which comes about daily while a check fails.

    On Mondays it is news again, lest a user be forgotten.
    """
    created, updated = moment(_at(finding, "CreatedAt")), moment(_at(finding, "UpdatedAt"))
    if created is None or updated is None or sent_at is None:
        return False
    return updated - created > timedelta(days=1) and sent_at.weekday() != 0


def _config(event: object) -> Iterator[Alert | str]:
    """The rule may be a service's or a conformance pack's, which add to its name."""
    detail = _at(event, "detail")
    rule = _text(detail, "configRuleName")
    if "access-keys-rotated" not in rule or _text(detail, "resourceType") != "AWS::IAM::User":
        return
    if _text(detail, "newEvaluationResult", "complianceType") != "NON_COMPLIANT":
        return
    account = _account(_text(detail, "awsAccountId"), _text(event, "account"))
    what = f"AWS Config rule {_name(detail, 'configRuleName')} found an access key that is too old."
    subject = _text(detail, "resourceId")
    if _USER_ID.fullmatch(subject):
        yield Alert(Wish.ROTATE, what, account, user_id=subject)
    elif is_user_name(subject):
        yield Alert(Wish.ROTATE, what, account, user_name=subject)
    else:
        yield "it names no IAM user"


def _health(event: object) -> Iterator[Alert | str]:
    """Service RISK: the affected entities are access key ids."""
    detail = _at(event, "detail")
    code = _name(detail, "eventTypeCode")
    account = _account(_text(detail, "affectedAccount"), _text(event, "account"))
    closed = _text(detail, "statusCode") == "closed"
    wish = Wish.EMERGENCY if code in EXPOSED_CODES and not closed else Wish.TELL
    what = f"AWS Health reports {code}{' as closed' if closed else ''}."
    entities = _at(detail, "affectedEntities")
    if not isinstance(entities, list) or not entities:
        yield f"it reports {code} and names no access key"
        return
    for entity in entities:
        key_id = _text(entity, "entityValue")
        if _KEY_ID.fullmatch(key_id):
            yield Alert(wish, what, account, key_id=key_id)
        else:
            yield f"it reports {code} and names something that is no access key id"


def _guard_duty(event: object) -> Iterator[Alert | str]:
    """A finding of high severity on the long-term or temporary key of an IAM user."""
    detail = _at(event, "detail")
    key = _at(detail, "resource", "accessKeyDetails")
    if _text(detail, "resource", "resourceType") != "AccessKey":
        return
    if _text(key, "userType") != "IAMUser":
        return
    severity = _at(detail, "severity")
    if not isinstance(severity, int | float) or isinstance(severity, bool):
        yield "its severity is no number"
        return
    if severity < HIGH_SEVERITY:
        return
    name, key_id = _text(key, "userName"), _text(key, "accessKeyId")
    if not is_user_name(name):
        yield "it names no IAM user"
        return
    yield Alert(
        Wish.ASK_SETTING,
        f"GuardDuty finding {_name(detail, 'type')} of severity {min(severity, 10):g} "
        f"(id {_name(detail, 'id')}).",
        _account(_text(detail, "accountId"), _text(event, "account")),
        user_name=name,
        # Temporary credentials (ASIA...) cannot be deactivated, and do not name their key.
        key_id=key_id if _KEY_ID.fullmatch(key_id) and key_id[:4] != "ASIA" else None,
        told_before=_is_repeat(detail, moment(_at(event, "time"))),
    )


def _is_repeat(finding: object, sent_at: datetime | None) -> bool:
    """Whether this is a later occurrence of a finding, which GuardDuty sends every 6 hours.

    In the first 6 hours of a day it is news again: a reminder a day, and no finding whose
    severity rose later goes unseen.
    """
    count = _at(finding, "service", "count")
    if not isinstance(count, int) or count <= 1 or sent_at is None:
        return False
    return sent_at.hour >= 6


def _at(value: object, *path: str) -> Any:
    """Return what is at a path of an object, or None when it has no such place."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _text(value: object, *path: str) -> str:
    """Return the text at a path, or "" when there is none."""
    found = _at(value, *path)
    return found if isinstance(found, str) else ""


def _name(value: object, *path: str) -> str:
    """Return a text that may be shown to people, or a word instead of it."""
    found = _text(value, *path)
    return found if _WORD.fullmatch(found) else "(unnamed)"


def _account(*candidates: str) -> str | None:
    return next((found for found in candidates if _ACCOUNT.fullmatch(found)), None)
