"""A consumer: when it calls, when it reads its credential, and which key it holds meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from proofs.simulation.clock import NEVER
from proofs.simulation.schedule import Beat, Calls


class KeyName(StrEnum):
    """The two keys of a rotation."""

    OLD = "old"
    NEW = "new"


@dataclass(frozen=True, kw_only=True)
class Consumer:
    """One consumer of a machine user's credential. Times and durations are in seconds.

    name: what it is, in a word or two.
    reads: reads its credential at these moments (a timer, or its restarts); None: not so.
    reads_at_each_run: also reads it at the start of each run.
    own_key: signs its reads with the key that it holds, so a read is a use of that key, and with
        an inactive key it cannot read any more. Otherwise reads are made by another identity.
    heals_after: reads again this long after a failed call; None: it does not.
    restarts: its reads are restarts, which do not come for the credential's sake.
    service: what it calls.
    """

    name: str
    calls: Calls
    reads: Beat | None = None
    reads_at_each_run: bool = False
    own_key: bool = False
    heals_after: float | None = None
    restarts: bool = False
    service: str = "s3"

    def first_read(self, since: float) -> float:
        """Return when it next reads its credential, failures apart."""
        found = NEVER
        if self.reads is not None:
            found = self.reads.next(since)
            for start, end in self.calls.outages:
                if start <= found < end:
                    found = end
        if self.reads_at_each_run:
            found = min(found, self.calls.first_run(since))
        if self.reads is not None or self.reads_at_each_run:
            # Whoever was switched off reads again before the first call.
            for _, end in self.calls.outages:
                if since <= end < found:
                    found = end
        return found

    def first_use(self, start: float, end: float, since: float) -> tuple[float, str]:
        """Return the first use, at or after `since`, of a key that it holds from start to end.

        The time is infinity when there is none; the service is what the use calls.
        """
        begin = max(since, start)
        best, service = self.calls.first(begin), self.service
        if best >= end:
            best = NEVER
        if self.own_key:
            # The read that brings the next key is the last use of this one.
            read = self.first_read(begin)
            if read == start:
                read = self.first_read(start + 1e-3)
            if read <= end and read < best:
                best, service = read, "secretsmanager"
        return best, service

    @property
    def longest_gap(self) -> float:
        """The longest silence, in seconds, in which it can hold a key that it means to use."""
        if self.reads_at_each_run and not self.own_key:
            return 0.0  # it never holds a key that it did not read for this very run
        return self.calls.longest_gap


@dataclass
class Holder:
    """Which key a consumer holds: (since when, which key), in order, the future included."""

    consumer: Consumer
    held: list[tuple[float, KeyName]] = field(default_factory=lambda: [(-NEVER, KeyName.OLD)])

    def spans(self, key: KeyName) -> list[tuple[float, float]]:
        """Return the spans (from, to) in which it holds a key."""
        ends = [since for since, _ in self.held[1:]] + [NEVER]
        return [
            (since, end) for (since, name), end in zip(self.held, ends, strict=True) if name is key
        ]

    def at(self, moment: float) -> KeyName:
        """Return the key that it holds at a moment."""
        return next(key for since, key in reversed(self.held) if since <= moment)

    def forget_after(self, moment: float) -> None:
        """Drop what it was going to hold after a moment."""
        self.held = [span for span in self.held if span[0] <= moment]

    def takes(self, key: KeyName, at: float) -> None:
        """Hold `key` from `at` on, if that ever comes."""
        if at < NEVER and self.held[-1][1] is not key:
            self.held.append((at, key))
