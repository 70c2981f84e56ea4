"""The example Dags, run by a real Airflow."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Settings

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "dags_examples"

pytestmark = pytest.mark.airflow


@pytest.fixture
def klaviyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    with Emulator(Settings(job_seconds=0.0)) as emulator:
        connection = {"conn_type": "klaviyo", "password": emulator.api_key, "host": emulator.url}
        monkeypatch.setenv("AIRFLOW_CONN_KLAVIYO_DEFAULT", json.dumps(connection))
        yield emulator


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "shop.sqlite"
    columns = (
        "id INTEGER, email TEXT, phone TEXT, first_name TEXT, last_name TEXT, city TEXT, country TEXT, tier TEXT, "
        "lifetime_value REAL, last_order_at TEXT, updated_at TEXT"
    )
    people = [
        (
            n,
            f"p{n}@shop.io",
            f"(415) 555-{n:04}",
            "Ada",
            "Lee",
            "Boston",
            "US",
            "gold",
            n / 4,
            "2026-01-01",
            "2026-01-02",
        )
        for n in range(1, 201)
    ]
    with sqlite3.connect(path) as connection:
        connection.execute(f"CREATE TABLE customers ({columns})")
        connection.executemany(f"INSERT INTO customers VALUES ({', '.join('?' * 11)})", people)
    connection.close()
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / "storage"))
    return path


RunExample = Callable[[str], Any]


@pytest.fixture
def run_example(run_in_airflow: Callable[..., Any]) -> RunExample:
    """Runs an example Dag, as Airflow reads it from its folder."""

    def run(dag_id: str) -> Any:
        try:  # Airflow 3.2 and newer
            from airflow.dag_processing.dagbag import DagBag
        except ImportError:  # Airflow 3.1
            from airflow.models.dagbag import DagBag

        bag = DagBag(dag_folder=str(EXAMPLES))
        assert bag.import_errors == {}
        return run_in_airflow(bag.dags[dag_id])

    return run


@pytest.mark.slow
def test_the_profiles_example_brings_the_customers_into_klaviyo(
    klaviyo: Emulator, shop: Path, run_example: RunExample
) -> None:
    run = run_example("klaviyo_profiles")
    assert run.state == "success"
    (ti,) = run.get_task_instances()
    summary = ti.xcom_pull(task_ids="sync_customers", key="return_value")
    assert (summary["rows_read"], summary["accepted"], summary["rejected"]) == (200, 200, 0)
    assert json.loads(Path(summary["report_path"]).read_text())["accepted"] == 200
    person = klaviyo.profile(email="p7@shop.io")
    assert person is not None
    assert person["phone_number"] == "+14155550007"
    assert person["properties"] == {"Tier": "gold", "Lifetime value": 1.75, "Last order": "2026-01-01"}
    assert klaviyo.count() == 200


@pytest.mark.slow
def test_a_failing_sync_leaves_its_summary_where_callbacks_find_it(
    klaviyo: Emulator, shop: Path, run_example: RunExample
) -> None:
    with sqlite3.connect(shop) as connection:
        connection.execute("UPDATE customers SET email = 'nobody' WHERE id <= 50")
    connection.close()
    run = run_example("klaviyo_profiles")
    assert run.state == "failed"
    (ti,) = run.get_task_instances()
    assert ti.try_number == 1
    summary = ti.xcom_pull(task_ids="sync_customers", key="return_value")
    assert (summary["accepted"], summary["rejected"]) == (150, 50)
    assert klaviyo.count() == 150
