"""Looks at executions, keys, labels and consumers, and tells what changed since the last look."""

from __future__ import annotations

import http.client
import json
import time
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from demo.model import (
    INTENT,
    ConsumerSeen,
    Ended,
    Kind,
    Moment,
    UserSeen,
    masked,
    scrubbed,
)
from demo.scene import Scene
from localaws.consumer import Counts

# What a state does or waits for, for somebody who has not read the definition. The states of the
# loops that look (Check Pickup and so on) are told by the reason that they give.
GLOSSES = {
    "Check Request": "looks at everything, decides what to do",
    "Issue New Key": "takes the lock, creates a second key",
    "Prove New Key": "calls AWS with it until IAM knows it",
    "Publish New Key": "points AWSCURRENT at it",
    "Wait For Consumers": "to use it and leave the old key",
    "Check Health Before Deactivation": "asks the health URL",
    "Deactivate Old Key": "looks once more, switches it off",
    "Watch Consumers": "who needs the old key fails now",
    "Close Rotation": "records the outcome, releases the lock",
    "Announce Outcome": "sends event and message",
    "Reactivate Old Key": "switches it on again",
    "Prove Old Key": "calls AWS with it until it works",
    "Restore Old Version": "points AWSCURRENT at the old key",
    "Wait For Return": "until nobody uses the new key",
    "Deactivate New Key": "nobody uses it: switches it off",
}
# The states that look and find that it is too early; their reason says what is missing.
LOOKS = {"Check Pickup", "Check Watch"}
QUIET_STATES = LOOKS | {"Check Health", "Check Return", "Tell People"}
END_STATES = {"SucceedStateEntered", "FailStateEntered"}
UNTOLD_LABELS = {"AWSPREVIOUS", "INTENT"}
HEALTH_TIMEOUT_SECONDS = 2.0
ENDS = {"ExecutionSucceeded", "ExecutionFailed", "ExecutionAborted", "ExecutionTimedOut"}


