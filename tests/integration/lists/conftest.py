"""A list in Klaviyo, and a sync that mirrors a query onto it."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from tests.integration.conftest import Run, Sync


@pytest.fixture
def mirror(list_sync: Sync) -> Sync:
    def run(**parameters: Any) -> Run:
        return list_sync("mirror", **parameters)

    return run


@pytest.fixture
def vips(klaviyo: Emulator) -> str:
    """The id of the list that the syncs name."""
    return klaviyo.add_list("VIPs")
