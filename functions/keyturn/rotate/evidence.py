"""The evidence rules: is the new key in use, is the old one quiet, is anybody hurt?

All pure: a look at the keys, what was seen before, the policy and AWS's clock go in, a verdict
and its reason come out. The data is coarse and late (see `Policy.coarseness_seconds` and
`lag_seconds`), so each rule is written for the worst case that it allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from keyturn.model.identifiers import masked
from keyturn.model.rotation import Observations, Phase, Policy, Rotation
from keyturn.model.signals import HEALTH_URL, Signal, SignalState
from keyturn.model.world import Key, Label, LastUse, SecretState


class Verdict(StrEnum):
    """What a look concludes. The state machine's Choices match on these words."""

    GO_ON = "GO_ON"
    CHECK_HEALTH = "CHECK_HEALTH"
    WAIT = "WAIT"
    BACK_OUT = "BACK_OUT"
    ATTENTION = "ATTENTION"
    SILENT = "SILENT"


@dataclass(frozen=True)
class Conclusion:
    """A verdict and its reason in words."""

    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class Look:
    """One look: AWS's clock, both keys (None: IAM has no such key), the signals, and the secret.

    The health URL is among the signals when it was asked. `secret` is None where only keys and
    signals are to be judged.
    """

    now: datetime
    old: Key | None
    new: Key | None
    signals: Sequence[Signal] = ()
    secret: SecretState | None = None

    @property
    def not_ok(self) -> list[Signal]:
        """The signals that are bad or unclear."""
        return [signal for signal in self.signals if not signal.ok]


def is_consumer_use(use: LastUse | None, rotation: Rotation) -> bool:
    """Whether a use of the new key was made by somebody else than our own probe.

    Our probe calls STS, and whether AWS counts that as a use is not documented: a use of `sts`
    counts only when it is later than the last probe by more than the data's coarseness. A use of
    `secretsmanager` is a process refreshing its credentials, not yet an application.
    """
    if use is None or use.service == "secretsmanager":
        return False
    return _by_somebody_else(use, rotation)


def _by_somebody_else(use: LastUse, rotation: Rotation) -> bool:
    if use.service != "sts":
        return True
    if rotation.probe_ended_at is None:
        return False
    return use.at > rotation.probe_ended_at + timedelta(seconds=rotation.policy.coarseness_seconds)


def observe(rotation: Rotation, look: Look) -> Observations:
    """Return the observations with this look added."""
    seen = rotation.seen.model_copy(deep=True)
    before = look.old.last_use if look.old else None
    after = look.new.last_use if look.new else None
    moved = seen.consumer_use is None and is_consumer_use(after, rotation)
    if moved and before and after and seen.looked_at:
        # A consumer that moves is silent in between: how rare it is shows in no other interval.
        silence = min(after.at, seen.looked_at) - before.at
        seen.longest_interval_seconds = max(
            seen.longest_interval_seconds, int(silence.total_seconds())
        )
    for key, last in ((look.old, seen.old_use), (look.new, seen.new_use)):
        if key and key.last_use and last and seen.looked_at and key.last_use.at > last.at:
            # Silent for certain until the last look; what came between the looks is not known,
            # so a long wait between two looks at a busy key is not taken for a long interval.
            silence = min(key.last_use.at, seen.looked_at) - last.at
            seconds = int(silence.total_seconds())
            seen.longest_interval_seconds = max(seen.longest_interval_seconds, seconds)
    if look.old:
        seen.old_use = look.old.last_use
    if before and before.service == "secretsmanager" and _while_published(before.at, rotation):
        seen.new_read_at = before.at
    if look.new:
        seen.new_use = look.new.last_use
        if is_consumer_use(look.new.last_use, rotation):
            seen.consumer_use = look.new.last_use
    seen.signals = [signal for signal in look.signals if signal.kind != HEALTH_URL]
    seen.looked_at = look.now
    return seen


def is_quiet(key: Key | None, now: datetime, policy: Policy) -> bool:
    """Whether a key has really been unused for the quiet period; a deleted key is quiet.

    A key that was never used counts from its creation.
    """
    if key is None:
        return True
    last = key.last_use.at if key.last_use else key.created_at
    return (now - last).total_seconds() >= policy.really_quiet_seconds


