"""The evidence rules: is the new key in use, is the old one quiet, did the cutover hurt anybody?

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
from keyturn.model.rotation import Health, Observations, Policy, Rotation, Use
from keyturn.model.world import Key, LastUse


class Verdict(StrEnum):
    """What a look concludes. The state machine's Choices match on these words."""

    GO_ON = "GO_ON"
    WAIT = "WAIT"
    BACK_OUT = "BACK_OUT"
    ATTENTION = "ATTENTION"
    SILENT = "SILENT"


@dataclass(frozen=True)
class Finding:
    """A verdict and its reason in words."""

    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class Look:
    """One look: AWS's clock, both keys (None: IAM has no such key), and alarms not in OK.

    `alarming` are the named alarms in state ALARM; `alarms_unclear` those whose state says
    neither OK nor ALARM (INSUFFICIENT_DATA, or the alarm does not exist).
    """

    now: datetime
    old: Key | None
    new: Key | None
    alarming: Sequence[str] = ()
    alarms_unclear: Sequence[str] = ()


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
        seen.old_use = Use.of(look.old.last_use)
    if before and before.service == "secretsmanager" and _while_published(before.at, rotation):
        seen.new_read_at = before.at
    if look.new:
        seen.new_use = Use.of(look.new.last_use)
        if is_consumer_use(look.new.last_use, rotation):
            seen.consumer_use = Use.of(look.new.last_use)
    seen.alarms_not_ok = sorted({*look.alarming, *look.alarms_unclear})
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


def judge_pickup(rotation: Rotation, look: Look) -> Finding:
    """Judge whether the consumers have moved to the new key.

    Expects `rotation.seen` to contain this look (see `observe`) and `rotation.pickup` to be set.
    GO_ON needs a consumer's use of the new key, a quiet old key and alarms in OK; the health
    URL is asked after it.
    """
    policy, seen = rotation.policy, rotation.seen
    if look.new is None or not look.new.active:
        return _new_key_lost(look)
    quiet = is_quiet(look.old, look.now, policy)
    used = seen.consumer_use is not None
    not_ok = sorted({*look.alarming, *look.alarms_unclear})
    if used and quiet and not not_ok:
        return Finding(Verdict.GO_ON, "the new key is in use and the old key is quiet")
    assert rotation.pickup is not None  # noqa: S101 - set at the first look
    waited = (look.now - rotation.pickup.began_at).total_seconds()
    if waited < policy.pickup_timeout_seconds:
        return Finding(Verdict.WAIT, _what_is_missing(used, quiet, not_ok))
    if used:
        return Finding(
            Verdict.ATTENTION,
            f"after {policy.pickup_timeout_seconds} seconds "
            f"{_what_is_missing(used, quiet, not_ok)}; both keys stay active: move the "
            "remaining consumers, then start ROTATE again",
        )
    if look.old is None or not look.old.active:
        return Finding(
            Verdict.ATTENTION,
            "no consumer uses the new key, and the old key is not active either (not by this "
            "rotation), so there is no way back: check the consumers",
        )
    return Finding(
        Verdict.BACK_OUT,
        f"no consumer used the new key within {policy.pickup_timeout_seconds} seconds"
        f"{_only_read(look.new)}",
    )


def _only_read(new: Key) -> str:
    """Say why a consumer may be invisible: IAM records only the first use in 15 minutes."""
    if new.last_use is None or new.last_use.service != "secretsmanager":
        return ""
    return (
        " (only a secret was read with it; a job that reads its secret with its own key before "
        "each run hides its work: see docs/consumers.md)"
    )


def _what_is_missing(used: bool, quiet: bool, not_ok: Sequence[str]) -> str:
    missing = []
    if not used:
        missing.append("no consumer has used the new key yet")
    if not quiet:
        missing.append("the old key has been used too recently")
    if not_ok:
        missing.append(f"alarms are not OK: {', '.join(not_ok)}")
    return " and ".join(missing)


def _new_key_lost(look: Look) -> Finding:
    state = "deleted" if look.new is None else "deactivated"
    if look.old is not None and look.old.active:
        return Finding(Verdict.BACK_OUT, f"somebody {state} the new key during the rotation")
    return Finding(
        Verdict.ATTENTION,
        f"somebody {state} the new key during the rotation and the old key is not active: "
        "reactivate one of them",
    )


