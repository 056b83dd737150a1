"""One deployed stack for each test process, and which tests one process runs one after another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import localaws
from proofs.stack.support import PARAMETERS, Stack

ROOT = Path(__file__).parent.parent
LANES = {"stack": 2, "toy": 1}
"""In how many processes the tests of a fixture run, however many there are: each deploys it."""

# Seconds of computing and waiting, roughly, where they are many: what is long begins first.
SECONDS = {
    "statemachine/test_roles.py": 90,
    "project/test_commands.py": 90,
    "consumers/test_consumers.py": 80,
    "model/test_protocol.py": 60,
    "statemachine/test_secrets_stay_secret.py": 60,
    "faults/test_matrix.py": 60,
    "faults/test_redrive.py": 60,
    "statemachine/test_back_out.py": 50,
    "consumers/test_examples.py": 50,
    "consumers/test_kit.py": 40,
    "statemachine/test_rotate.py": 40,
    "statemachine/test_emergency.py": 40,
    "statemachine/test_retire.py": 40,
    "statemachine/test_starts_by_events.py": 40,
    "statemachine/test_fleet.py": 40,
    "statemachine/test_resume.py": 40,
    "default_durations/test_default_durations.py": 40,
    "organization/test_many_accounts.py": 30,
    "simulation/test_run.py": 30,
    "unit/test_every_combination.py": 30,
    "cli/test_commands.py": 30,
    "cli/test_care.py": 20,
    "statemachine/test_evidence.py": 20,
    "statemachine/test_events.py": 20,
    "statemachine/test_measures.py": 20,
    "fuzz/test_whole_executions.py": 20,
    "demo/test_demo.py": 20,
    "cli/test_install.py": 20,
    "template/test_sam_build.py": 20,
    "template/test_sam_deploy.py": 20,
    "unit/test_audit_page_screenshot.py": 20,
}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep a module in one process (its fixtures are dear), and the deployed stack in few."""
    if not getattr(config.option, "loadgroup", False):
        return
    modules = [str(item.path.relative_to(ROOT / "tests")) for item in items]
    lanes = _lanes(zip(items, modules, strict=True))
    units = [
        lanes.get((_deployed_for(item), name)) or _group_of(item) or name
        for item, name in zip(items, modules, strict=True)
    ]
    length: Counter[str] = Counter()
    for unit, name in sorted(set(zip(units, modules, strict=True))):
        length[unit] += SECONDS.get(name, 1)
    order = sorted(range(len(items)), key=lambda at: (-length[units[at]], units[at], at))
    items[:] = [items[at] for at in order]
    for item, at in zip(items, order, strict=True):
        item._nodeid = f"{item.nodeid.partition('@')[0]}@{units[at]}"


def _group_of(item: pytest.Item) -> str:
    marker = item.get_closest_marker("xdist_group")
    return str(marker.args[0]) if marker else ""


def _deployed_for(item: pytest.Item) -> str:
    return next((name for name in LANES if name in getattr(item, "fixturenames", ())), "")


def _lanes(items: Iterable[tuple[pytest.Item, str]]) -> dict[tuple[str, str], str]:
    """Share the modules of a fixture out, the longest first, each to the shortest lane so far."""
    found = {(_deployed_for(item), module) for item, module in items}
    lanes: dict[tuple[str, str], str] = {}
    load = {f"{name}-{number}": 0 for name, count in LANES.items() for number in range(count)}
    for name, module in sorted(found, key=lambda each: (-SECONDS.get(each[1], 1), each)):
        if name:
            open_lanes = [lane for lane in load if lane.startswith(f"{name}-")]
            lanes[name, module] = min(open_lanes, key=lambda lane: load[lane])
            load[lanes[name, module]] += SECONDS.get(module, 1)
    return lanes


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
