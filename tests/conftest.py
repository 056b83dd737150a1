"""Fixtures for all tests: fake credentials, and one deployed stack per test process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import localaws
from proofs.stack.support import PARAMETERS, Stack

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The real template, deployed once per test process; every test has users of its own."""
    with localaws.start() as aws:
        outputs = localaws.deploy(
            aws, stack_name="keyturn", template=ROOT / "template.yaml", parameters=PARAMETERS
        )
        deployed = Stack(aws, outputs)
        yield deployed
        # Here, so that it covers whatever this process did with the stack.
        deployed.assert_nothing_leaked()
        deployed.assert_nothing_denied()
