"""The summary of a deferred sync counts the requests of both its parts."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.sdk.exceptions import TaskDeferred

from airflow_provider_klaviyo.emulator import Emulator
from airflow_provider_klaviyo.operators.profiles import KlaviyoSyncProfilesOperator
from tests.integration.conftest import MAPPING, SQL, Shop, TaskInstance

pytestmark = pytest.mark.integration


def test_every_request_counts(
    klaviyo: Emulator, shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", f"{tmp_path}/storage")
    shop.fill_with_people(5)
    operator = KlaviyoSyncProfilesOperator(
        task_id="sync", sql=SQL, sql_conn_id="shop", mapping=MAPPING, deferrable=True
    )
    ti = TaskInstance("sync")
    with pytest.raises(TaskDeferred):
        operator.execute({"ti": ti})  # type: ignore[typeddict-item]
    before = len(klaviyo.requests())
    assert before

    summary = operator.execute_complete({"ti": ti}, {})  # type: ignore[typeddict-item]

    assert summary["requests"] == len(klaviyo.requests()) > before
