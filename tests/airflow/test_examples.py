"""The example Dags, run by a real Airflow."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from tests.airflow.conftest import FillShop, RunExample, example_dags

pytestmark = pytest.mark.airflow


@pytest.fixture
def shop(fill_shop: FillShop, storage: Path) -> Path:
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
    return fill_shop(f"customers ({columns})", people)


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


@pytest.mark.slow
def test_the_example_with_a_function_brings_the_members_of_a_service(
    klaviyo: Emulator, shop: Path, run_example: RunExample, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = [{"member": n, "email": f"p{n}@shop.io", "points": n * 10} for n in range(1_200)]
    with service(members) as url:
        monkeypatch.setenv("AIRFLOW_CONN_LOYALTY", json.dumps({"conn_type": "http", "host": url}))
        for expected in ({"accepted": 1_200, "unchanged": 0}, {"accepted": 0, "unchanged": 1_200}):
            run = run_example("klaviyo_from_python")
            (ti,) = run.get_task_instances()
            summary = ti.xcom_pull(task_ids="sync_members", key="return_value")
            assert {name: summary[name] for name in expected} == expected
    person = klaviyo.profile(email="p7@shop.io")
    assert person is not None
    assert (person["external_id"], person["properties"]) == ("7", {"Points": 70})


@contextmanager
def service(members: list[dict[str, object]]) -> Iterator[str]:
    """A service that has members, and gives a page of them."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = {name: int(value) for name, value in parse_qsl(urlsplit(self.path).query)}
            end = asked.get("from", 0) + asked["size"]
            more = f"{url}/members?size={asked['size']}&from={end}" if end < len(members) else None
            body = json.dumps({"members": members[end - asked["size"] : end], "next": more}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield url
        finally:
            server.shutdown()
            thread.join()


def test_the_assets_example_waits_for_an_asset_that_its_sync_may_tell_of() -> None:
    dags = example_dags()
    sync = dags["klaviyo_vips"].get_task("mirror_vips")
    (waited_for,) = dags["klaviyo_after_vips"].timetable.asset_condition.objects
    assert [each.uri for each in sync.outlets] == [waited_for.uri]
    assert urlsplit(waited_for.uri).path == f"/lists/{sync.list_id}"