def judge_pickup(rotation: Rotation, look: Look) -> Conclusion:
    """Judge whether the old key may be deactivated, in each look and in the last one before it.

    Expects `rotation.seen` to contain the looks so far (see `observe`). GO_ON needs a consumer's
    use of the new key, a quiet old key, replicas in sync and every signal in OK. The health URL is
    asked last: CHECK_HEALTH says that only its answer is missing. For an exposed old key nobody
    waits.
    """
    moved = _secret_moved(rotation, look)
    if moved:
        return Conclusion(Verdict.ATTENTION, f"{moved}; both keys stay active")
    if look.new is None or not look.new.active:
        return _new_key_lost(look)
    if rotation.old_exposed:
        return Conclusion(Verdict.GO_ON, "the old key is exposed, so nobody is waited for")
    policy = rotation.policy
    used = rotation.seen.consumer_use is not None
    missing = _what_is_missing(rotation, look, used=used)
    if not missing:
        asked = not policy.health_url or any(at.kind == HEALTH_URL for at in look.signals)
        verdict = Verdict.GO_ON if asked else Verdict.CHECK_HEALTH
        return Conclusion(verdict, "the new key is in use and the old key is quiet")
    waited = (look.now - rotation.loops[Phase.PICKUP].began_at).total_seconds()
    if waited < policy.pickup_timeout_seconds:
        return Conclusion(Verdict.WAIT, missing)
    if used:
        return Conclusion(
            Verdict.ATTENTION,
            f"after {policy.pickup_timeout_seconds} seconds {missing}; both keys stay active: "
            "mend that or move the remaining consumers, then start ROTATE again",
        )
    if look.old is None or not look.old.active:
        return Conclusion(
            Verdict.ATTENTION,
            "no consumer uses the new key, and the old key is not active either (not by this "
            "rotation), so there is no way back: check the consumers",
        )
    return Conclusion(
        Verdict.BACK_OUT,
        f"no consumer used the new key within {policy.pickup_timeout_seconds} seconds"
        f"{_only_read(look.new)}",
    )


def _secret_moved(rotation: Rotation, look: Look) -> str:
    """Say that consumers read something else than this rotation's version, or ""."""
    if look.secret is None or look.secret.version(Label.CURRENT) == rotation.new_version_id:
        return ""
    return (
        f"AWSCURRENT of {look.secret.name} is on {look.secret.version(Label.CURRENT)}, not on this "
        "rotation's version: somebody else changed the secret"
    )


def _only_read(new: Key) -> str:
    """Say why a consumer may be invisible: IAM records only the first use in 15 minutes."""
    if new.last_use is None or new.last_use.service != "secretsmanager":
        return ""
    return (
        " (only a secret was read with it; a job that reads its secret with its own key before "
        "each run hides its work: see docs/consumers.md)"
    )


def _what_is_missing(rotation: Rotation, look: Look, *, used: bool) -> str:
    missing = []
    if not used:
        missing.append("no consumer has used the new key yet")
    if not is_quiet(look.old, look.now, rotation.policy):
        missing.append("the old key has been used too recently")
    missing += [f"{signal} is not good: {signal.words}" for signal in look.not_ok]
    if look.secret is not None and look.secret.replicas_out_of_sync:
        late = ", ".join(look.secret.replicas_out_of_sync)
        missing.append(f"replicas of the secret are not in sync: {late}")
    return " and ".join(missing)


def _new_key_lost(look: Look) -> Conclusion:
    state = "deleted" if look.new is None else "deactivated"
    if look.old is not None and look.old.active:
        return Conclusion(Verdict.BACK_OUT, f"somebody {state} the new key during the rotation")
    return Conclusion(
        Verdict.ATTENTION,
        f"somebody {state} the new key during the rotation and the old key is not active: "
        "reactivate one of them",
    )


def watch_ends_at(rotation: Rotation) -> datetime:
    """Return when the watch is over.

    At least 1.5 times the longest interval between uses that this rotation has seen, so that a
    rare consumer gets its turn within the watch.
    """
    seconds = max(
        rotation.policy.watch_seconds, round(1.5 * rotation.seen.longest_interval_seconds)
    )
    return rotation.loops[Phase.WATCH].began_at + timedelta(seconds=seconds)


