"""Keyturn's rule: its own decision functions, driven as the state machine drives them.

What only a handler does is mirrored here in the smallest way, and the handler is named.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Self

from keyturn.model.rotation import Health, Observations, Phase, Policy, Rotation
from keyturn.model.signals import ALARM, Signal, SignalState, counted
from keyturn.model.world import Key, LastUse
from keyturn.rotate import evidence as verification
from keyturn.rotate import signals, waiting
from keyturn.rotate.evidence import Look, Verdict
from proofs.simulation.clock import EPOCH, MINUTE, moment, seed_of
from proofs.simulation.consumers import KeyName
from proofs.simulation.ending import Ended, Ending
from proofs.simulation.scene import Scene

OLD, NEW = KeyName.OLD, KeyName.NEW
# From a state's entry to its call's answer, and how long a failure takes to show in evidence.
STEP_SECONDS, EVIDENCE_SECONDS = 1.0, 5 * MINUTE
PROBES = (-40.0, -25.0, -10.0)  # seconds from the publishing


class Evidence(StrEnum):
    """What the user's secret names besides last-used data."""

    NONE = "none"
    ALARM = "alarm"
    HEALTH = "health URL"


class KeyturnRule:
    """Rotates one user; `run` tells how it ended."""

    def __init__(self, policy: Policy, evidence: Evidence = Evidence.NONE) -> None:
        update: dict[str, object] = {}
        if evidence is Evidence.ALARM:
            update["signals"] = {ALARM: ["consumer-errors"]}
        if evidence is Evidence.HEALTH:
            update["health_url"] = "https://health.example"
        self._policy = policy.model_copy(update=update)
        self._evidence = evidence

    def run(self, scene: Scene) -> Ending:
        """Rotate the scene's user."""
        return self.rotate(scene)[0]

    def rotate(self, scene: Scene) -> tuple[Ending, Rotation]:
        """Rotate the scene's user; also return the rotation, which knows how often was looked."""
        run = _Run(scene, self._policy, self._evidence)
        return run.run(), run.rotation


