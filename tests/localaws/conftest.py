"""One emulator with the toy stack for each test process."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

import localaws
from tests.localaws.support import TOY, Toy


@pytest.fixture(scope="session")
def toy() -> Iterator[Toy]:
    """The toy stack in a running emulator."""
    with localaws.start() as aws:
        outputs = localaws.deploy(
            aws, stack_name="toy", template=TOY, parameters={"WaitSeconds": "1"}
        )
        yield Toy(aws, outputs)


@pytest.fixture
def name() -> str:
    """A name that no other test uses: tests share an emulator."""
    return f"u-{uuid4().hex[:12]}"
