"""An account of moto's for every test, with fake credentials and nothing of this machine's."""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto import mock_aws
from moto.core.models import MockAWS

from keyturn.aws import calls, log, probe
from tests.integration.account import ENVIRONMENT, Account
from tests.integration.aws_like import Wire

_KEPT = {"PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "PYTEST_CURRENT_TEST"}


@pytest.fixture(autouse=True)
def fake_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Clear the environment, so that no test can ever reach a real account."""
    for name in set(os.environ) - _KEPT:
        if not name.startswith(("PYTEST_", "COV_", "COVERAGE_")):
            monkeypatch.delenv(name)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="session", autouse=True)
def own_clients() -> Iterator[None]:
    """Clients are made once per process (most of a test's time otherwise), with fake credentials.

    They outlive a test, as they outlive an invocation on Lambda; moto answers all of them.
    """
    _forget_clients()
    yield
    _forget_clients()


@pytest.fixture
def fresh_clients() -> Iterator[None]:
    """For a test that does something to a client."""
    _forget_clients()
    yield
    _forget_clients()


def _forget_clients() -> None:
    for client in vars(calls).values():
        if isinstance(client, functools._lru_cache_wrapper):
            client.cache_clear()


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What the handlers log."""
    text = io.StringIO()
    monkeypatch.setattr(log.logger.registered_handler, "stream", text)
    return text


@pytest.fixture(scope="module")
def moto() -> Iterator[MockAWS]:
    """moto in front of botocore; each test forgets what the one before it had made."""
    with mock_aws() as patched:
        yield patched


@pytest.fixture
def wire(moto: MockAWS, monkeypatch: pytest.MonkeyPatch) -> Wire:
    """Every call of this test, and faults for the next ones."""
    moto.reset()
    wire = Wire()
    wire.install(monkeypatch)
    return wire


@pytest.fixture
def account(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Account:
    """An empty account; nobody really sleeps in it."""
    account = Account(wire)
    defaults = probe.prove.__kwdefaults__ or {}
    monkeypatch.setitem(defaults, "sleep", account.slept.append)
    wire.forget()
    return account
