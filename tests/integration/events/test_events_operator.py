"""The events operator, from a real PostgreSQL into the emulator: each event once, and every row accounted for."""

from __future__ import annotations

import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from airflow_provider_klaviyo.emulator import Emulator, Fault
from tests.integration.conftest import Run, StartEmulator, TaskInstance, run_operator
from tests.integration.profiles.test_profiles_databases import connect
from tests.late import LATE

pytestmark = pytest.mark.integration

CREATE = "bulk_create_events"
MAPPING = {
    "profile.email": "email",
    "time": "ordered_at",
    "value": "total",
    "value_currency": "currency",
    "properties.Order": "order_id",
    "properties.Lines": "lines",
}
SQL = "SELECT * FROM orders ORDER BY order_id"


class Shop:
    """A table of orders in PostgreSQL."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self.execute("DROP TABLE IF EXISTS orders")
        self.execute(
            "CREATE TABLE orders (order_id int, email text, ordered_at timestamptz, total numeric(9, 2), "
            "currency text, lines jsonb)"
        )

    def execute(self, sql: str, *values: object) -> None:
        with psycopg.connect(self._uri, autocommit=True) as connection:
            connection.execute(sql, values or None)

    def fill(self, first: int, last: int, age: str = "1 hour", people: int = 10) -> None:
        """Orders with these numbers, of so many people in turn."""
        self.execute(
            "INSERT INTO orders SELECT n, 'p' || mod(n, %s) || '@shop.io', now() - %s::interval, n / 4.0, 'eur', "
            "jsonb_build_array(jsonb_build_object('sku', 'A' || n)) FROM generate_series(%s::int, %s) AS n",
            people, age, first, last,
        )  # fmt: skip


Send = Callable[..., Run]


@pytest.fixture
def shop(postgres_uri: str, monkeypatch: pytest.MonkeyPatch) -> Shop:
    connect(monkeypatch, postgres_uri, "postgres")
    return Shop(postgres_uri)


@pytest.fixture
def send(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Send]:
    """Runs the operator over the shop; every run obeys the law."""
    from airflow_provider_klaviyo.operators.events import KlaviyoSyncEventsOperator

    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / "storage"))
    logging.getLogger("airflow_provider_klaviyo.client").setLevel(
        logging.ERROR
    )  # faults are what these tests order

    def run(
        *, run_id: str = TaskInstance.run_id, context: dict[str, Any] | None = None, **parameters: Any
    ) -> Run:
        settings = {
            "sql": SQL,
            "mapping": MAPPING,
            "metric": "Placed Order",
            "primary_key": "order_id",
            "timeout": 120,
        }
        operator = KlaviyoSyncEventsOperator(
            task_id="send_orders", sql_conn_id="shop", **(settings | parameters | LATE)
        )
        made = run_operator(operator, run_id=run_id, context=context)
        made.counts()
        return made

    yield run
    logging.getLogger("airflow_provider_klaviyo.client").setLevel(logging.NOTSET)


def orders(klaviyo: Emulator) -> Counter[int]:
    """How often each order is in Klaviyo."""
    return Counter(event["properties"]["Order"] for event in klaviyo.iter_events())


def writes(klaviyo: Emulator) -> int:
    return len(klaviyo.requests(CREATE))


def backfill_run() -> dict[str, Any]:
    return {"dag_run": SimpleNamespace(run_type="backfill")}


# --- what it is for -------------------------------------------------------------------------------------------------


def test_orders_arrive_with_all_that_the_row_says(klaviyo: Emulator, shop: Shop, send: Send) -> None:
    shop.fill(1, 25)
    run = send()
    assert run.error is None
    assert run.counts() == {"rows_read": 25, "accepted": 25}
    (event,) = (each for each in klaviyo.events() if each["properties"]["Order"] == 7)
    assert event["metric"] == "Placed Order"
    assert event["profile"]["email"] == "p7@shop.io"
    assert (event["value"], event["value_currency"]) == (1.75, "EUR")
    assert event["properties"] == {"Order": 7, "Lines": [{"sku": "A7"}]}
    assert event["unique_id"].startswith("k1-")
    assert event["backfill"] is False
    assert klaviyo.count() == 10


def test_the_summary_is_that_of_all_syncs_and_the_report_counts_live_and_history(
    klaviyo: Emulator, shop: Shop, send: Send
) -> None:
    shop.fill(1, 6)
    shop.fill(7, 10, age="30 days")
    run = send()
    assert (run.summary["sync_type"], run.summary["mode"], run.summary["requests"]) == ("events", "add", 1)
    assert run.summary.items() <= run.report.items()
    assert run.report["events"] == {"live": 6, "backfill": 4}
    assert klaviyo.count_flow_starts() == 6


def test_by_name_no_mapping_is_needed(klaviyo: Emulator, shop: Shop, send: Send) -> None:
    shop.fill(1, 2)
    sql = "SELECT order_id, email, ordered_at AS timestamp, total AS value, currency AS value_currency FROM orders"
    assert send(sql=sql, mapping=None).counts() == {"rows_read": 2, "accepted": 2}
    assert [event["properties"] for event in klaviyo.events()] == [{"order_id": 1}, {"order_id": 2}]
    assert [event["value"] for event in klaviyo.events()] == [0.25, 0.5]


def test_the_metric_may_come_from_a_column(klaviyo: Emulator, shop: Shop, send: Send) -> None:
    shop.fill(1, 4)
    sql = "SELECT *, CASE WHEN order_id < 3 THEN 'Placed' ELSE 'Shipped' END AS what FROM orders"
    assert send(sql=sql, metric=None, mapping=MAPPING | {"metric": "what"}).counts()["accepted"] == 4
    assert Counter(event["metric"] for event in klaviyo.events()) == {"Placed": 2, "Shipped": 2}


def test_fields_of_the_person_are_written_too(klaviyo: Emulator, shop: Shop, send: Send) -> None:
    shop.fill(1, 1)
    sql = "SELECT *, 'Ada' AS first, 'gold' AS tier FROM orders"
    send(sql=sql, mapping=MAPPING | {"profile.first_name": "first", "profile.properties.Tier": "tier"})
    person = klaviyo.profile(email="p1@shop.io")
    assert person is not None
    assert (person["first_name"], person["properties"]) == ("Ada", {"Tier": "gold"})


@pytest.mark.parametrize(("rows", "requests"), [(1, 1), (1_000, 1), (1_001, 2)])
def test_a_thousand_events_are_one_request(
    klaviyo: Emulator, shop: Shop, send: Send, rows: int, requests: int
) -> None:
    shop.fill(1, rows)
    assert send().counts() == {"rows_read": rows, "accepted": rows}
    assert writes(klaviyo) == requests


def test_five_megabytes_are_one_request(klaviyo: Emulator, shop: Shop, send: Send) -> None:
    shop.fill(1, 120)
    sql = "SELECT *, repeat('ü', 45000) AS text FROM orders"
    assert send(sql=sql, mapping=MAPPING | {"properties.Text": "text"}).counts()["accepted"] == 120
    sizes = [request.request_bytes for request in klaviyo.requests(CREATE)]
    assert (len(sizes), max(sizes) <= 5_000_000) == (3, True)


def test_without_rows_nothing_is_called(klaviyo: Emulator, shop: Shop, send: Send) -> None:
    run = send()
    assert (run.error, run.counts(), klaviyo.requests()) == (None, {}, [])


def test_a_preview_writes_nothing_and_counts_what_would_start_flows(
    klaviyo: Emulator, shop: Shop, send: Send, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    shop.fill(1, 3)
    shop.fill(4, 5, age="30 days")
    run = send(preview="true")
    assert run.counts() == {"rows_read": 5, "accepted": 5}
    assert klaviyo.requests() == []
    assert run.report["events"] == {"live": 3, "backfill": 2}
    (shown,) = Path(run.summary["report_path"]).parent.glob("*preview*")
    assert len(json.loads(shown.read_text())["data"]["attributes"]["events-bulk-create"]["data"]) == 5
    assert "@shop.io" not in caplog.text


def test_what_klaviyo_left_out_of_people_is_said(
    klaviyo: Emulator, shop: Shop, send: Send, caplog: pytest.LogCaptureFixture
) -> None:
    shop.fill(1, 3)
    klaviyo.inject(Fault("slow", CREATE, headers={"X-Klaviyo-Partial-Failure": "phone_number"}))
    assert send().counts() == {"rows_read": 3, "accepted": 3}
    assert "left out phone_number" in caplog.text


# --- each event once ------------------------------------------------------------------------------------------------


def test_two_events_of_one_person_in_the_same_second_are_both_kept(
    klaviyo: Emulator, shop: Shop, send: Send
) -> None:
    shop.fill(1, 5, people=1)
    shop.execute("UPDATE orders SET ordered_at = date_trunc('second', ordered_at)")
    assert send().counts()["accepted"] == klaviyo.count_events() == 5


@pytest.mark.parametrize("refuses_known", [False, True], ids=["dropped in silence", "refused"])
def test_a_second_run_changes_nothing(
    start_emulator: StartEmulator, shop: Shop, send: Send, refuses_known: bool
) -> None:
    klaviyo = start_emulator(refuses_known_events=refuses_known)
    shop.fill(1, 30)
    send()
    before = klaviyo.events()
    again = send()
    assert again.counts() == {"rows_read": 30, "skipped" if refuses_known else "accepted": 30}
    assert all("already_recorded" in line["reason"] for line in again.rejects)
    assert klaviyo.events() == before


def test_a_repeated_primary_key_with_other_content_is_skipped_with_its_reason(
    klaviyo: Emulator, shop: Shop, send: Send
) -> None:
    shop.fill(1, 5)
    shop.execute("INSERT INTO orders VALUES (3, 'other@shop.io', now(), 99, 'EUR', '[]')")
    for more in ({}, {"only_changes": True}):
        klaviyo.reset()
        run = send(sql="SELECT * FROM orders ORDER BY order_id, total", **more)
        assert run.counts() == {"rows_read": 6, "accepted": 5, "skipped": 1}
        (line,) = run.rejects
        assert (line["key"], line["outcome"], line["row"]["email"]) == (3, "skipped", "other@shop.io")
        assert "first one counts" in line["reason"]
        assert orders(klaviyo) == Counter(range(1, 6))


def test_one_mapped_id_is_one_event_of_its_person(klaviyo: Emulator, shop: Shop, send: Send) -> None:
    shop.fill(1, 6, people=2)
    run = send(
        sql="SELECT *, 'x' || order_id / 4 AS nr FROM orders",
        mapping=MAPPING | {"unique_id": "nr"},
        primary_key=None,
    )
    assert run.counts() == {"rows_read": 6, "accepted": 4, "skipped": 2}
    assert klaviyo.count_events() == 4


def test_one_id_under_two_addresses_of_one_person_sinks_no_request(
    klaviyo: Emulator, shop: Shop, send: Send
) -> None:
    """The addresses of two rows are one person in Klaviyo, by a phone number that only Klaviyo connects."""
    klaviyo.add_profiles([{"email": "ada@shop.io", "external_id": "7"}])
    sql = (
        "SELECT 1 AS order_id, 'ada@shop.io' AS email, NULL AS external_id, 'A' AS unique_id "
        "UNION ALL SELECT 2, NULL, '7', 'A'"
    )
    assert send(sql=sql, mapping=None).counts() == {"rows_read": 2, "accepted": 2}
    assert klaviyo.count_events() == 1


def test_bad_rows_are_rejected_and_the_good_ones_arrive(klaviyo: Emulator, shop: Shop, send: Send) -> None:
    shop.fill(1, 100)
    shop.execute("UPDATE orders SET email = 'nobody' WHERE order_id = 3")
    shop.execute("UPDATE orders SET ordered_at = NULL WHERE order_id = 4")
    shop.execute("UPDATE orders SET ordered_at = '1980-01-01' WHERE order_id = 5")
    shop.execute("UPDATE orders SET ordered_at = now() + interval '400 days' WHERE order_id = 6")
    shop.execute("UPDATE orders SET order_id = NULL WHERE order_id = 7")
    shop.execute("UPDATE orders SET currency = 'euros' WHERE order_id = 8")
    shop.execute("UPDATE orders SET currency = 'XXQ' WHERE order_id = 9")
    run = send(max_rejected=5)
    assert run.error is None
    assert run.counts() == {"rows_read": 100, "accepted": 95, "rejected": 5}
    assert {(line["key"], line["outcome"], line["field"]) for line in run.rejects} == {
        (3, "rejected", "email"),
        (4, "rejected", "time"),
        (5, "rejected", "time"),
        (6, "rejected", "time"),
        ("row 100", "rejected", "primary_key"),
        (8, "warning", "value_currency"),
        (9, "warning", "value_currency"),
    }
    assert orders(klaviyo) == Counter(set(range(1, 101)) - {3, 4, 5, 6, 7})


def test_a_person_whom_klaviyo_refuses_costs_that_persons_events_only(
    klaviyo: Emulator, shop: Shop, send: Send
) -> None:
    shop.fill(1, 50)
    klaviyo.inject(Fault("refuse_records", CREATE, match="p3@shop.io", count=None))
    run = send(max_rejected=1.0)
    assert run.counts() == {"rows_read": 50, "accepted": 45, "rejected": 5}
    assert {line["row"]["email"] for line in run.rejects} == {"p3@shop.io"}


# --- only what is new -----------------------------------------------------------------------------------------------


def test_only_keys_that_were_never_acknowledged_are_sent(klaviyo: Emulator, shop: Shop, send: Send) -> None:
    shop.fill(1, 20)
    assert send(only_changes=True).counts() == {"rows_read": 20, "accepted": 20}
    shop.fill(21, 23)
    shop.execute("UPDATE orders SET total = 0 WHERE order_id = 7")
    before = writes(klaviyo)

    run = send(only_changes=True)

    assert run.counts() == {"rows_read": 23, "accepted": 3, "unchanged": 19, "skipped": 1}
    (line,) = run.rejects
    assert (line["key"], line["outcome"]) == (7, "skipped")
    assert "already_recorded" in line["reason"]
    assert [request.records for request in klaviyo.requests(CREATE)[before:]] == [3]
    assert orders(klaviyo) == Counter(range(1, 24))


def test_a_corrected_person_is_told_and_another_spelling_of_the_same_is_unchanged(
    klaviyo: Emulator, shop: Shop, send: Send
) -> None:
    shop.fill(1, 4)
    send(only_changes=True)
    shop.execute("UPDATE orders SET email = 'right@shop.io' WHERE order_id = 1")
    shop.execute("UPDATE orders SET email = ' ' || upper(email) WHERE order_id = 2")
    shop.execute("UPDATE orders SET email = 'right@shop.io', total = 99 WHERE order_id = 3")
    for _ in range(2):
        run = send(only_changes=True)
        assert run.counts() == {"rows_read": 4, "unchanged": 2, "skipped": 2}
        assert [line["key"] for line in run.rejects] == [1, 3]
        for line in run.rejects:
            assert line["field"] == "email"
            assert line["reason"].startswith(
                "already_recorded: Klaviyo has recorded this event for another person"
            )
    assert klaviyo.profile(email="right@shop.io") is None
    corrected = send(
        only_changes=True,
        sql="SELECT -order_id AS order_id, email, ordered_at, total, currency, lines "
        "FROM orders WHERE order_id = 1",
    )
    assert corrected.counts() == {"rows_read": 1, "accepted": 1}
    assert klaviyo.profile(email="right@shop.io") is not None


def test_who_is_known_by_another_identifier_now_is_the_same_person(
    klaviyo: Emulator, shop: Shop, send: Send
) -> None:
    mapping = {"profile.email": "email", "profile.external_id": "customer", "time": "ordered_at"}
    sql = "SELECT order_id, {} AS email, order_id + 100 AS customer, ordered_at FROM orders"
    shop.fill(1, 3)
    assert send(only_changes=True, sql=sql.format("NULL"), mapping=mapping).counts()["accepted"] == 3
    known = send(only_changes=True, sql=sql.format("email"), mapping=mapping)
    assert known.counts() == {"rows_read": 3, "unchanged": 3}
    other = send(only_changes=True, sql=sql.format("email").replace("+ 100", "+ 200"), mapping=mapping)
    assert other.counts() == {"rows_read": 3, "skipped": 3}


def test_an_event_that_grew_old_is_unchanged(klaviyo: Emulator, shop: Shop, send: Send) -> None:
    shop.fill(1, 5, age="2 days")
    send(only_changes=True)
    assert send(only_changes=True, flow_window=3600).counts() == {"rows_read": 5, "unchanged": 5}


def test_a_full_refresh_sends_all_and_klaviyo_counts_none_twice(
    klaviyo: Emulator, shop: Shop, send: Send
) -> None:
    shop.fill(1, 5)
    send(only_changes=True)
    before = klaviyo.events()
    assert send(only_changes=True, full_refresh=True).counts() == {"rows_read": 5, "accepted": 5}
    assert klaviyo.events() == before
    assert send(only_changes=True).counts() == {"rows_read": 5, "unchanged": 5}


def test_another_metric_is_another_state(klaviyo: Emulator, shop: Shop, send: Send) -> None:
    shop.fill(1, 3)
    send(only_changes=True)
    caught = send(only_changes=True, metric="Shipped Order")
    assert "metric was Placed Order and is now Shipped Order" in str(caught.error)
    assert send(only_changes=True, metric="Shipped Order", state_key="shipped").counts()["accepted"] == 3


def test_events_that_klaviyo_refused_go_again(klaviyo: Emulator, shop: Shop, send: Send) -> None:
    shop.fill(1, 20)
    klaviyo.inject(Fault("refuse_records", CREATE, match="p3@shop.io", count=None))
    assert send(only_changes=True, max_rejected=1.0).counts()["rejected"] == 2
    klaviyo.clear_faults()
    assert send(only_changes=True).counts() == {"rows_read": 20, "accepted": 2, "unchanged": 18}
    assert orders(klaviyo) == Counter(range(1, 21))


# --- before the first row -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"metric": None}, "metric"),
        ({"metric": "x" * 128}, "128"),
        ({"primary_key": None}, "unique_id"),
        ({"primary_key": "nr"}, "primary_key"),
        ({"mapping": {"profile.email": "mail"}}, "did you mean 'email'"),
        ({"mapping": {"time": "ordered_at"}}, "identifies a person"),
        ({"mapping": MAPPING | {"first_name": "email"}}, "first_name"),
        ({"mapping": MAPPING | {"metric": "currency"}}, "keep one of them"),
        ({"backfill": "perhaps"}, "backfill"),
        ({"flow_window": -1}, "flow_window"),
        (
            {"only_changes": True, "primary_key": None, "mapping": MAPPING | {"unique_id": "order_id"}},
            "primary_key",
        ),
    ],
)
def test_what_cannot_work_fails_before_the_first_row_and_without_a_retry(
    klaviyo: Emulator, shop: Shop, send: Send, parameters: dict[str, Any], told: str
) -> None:
    shop.fill(1, 3)
    run = send(**parameters)
    assert type(run.error).__name__ == "AirflowFailException"
    assert told in str(run.error)
    assert writes(klaviyo) == 0


def test_a_key_that_lacks_the_scope_is_told_so_after_one_request(
    start_emulator: StartEmulator, shop: Shop, send: Send
) -> None:
    klaviyo = start_emulator("pk_poor", keys={"pk_poor": ("accounts:read",)})
    shop.fill(1, 5_000)
    run = send()
    assert "events:write" in str(run.error)
    assert writes(klaviyo) == 1
    assert run.counts()["pending"] > 0


# --- history --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "context", "live"),
    [
        ({}, {}, 5),
        ({}, backfill_run(), 0),
        ({"backfill": False}, backfill_run(), 10),
        ({"backfill": "true"}, {}, 0),
        ({"flow_window": 0}, {}, 0),
        ({"flow_window": 60 * 86_400}, {}, 10),
        ({"backfill": "None"}, {}, 5),
    ],
    ids=[
        "by age",
        "backfill run",
        "forced live",
        "forced history",
        "no window",
        "wide window",
        "templated None",
    ],
)
def test_history_starts_no_flows(
    klaviyo: Emulator, shop: Shop, send: Send, parameters: dict[str, Any], context: dict[str, Any], live: int
) -> None:
    shop.fill(1, 5)
    shop.fill(6, 10, age="30 days")
    run = send(context=context, **parameters)
    assert run.error is None
    assert klaviyo.count_flow_starts() == live
    assert run.report["events"] == {"live": live, "backfill": 10 - live}


def test_a_backfill_over_ten_days_run_twice_changes_nothing_the_second_time(
    klaviyo: Emulator, shop: Shop, send: Send
) -> None:
    shop.fill(1, 200)
    shop.execute(
        "UPDATE orders SET ordered_at = timestamptz '2026-11-01 12:00Z' + order_id * interval '90 minutes'"
    )
    first = datetime(2026, 11, 1, 12, tzinfo=UTC)
    sql = "SELECT * FROM orders WHERE ordered_at >= %(start)s AND ordered_at < %(end)s"

    def backfill() -> list[dict[str, int]]:
        days = [(first + timedelta(days=n), first + timedelta(days=n + 1)) for n in range(10)]
        return [
            send(
                sql=sql,
                parameters={"start": start, "end": end},
                run_id=f"backfill__{start:%Y-%m-%d}",
                context=backfill_run(),
            ).counts()
            for start, end in days
        ]

    assert sum(counts["accepted"] for counts in backfill()) == 159
    before = klaviyo.events()
    assert orders(klaviyo) == Counter(range(1, 160))
    backfill()
    assert klaviyo.events() == before
    assert klaviyo.count_flow_starts() == 0


# --- faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refuses_known", [False, True], ids=["dropped in silence", "refused"])
@pytest.mark.parametrize("pointers", ["all", "one"])
@pytest.mark.parametrize(
    "fault",
    [
        Fault("reset_before", CREATE, count=2),
        Fault("reset_after", CREATE, count=2),
        Fault("not_json", CREATE, body="html"),
        Fault("status", CREATE, status=503, body="html", count=2),
        Fault("status", CREATE, status=520, body="empty"),
        Fault("status", CREATE, status=429, retry_after=1),
        Fault("slow", CREATE, seconds=2.5),
    ],
    ids=lambda fault: f"{fault.kind} {fault.status if fault.kind == 'status' else ''}".strip(),
)
def test_an_ambiguous_answer_neither_doubles_nor_drops_an_event(
    start_emulator: StartEmulator, shop: Shop, send: Send, fault: Fault, pointers: str, refuses_known: bool
) -> None:
    klaviyo = start_emulator(
        extra={"timeout": 1}, refuses_known_events=refuses_known, pointers=pointers, rate_limits="off"
    )
    shop.fill(1, 40)
    klaviyo.inject(fault)
    run = send()
    assert run.error is None
    assert run.counts() == {"rows_read": 40, "accepted": 40}
    assert orders(klaviyo) == Counter(range(1, 41))
    assert run.report["events"] == {"live": 40, "backfill": 0}


def test_an_outage_that_outlasts_the_timeout_leaves_rows_pending_and_the_next_run_sends_them(
    klaviyo: Emulator, shop: Shop, send: Send
) -> None:
    shop.fill(1, 10)
    klaviyo.inject(Fault("reset_after", CREATE, count=None))
    stopped = send(timeout=3, only_changes=True)
    assert stopped.error is not None
    assert stopped.counts() == {"rows_read": 10, "pending": 10}
    klaviyo.clear_faults()
    klaviyo.set(refuses_known_events=True)
    assert send(only_changes=True).counts() == {"rows_read": 10, "accepted": 10}
    assert send(only_changes=True).counts() == {"rows_read": 10, "unchanged": 10}
    assert orders(klaviyo) == Counter(range(1, 11))


MANY = int(os.environ.get("KLAVIYO_TESTS_EVENTS") or 100_000)
"""A million is a matter of minutes, so it is for who asks for it: KLAVIYO_TESTS_EVENTS=1000000."""


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_many_events_under_timeouts_resets_and_server_errors_end_with_exactly_the_right_set(
    start_emulator: StartEmulator, shop: Shop, send: Send, capsys: pytest.CaptureFixture[str]
) -> None:
    klaviyo = start_emulator(
        extra={"timeout": 1, "rate_limit_share": 1.0},
        rate_limits="off",
        refuses_known_events=True,
        time_factor=1,
    )
    shop.fill(1, MANY, people=max(MANY // 4, 1))
    for seed, (kind, more) in enumerate(
        [
            ("reset_before", {}),
            ("reset_after", {}),
            ("slow", {"seconds": 1.5}),
            ("status", {"status": 500}),
            ("status", {"status": 503, "body": "html"}),
        ]
    ):
        klaviyo.inject(Fault(kind, CREATE, count=None, probability=0.02, seed=seed, **more))
    started, cpu = time.monotonic(), time.process_time()
    run = send(timeout=1_500)
    seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    assert run.error is None
    assert run.counts() == {"rows_read": MANY, "accepted": MANY}
    assert klaviyo.count_events() == MANY
    seen = 0
    for event in klaviyo.iter_events():
        n = event["properties"]["Order"]
        assert event["profile"]["email"] == f"p{n % max(MANY // 4, 1)}@shop.io"
        assert event["value"] == n / 4
        assert event["properties"] == {"Order": n, "Lines": [{"sku": f"A{n}"}]}
        seen += n
    assert seen == MANY * (MANY + 1) // 2
    assert writes(klaviyo) > MANY / 1_000
    with capsys.disabled():
        print(  # noqa: T201 - figures for those who ask for a million
            f"\n{MANY:,} events, {writes(klaviyo):,} requests, {seconds:.0f} s, {cpu:.0f} s of CPU with the emulator's"
        )
