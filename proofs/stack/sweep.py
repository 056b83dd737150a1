"""Searches everything that a deployed stack leaves behind for secret access keys."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from localaws import Account

KEY_ID = re.compile(r"\bAKIA[A-Z0-9]{16}")


@dataclass(frozen=True)
class Text:
    """Something that people or tools can read, and where it was found."""

    place: str
    text: str


@dataclass(frozen=True)
class Swept:
    """What a sweep looked at: how many texts of each kind, for how many secrets, and its finds.

    Finds name the place and never the secret.
    """

    secrets: int
    texts: Counter[str] = field(default_factory=Counter)
    finds: tuple[str, ...] = ()


def search(texts: Iterable[Text], secrets: Iterable[str]) -> Swept:
    """Search texts for secrets: as they are, and in the forms that encoders make of them."""
    wanted = {form for secret in secrets for form in _forms(secret) if form}
    holds_one = _finder(wanted)
    counts: Counter[str] = Counter()
    finds = []
    for item in texts:
        counts[item.place.split(":", 1)[0]] += 1
        if holds_one(item.text):
            finds.append(item.place)
    return Swept(len(wanted), counts, tuple(finds))


def _finder(forms: set[str]) -> Callable[[str], bool]:
    """Whether a text holds one of the forms, in time that does not grow with their number.

    A form can only be in a run of characters that occur in forms, and few runs are long enough.
    """
    if not forms:
        return lambda _: False
    size = min(map(len, forms))
    beginnings: dict[str, list[str]] = defaultdict(list)
    for form in forms:
        beginnings[form[:size]].append(form)
    alphabet = "".join(re.escape(character) for character in sorted(set().union(*forms)))
    runs = re.compile(f"[{alphabet}]{{{size},}}")

    def holds_one(text: str) -> bool:
        return any(
            text.startswith(form, at)
            for run in runs.finditer(text)
            for at in range(run.start(), run.end() - size + 1)
            for form in beginnings.get(text[at : at + size], ())
        )

    return holds_one


def _forms(secret: str) -> set[str]:
    """A secret as text, in JSON, in a URL, and in base64 (from its first aligned character)."""
    encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
    return {secret, json.dumps(secret)[1:-1], quote(secret, safe=""), encoded[:-1]}


def queue_of_events(aws: Account, name: str, *sources: str) -> str:
    """Make a queue that gets every event of these sources on the default bus; returns its URL."""
    url, arn = _queue(aws, name)
    events = aws.client("events")
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [*sources]}))
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])
    return url


def _queue(aws: Account, name: str) -> tuple[str, str]:
    """Make a queue that events and notifications may be sent to; returns its URL and ARN."""
    arn = f"arn:aws:sqs:{aws.region}:{aws.account_id}:{name}"
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": ["sns.amazonaws.com", "events.amazonaws.com"]},
        "Action": "sqs:SendMessage",
        "Resource": arn,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    made = aws.client("sqs").create_queue(QueueName=name, Attributes={"Policy": policy})
    return str(made["QueueUrl"]), arn


class Inbox:
    """What other systems and people are told: events and notifications, through queues.

    One queue gets every event of `keyturn` and `aws.states` on the default bus, the other one
    everything that the notification topic publishes.
    """

    def __init__(self, aws: Account, topic_arn: str) -> None:
        self._sqs = aws.client("sqs")
        self._lock = threading.Lock()
        self._events: list[dict[str, Any]] = []
        self._notifications: list[dict[str, Any]] = []
        self._event_queue = queue_of_events(aws, "test-events", "keyturn", "aws.states")
        self._topic_queue, topic_queue_arn = _queue(aws, "test-notifications")
        aws.client("sns").subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=topic_queue_arn)

    def events(self) -> list[dict[str, Any]]:
        """Every event so far."""
        with self._lock:
            self._events += self._drain(self._event_queue)
            return [*self._events]

    def notifications(self) -> list[dict[str, Any]]:
        """Every notification so far, with its Subject and Message."""
        with self._lock:
            self._notifications += self._drain(self._topic_queue)
            return [*self._notifications]

    def announced(self, execution: str, *, within_seconds: float = 20) -> list[dict[str, Any]]:
        """Keyturn's own events of an execution, once there is one."""
        ends = time.monotonic() + within_seconds
        while True:
            found = [
                event
                for event in self.events()
                if event["source"] == "keyturn" and event["detail"]["executionArn"] == execution
            ]
            if found or time.monotonic() > ends:
                return found
            time.sleep(0.2)

    def told(self, execution: str, *, within_seconds: float = 20) -> list[dict[str, Any]]:
        """The notifications that name an execution, once there is one."""
        ends = time.monotonic() + within_seconds
        while True:
            found = [item for item in self.notifications() if execution in item["Message"]]
            if found or time.monotonic() > ends:
                return found
            time.sleep(0.2)

    def _drain(self, url: str) -> Iterator[dict[str, Any]]:
        while True:
            received = self._sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
            messages = received.get("Messages", [])
            if not messages:
                return
            self._sqs.delete_message_batch(
                QueueUrl=url,
                Entries=[
                    {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                    for number, message in enumerate(messages)
                ],
            )
            yield from (json.loads(message["Body"]) for message in messages)


def secrets_of(aws: Account) -> set[str]:
    """Every secret access key in any version of any secret, deprecated ones included."""
    client = aws.client("secretsmanager")
    found = set()
    for page in client.get_paginator("list_secrets").paginate(IncludePlannedDeletion=True):
        for secret in page["SecretList"]:
            listed = client.list_secret_version_ids(
                SecretId=secret["ARN"], IncludeDeprecated=True, MaxResults=100
            )
            for version in listed["Versions"]:
                with suppress(client.exceptions.InvalidRequestException):  # marked for deletion
                    value = client.get_secret_value(
                        SecretId=secret["ARN"], VersionId=version["VersionId"]
                    )
                    found.add(_secret_in(value.get("SecretString", "")))
    return found - {None}  # type: ignore[return-value]


def _secret_in(text: str) -> str | None:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return None
    secret = fields.get("SecretAccessKey") if isinstance(fields, dict) else None
    return secret if isinstance(secret, str) else None


def texts_of(aws: Account, inbox: Inbox) -> Iterator[Text]:
    """Everything readable: executions, logs, reports, events, notifications, tags."""
    sources: list[Callable[[Account], Iterator[Text]]] = [_executions, _logs, _reports, _tags]
    for source in sources:
        yield from source(aws)
    for event in inbox.events():
        yield Text(f"event:{event.get('detail-type')}", json.dumps(event))
    for notification in inbox.notifications():
        yield Text(f"notification:{notification.get('Subject')}", json.dumps(notification))


def unmasked(aws: Account, inbox: Inbox) -> list[str]:
    """Where people would read a whole access key id: notifications, and logs of functions."""
    texts = [
        *_logs(aws),
        *(
            Text(f"notification:{item['Subject']}", f"{item['Subject']}\n{item['Message']}")
            for item in inbox.notifications()
        ),
    ]
    return [item.place for item in texts if KEY_ID.search(item.text)]


def _executions(aws: Account) -> Iterator[Text]:
    client = aws.client("stepfunctions")
    machines = client.list_state_machines()["stateMachines"]
    for machine in machines:
        pages = client.get_paginator("list_executions").paginate(
            stateMachineArn=machine["stateMachineArn"]
        )
        for execution in (execution for page in pages for execution in page["executions"]):
            arn = execution["executionArn"]
            described = client.describe_execution(executionArn=arn)
            yield Text(f"execution:{arn}", json.dumps(described, default=str))
            histories = client.get_paginator("get_execution_history").paginate(executionArn=arn)
            for page in histories:
                yield Text(f"history:{arn}", json.dumps(page["events"], default=str))


def _logs(aws: Account) -> Iterator[Text]:
    client = aws.client("logs")
    for page in client.get_paginator("describe_log_groups").paginate():
        for group in page["logGroups"]:
            name = group["logGroupName"]
            pages = client.get_paginator("filter_log_events").paginate(logGroupName=name)
            for event in (event for found in pages for event in found["events"]):
                yield Text(f"log:{name}", event["message"])


def _reports(aws: Account) -> Iterator[Text]:
    """All versions of all objects in report buckets; what SAM uploads is not ours to read."""
    client = aws.client("s3")
    for bucket in client.list_buckets()["Buckets"]:
        name = bucket["Name"]
        if "reportbucket" not in name:
            continue
        for page in client.get_paginator("list_object_versions").paginate(Bucket=name):
            for item in page.get("Versions", []):
                where = {"Bucket": name, "Key": item["Key"], "VersionId": item["VersionId"]}
                body = client.get_object(**where)["Body"].read()
                yield Text(f"report:{item['Key']}", body.decode())


def _tags(aws: Account) -> Iterator[Text]:
    client = aws.client("secretsmanager")
    for page in client.get_paginator("list_secrets").paginate():
        for secret in page["SecretList"]:
            yield Text(f"secret:{secret['Name']}", json.dumps(secret, default=str))


def sweep(aws: Account, inbox: Inbox, created: Iterable[str]) -> Swept:
    """Search everything for every secret access key: `created` and those in Secrets Manager."""
    return search(texts_of(aws, inbox), {*created, *secrets_of(aws)})
