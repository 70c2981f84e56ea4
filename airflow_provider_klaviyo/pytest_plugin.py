"""Fixtures for tests of Dags, which pytest finds by the package's entry point; nothing is loaded before one is used."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow_provider_klaviyo.emulator import Emulator, Settings


@pytest.fixture
def klaviyo_conn_id() -> str:
    """The connection that leads to the emulator; a fixture of the same name in your tests takes its place."""
    return "klaviyo_default"


@pytest.fixture
def klaviyo_settings() -> Settings:
    """How the emulator behaves: jobs are done at once. To be replaced in the same way."""
    from airflow_provider_klaviyo.emulator import Settings

    return Settings(job_seconds=0)


@pytest.fixture
def klaviyo(
    klaviyo_settings: Settings, klaviyo_conn_id: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Emulator]:
    """A local Klaviyo on a free port, to which the connection leads; storage is a folder of the test's own."""
    from airflow_provider_klaviyo.emulator import Emulator

    with Emulator(klaviyo_settings) as emulator:
        connection = {"conn_type": "klaviyo", "host": emulator.url, "password": emulator.api_key}
        monkeypatch.setenv(f"AIRFLOW_CONN_{klaviyo_conn_id.upper()}", json.dumps(connection))
        monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / "klaviyo"))
        yield emulator
