"""The handlers' account of the integration tests; the deployed stack comes from tests/conftest."""

from __future__ import annotations

from tests.integration.conftest import (
    account,
    fake_credentials,
    logged,
    moto,
    own_clients,
    wire,
)

__all__ = ["account", "fake_credentials", "logged", "moto", "own_clients", "wire"]
