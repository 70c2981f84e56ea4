"""A field that only Klaviyo knows to be bad costs the field, not the row."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator, Fault
from tests.integration.conftest import Run, Shop, StartEmulator, Sync, run_operator

pytestmark = pytest.mark.integration

IMPORT, IMPORT_ONE, CREATE = "bulk_import_profiles", "create_or_update_profile", "bulk_create_events"
GERMAN = "+4930901820"


def warnings(run: Run) -> set[tuple[object, str]]:
    return {(line["key"], line["field"]) for line in run.rejects if line["outcome"] == "warning"}


def stored(klaviyo: Emulator) -> dict[str, dict[str, Any]]:
    return {profile["email"]: profile for profile in klaviyo.iter_profiles()}


# --- profiles -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pointers", ["all", "one", "field"])
def test_a_number_that_klaviyo_refuses_costs_nobody_beside_a_good_address(
    start_emulator: StartEmulator, shop: Shop, sync: Sync, pointers: str
) -> None:
    klaviyo = start_emulator(
        pointers=pointers, phone_regions=frozenset({"US"}), bulk_phones="refused", rate_limits="off"
    )
    shop.fill_with_people(300)
    shop.execute(f"UPDATE customers SET phone = '{GERMAN}' || id WHERE id IN (3, 77, 300)")
    run = sync(primary_key="id")
    assert run.counts() == {"rows_read": 300, "accepted": 300}
    assert run.summary["warnings"] == 3
    assert warnings(run) == {(n, "phone_number") for n in (3, 77, 300)}
    assert all("Klaviyo refused it: Phone number is valid but" in line["reason"] for line in run.rejects)
    assert [mail for mail, person in stored(klaviyo).items() if "phone_number" not in person] == [
        "p3@shop.io",
        "p77@shop.io",
        "p300@shop.io",
    ]


def test_a_number_that_a_bulk_import_drops_in_silence_costs_nobody_either(
    start_emulator: StartEmulator, shop: Shop, sync: Sync
) -> None:
    klaviyo = start_emulator(phone_regions=frozenset({"US"}))
    shop.fill([(1, "p1@shop.io", GERMAN, None, None)])
    assert sync().counts() == {"rows_read": 1, "accepted": 1}
    assert "phone_number" not in stored(klaviyo)["p1@shop.io"]


ANYTHING = {
    "email": "email",
    "external_id": "id",
    "title": "first_name",
    "location.latitude": "latitude",
    "location.city": "first_name",
    "properties.Size": "tier",
    "properties.Size/cm~2.x": "tier",
    "properties.Size/cm~2.x/deep": "tier",
}
ANYTHING_SQL = "SELECT *, 50.25 AS latitude FROM customers ORDER BY id"


@pytest.mark.parametrize("pointers", ["all", "field"])
@pytest.mark.parametrize(
    ("pointer", "field"),
    [
        ("title", "title"),
        ("external_id", "external_id"),
        ("location/latitude", "location.latitude"),
        ("location", "location"),
        ("properties/Size", "properties.Size"),
        ("properties/Size~1cm~02.x", "properties.Size/cm~2.x"),
    ],
)
def test_whatever_field_klaviyo_points_at_is_left_out_and_nothing_else(
    start_emulator: StartEmulator, shop: Shop, sync: Sync, pointer: str, field: str, pointers: str
) -> None:
    klaviyo = start_emulator(pointers=pointers, rate_limits="off")
    shop.fill_with_people(5)
    klaviyo.inject(Fault("refuse_records", IMPORT, match="p3@", field=pointer, count=None))
    run = sync(sql=ANYTHING_SQL, mapping=ANYTHING, primary_key="id")
    assert run.counts() == {"rows_read": 5, "accepted": 5}
    assert warnings(run) == {(3, field)}
    whole, mended = stored(klaviyo)["p2@shop.io"], stored(klaviyo)["p3@shop.io"]
    assert missing(flat(whole), flat(mended)) == {
        name for name in flat(whole) if name == field or name.startswith(f"{field}.")
    }


def flat(profile: dict[str, Any]) -> set[str]:
    inner = {name: value for name, value in profile.items() if isinstance(value, dict)}
    return {*profile} - {*inner} | {f"{name}.{key}" for name, value in inner.items() for key in value}


def missing(whole: set[str], mended: set[str]) -> set[str]:
    assert mended <= whole
    return whole - mended


@pytest.mark.parametrize("pointers", ["all", "field"])
@pytest.mark.parametrize(
    ("pointer", "parameters"),
    [("email", {}), ("external_id", {"match_by": "external_id"}), ("title", {"on_invalid": "reject"})],
    ids=["identifier", "match_by", "on_invalid"],
)
def test_what_identifies_the_person_is_never_left_out_nor_anything_that_was_not_to_be(
    start_emulator: StartEmulator,
    shop: Shop,
    sync: Sync,
    pointer: str,
    parameters: dict[str, Any],
    pointers: str,
) -> None:
    klaviyo = start_emulator(pointers=pointers, rate_limits="off")
    shop.fill_with_people(5)
    klaviyo.inject(Fault("refuse_records", IMPORT, match="p3@", field=pointer, count=None))
    run = sync(sql=ANYTHING_SQL, mapping=ANYTHING, primary_key="id", max_rejected=1, **parameters)
    assert run.counts() == {"rows_read": 5, "accepted": 4, "rejected": 1}
    assert [(line["key"], line["outcome"], line["field"]) for line in run.rejects] == [
        (3, "rejected", pointer)
    ]
    assert "p3@shop.io" not in stored(klaviyo)


def test_a_row_that_klaviyo_refuses_for_one_field_after_another_loses_them_all_and_ends(
    start_emulator: StartEmulator, shop: Shop, sync: Sync
) -> None:
    klaviyo = start_emulator(pointers="one", rate_limits="off")
    shop.fill_with_people(5)
    for field in ("title", "location/city", "properties/Size"):
        klaviyo.inject(Fault("refuse_records", IMPORT, match="p3@", field=field, count=None))
    run = sync(sql=ANYTHING_SQL, mapping=ANYTHING, primary_key="id")
    assert run.counts() == {"rows_read": 5, "accepted": 5}
    assert warnings(run) == {(3, "title, location.city, properties.Size")}
    klaviyo.inject(Fault("refuse_records", IMPORT, match="p4@", count=None))
    again = sync(sql=ANYTHING_SQL, mapping=ANYTHING, primary_key="id", max_rejected=1)
    assert again.counts() == {"rows_read": 5, "accepted": 4, "rejected": 1}


def test_a_field_that_is_refused_although_it_is_no_longer_sent_rejects_the_row(
    start_emulator: StartEmulator, shop: Shop, sync: Sync
) -> None:
    klaviyo = start_emulator(rate_limits="off")
    shop.fill_with_people(3)
    klaviyo.inject(Fault("status", IMPORT, status=400, errors=(error("title"),), count=2))
    run = sync(sql=ANYTHING_SQL, mapping=ANYTHING, primary_key="id", max_rejected=1)
    assert run.counts() == {"rows_read": 3, "accepted": 2, "rejected": 1}
    (line,) = run.rejects
    assert (line["key"], line["outcome"]) == (1, "rejected")
    assert len(klaviyo.requests(IMPORT)) == 3


def test_what_a_second_job_has_against_a_row_rejects_it(
    start_emulator: StartEmulator, shop: Shop, sync: Sync
) -> None:
    klaviyo = start_emulator(rate_limits="off")
    shop.fill_with_people(5)
    klaviyo.inject(Fault("job_fails", IMPORT, match="p3@", field="title"))
    klaviyo.inject(Fault("job_fails", IMPORT, match="p3@", field="location/city", skip=1))
    run = sync(sql=ANYTHING_SQL, mapping=ANYTHING, primary_key="id", max_rejected=1)
    assert run.counts() == {"rows_read": 5, "accepted": 4, "rejected": 1}
    assert [(line["key"], line["outcome"]) for line in run.rejects] == [(3, "warning"), (3, "rejected")]
    assert len(klaviyo.requests(IMPORT)) == 2


def error(field: str, words: str = "Nonsense: jane@shop.io") -> dict[str, Any]:
    pointer = f"/data/attributes/profiles/data/0/attributes/{field}"
    return {
        "id": "1",
        "status": 400,
        "code": "invalid",
        "title": "No.",
        "detail": words,
        "source": {"pointer": pointer},
    }


def test_the_report_of_a_field_that_was_left_out_names_nobody(
    klaviyo: Emulator, shop: Shop, sync: Sync, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    shop.fill_with_people(3)
    klaviyo.inject(Fault("status", IMPORT, status=400, errors=(error("title"),)))
    run = sync(sql=ANYTHING_SQL, mapping=ANYTHING, primary_key="id")
    (reason,) = run.report["reasons"]
    assert (reason["outcome"], reason["field"], reason["rows"]) == ("warning", "title", 1)
    assert "jane" not in caplog.text + json.dumps(run.report)


@pytest.mark.parametrize("pointers", ["all", "field"])
def test_single_upserts_leave_out_what_klaviyo_refuses(
    start_emulator: StartEmulator, shop: Shop, sync: Sync, pointers: str
) -> None:
    klaviyo = start_emulator(pointers=pointers, phone_regions=frozenset({"US"}), rate_limits="off")
    shop.fill([(n, f"p{n}@shop.io", GERMAN if n == 2 else None, None, None) for n in range(1, 4)])
    run = sync(primary_key="id", clear_nulls=["first_name"])
    assert run.counts() == {"rows_read": 3, "accepted": 3}
    assert warnings(run) == {(2, "phone_number")}
    assert len(klaviyo.requests(IMPORT_ONE)) == 4
    assert len(stored(klaviyo)) == 3


def test_a_row_that_went_without_a_field_is_unchanged_in_the_next_run(
    start_emulator: StartEmulator, shop: Shop, sync: Sync
) -> None:
    """It would be refused again every night."""
    klaviyo = start_emulator(phone_regions=frozenset({"US"}), bulk_phones="refused")
    shop.fill_with_people(5)
    shop.execute(f"UPDATE customers SET phone = '{GERMAN}' WHERE id = 3")
    keyed = {"primary_key": "id", "only_changes": True}
    assert sync(**keyed).counts() == {"rows_read": 5, "accepted": 5}
    before = len(klaviyo.requests(IMPORT))
    assert sync(**keyed).counts() == {"rows_read": 5, "unchanged": 5}
    assert len(klaviyo.requests(IMPORT)) == before
    shop.execute("UPDATE customers SET phone = '+14155550003' WHERE id = 3")
    assert sync(**keyed).counts() == {"rows_read": 5, "accepted": 1, "unchanged": 4}
    assert stored(klaviyo)["p3@shop.io"]["phone_number"] == "+14155550003"


# --- events ---------------------------------------------------------------------------------------------------------

Send = Callable[..., Run]
ORDERS = {
    "profile.email": "email",
    "profile.phone_number": "phone",
    "profile.properties.Vip": "tier",
    "time": "at",
    "value": "id",
    "value_currency": "first_name",
    "properties.Tier": "tier",
    "properties.Size/cm": "id",
}
ORDERS_SQL = "SELECT *, '2026-11-20T10:00:00Z' AS at FROM customers ORDER BY id"


@pytest.fixture
def send(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Send:
    from airflow_provider_klaviyo.operators.events import KlaviyoSyncEventsOperator

    monkeypatch.setenv("AIRFLOW__KLAVIYO__STORAGE_PATH", str(tmp_path / "storage"))

    def run(**parameters: Any) -> Run:
        settings = {
            "sql": ORDERS_SQL,
            "mapping": ORDERS,
            "metric": "Placed Order",
            "primary_key": "id",
            "timeout": 60,
        }
        return run_operator(
            KlaviyoSyncEventsOperator(task_id="send", sql_conn_id="shop", **(settings | parameters))
        )

    return run


def fill_with_orders(shop: Shop, count: int) -> None:
    """Two orders of each person."""
    shop.fill(
        [
            (n, f"p{(n + 1) // 2}@shop.io", f"+1415555{(n + 1) // 2:04}", "EUR", "gold")
            for n in range(1, count + 1)
        ]
    )


@pytest.mark.parametrize("pointers", ["all", "one", "field"])
def test_an_event_in_a_currency_that_klaviyo_does_not_know_is_recorded_without_it(
    start_emulator: StartEmulator, shop: Shop, send: Send, pointers: str
) -> None:
    klaviyo = start_emulator(pointers=pointers, rate_limits="off")
    fill_with_orders(shop, 40)
    shop.execute("UPDATE customers SET first_name = 'dem' WHERE id IN (3, 20)")
    run = send()
    assert run.counts() == {"rows_read": 40, "accepted": 40}
    assert warnings(run) == {(3, "value_currency"), (20, "value_currency")}
    currencies = {event["value"]: event.get("value_currency") for event in klaviyo.iter_events()}
    assert {value for value, currency in currencies.items() if currency is None} == {3, 20}
    assert klaviyo.count_events() == 40


@pytest.mark.parametrize("pointers", ["all", "field"])
@pytest.mark.parametrize(
    ("pointer", "field", "rows"),
    [
        ("value", "value", {3}),
        ("properties/Tier", "properties.Tier", {3}),
        ("properties/Size~1cm", "properties.Size/cm", {3}),
        ("phone_number", "phone_number", {3, 4}),
        ("properties/Vip", "profile.properties.Vip", {3, 4}),
    ],
)
def test_whatever_field_of_an_event_or_its_person_klaviyo_points_at_is_left_out(
    start_emulator: StartEmulator,
    shop: Shop,
    send: Send,
    pointer: str,
    field: str,
    rows: set[int],
    pointers: str,
) -> None:
    klaviyo = start_emulator(pointers=pointers, rate_limits="off")
    fill_with_orders(shop, 8)
    match = "p2@" if len(rows) > 1 else unique_id_of(klaviyo, send, 3)
    klaviyo.inject(Fault("refuse_records", CREATE, match=match, field=pointer, count=None))
    run = send(metric="Placed Order again")
    assert run.counts() == {"rows_read": 8, "accepted": 8}
    told = field.removeprefix("profile.") if pointers == "field" else field
    assert warnings(run) == {(row, told) for row in rows}


def unique_id_of(klaviyo: Emulator, send: Send, order: int) -> str:
    """The id that the event of an order will have; it is a hash of metric and key."""
    send(metric="Placed Order again", sql=f"{ORDERS_SQL.replace('ORDER BY id', '')} WHERE id = {order}")
    (event,) = klaviyo.iter_events()
    klaviyo.reset()
    return str(event["unique_id"])


@pytest.mark.parametrize("pointer", ["time", "metric/data/attributes/name", "properties", "email"])
def test_an_event_without_which_it_would_be_another_one_is_rejected(
    klaviyo: Emulator, shop: Shop, send: Send, pointer: str
) -> None:
    fill_with_orders(shop, 8)
    klaviyo.inject(Fault("refuse_records", CREATE, match="p2@", field=pointer, count=None))
    run = send(max_rejected=2)
    assert run.counts() == {"rows_read": 8, "accepted": 6, "rejected": 2}
    assert not warnings(run)


def test_with_on_invalid_reject_an_event_is_not_mended(
    start_emulator: StartEmulator, shop: Shop, send: Send
) -> None:
    start_emulator(rate_limits="off")
    fill_with_orders(shop, 8)
    shop.execute("UPDATE customers SET first_name = 'dem' WHERE id = 3")
    run = send(on_invalid="reject", max_rejected=1)
    assert run.counts() == {"rows_read": 8, "accepted": 7, "rejected": 1}


def test_an_event_that_went_without_a_field_is_unchanged_in_the_next_run(
    start_emulator: StartEmulator, shop: Shop, send: Send
) -> None:
    klaviyo = start_emulator(rate_limits="off")
    fill_with_orders(shop, 8)
    shop.execute("UPDATE customers SET first_name = 'dem' WHERE id = 3")
    assert send(only_changes=True).counts() == {"rows_read": 8, "accepted": 8}
    before = len(klaviyo.requests(CREATE))
    assert send(only_changes=True).counts() == {"rows_read": 8, "unchanged": 8}
    assert len(klaviyo.requests(CREATE)) == before
