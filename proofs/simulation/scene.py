"""One rotation's world: which key each consumer holds, what IAM publishes, who is cut off.

A rule drives it through `shown`, `deactivate`, `reactivate` and `publish`; times only move on.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from proofs.simulation.clock import DAY, HOUR, NEVER, seed_of
from proofs.simulation.consumers import Consumer, Holder, KeyName
from proofs.simulation.lastused import Lag, LastUsed
from proofs.simulation.population import User

# A cut-off that begins later than this after the publishing is not counted as the rotation's.
HORIZON = 60 * DAY


@dataclass(frozen=True)
class CutOff:
    """A consumer that called with an inactive key. Times in simulated seconds.

    ended: infinity when nothing ends it within the horizon: until a person comes.
    by: "watch" (the key was reactivated), "itself" (it read again, after the failure or by its
    timer), "restart", or "nobody". reads_at: when it would have read its credential, left alone.
    """

    consumer: str
    key: KeyName
    began: float
    ended: float
    by: str
    reads_at: float

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return self.ended - self.began


@dataclass
class _Pending:
    """A deactivated key in the hands of a consumer: when that will hurt and what would end it."""

    holder: Holder
    key: KeyName
    began: float
    ended: float
    by: str


class Scene:
    """The world of one rotation of one user; the new key is published at `user.published_at`."""

    def __init__(self, user: User, lag: Lag) -> None:
        self.user = user
        self.holders = [Holder(consumer) for consumer in user.consumers]
        self._inactive: dict[KeyName, list[tuple[float, float]]] = {key: [] for key in KeyName}
        self._probes: dict[KeyName, list[float]] = {key: [] for key in KeyName}
        self._pending: list[_Pending] = []
        self._current = KeyName.OLD
        self._spans: dict[KeyName, list[tuple[float, float, Consumer]]] = {}
        begins = user.published_at - lag.longest - HOUR
        earlier = max(consumer.calls.last(begins) for consumer in user.consumers)
        self._records = {
            key: LastUsed(
                lambda since, key=key: self._next_use(key, since),  # type: ignore[misc]
                lag,
                random.Random(seed_of(user.seed, number)),  # noqa: S311 - repeatable, not secret
                since=max(earlier - 1, user.published_at - 400 * DAY),
            )
            for number, key in enumerate(KeyName, start=1)
        }
        self._changed()

    # --- what a rotator does ------------------------------------------------------------------

    def publish(self, key: KeyName, now: float) -> None:
        """Put a key into AWSCURRENT: consumers take it at their next read."""
        self._current = key
        for holder in self.holders:
            self._plan(holder, now)
        self._changed()

    def probe(self, key: KeyName, at: float) -> None:
        """Call sts with a key, as rotators do to prove it."""
        self._probes[key].append(at)
        self._changed()

    def shown(self, key: KeyName, now: float) -> tuple[float, str] | None:
        """Return what GetAccessKeyLastUsed tells of a key: time and service, or None."""
        return self._records[key].shown(now)

    def deactivate(self, key: KeyName, now: float) -> None:
        """Make a key inactive: who holds it is cut off from the next call on."""
        self._inactive[key].append((now, NEVER))
        for holder in self.holders:
            if holder.at(now) is key:
                self._cut(holder, key, now)
        self._changed()

    def reactivate(self, key: KeyName, now: float) -> None:
        """Make a key active again, which ends the cut-offs that it had caused."""
        since, _ = self._inactive[key].pop()
        self._inactive[key].append((since, now))
        for pending in self._pending:
            if pending.key is key and pending.ended > now:
                if pending.began < now:
                    pending.ended, pending.by = now, "watch"
                else:
                    pending.began = NEVER  # it was never noticed
                self._plan(pending.holder, now)
        self._changed()

    def active(self, key: KeyName, now: float) -> bool:
        """Whether a key is active."""
        return not any(start <= now < end for start, end in self._inactive[key])

    # --- what happens to consumers ------------------------------------------------------------

    def failing(self, now: float, for_at_least: float = 0) -> bool:
        """Whether some consumer has been cut off for so many seconds."""
        return any(cut.began + for_at_least <= now < cut.ended for cut in self._pending)

    def cut_offs(self) -> list[CutOff]:
        """Return the cut-offs, the future up to the horizon included."""
        horizon = self.user.published_at + HORIZON
        found = []
        for cut in self._pending:
            if cut.began < min(cut.ended, horizon):
                lasting = cut.ended > horizon
                found.append(
                    CutOff(
                        cut.holder.consumer.name,
                        cut.key,
                        cut.began,
                        NEVER if lasting else cut.ended,
                        "nobody" if lasting else cut.by,
                        cut.holder.consumer.first_read(self.user.published_at),
                    )
                )
        return found

    # --- inside -------------------------------------------------------------------------------

    def _plan(self, holder: Holder, now: float) -> None:
        """Let a consumer take what is in AWSCURRENT at its next read after `now`."""
        holder.forget_after(now)
        holder.takes(self._current, holder.consumer.first_read(now))

    def _cut(self, holder: Holder, key: KeyName, now: float) -> None:
        consumer = holder.consumer
        if consumer.own_key:
            # It needs the key to read the next one, so no read and no restart helps it.
            read = consumer.first_read(now)
            holder.forget_after(now)
            began = min(consumer.calls.first(now), read)
            if began < NEVER:
                self._pending.append(_Pending(holder, key, began, NEVER, "nobody"))
            return
        moves = consumer.first_read(now)
        began = consumer.calls.first(now)
        if began >= moves:
            return  # it reads before it calls
        ended, by = moves, "restart" if consumer.restarts else "itself"
        if consumer.heals_after is not None and began + consumer.heals_after < ended:
            ended, by = began + consumer.heals_after, "itself"
            holder.forget_after(now)
            holder.takes(self._current, ended)
        self._pending.append(_Pending(holder, key, began, ended, by))

    def _next_use(self, key: KeyName, since: float) -> tuple[float, str]:
        """Return the first use of a key at or after `since` that IAM can count."""
        # A call with an inactive key fails to authenticate and is assumed not to count.
        while True:
            best, service = NEVER, ""
            for start, end, consumer in self._spans[key]:
                if end >= since:
                    time, called = consumer.first_use(start, end, since)
                    if time < best:
                        best, service = time, called
            for at in self._probes[key]:
                if since <= at < best:
                    best, service = at, "sts"
            if not self._inactive[key]:
                return best, service
            within = [end for start, end in self._inactive[key] if start <= best < end]
            if not within or best == NEVER:
                return best, service
            if within[0] == NEVER:
                return NEVER, ""
            since = within[0]

    def _changed(self) -> None:
        self._spans = {
            key: [(*span, holder.consumer) for holder in self.holders for span in holder.spans(key)]
            for key in KeyName
        }
        for record in self._records.values():
            record.changed()
