"""The account for the test that holds the model against the handlers."""

from __future__ import annotations

from tests.integration.conftest import account, fake_credentials, moto, own_clients, wire

__all__ = ["account", "fake_credentials", "moto", "own_clients", "wire"]
