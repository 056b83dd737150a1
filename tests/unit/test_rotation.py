"""What an execution carries, its result, and the names that are computed."""

from __future__ import annotations

import json
import re
from datetime import timedelta

from keyturn.model.identifiers import (
    execution_mark,
    intent_version_id,
    is_intent,
    is_intent_of,
    key_of_version,
    key_version_id,
    mark_of_version,
    masked,
    recovery_name,
)
from keyturn.model.rotation import Outcome, Phase, Polling, Rotation
from tests.unit.worlds import K1, K2, NOW, POLICY

ARN = "arn:aws:states:eu-west-1:123456789012:execution:keyturn-RotateKey:x"
CONTRACT = [
    "outcome",
    "userName",
    "reason",
    "oldAccessKeyId",
    "newAccessKeyId",
    "secretArn",
    "evidence",
]


def rotation() -> Rotation:
    return Rotation(user_name="u", policy=POLICY, secret_name="machine-user/u", started_at=NOW)


def test_the_result_has_the_contracts_shape_from_the_first_moment() -> None:
    result = rotation().result()
    assert list(result) == [*CONTRACT, "startedAt"]
    assert result["oldAccessKeyId"] is None


def test_timestamps_are_iso_8601_utc_and_only_those_that_apply() -> None:
    found = rotation()
    found.published_at = NOW + timedelta(seconds=1.5)
    found.ends(Outcome.ROTATED, "fine")
    result = found.result(NOW + timedelta(seconds=2))
    assert result["publishedAt"] == "2026-11-21T12:00:01.500Z"
    assert result["endedAt"] == "2026-11-21T12:00:02.000Z"
    assert "deactivatedAt" not in result
    assert result["outcome"] == "ROTATED"


def test_what_is_carried_survives_the_state_machine() -> None:
    found = rotation()
    found.loops[Phase.PICKUP] = Polling(began_at=NOW, polls=3)
    again = Rotation.model_validate(json.loads(json.dumps(found.dump())))
    assert again == found


def test_fields_of_a_newer_deployment_pass_through() -> None:
    carried = rotation().dump() | {"fromTheFuture": {"x": 1}}
    assert Rotation.model_validate(carried).dump()["fromTheFuture"] == {"x": 1}


def test_version_ids_name_the_key_and_the_execution() -> None:
    mark = execution_mark(ARN, NOW)
    version = key_version_id(K1, mark)
    assert key_of_version(version) == K1
    assert mark_of_version(version) == mark
    assert 32 <= len(version) <= 64
    assert key_of_version("11111111-2222-3333-4444-555555555555") is None


def test_an_intent_is_no_key() -> None:
    version = intent_version_id(execution_mark(ARN, NOW), "text")
    assert is_intent(version)
    assert key_of_version(version) is None
    assert 32 <= len(version) <= 64


def test_an_intent_names_its_execution_and_what_it_says() -> None:
    mark, other = execution_mark(ARN, NOW), execution_mark(ARN, NOW + timedelta(seconds=1))
    version = intent_version_id(mark, "text")
    assert mark_of_version(version) == mark
    assert is_intent_of(version, mark)
    assert not is_intent_of(version, other)
    assert not is_intent_of(key_version_id(K1, mark), mark)
    assert not is_intent_of(None, mark)
    assert intent_version_id(mark, "text") == version
    assert intent_version_id(mark, "another text") != version


def test_a_reused_execution_name_gets_another_mark() -> None:
    assert execution_mark(ARN, NOW) != execution_mark(ARN, NOW + timedelta(seconds=1))


def test_people_see_the_last_four_characters() -> None:
    assert masked(K2) == "...2222"
    assert masked(None) == "(none)"


def test_the_name_of_a_recovery_is_legal_and_always_the_same() -> None:
    assert recovery_name(ARN) == recovery_name(ARN)
    assert re.fullmatch(r"[0-9A-Za-z-]{1,80}", recovery_name(ARN))
