"""The example Dags, run by a real Airflow."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "dags_examples"

pytestmark = pytest.mark.airflow


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


RunExample = Callable[..., Any]


@pytest.fixture
def run_example() -> RunExample:
    """Runs an example Dag, as Airflow reads it from its folder: there it finds it by itself, so nobody brings it one.

    From two bundles it would be two versions of one Dag, and Airflow stumbles over these in a second run.
    """

    def run(dag_id: str, **test_arguments: Any) -> Any:
        try:  # Airflow 3.2 and newer
            from airflow.dag_processing.dagbag import DagBag
        except ImportError:  # Airflow 3.1
            from airflow.models.dagbag import DagBag

        bag = DagBag(dag_folder=str(EXAMPLES))
        assert bag.import_errors == {}
        return bag.dags[dag_id].test(**test_arguments)

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


@pytest.fixture
def orders(shop: Path) -> Path:
    """An order every hour for two days, as the shop's database writes times."""
    first = datetime(2026, 11, 19, tzinfo=UTC)
    with sqlite3.connect(shop) as connection:
        connection.execute(
            "CREATE TABLE orders (order_id INTEGER, email TEXT, ordered_at TEXT, total REAL, currency TEXT, "
            "item_count INTEGER, coupon TEXT)"
        )
        connection.executemany(
            "INSERT INTO orders VALUES (?, ?, ?, ?, 'EUR', 2, NULL)",
            [(n, f"p{n % 5}@shop.io", str(first + timedelta(hours=n)), n / 4) for n in range(48)],
        )
    connection.close()
    return shop


@pytest.mark.slow
def test_the_events_example_sends_the_orders_of_its_interval_once(
    klaviyo: Emulator, orders: Path, run_example: RunExample
) -> None:
    for _ in range(2):
        run = run_example("klaviyo_events", logical_date=datetime(2026, 11, 20, 12, tzinfo=UTC))
        assert run.state == "success"
        (ti,) = run.get_task_instances()
        summary = ti.xcom_pull(task_ids="send_orders", key="return_value")
        assert (summary["rows_read"], summary["accepted"]) == (24, 24)
    events = klaviyo.events()
    assert len(events) == 24
    assert {event["properties"]["Order"] for event in events} == set(range(3, 27))
    assert {event["value_currency"] for event in events} == {"EUR"}


@pytest.mark.slow
def test_the_lists_example_mirrors_the_gold_customers_and_goes_on(
    klaviyo: Emulator, shop: Path, run_example: RunExample
) -> None:
    run = run_example("klaviyo_lists")
    assert run.state == "success"
    tis = {ti.task_id: ti for ti in run.get_task_instances()}
    list_id = tis["create_list"].xcom_pull(task_ids="create_list")
    assert len(klaviyo.members(list_id)) == 200
    assert tis["wait_for_members"].xcom_pull(task_ids="wait_for_members") == list_id
    assert list_id in tis["start_the_campaign"].xcom_pull(task_ids="start_the_campaign")
    link = tis["mirror_gold_customers"].xcom_pull(task_ids="mirror_gold_customers", key="klaviyo_list_link")
    assert link == f"https://www.klaviyo.com/list/{list_id}/members"
    with sqlite3.connect(shop) as connection:
        connection.execute("UPDATE customers SET tier = 'silver' WHERE id <= 15")
    connection.close()
    run = run_example("klaviyo_lists")
    (ti,) = [ti for ti in run.get_task_instances() if ti.task_id == "mirror_gold_customers"]
    assert ti.xcom_pull(task_ids="mirror_gold_customers")["removed"] == 15
    assert len(klaviyo.members(list_id)) == 185


@pytest.mark.slow
def test_the_subscriptions_example_subscribes_who_agreed_and_unsubscribes_who_left(
    klaviyo: Emulator, shop: Path, run_example: RunExample
) -> None:
    klaviyo.set(subscription_seconds=0.0)
    newsletter = klaviyo.add_list("Newsletter")
    with sqlite3.connect(shop) as connection:
        for column in ("wants_email", "wants_sms", "left_newsletter"):
            connection.execute(f"ALTER TABLE customers ADD COLUMN {column} INTEGER DEFAULT 0")
        connection.execute("UPDATE customers SET wants_email = 1 WHERE id <= 20")
        connection.execute("UPDATE customers SET wants_sms = 1 WHERE id BETWEEN 11 AND 30")
    connection.close()
    (gone,) = klaviyo.add_profiles([{"email": "p1@shop.io"}])
    klaviyo.set_consent(gone, "email", "UNSUBSCRIBED")

    run = run_example("klaviyo_subscriptions")

    assert run.state == "success"
    (ti, _) = sorted(run.get_task_instances(), key=lambda ti: ti.task_id)
    summary = ti.xcom_pull(task_ids="subscribe", key="return_value")
    assert (summary["rows_read"], summary["accepted"], summary["skipped"]) == (30, 29, 1)
    assert klaviyo.consent(email="p15@shop.io") == {"email": "SUBSCRIBED", "sms": "SUBSCRIBED"}
    assert klaviyo.consent(email="p25@shop.io") == {"email": "NEVER_SUBSCRIBED", "sms": "SUBSCRIBED"}
    assert len(klaviyo.members(newsletter)) == 29
    with sqlite3.connect(shop) as connection:
        connection.execute("UPDATE customers SET wants_email = 0, left_newsletter = 1 WHERE id IN (2, 3, 99)")
    connection.close()
    run = run_example("klaviyo_subscriptions")
    summary = ti.xcom_pull(task_ids="unsubscribe", key="return_value", run_id=run.run_id)
    assert (summary["accepted"], summary["skipped"]) == (2, 1)
    assert len(klaviyo.members(newsletter)) == 27
    assert klaviyo.incidents() == []
