"""What a fleet run tells at its end: a result for tools, and one digest in words for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from keyturn.fleet.choosing import SUCCESSFUL, Why
from keyturn.fleet.run import FleetRun
from keyturn.fleet.watching import Batch, Stand
from keyturn.model.identifiers import masked_in
from keyturn.model.moments import iso
from keyturn.rotate.announce import Announcement

DETAIL_TYPE = "Fleet Run Ended"
STILL_RUNNING = "STILL_RUNNING"
NOT_STARTED = "NOT_STARTED"
NOT_KNOWN = "NOT_KNOWN"

# SNS takes 256 KiB; nobody reads more lines than this, and the bucket has all of them.
MOST_LINES = 50

_IN_WORDS = {
    "ROTATED": "rotated",
    "ISSUED": "given a first key",
    "SKIPPED": "skipped",
    "BACKED_OUT": "backed out",
    "NEEDS_ATTENTION": "in need of attention",
    "REJECTED": "rejected",
    "FAILED": "failed",
    STILL_RUNNING: "still running",
    NOT_STARTED: "not started",
    NOT_KNOWN: "not known",
}
_LEFT_IN_WORDS = {
    Why.NOT_DUE: "not due",
    Why.IN_FLIGHT: "at work already",
    Why.COOLING_DOWN: "cooling down after an attempt in vain",
    Why.OVER_LIMIT: "beyond the limit of this run",
    Why.NO_ACTIVE_KEY: "without an active key",
    Why.AGE_UNKNOWN: "with a key of unknown age",
    Why.UNKNOWN_USER: "not in the account",
}
# People should see these by name, not only as a number.
_WORTH_A_LINE = (Why.UNKNOWN_USER, Why.AGE_UNKNOWN, Why.COOLING_DOWN)


@dataclass(frozen=True)
class Ended:
    """How one user's rotation ended, as far as the run knows."""

    user_name: str
    outcome: str
    reason: str
    execution_arn: str | None = None

    def dump(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "userName": self.user_name,
            "outcome": self.outcome,
            "reason": self.reason,
            "executionArn": self.execution_arn,
        }


@dataclass(frozen=True)
class Told:
    """What the run is about: the plan, how the rotations ended, and the audit's summary."""

    run: FleetRun
    plan: Mapping[str, Any]
    ended: Sequence[Ended]
    audit: Mapping[str, Any]
    failure: str = ""
    report: Mapping[str, str] = field(default_factory=dict)

    @property
    def dry_run(self) -> bool:
        return bool(self.plan["dryRun"])

    @property
    def outcome(self) -> str:
        """The outcome of the run itself, not of its rotations."""
        if self.failure:
            return "FAILED"
        if self.dry_run:
            return "DRY_RUN"
        return "COMPLETED" if self.plan["chosen"] else "NOTHING_DUE"


def ended_of(chosen: Sequence[Mapping[str, str]], batches: Sequence[Batch | None]) -> list[Ended]:
    """Return how the chosen users' rotations ended; a batch is None when it left no word.

    What the run does not know it does not guess: a rotation may have been started, and goes on.
    """
    known = {}
    for batch in batches:
        for rotation in batch.rotations if batch else ():
            if rotation.stand is Stand.ENDED and rotation.outcome:
                outcome, reason = rotation.outcome, rotation.reason
            elif rotation.stand is Stand.NOT_STARTED:
                outcome, reason = NOT_STARTED, rotation.reason
            elif rotation.stand is Stand.RUNNING and batch and batch.done:
                outcome, reason = STILL_RUNNING, "the run saw no end of it; it announces its own"
            else:
                outcome, reason = NOT_KNOWN, "the run lost sight of it; look at its execution"
            known[rotation.user_name] = Ended(
                rotation.user_name, outcome, reason, rotation.execution_arn
            )
    lost = "the run lost sight of its batch; look whether an execution of RotateKey names the user"
    return [
        known.get(user["userName"]) or Ended(user["userName"], NOT_KNOWN, lost) for user in chosen
    ]


def nothing_done(ended: Sequence[Ended]) -> str:
    """Why a run that chose users did nothing for any of them, or "" when it did.

    One user's trouble looks alike when that user is the only one: that is told twice rather than
    never.
    """
    if not ended or any(one.outcome not in (NOT_STARTED, NOT_KNOWN) for one in ended):
        return ""
    return f"none of the rotations could be started or followed ({ended[0].reason})"


def result(told: Told, now: datetime) -> dict[str, Any]:
    """Return the result of the execution: small, however many users there are."""
    return {
        "outcome": told.outcome,
        "reason": told.failure or _headline(told),
        "dryRun": told.dry_run,
        "runId": told.run.id,
        **told.report,
        "managed": told.plan["managed"],
        "chosen": len(told.plan["chosen"]),
        "left": dict(Counter(left["why"] for left in told.plan["left"])),
        "outcomes": dict(Counter(ended.outcome for ended in told.ended)),
        "audit": dict(told.audit),
        "startedAt": iso(told.run.started_at),
        "endedAt": iso(now),
    }