class Watcher:
    """Keeps the scene's users up to date and returns the moments worth telling."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._iam = scene.aws.client("iam")
        self._secrets = scene.aws.client("secretsmanager")
        self._machines = scene.aws.client("stepfunctions")
        self._last_event: dict[str, int] = {}
        self._told_states: set[tuple[str, str]] = set()
        for user in scene.users:  # what was there before the rotation is no news
            self._look_at_keys(user)
            self._look_at_labels(user)

    def look(self) -> list[Moment]:
        """Look at everything once; the moments come in the order of time."""
        moments: list[Moment] = []
        for user in self._scene.users:
            moments += self._look_at_execution(user)
            moments += self._look_at_keys(user)
            moments += self._look_at_labels(user)
            for consumer in user.consumers:
                moments += self._hear_from(user, consumer)
                moments += self._look_at_health(user, consumer)
        return sorted(moments, key=lambda moment: moment.at)

    def _look_at_execution(self, user: UserSeen) -> list[Moment]:
        if not user.execution_arn or user.ended:
            return []
        moments: list[Moment] = []
        for event in self._new_events(user):
            at = event["timestamp"].timestamp()
            if "stateEnteredEventDetails" in event:
                moments += self._entered(user, event, at)
            elif "taskFailedEventDetails" in event:
                moments.append(_task_failed(user, event["taskFailedEventDetails"], at))
            elif "taskSucceededEventDetails" in event:
                moments += _task_done(user, event["taskSucceededEventDetails"].get("output"), at)
            if event["type"] in ENDS:
                moments.append(self._ended(user, at))
        return moments

    def _new_events(self, user: UserSeen) -> list[dict[str, Any]]:
        last = self._last_event.get(user.role.name, 0)
        pages = self._machines.get_paginator("get_execution_history").paginate(
            executionArn=user.execution_arn,
            reverseOrder=True,
            PaginationConfig={"PageSize": 100},
        )
        new: list[dict[str, Any]] = []
        for page in pages:
            fresh = [event for event in page["events"] if event["id"] > last]
            new += fresh
            if len(fresh) < len(page["events"]):
                break
        if new:
            self._last_event[user.role.name] = new[0]["id"]
        return new[::-1]

    def _entered(self, user: UserSeen, event: dict[str, Any], at: float) -> list[Moment]:
        state = event["stateEnteredEventDetails"]["name"]
        if state.endswith("?"):  # a Choice takes no time
            return []
        user.state = state
        if event["type"] in END_STATES:
            return []  # told with the outcome
        if state in QUIET_STATES or (user.role.name, state) in self._told_states:
            return []  # a further turn of a loop: what it waits for is what its last look said
        self._told_states.add((user.role.name, state))
        user.state_since = at
        user.waits_for = GLOSSES.get(state, "")
        gloss = f" {GLOSSES[state]}" if state in GLOSSES else ""
        return [Moment(at, user.role.name, f"[{state}]{gloss}", Kind.STATE)]

    def _ended(self, user: UserSeen, at: float) -> Moment:
        found = self._machines.describe_execution(executionArn=user.execution_arn)
        text = found.get("output") or found.get("cause") or "{}"
        try:
            result = json.loads(text)
        except ValueError:
            result = {"reason": text}
        user.ended = Ended(found["status"], found.get("error", ""), result)
        user.ended_at, user.waits_for = at, ""
        kind = Kind.GOOD if user.ended.status == "SUCCEEDED" else Kind.MIXED
        kind = kind if user.ended.outcome == user.role.outcome else Kind.BAD
        text = f"[{user.state}] the execution {user.ended.status}: {user.ended.outcome}"
        return Moment(at, user.role.name, text, kind)

    def _look_at_keys(self, user: UserSeen) -> list[Moment]:
        listed = self._iam.list_access_keys(UserName=user.role.name)["AccessKeyMetadata"]
        listed.sort(key=lambda key: key["CreateDate"])
        before, user.keys = user.keys, {key["AccessKeyId"]: key["Status"] for key in listed}
        at = time.time()
        moments = []
        for key, status in user.keys.items():
            if before and before.get(key) != status:
                which = "old key" if key == user.old_key else "new key"
                text = f"{which} {masked(key)} is {status} now"
                if key == user.old_key and status == "Active":
                    text = f"back-out: old key {masked(key)} reactivated"
                elif key not in before:
                    text = f"{which} {masked(key)} created, {status}"
                moments.append(Moment(at, user.role.name, text, Kind.KEYS))
        gone = [
            Moment(at, user.role.name, f"key {masked(key)} deleted", Kind.KEYS)
            for key in before
            if key not in user.keys
        ]
        return moments + gone

    def _look_at_labels(self, user: UserSeen) -> list[Moment]:
        name = self._scene.outputs["SecretNamePrefix"] + user.role.name
        found = self._secrets.describe_secret(SecretId=name)["VersionIdsToStages"]
        before, user.labels = (
            user.labels,
            {
                label: user.holder(version)
                for version, labels in found.items()
                for label in sorted(labels)
            },
        )
        if not before or before == user.labels:
            return []
        changes = []
        for label in sorted({*before, *user.labels} - UNTOLD_LABELS):
            was, now = before.get(label), user.labels.get(label)
            if was != now:
                changes.append(_label_change(label, now))
        if not changes:
            return []
        return [Moment(time.time(), user.role.name, f"secret: {', '.join(changes)}", Kind.KEYS)]

    def _hear_from(self, user: UserSeen, consumer: ConsumerSeen) -> list[Moment]:
        news = self._scene.processes[consumer.role.name].news
        moments: list[Moment] = []
        while not news.empty():
            at, counts = news.get()
            moments += heard(user, consumer, at, counts)
        return moments

    def _look_at_health(self, user: UserSeen, consumer: ConsumerSeen) -> list[Moment]:
        process = self._scene.processes[consumer.role.name]
        if process.health_url is None or not process.alive:
            return []
        before, consumer.health = consumer.health, ask(process.health_url)
        if consumer.health == before or before is None:
            return []
        who = consumer.role.name
        if consumer.health == http.client.OK:
            return [Moment(time.time(), who, "health is good again (200)", Kind.GOOD)]
        at = consumer.failing_since or time.time()
        after = ""
        if user.deactivated_at is not None and at >= user.deactivated_at:
            after = f" {at - user.deactivated_at:.1f} s after its key was deactivated"
        text = f"health turned bad{after}"
        return [Moment(time.time(), who, text, Kind.BAD)]


def heard(user: UserSeen, consumer: ConsumerSeen, at: float, counts: Counts) -> list[Moment]:
    """Update a consumer with what it reported; return what is worth telling."""
    who, moments = consumer.role.name, []
    if counts.access_key_id != consumer.access_key_id:
        text = (
            f"re-read its secret: {masked(counts.access_key_id)} now "
            f"({consumer.calls} calls, {counts.errors} errors)"
        )
        moments.append(Moment(at, who, text, Kind.CONSUMER))
    rare = not consumer.role.well_behaved
    if counts.errors > consumer.errors:
        if consumer.failing_since is None:
            consumer.failing_since, consumer.recovered_at = at, None
        text = f"call FAILED with {masked(counts.access_key_id)}: {scrubbed(counts.last_error)}"
        moments.append(Moment(at, who, text, Kind.BAD))
    if counts.calls > consumer.calls:
        if consumer.failing_since is not None:
            consumer.failing_since, consumer.recovered_at = None, at
            text = f"RECOVERED: {masked(counts.access_key_id)} works again"
            if user.reactivated_at is not None:
                text += f", {at - user.reactivated_at:.1f} s after its return"
            moments.append(Moment(at, who, text, Kind.GOOD))
        elif rare and user.execution_arn:
            text = f"call {counts.calls} worked, signed with {masked(counts.access_key_id)}"
            moments.append(Moment(at, who, text, Kind.CONSUMER))
    consumer.calls, consumer.errors = counts.calls, counts.errors
    consumer.last_error, consumer.access_key_id = counts.last_error, counts.access_key_id
    return moments


def ask(url: str) -> int:
    """Return the HTTP status of a health endpoint on this machine; 0: no answer."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=HEALTH_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def _task_done(user: UserSeen, output: str | None, at: float) -> list[Moment]:
    """Take from a function's answer what the rotation says about itself."""
    payload = json.loads(output or "{}").get("Payload")
    rotation = payload.get("rotation") if isinstance(payload, dict) else None
    if not rotation:
        return []
    user.deactivated_at = _unix(rotation.get("deactivatedAt")) or user.deactivated_at
    user.reactivated_at = _unix(rotation.get("reactivatedAt")) or user.reactivated_at
    why, following = scrubbed(str(rotation.get("why") or "")), payload.get("next")
    if following == "POSTPONED":  # no failure: the last look before the act did its work
        user.waits_for = why
        return [Moment(at, user.role.name, f"  postponed: {why}", Kind.STATE)]
    if following == "WAIT" and user.state in LOOKS:
        told, user.waits_for = user.waits_for, why
        if told != why:
            return [Moment(at, user.role.name, f"  waits: {why}", Kind.STATE)]
    if following == "BACK_OUT":
        return [Moment(at, user.role.name, f"BACK-OUT: {why}", Kind.BAD)]
    return []


def _task_failed(user: UserSeen, details: dict[str, str], at: float) -> Moment:
    error, cause = details.get("error", "an error"), details.get("cause", "")
    try:
        message = scrubbed(str(json.loads(cause)["errorMessage"]))
    except (ValueError, KeyError, TypeError):
        message = scrubbed(cause)[:200]
    return Moment(at, user.role.name, f"  {error}: {message}", Kind.BAD)


def _unix(moment: str | None) -> float | None:
    return datetime.fromisoformat(moment).timestamp() if moment else None


def _label_change(label: str, now: str | None) -> str:
    if label == "CLAIM":
        return "CLAIM released" if now is None else "CLAIM (the lock)"
    if now is None:
        return f"no {label}"
    return f"{label} on the intent" if now == INTENT else f"{label} {masked(now)}"
