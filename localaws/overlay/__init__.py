"""Completes MiniStack 1.5.33 where it falls short of AWS: each module names the gaps it closes.

The overlay replaces named functions of MiniStack's modules, once, before it serves. It works on
MiniStack's own tables, so that every other part of it sees the same truth. For every gap,
tests/localaws has a test of the behaviour with the overlay, and test_upstream_gaps.py one that
fails when a new version of MiniStack has closed the gap itself.
"""

from __future__ import annotations

from localaws.overlay import (
    accounts,
    cloudwatch,
    credential_report,
    iam,
    lambda_workers,
    secretsmanager,
    stepfunctions,
)
from localaws.overlay.lambda_workers import Workers


def install(endpoint_url: str, *, moved_clock: bool) -> Workers:
    """Install everything; returns the Lambda workers, which the caller must stop.

    moved_clock: time goes on to the next timer when nobody is busy (see `localaws.clock`).
    """
    iam.install()
    accounts.install()
    credential_report.install()
    secretsmanager.install()
    stepfunctions.install()
    cloudwatch.install()
    if moved_clock:
        from localaws.overlay import moved_clock as its_overlay  # noqa: PLC0415 - real time does without

        its_overlay.install()
    return lambda_workers.install(endpoint_url)
