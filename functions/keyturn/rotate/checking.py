"""One look of a waiting loop, judged: what follows for the rotation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from keyturn.model.rotation import Outcome, Phase, Rotation
from keyturn.model.world import SecretState
from keyturn.rotate import waiting
from keyturn.rotate.evidence import (
    Conclusion,
    Look,
    Verdict,
    judge_pickup,
    judge_return,
    judge_watch,
)

_JUDGES: Mapping[Phase, Callable[[Rotation, Look], Conclusion]] = {
    Phase.PICKUP: judge_pickup,
    Phase.WATCH: judge_watch,
    Phase.RETURN: judge_return,
}


def check(rotation: Rotation, phase: Phase, secret: SecretState) -> tuple[Verdict, int]:
    """Look once and judge; return the verdict, and the seconds to wait when it is WAIT."""
    look = waiting.look(rotation, phase, secret)
    verdict = conclude(rotation, phase, _JUDGES[phase](rotation, look))
    return verdict, waiting.wait(rotation, phase, look.now)


def conclude(rotation: Rotation, phase: Phase, finding: Conclusion) -> Verdict:
    """Set how the rotation ends, where the finding says so; return the verdict to go on with."""
    if phase is Phase.RETURN:
        _conclude_return(rotation, finding)
        return finding.verdict
    rotation.why = finding.reason
    if finding.verdict is Verdict.ATTENTION:
        rotation.ends(Outcome.NEEDS_ATTENTION, finding.reason, error="AttentionNeeded")
    if phase is Phase.PICKUP:
        return finding.verdict
    if finding.verdict is Verdict.GO_ON:
        rotation.ends(Outcome.ROTATED, finding.reason)
    elif finding.verdict in (Verdict.BACK_OUT, Verdict.SILENT) and rotation.old_exposed:
        rotation.ends(
            Outcome.NEEDS_ATTENTION,
            f"{finding.reason}; the old key was exposed and stays inactive: look at the "
            "consumers now",
            error="AttentionNeeded",
        )
        return Verdict.ATTENTION
    elif finding.verdict is Verdict.SILENT:
        rotation.silent = True
    return finding.verdict


def _conclude_return(rotation: Rotation, finding: Conclusion) -> None:
    why = f"{rotation.why}; went back to the old key; {finding.reason}"
    if finding.verdict is Verdict.ATTENTION:
        rotation.ends(
            Outcome.NEEDS_ATTENTION,
            f"{why}: move that consumer to the key in AWSCURRENT, then start BACK_OUT again",
            error="BackoutIncomplete",
        )
    elif finding.verdict is not Verdict.WAIT:
        error = None if rotation.back_out_requested else "RotationBackedOut"
        rotation.ends(Outcome.BACKED_OUT, why, error=error)
