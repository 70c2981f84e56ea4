"""How a Dag is tested with the emulator, as docs/testing.md shows it."""

from __future__ import annotations

# [START klaviyo_pytest]
import json
import sqlite3
from pathlib import Path

import pytest

try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # Airflow 3.1
    from airflow.models.dagbag import DagBag

from airflow_provider_klaviyo.emulator import Emulator, Fault, FaultKind


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "shop.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE customers (id, email, first_name, tier, lifetime_value)")
        database.execute("INSERT INTO customers VALUES (1, 'ada@shop.io', 'Ada', 'gold', 12.5)")
    database.close()
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "sqlite", "host": str(path)}))


def test_customers_arrive_although_klaviyo_fails_once(klaviyo: Emulator, shop: None) -> None:
    klaviyo.inject(Fault(FaultKind.STATUS, operation="bulk_import_profiles", status=503))

    run = DagBag().dags["klaviyo_only_changes"].test()

    assert run.state == "success"
    (ada,) = klaviyo.profiles()
    assert ada["properties"] == {"Tier": "gold", "Lifetime value": 12.5}
    assert [request.status for request in klaviyo.requests("bulk_import_profiles")] == [503, 202, 202]


# [END klaviyo_pytest]

from airflow_provider_klaviyo import pytest_plugin  # noqa: E402 - not part of what the page shows

# In place of the folder's own fixture.
klaviyo, klaviyo_conn_id = pytest_plugin.klaviyo, pytest_plugin.klaviyo_conn_id
klaviyo_settings = pytest_plugin.klaviyo_settings

pytestmark = [pytest.mark.airflow, pytest.mark.slow]
