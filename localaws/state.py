"""What the emulator remembers beside MiniStack's tables: calls, uses of keys, and armed faults.

One instance each per process. Execution threads and the server's loop both reach them, so every
method takes the lock for its few lines.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from localaws.model import ApiCall, FaultRule, FiredFault, LastUsedModel

CALLS_KEPT = 200_000


@dataclass(frozen=True)
class Request:
    """A call that is about to happen, as far as faults and the record need to know it."""

    service: str
    action: str
    principal: str = ""
    function: str = ""
    about: frozenset[str] = frozenset()
    secret_names: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """The action as IAM policies write it."""
        return f"{self.service}:{self.action}"


class Calls:
    """The record of API calls."""

    def __init__(self) -> None:
        self._calls: deque[ApiCall] = deque(maxlen=CALLS_KEPT)

    def add(self, call: ApiCall) -> None:
        """Append one call."""
        self._calls.append(call)

    def matching(self, criteria: dict[str, Any]) -> list[ApiCall]:
        """The calls that meet every criterion of `Control.calls`."""
        since, key = criteria["since"] or 0, criteria["access_key_id"]
        principal, action, about = (criteria[name] for name in ("principal", "action", "about"))
        return [
            call
            for call in self._calls.copy()
            if call.time >= since
            and (key is None or call.access_key_id == key)
            and (principal is None or principal in call.principal)
            and (action is None or action == f"{call.service}:{call.action}")
            and (about is None or about in call.about)
        ]


@dataclass(frozen=True)
class Use:
    """A recorded use of a key, and from when on the API shows it (Unix times)."""

    time: float
    visible_at: float
    service: str
    region: str


@dataclass
class _KeyUses:
    """The uses of one key that were recorded, oldest first."""

    recorded: list[Use] = field(default_factory=list)

    def visible(self, now: float) -> Use | None:
        """The newest use that is published; what can never be shown again is dropped."""
        shown = [use for use in self.recorded if use.visible_at <= now]
        if not shown:
            return None
        newest = max(shown, key=lambda use: use.time)
        self.recorded = [use for use in self.recorded if use.time >= newest.time]
        return newest


class LastUsed:
    """When each access key was last used, as truthfully as the model in force allows."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: dict[str, _KeyUses] = {}
        self._default = LastUsedModel()
        self._by_user: dict[str, LastUsedModel] = {}
        self._by_prefix: dict[str, LastUsedModel] = {}
        self._random: dict[LastUsedModel, random.Random] = {}

    def set_model(self, model: LastUsedModel, user: str | None, prefix: str | None) -> None:
        """Use the model for a user's keys, for keys with a prefix, or by default."""
        with self._lock:
            if user is not None:
                self._by_user[user] = model
            elif prefix is not None:
                self._by_prefix[prefix] = model
            else:
                self._default = model

    def used(self, key: str, user: str, service: str, region: str, now: float) -> None:
        """Note a use, unless the model coalesces it with an earlier one."""
        with self._lock:
            model = self._model(key, user)
            uses = self._keys.setdefault(key, _KeyUses())
            last = uses.recorded[-1].time if uses.recorded else None
            if last is not None and now - last < model.coalesce_seconds:
                return
            uses.recorded.append(Use(now, now + self._lag(model), service, region))
            uses.visible(now)

    def put(self, key: str, when: float | None, service: str, region: str) -> None:
        """Replace all that is known of the key by one use, or by none."""
        with self._lock:
            uses = [] if when is None else [Use(when, 0, service, region)]
            self._keys[key] = _KeyUses(uses)

    def shown(self, key: str, user: str, now: float) -> tuple[float, str, str] | None:
        """What the API tells: Unix time, service and Region; None when it tells no use."""
        with self._lock:
            uses = self._keys.get(key)
            use = uses.visible(now) if uses is not None else None
            if use is None:
                return None
            grain = 60 if self._model(key, user).truncate_to_minute else 1
            return use.time // grain * grain, use.service, use.region

    def _model(self, key: str, user: str) -> LastUsedModel:
        if user in self._by_user:
            return self._by_user[user]
        for prefix, model in self._by_prefix.items():
            if key.startswith(prefix):
                return model
        return self._default

    def _lag(self, model: LastUsedModel) -> float:
        if isinstance(model.lag_seconds, int | float):
            return model.lag_seconds
        generator = self._random.setdefault(model, random.Random(model.seed))  # noqa: S311
        return generator.uniform(*model.lag_seconds)


@dataclass
class _Armed:
    number: int
    rule: FaultRule
    seen: int = 0


class Faults:
    """The armed rules, how often each has met its call, and which struck."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._armed: list[_Armed] = []
        self._fired: list[tuple[FiredFault, str | None]] = []

    def arm(self, rule: FaultRule) -> int:
        """Add a rule; returns its number."""
        with self._lock:
            armed = _Armed(next(self._numbers), rule)
            self._armed.append(armed)
            return armed.number

    def clear(self, user: str | None, rule: int | None) -> None:
        """Remove the rules of a user, one rule, or all."""
        with self._lock:
            self._armed = [
                armed
                for armed in self._armed
                if (rule is not None and armed.number != rule)
                or (user is not None and armed.rule.user != user)
            ]

    def fired(self, user: str | None, rule: int | None) -> list[FiredFault]:
        """The faults that struck, of a user, of one rule, or all."""
        with self._lock:
            return [
                fired
                for fired, its_user in self._fired
                if user in (None, its_user) and rule in (None, fired.rule)
            ]

    def striking(self, request: Request) -> list[FaultRule]:
        """Count the request against every rule that it matches; the rules that strike it."""
        with self._lock:
            struck = []
            for armed in self._armed:
                if not _matches(armed.rule, request):
                    continue
                armed.seen += 1
                if armed.rule.nth <= armed.seen < armed.rule.nth + armed.rule.count:
                    struck.append(armed.rule)
                    fired = FiredFault(
                        rule=armed.number,
                        time=time.time(),
                        action=request.name,
                        principal=request.principal,
                    )
                    self._fired.append((fired, armed.rule.user))
            return struck


def _matches(rule: FaultRule, request: Request) -> bool:
    return (
        rule.action in ("*", request.name)
        and (rule.user is None or rule.user in request.about)
        and (rule.secret is None or rule.secret in request.secret_names)
        and (rule.function is None or rule.function in request.function)
        and (rule.state is None or rule.state in request.about)
    )


calls = Calls()
last_used = LastUsed()
faults = Faults()
