"""The scenarios with default durations, on two embedded AWSs whose clocks are moved."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from proofs.default_durations import hands
from proofs.default_durations import scenarios as scenarios_module
from proofs.default_durations.embedded import embedded
from proofs.default_durations.scenarios import scenarios

# Two servers for two processors: with the fleet run there are those that take few looks.
WITH_THE_FLEET = {
    "a_fleet_run_of_five",
    "a_first_key_is_issued",
    "an_exposed_key_in_an_open_rotation",
    "backed_out_by_hand",
    "rotated_and_the_old_key_retired",
}

# A minute on a computer that does nothing else; the first of a server's tests awaits most of it.
pytestmark = [pytest.mark.emulator, pytest.mark.slow, pytest.mark.timeout(900)]


def _on_its_server(name: str) -> object:
    server = "with the fleet" if name in WITH_THE_FLEET else "one user each"
    return pytest.param(server, name, id=name, marks=pytest.mark.xdist_group(server))


@pytest.fixture(scope="module")
def running(server: str, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[None]]]:
    """The scenarios of one server that were selected, all at once."""
    wanted = [
        str(item.callspec.params["name"])
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.module is request.module
        and hasattr(item, "callspec")
        and item.callspec.params["server"] == server
    ]
    with embedded() as target, ThreadPoolExecutor(len(wanted)) as pool:
        yield {name: pool.submit(scenarios[name], target) for name in wanted}


@pytest.mark.parametrize(
    ("server", "name"), [_on_its_server(name) for name in scenarios], scope="module"
)
def test_default_durations(running: dict[str, Future[None]], server: str, name: str) -> None:
    """Await one of the scenarios."""
    running[name].result()


def test_the_scenarios_know_nothing_of_the_emulator() -> None:
    """The same code can be run against a real account; what differs stands in the target."""
    for module in (hands, scenarios_module):
        source = Path(str(module.__file__)).read_text()
        assert ".control" not in source
        assert "backdate" not in source
        assert "embedded" not in source