def judge_health_before_cutover(rotation: Rotation, now: datetime) -> Finding:
    """Judge the health answer in `rotation.seen.health` before the old key is deactivated."""
    health = rotation.seen.health
    if rotation.policy.health_url is None or (health is not None and health.good):
        return Finding(Verdict.GO_ON, "healthy before the deactivation")
    answer = describe_health(health)
    assert rotation.pickup is not None  # noqa: S101 - set at the first look
    waited = (now - rotation.pickup.began_at).total_seconds()
    if waited < rotation.policy.pickup_timeout_seconds:
        return Finding(Verdict.WAIT, f"the health URL is not good: {answer}")
    return Finding(
        Verdict.ATTENTION,
        f"the consumers moved, but the health URL is not good: {answer}; both keys stay active",
    )


def describe_health(health: Health | None) -> str:
    """Return a health answer in words."""
    if health is None:
        return "it was not asked"
    return f"status {health.status}" if health.status is not None else str(health.problem)


def watch_ends_at(rotation: Rotation) -> datetime:
    """Return when the watch is over.

    At least 1.5 times the longest interval between uses that this rotation has seen, so that a
    rare consumer gets its turn within the watch.
    """
    assert rotation.deactivated_at is not None  # noqa: S101 - the watch follows it
    seconds = max(
        rotation.policy.watch_seconds, round(1.5 * rotation.seen.longest_interval_seconds)
    )
    return rotation.deactivated_at + timedelta(seconds=seconds)


def judge_cutover(rotation: Rotation, look: Look) -> Finding:
    """Judge whether the deactivation hurt anybody.

    Expects `rotation.seen` to contain this look and the latest health answer. BACK_OUT at two
    bad health answers in a row or an alarm; at the end of the watch GO_ON needs a use of the new
    key after the deactivation and nothing unclear, everything else is SILENT. That an application
    had moved was shown before the deactivation, so here reading the secret is a sign of life too:
    for a job that does so first, it is the only use that AWS records (the first in 15 minutes).
    """
    seen = rotation.seen
    if look.new is None or not look.new.active:
        state = "deleted" if look.new is None else "deactivated"
        return Finding(Verdict.BACK_OUT, f"somebody {state} the new key during the watch")
    if look.alarming:
        return Finding(Verdict.BACK_OUT, f"in ALARM: {', '.join(look.alarming)}")
    if seen.bad_health_in_a_row >= 2:
        return Finding(
            Verdict.BACK_OUT,
            f"the health URL was bad twice in a row: {describe_health(seen.health)}",
        )
    if look.now < watch_ends_at(rotation):
        return Finding(Verdict.WAIT, "watching the consumers without the old key")
    if seen.bad_health_in_a_row == 1:
        return Finding(Verdict.WAIT, "the last health answer was bad; looking once more")
    assert rotation.deactivated_at is not None  # noqa: S101 - the watch follows it
    use = look.new.last_use
    if use is None or use.at <= rotation.deactivated_at or not _by_somebody_else(use, rotation):
        return Finding(
            Verdict.SILENT,
            "no consumer was seen using the new key after the old one was deactivated: a broken "
            "consumer is silent, and so is a rare one",
        )
    if look.alarms_unclear:
        return Finding(
            Verdict.SILENT, f"the state of alarms is unclear: {', '.join(look.alarms_unclear)}"
        )
    return Finding(Verdict.GO_ON, "the new key is in use and nothing went wrong")


def judge_return(rotation: Rotation, look: Look) -> Finding:
    """Judge, in a back-out, whether the new key can go (GO_ON) or must stay (ATTENTION).

    The new key goes only when it has been really quiet since the return (from its creation, when
    it was never used). A consumer may have read it without having used it yet, a nightly job for
    example, so even a key that was never used has to be quiet for that long.
    """
    policy = rotation.policy
    if look.new is None or not look.new.active:
        return Finding(Verdict.GO_ON, "the new key is not active any more")
    assert rotation.restored_at is not None  # noqa: S101 - the return follows it
    since = (look.now - rotation.restored_at).total_seconds()
    if since < policy.backout_grace_seconds:
        return Finding(Verdict.WAIT, "waiting for the consumers to return to the old key")
    settled = policy.backout_grace_seconds + policy.really_quiet_seconds
    if is_quiet(look.new, look.now, policy) and since >= settled and _read_unused(rotation):
        return Finding(
            Verdict.ATTENTION,
            "somebody read the new key with the old one and has used neither since: it may be "
            "waiting with the new key, so both keys stay active",
        )
    if is_quiet(look.new, look.now, policy) and since >= settled:
        return Finding(Verdict.GO_ON, "the new key has been quiet")
    if since < settled + policy.poll_max_seconds:
        return Finding(Verdict.WAIT, "the new key was used too recently to deactivate it")
    return Finding(
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
