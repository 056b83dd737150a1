"""What a run assumes and tries: which rules, how late the data is, which durations are changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from proofs.simulation import defaults, other_rules
from proofs.simulation.ending import Ending
from proofs.simulation.keyturn_rule import Evidence, KeyturnRule
from proofs.simulation.lastused import ALWAYS_LATE, MOSTLY_PROMPT, UNIFORM, WORSE, Lag
from proofs.simulation.scene import Scene

KEYTURN = "Keyturn"
OTHERS: Mapping[str, Callable[[Scene], Ending]] = {
    "age only: 7 days": other_rules.age_only,
    "old key idle 24 h": other_rules.idle_for_a_day,
    "new key used once": other_rules.new_key_used,
    "sleep and sts test": other_rules.fixed_sleep,
}
RULES = (KEYTURN, *OTHERS)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One set of assumptions.

    changed: durations of the policy (in seconds) that differ from the template's defaults.
    """

    name: str = "the defaults"
    rules: tuple[str, ...] = (KEYTURN,)
    lag: Lag = UNIFORM
    evidence: Evidence = Evidence.NONE
    changed: Mapping[str, int] = field(default_factory=dict)

    def rotate(self, rule: str, scene: Scene) -> Ending:
        """Rotate the scene's user by a rule."""
        if rule != KEYTURN:
            other_rules.publish(scene)
            return OTHERS[rule](scene)
        return self.keyturn().run(scene)

    def keyturn(self) -> KeyturnRule:
        """Return Keyturn's rule with this variant's settings."""
        return KeyturnRule(defaults.policy(**self.changed), self.evidence)


_HOUR = 3_600
BEST = "an alarm, watch 8 d"
"""The variation that the picture shows beside the defaults."""


def main_run() -> Variant:
    """Return the run that compares all rules with the template's defaults."""
    return Variant(rules=RULES)


def sweep() -> list[Variant]:
    """Return the runs of Keyturn alone that change an assumption or a duration or two."""

    def hours(**changed: int) -> dict[str, int]:
        return {f"{name}_seconds": value * _HOUR for name, value in changed.items()}

    alarm = Evidence.ALARM
    return [
        Variant(name="the defaults"),
        Variant(name=f"last-used data: {MOSTLY_PROMPT.name}", lag=MOSTLY_PROMPT),
        Variant(name=f"last-used data: {ALWAYS_LATE.name}", lag=ALWAYS_LATE),
        Variant(name=f"last-used data: {WORSE.name}", lag=WORSE),
        Variant(name="coarseness and lag left out (a mistake)", changed=hours(coarseness=0, lag=0)),
        Variant(name="quiet period 14 h, watch 30 h", changed=hours(quiet_period=14, watch=30)),
        Variant(name="quiet period 26 h, watch 30 h", changed=hours(quiet_period=26, watch=30)),
        Variant(name="quiet period 26 h", changed=hours(quiet_period=26)),
        Variant(name="quiet period 50 h", changed=hours(quiet_period=50)),
        Variant(name="quiet period 8 d, pickup timeout 14 d",
                changed=hours(quiet_period=8 * 24, pickup_timeout=14 * 24)),
        Variant(name="pickup timeout 14 d", changed=hours(pickup_timeout=14 * 24)),
        Variant(name="watch 30 h", changed=hours(watch=30)),
        Variant(name="watch 8 d", changed=hours(watch=8 * 24)),
        Variant(name="an alarm", evidence=alarm),
        Variant(name="an alarm, quiet period 26 h, watch 30 h", evidence=alarm,
                changed=hours(quiet_period=26, watch=30)),
        Variant(name="an alarm, quiet period 26 h, watch 8 d", evidence=alarm,
                changed=hours(quiet_period=26, watch=8 * 24)),
        Variant(name=BEST, evidence=alarm, changed=hours(watch=8 * 24)),
    ]  # fmt: skip