class LightObservations(Observations):
    """Observations that `observe` copies without copying what is in them.

    It only ever replaces fields of its copy, so the result is the same (a test compares them), and
    the deep copy and pydantic's way of setting a field would take most of the simulation's time.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field."""
        self.__dict__[name] = value

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy, never deeply."""
        return super().model_copy(update=update)


class _Run:
    def __init__(self, scene: Scene, policy: Policy, evidence: Evidence) -> None:
        self.scene = scene
        self.evidence = evidence
        # `waiting.wait` rolls this for the jitter; everything else here has a chance of its own.
        random.seed(seed_of(scene.user.seed, 0))
        self.time = scene.user.published_at
        self.created = {
            OLD: moment(self.time) - timedelta(days=400),
            NEW: moment(self.time - MINUTE),
        }
        # Keys as last told, because most looks show nothing new.
        self.told: dict[KeyName, tuple[tuple[float, str] | None, bool]] = {}
        self.keys: dict[KeyName, Key] = {}
        self.rotation = Rotation(
            user_name="simulated",
            policy=policy,
            secret_name="machine-user/simulated",
            old_access_key_id=OLD,
            new_access_key_id=NEW,
            started_at=moment(self.time - MINUTE),
            seen=LightObservations(),
        )

    def run(self) -> Ending:
        """Check the request, prove and publish the new key, then go on as the evidence says."""
        scene, rotation = self.scene, self.rotation
        old = self.key(OLD, self.time - MINUTE)
        if _long_unused(old, rotation):
            return Ending(Ended.SKIPPED, self.time)
        for seconds in PROBES:
            scene.probe(NEW, self.time + seconds)
        rotation.proven_at = rotation.probe_ended_at = moment(self.time + PROBES[-1] + 1)
        scene.publish(NEW, self.time)
        rotation.published_at = moment(self.time)
        verdict = self.wait_for_consumers()
        if verdict is Verdict.BACK_OUT:
            return self.back_out(Ended.BACKED_OUT)
        if verdict is not Verdict.GO_ON:
            how = Ended.CONTRADICTION if self.evidence_bad() else Ended.STILL_IN_USE
            return Ending(how, self.time)
        scene.deactivate(OLD, self.time)
        gone_at = self.time
        rotation.deactivated_at = EPOCH + timedelta(seconds=gone_at)
        verdict = self.watch(rotation.deactivated_at)
        if verdict is Verdict.GO_ON:
            return Ending(Ended.DONE, self.time, gone_at, kept=True)
        self.time += 2 * STEP_SECONDS
        scene.reactivate(OLD, self.time)
        if verdict is Verdict.SILENT:
            return Ending(Ended.SILENT, self.time, gone_at)
        return self.back_out(Ended.UNDONE, gone_at)

    # --- the three loops (Check Pickup, Check Watch, Check Return) ------------------------------

    def wait_for_consumers(self) -> Verdict:
        """Check Pickup until it is decided, and Deactivate Old Key's last look."""
        rotation = self.rotation
        wait = waiting.begin(rotation, Phase.PICKUP, since=moment(self.time))
        while True:
            look = self.look(Phase.PICKUP, wait)
            finding = verification.judge_pickup(rotation, look)
            wait = waiting.wait(rotation, Phase.PICKUP, look.now)
            if finding.verdict is Verdict.WAIT:
                continue
            if finding.verdict not in (Verdict.GO_ON, Verdict.CHECK_HEALTH):
                return finding.verdict
            self.ask_health()
            verdict = self.look_once_more()
            if verdict is not Verdict.WAIT:
                return verdict

    def look_once_more(self) -> Verdict:
        """Mirror `deactivate_key`; WAIT stands for DeactivationPostponed."""
        self.time += STEP_SECONDS
        return verification.judge_pickup(self.rotation, self.glance(health_asked=True)).verdict

    def watch(self, began_at: datetime) -> Verdict:
        """Check Watch until it is decided."""
        rotation = self.rotation
        wait = waiting.begin(rotation, Phase.WATCH, since=began_at)
        while True:
            look = self.look(Phase.WATCH, wait)
            finding = verification.judge_watch(rotation, look)
            if finding.verdict is not Verdict.WAIT:
                return finding.verdict
            wait = waiting.wait(rotation, Phase.WATCH, look.now)

    def back_out(self, how: Ended, gone_at: float | None = None) -> Ending:
        """Prove Old Key, Restore Old Version, then Check Return until it is decided."""
        scene, rotation = self.scene, self.rotation
        for seconds in (5, 15, 25):
            scene.probe(OLD, self.time + seconds)
        self.time += 30
        scene.publish(OLD, self.time)
        wait = waiting.begin(rotation, Phase.RETURN, since=EPOCH + timedelta(seconds=self.time))
        while True:
            look = self.look(Phase.RETURN, wait)
            finding = verification.judge_return(rotation, look)
            if finding.verdict is Verdict.GO_ON:
                self.time += STEP_SECONDS
                scene.deactivate(NEW, self.time)
                return Ending(how, self.time, gone_at)
            if finding.verdict is Verdict.ATTENTION:
                return Ending(Ended.BOTH_STAY, self.time, gone_at)
            wait = waiting.wait(rotation, Phase.RETURN, look.now)

    # --- looks --------------------------------------------------------------------------------

    def look(self, phase: Phase, wait: int) -> Look:
        """Wait, then mirror `waiting.look`: look at both keys and add what is seen."""
        self.time += wait
        watches = phase is Phase.WATCH
        if watches:
            self.ask_health()
        self.time += STEP_SECONDS
        self.rotation.loops[phase].polls += 1
        look = self.glance(health_asked=watches)
        self.rotation.seen = verification.observe(self.rotation, look)
        return look

    def glance(self, *, health_asked: bool) -> Look:
        """Mirror `waiting.glance`."""
        answers = []
        if self.evidence is Evidence.ALARM:
            state = SignalState.BAD if self.evidence_bad() else SignalState.OK
            answers = [Signal(kind=ALARM, name="consumer-errors", state=state, words="simulated")]
        health = signals.answered(self.rotation) if health_asked else []
        return Look(
            now=moment(self.time),
            old=self.key(OLD, self.time),
            new=self.key(NEW, self.time),
            signals=counted(self.rotation.seen.signals, answers) + health,
        )

    def key(self, name: KeyName, now: float) -> Key:
        """Return a key as `iam.list_keys` does."""
        shown, active = self.scene.shown(name, now), self.scene.active(name, now)
        if (shown, active) != self.told.get(name):
            use = None
            if shown is not None:
                use = LastUse(EPOCH + timedelta(seconds=shown[0]), shown[1], "eu-west-1")
            self.told[name] = (shown, active)
            self.keys[name] = Key(name, active, self.created[name], use)
        return self.keys[name]

    def evidence_bad(self) -> bool:
        """Whether alarm and health URL show a consumer that has failed for a while."""
        return self.scene.failing(self.time, EVIDENCE_SECONDS)

    def ask_health(self) -> None:
        """Mirror `check_health`, where a health URL is set."""
        if self.evidence is not Evidence.HEALTH:
            return
        self.time += STEP_SECONDS
        bad = self.evidence_bad()
        seen = self.rotation.seen
        seen.health = Health(good=not bad, status=503 if bad else 200)
        seen.bad_health_in_a_row = seen.bad_health_in_a_row + 1 if bad else 0


def _long_unused(old: Key, rotation: Rotation) -> bool:
    """Mirror `decision._not_due`: such a key is reported for removal, not rotated."""
    last = old.last_use.at if old.last_use else old.created_at
    return (rotation.started_at - last).days >= rotation.policy.unused_after_days
