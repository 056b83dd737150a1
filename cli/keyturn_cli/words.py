"""How durations, moments and states are put for people. All pure: the clock is passed in."""

from __future__ import annotations

from datetime import datetime, timedelta

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))

# What a state does or waits for, for somebody who has not read the definition.
STATES = {
    "Check Request": "looks at everything and decides how to begin",
    "Stop Claimant": "stops the execution that holds the claim",
    "Wait Out The Claimant": "until no call of the stopped execution can take effect",
    "Issue New Key": "takes the claim and creates a second key",
    "Take Over": "goes on with what another execution left open",
    "Prove New Key": "calls AWS with the new key until IAM knows it",
    "Publish New Key": "points AWSCURRENT at the new key",
    "Wait For Consumers": "to use the new key and leave the old one",
    "Check Pickup": "looks whether the consumers have moved",
    "Check Health Before Deactivation": "asks the health URL",
    "Deactivate Old Key": "looks once more, then switches the old key off",
    "Watch Consumers": "who still needs the old key fails now",
    "Check Health": "asks the health URL",
    "Check Watch": "looks whether anybody was hurt",
    "Close Rotation": "writes the outcome down and releases the claim",
    "Announce Outcome": "sends the event",
    "Tell People": "sends the message",
    "Reactivate Old Key": "switches the old key on again",
    "Prove Old Key": "calls AWS with the old key until it works",
    "Restore Old Version": "points AWSCURRENT at the old key",
    "Wait For Return": "until nobody uses the new key",
    "Check Return": "looks whether the consumers have returned",
    "Deactivate New Key": "nobody uses the new key: switches it off",
    "Deactivate Exposed Key": "no new key could take its place: switches it off all the same",
    "Discard New Key": "deletes the key that was not published",
    "Start Retirement": "the old key is deleted after its retention",
}

# What a wait is for, before the first look has told what is missing.
WAITS = {
    "Wait Out The Claimant": "no call of the execution that was stopped may take effect any more",
    "Wait For Consumers": "the consumers have to use the new key and to leave the old one",
    "Watch Consumers": "whoever still needs the old key would fail now",
    "Wait For Return": "the consumers have to return to the old key",
    "Wait Before Discarding": "a call of the step that failed may still take effect",
    "Wait Out Own Calls": "a call of the step that failed may still take effect",
    "Wait To Deactivate Again": "AWS is out of reach; it tries again",
    "Wait To Take Over Again": "AWS is out of reach; it tries again",
    "Wait To Close Again": "AWS is out of reach; it tries again",
    "Wait To Retry Back-Out": "a step of the back-out failed; it tries again",
}


def span(seconds: float) -> str:
    """Return a duration in its two largest units.

    >>> span(59), span(3_660), span(100 * 86_400 + 7_300), span(0.4)
    ('59 s', '1 h 1 min', '100 d 2 h', '0 s')
    """
    left = max(0, int(seconds))
    parts: list[str] = []
    for unit, length in _UNITS:
        count, left = divmod(left, length)
        if count or parts:
            parts.append(f"{count} {unit}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if part) or "0 s"


def ago(at: datetime | None, now: datetime) -> str:
    """Return how long ago something was; never for None.

    >>> from datetime import UTC
    >>> ago(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC))
    '2 d ago'
    """
    return "never" if at is None else f"{span((now - at).total_seconds())} ago"


def used(at: datetime | None, service: str, now: datetime) -> str:
    """Return when and by which service a key was last used.

    >>> used(None, "", datetime(2026, 1, 1))
    'never used'
    """
    return "never used" if at is None else f"used {ago(at, now)} by {service}"


def left(until: datetime, now: datetime) -> str:
    """Return how long it is to a moment: `in 5 min`, or `now`."""
    seconds = (until - now).total_seconds()
    return f"in {span(seconds)}" if seconds >= 1 else "now"


def stamp(at: datetime) -> str:
    """Return a moment in the local time zone, to the second."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def counted(number: int, thing: str) -> str:
    """Return a number of things in words.

    >>> counted(1, "user"), counted(0, "account")
    ('1 user', '0 accounts')
    """
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def days(age: timedelta) -> int:
    """Return whole days."""
    return int(age.total_seconds() // 86_400)
