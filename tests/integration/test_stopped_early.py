"""A run that stops before its first row: its report has every number of its sync type's, so that readers find them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.operators.base import KlaviyoSyncOperator
from airflow_provider_klaviyo.operators.events import KlaviyoSyncEventsOperator
from airflow_provider_klaviyo.operators.subscriptions import KlaviyoSyncSubscriptionsOperator
from tests.integration.conftest import Shop, StartEmulator, run_operator

pytestmark = pytest.mark.integration

SYNCS: list[Any] = [
    pytest.param(
        KlaviyoSyncEventsOperator,
        {"metric": "Visited", "primary_key": "id"},
        {"events": {"live": 0, "backfill": 0}},
        id="events",
    ),
    pytest.param(
        KlaviyoSyncSubscriptionsOperator,
        {"mode": "subscribe", "globally": True},
        {"subscribed": 0, "confirmation_requested": 0},
        id="subscribe",
    ),
    pytest.param(
        KlaviyoSyncSubscriptionsOperator,
        {"mode": "unsubscribe", "globally": True},
        {"unsubscribed": 0},
        id="unsubscribe",
    ),
]


@pytest.mark.parametrize(("kind", "parameters", "extras"), SYNCS)
def test_a_run_that_stops_before_its_session_reports_zeros(
    start_emulator: StartEmulator,
    shop: Shop,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[KlaviyoSyncOperator],
    parameters: dict[str, Any],
    extras: dict[str, object],
) -> None:
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / "storage"))
    start_emulator(extra={"account_id": "Othr22"})

    run = run_operator(
        kind(task_id="sync", sql="SELECT id, email FROM customers", sql_conn_id="shop", **parameters)
    )

    assert "Othr22" in str(run.error)
    assert extras.items() <= run.report.items()