def digest(told: Told) -> Announcement:
    """Return the digest; key ids are masked, and no list is longer than people read."""
    lines = [f"Fleet run of {told.run.started_at:%Y-%m-%d} in account {told.run.account_id}."]
    if told.failure:
        lines.append(f"It failed: {told.failure}. Rotations that it started go on by themselves.")
    lines.append(_headline(told) + ".")
    lines += _audit_lines(told.audit)
    if told.dry_run:
        would = [f"{user['userName']}: {user['reason']}" for user in told.plan["chosen"]]
        # A run does not read users' managed tags: that would take a call for each.
        lines += _listed("Would be started, and rejected where the managed tag is missing", would)
    bad = [ended for ended in told.ended if ended.outcome not in {*SUCCESSFUL, "SKIPPED"}]
    lines += _listed(
        "Look at these",
        [f"{ended.user_name}: {ended.outcome}: {ended.reason}" for ended in bad],
    )
    left = told.plan["left"]
    counts = Counter(Why(item["why"]) for item in left)
    if counts:
        each = ", ".join(f"{count} {_LEFT_IN_WORDS[why]}" for why, count in counts.most_common())
        lines.append(f"Left alone: {each}.")
    lines += _listed(
        "Left alone, and why",
        [f"{item['userName']}: {item['reason']}" for item in left if item["why"] in _WORTH_A_LINE],
    )
    if told.report:
        lines.append(f"Report: s3://{told.report['reportBucket']}/{told.report['reportPrefix']}")
    lines.append(f"Execution: {told.run.arn}")
    subject = f"{DETAIL_TYPE}: {_headline(told)}"
    return Announcement(
        detailType=DETAIL_TYPE, subject=subject[:100], message=masked_in("\n".join(lines))
    )


def going_on(following: str) -> dict[str, Any]:
    """Return what a function answers of a run that has not ended."""
    return {"next": following, "ending": None, "result": None, "announcement": None}


def rejected(run: FleetRun, error: Exception, now: datetime) -> dict[str, Any]:
    """Return the answer of a run whose request is wrong: nothing was looked at."""
    told = f"The fleet run was rejected, nothing was started: {type(error).__name__}: {error}"
    return {
        "next": "END",
        "ending": "FleetRequestRejected",
        "result": _nothing_started(run, "REJECTED", str(error), now),
        "announcement": _announcement(run, "the request was rejected", told),
    }


def failed(run: FleetRun, what: str, error: Exception, now: datetime) -> dict[str, Any]:
    """Return the answer of a run that knows too little of the account to start anything in it."""
    reason = f"{what}, nothing was started: {type(error).__name__}: {error}"
    return {
        "next": "END",
        "ending": "FleetRunFailed",
        "result": _nothing_started(run, "FAILED", reason, now),
        "announcement": _announcement(
            run, "it failed, nothing was started", f"The fleet run {reason}"
        ),
    }


def _nothing_started(run: FleetRun, outcome: str, reason: str, now: datetime) -> dict[str, Any]:
    return {
        "outcome": outcome,
        "reason": reason,
        "startedAt": iso(run.started_at),
        "endedAt": iso(now),
    }


def _announcement(run: FleetRun, about: str, told: str) -> Announcement:
    return Announcement(
        detailType=DETAIL_TYPE,
        subject=f"{DETAIL_TYPE}: {about}",
        message=masked_in(f"{told}. Execution: {run.arn}"),
    )


def _headline(told: Told) -> str:
    chosen = len(told.plan["chosen"])
    if told.dry_run:
        word = "rotation" if chosen == 1 else "rotations"
        return (
            f"dry run, {chosen} {word} would be started; {told.plan['managed']} users are managed"
        )
    if not chosen:
        return f"none of {told.plan['managed']} managed users had to be rotated"
    counts = Counter(ended.outcome for ended in told.ended)
    each = [f"{count} {_IN_WORDS.get(word, word)}" for word, count in counts.most_common()]
    return f"of {chosen} chosen users {', '.join(each)}"


def _audit_lines(audit: Mapping[str, Any]) -> list[str]:
    lines = []
    findings = audit.get("findings")
    if findings:
        each = ", ".join(f"{count} {rule}" for rule, count in findings.items())
        lines.append(f"Findings of the audit: {each}.")
    return lines + [f"Not judged: {why}." for why in audit.get("unavailable", [])]


def _listed(title: str, items: Sequence[str]) -> list[str]:
    if not items:
        return []
    more = len(items) - MOST_LINES
    tail = [f"- and {more} more, in the report bucket"] if more > 0 else []
    return [f"{title}:", *(f"- {item}" for item in items[:MOST_LINES]), *tail]
