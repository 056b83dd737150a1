"""Execution inputs: valid ones, and almost right ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.support import json_values, mutated

KEY_ID = "AKIAIOSFODNN7EXAMPLE"
DEAD = "arn:aws:states:us-east-1:123456789012:execution:rotate:dead"
SECONDS = (
    "pickupTimeoutSeconds",
    "quietPeriodSeconds",
    "watchSeconds",
    "backoutGraceSeconds",
    "retentionSeconds",
    "pollMinSeconds",
    "pollMaxSeconds",
    "minKeyAgeSeconds",
)

timings = st.fixed_dictionaries({}, optional={name: st.integers(1, 31_536_000) for name in SECONDS})


def rotate_requests(
    users: Sequence[str] = ("ci",), key_ids: Sequence[str] = (KEY_ID,)
) -> st.SearchStrategy[dict[str, Any]]:
    """Valid inputs of RotateKey about some of these users and keys."""
    by_user = {"userName": st.sampled_from(users)}
    by_key = {"accessKeyId": st.sampled_from(key_ids)}
    optional: dict[str, st.SearchStrategy[Any]] = {
        "force": st.booleans(),
        "reason": st.text(max_size=30),
        "timing": timings,
    }
    recovery = st.fixed_dictionaries(
        {"executionArn": st.just(DEAD), "generation": st.integers(1, 3)},
        optional={"also": st.lists(st.just(f"{DEAD}-2"), max_size=3)},
    )
    standard = optional | {"action": st.just("ROTATE"), "mode": st.just("STANDARD")}
    undoing = {"action": st.just("BACK_OUT")}
    emergency = {"mode": st.just("EMERGENCY")}
    return st.one_of(
        st.fixed_dictionaries(by_user, optional=standard),
        st.fixed_dictionaries(by_key, optional=standard),
        st.fixed_dictionaries(by_user | undoing, optional=optional),
        st.fixed_dictionaries(by_user | undoing | {"recovery": recovery}),
        st.fixed_dictionaries(by_user | by_key | emergency, optional=optional),
        st.fixed_dictionaries(by_key | emergency, optional=optional),
    )


retire_requests = st.fixed_dictionaries(
    {
        "userName": st.just("ci"),
        "oldAccessKeyId": st.just(KEY_ID),
        "versionId": st.just(f"{KEY_ID}-{'0' * 32}"),
        "retentionSeconds": st.integers(0, 31_536_000),
    }
)


def inputs(
    users: Sequence[str] = ("ci",), key_ids: Sequence[str] = (KEY_ID,)
) -> st.SearchStrategy[Any]:
    """Any input: arbitrary JSON, almost right ones, valid ones."""
    valid = rotate_requests(users, key_ids)
    return st.one_of(mutated(valid), mutated(valid), json_values, valid)
