"""State in an object store: against a server that speaks S3, over a real socket."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from tests.integration.conftest import Shop, Sync

pytestmark = pytest.mark.integration


def test_a_sync_keeps_its_state_there(
    klaviyo: Emulator, shop: Shop, sync: Sync, s3_storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", s3_storage)
    shop.fill_with_people(20)
    parameters: dict[str, Any] = {"primary_key": "id", "only_changes": True}

    first = sync(**parameters)
    assert first.error is None
    assert first.summary["accepted"] == 20
    assert first.summary["report_path"].startswith("s3://")
    shop.execute("UPDATE customers SET tier = 'silver' WHERE id = 3")
    again = sync(**parameters)
    assert (again.summary["accepted"], again.summary["unchanged"]) == (1, 19)
