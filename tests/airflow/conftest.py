"""A Klaviyo that Airflow's default connection leads to, and a folder that is the test's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Settings


@pytest.fixture
def job_seconds() -> float:
    """How long Klaviyo's jobs take; a module whose tests wait for them says otherwise."""
    return 0.0


@pytest.fixture
def klaviyo(monkeypatch: pytest.MonkeyPatch, job_seconds: float) -> Iterator[Emulator]:
    with Emulator(Settings(job_seconds=job_seconds)) as emulator:
        connection = {"conn_type": "klaviyo", "password": emulator.api_key, "host": emulator.url}
        monkeypatch.setenv("AIRFLOW_CONN_KLAVIYO_DEFAULT", json.dumps(connection))
        yield emulator


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that ``storage_path`` names."""
    path = tmp_path / "storage"
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(path))
    return path