def judge_watch(rotation: Rotation, look: Look) -> Conclusion:
    """Judge whether the deactivation hurt anybody.

    BACK_OUT when a signal was bad as often in a row as its kind allows; at the end of the watch
    GO_ON needs a use of the new key after the deactivation and nothing unclear, everything else is
    SILENT. That an application had moved was shown before the deactivation, so here reading the
    secret is a sign of life too: for a job that does so first, it is the only use that AWS records
    (the first in 15 minutes).
    """
    moved = _secret_moved(rotation, look)
    if moved:  # what consumers read now is not this rotation's: both keys, and a person
        return Conclusion(Verdict.SILENT, f"{moved} during the watch")
    if look.new is None or not look.new.active:
        state = "deleted" if look.new is None else "deactivated"
        return Conclusion(Verdict.BACK_OUT, f"somebody {state} the new key during the watch")
    bad = [signal for signal in look.signals if signal.state is SignalState.BAD]
    enough = [_was_bad(signal) for signal in bad if signal.goes_back]
    if enough:
        return Conclusion(Verdict.BACK_OUT, " and ".join(enough))
    if look.now < watch_ends_at(rotation):
        return Conclusion(Verdict.WAIT, "watching the consumers without the old key")
    if bad:
        return Conclusion(Verdict.WAIT, f"{_was_bad(bad[0])}; looking once more")
    use, deactivated_at = look.new.last_use, rotation.loops[Phase.WATCH].began_at
    if use is None or use.at <= deactivated_at or not _by_somebody_else(use, rotation):
        return Conclusion(
            Verdict.SILENT,
            "no consumer was seen using the new key after the old one was deactivated: a broken "
            "consumer is silent, and so is a rare one",
        )
    if look.not_ok:
        unclear = " and ".join(f"{signal} is unclear: {signal.words}" for signal in look.not_ok)
        return Conclusion(Verdict.SILENT, unclear)
    return Conclusion(Verdict.GO_ON, "the new key is in use and nothing went wrong")


def _was_bad(signal: Signal) -> str:
    times = f" {signal.bad_in_a_row} times in a row" if signal.bad_in_a_row > 1 else ""
    return f"{signal} was bad{times}: {signal.words}"


def judge_return(rotation: Rotation, look: Look) -> Conclusion:
    """Judge, in a back-out, whether the new key can go (GO_ON) or must stay (ATTENTION).

    The new key goes only when it has been really quiet since the return (from its creation, when
    it was never used). A consumer may have read it without having used it yet, a nightly job for
    example, so even a key that was never used has to be quiet for that long.
    """
    policy = rotation.policy
    if look.secret is not None and rotation.new_access_key_id in look.secret.exposed_keys:
        return Conclusion(Verdict.GO_ON, "the new key is exposed, so nobody is waited for")
    if look.new is None or not look.new.active:
        return Conclusion(Verdict.GO_ON, "the new key is not active any more")
    since = (look.now - rotation.loops[Phase.RETURN].began_at).total_seconds()
    if since < policy.backout_grace_seconds:
        return Conclusion(Verdict.WAIT, "waiting for the consumers to return to the old key")
    settled = policy.backout_grace_seconds + policy.really_quiet_seconds
    if is_quiet(look.new, look.now, policy) and since >= settled and _read_unused(rotation):
        return Conclusion(
            Verdict.ATTENTION,
            "somebody read the new key with the old one and has used neither since: it may be "
            "waiting with the new key, so both keys stay active",
        )
    if is_quiet(look.new, look.now, policy) and since >= settled:
        return Conclusion(Verdict.GO_ON, "the new key has been quiet")
    if since < settled + policy.poll_max_seconds:
        return Conclusion(Verdict.WAIT, "the new key was used too recently to deactivate it")
    return Conclusion(
        Verdict.ATTENTION,
        f"a consumer still uses the new key {masked(look.new.id)}, so both keys stay active",
    )


def _while_published(at: datetime, rotation: Rotation) -> bool:
    published, restored = rotation.published_at, rotation.restored_at
    return published is not None and published < at and (restored is None or at < restored)


def _read_unused(rotation: Rotation) -> bool:
    """Whether somebody read the new key, never used it, and has not been seen since.

    Whoever did is dormant and holds it. A use of the old key after the return is a consumer that
    is back; our own probe of the old key comes before the return.
    """
    seen = rotation.seen
    returned = (
        seen.old_use is not None
        and rotation.restored_at is not None
        and seen.old_use.at > rotation.restored_at
    )
    return seen.new_read_at is not None and seen.consumer_use is None and not returned
