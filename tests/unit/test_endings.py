"""How a rotation ends: by a look that concludes something, by a failure, or rejected."""

from __future__ import annotations

from datetime import timedelta

import pytest

from keyturn.model.execution import Execution
from keyturn.model.rotation import Outcome, Phase, Polling, Rotation
from keyturn.rotate import closing, refusal
from keyturn.rotate.checking import conclude
from keyturn.rotate.evidence import Conclusion, Verdict
from tests.unit.worlds import ARN, K1, K2, NOW, POLICY


def rotation(**fields: object) -> Rotation:
    base = {"user_name": "u", "policy": POLICY, "secret_name": "machine-user/u", "started_at": NOW}
    keys = {"old_access_key_id": K1, "new_access_key_id": K2, "why": "bad health"}
    return Rotation.model_validate(base | keys | fields)


@pytest.mark.parametrize(
    ("phase", "found", "exposed", "verdict", "ending"),
    [
        (Phase.PICKUP, Verdict.WAIT, False, Verdict.WAIT, None),
        (Phase.PICKUP, Verdict.GO_ON, False, Verdict.GO_ON, None),
        (Phase.PICKUP, Verdict.BACK_OUT, False, Verdict.BACK_OUT, None),
        (Phase.PICKUP, Verdict.ATTENTION, False, Verdict.ATTENTION, "AttentionNeeded"),
        (Phase.WATCH, Verdict.WAIT, False, Verdict.WAIT, None),
        (Phase.WATCH, Verdict.GO_ON, False, Verdict.GO_ON, "ROTATED"),
        (Phase.WATCH, Verdict.BACK_OUT, False, Verdict.BACK_OUT, None),
        (Phase.WATCH, Verdict.SILENT, False, Verdict.SILENT, None),
        (Phase.WATCH, Verdict.BACK_OUT, True, Verdict.ATTENTION, "AttentionNeeded"),
        (Phase.WATCH, Verdict.SILENT, True, Verdict.ATTENTION, "AttentionNeeded"),
        (Phase.RETURN, Verdict.WAIT, False, Verdict.WAIT, None),
        (Phase.RETURN, Verdict.GO_ON, False, Verdict.GO_ON, "RotationBackedOut"),
        (Phase.RETURN, Verdict.ATTENTION, False, Verdict.ATTENTION, "BackoutIncomplete"),
    ],
)
def test_a_look_ends_the_rotation_or_lets_it_go_on(
    phase: Phase, found: Verdict, exposed: bool, verdict: Verdict, ending: str | None
) -> None:
    carried = rotation(old_exposed=exposed)
    assert conclude(carried, phase, Conclusion(found, "so it is")) is verdict
    assert carried.ending == ending
    assert carried.silent is (phase is Phase.WATCH and verdict is Verdict.SILENT)
    assert "so it is" in carried.why or phase is Phase.RETURN


def test_a_back_out_that_was_asked_for_ends_green() -> None:
    asked = rotation(action="BACK_OUT")
    conclude(asked, Phase.RETURN, Conclusion(Verdict.GO_ON, "quiet"))
    assert asked.ending == "BACKED_OUT"
    assert asked.why == "bad health; went back to the old key; quiet"


DEACTIVATED = {"deactivated_at": NOW}
BACK = {"reactivated_at": NOW}
RESTORED = {"loops": {Phase.RETURN: Polling(began_at=NOW)}}


@pytest.mark.parametrize(
    ("error", "fields", "says"),
    [
        ("AttentionNeeded", {}, "it failed"),
        ("AttentionNeeded", {"old_exposed": True}, "still active: start the EMERGENCY again"),
        ("AttentionNeeded", {"old_exposed": True, **DEACTIVATED}, "it failed"),
        ("BackoutIncomplete", DEACTIVATED, "reactivate the old key if it is inactive"),
        ("BackoutIncomplete", {}, "put AWSCURRENT back onto the old version"),
        ("BackoutIncomplete", DEACTIVATED | BACK | RESTORED, "deactivate the new key"),
        ("BackoutIncomplete", {**RESTORED, "new_key_deactivated": True}, "it failed"),
    ],
)
def test_a_failure_says_what_is_left_to_do(
    error: str, fields: dict[str, object], says: str
) -> None:
    failed = rotation(**fields)
    closing.fail(failed, "it failed", error)
    assert (failed.outcome, failed.ending) == (Outcome.NEEDS_ATTENTION, error)
    assert failed.why.endswith(says) or f"{says} " in failed.why or f"{says};" in failed.why
    assert ("Left to do" in failed.why) is (says != "it failed")


@pytest.mark.parametrize(
    ("given", "about"),
    [
        ({"recovery": {"executionArn": "arn:dead"}, "userName": "u"}, "arn:dead"),
        ({"recovery": {"executionArn": "line\nbreak"}}, "an unreadable ARN"),
        ({"recovery": "nonsense"}, "an unreadable ARN"),
        ({"mode": "EMERGENCY"}, "An EMERGENCY was rejected"),
        ({"mode": "EMERGENCY", "action": "BACK_OUT"}, None),
        ({"userName": "u"}, None),
        ("no object", None),
    ],
)
def test_people_hear_of_a_rejection_where_nobody_waits_for_the_answer(
    given: object, about: str | None
) -> None:
    execution = Execution(ARN, NOW - timedelta(seconds=1))
    told = refusal.of_request(execution, given, "the reason")
    assert (told is None) is (about is None)
    if told is not None and about is not None:
        assert about in told["message"]
        assert "the reason" in told["message"]
    result = refusal.result_of_request(execution, given, "the reason")
    assert (result["outcome"], result["reason"]) == ("REJECTED", "the reason")
