"""One text that is not in the encoding of its database: the row is told, and all the others are sent."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from tests.integration.conftest import Run, Shop, Sync, run_operator

pytestmark = pytest.mark.integration

BROKEN = "CAST(x'5a6feb' AS TEXT)"
UNREADABLE = "column {!r} holds text that is not in UTF-8; mend it in the database"


def people(**broken: int) -> str:
    """A query of five people; ``name=3`` breaks that column of the third."""
    columns = {
        "id": "'k' || n",
        "email": "'p' || n || '@shop.io'",
        "phone": "'+1415555000' || n",
        "first_name": "'Zoë ' || n",
        "consent": "'yes'",
        "at": "'2026-11-20 10:00:00'",
        "metric": "'Visited'",
    }
    chosen = [
        f"CASE WHEN n = {broken.get(name, 0)} THEN {BROKEN} ELSE {sql} END AS {name}"
        for name, sql in columns.items()
    ]
    numbers = "WITH n(n) AS (VALUES (1), (2), (3), (4), (5))"
    return f"{numbers} SELECT {', '.join(chosen)} FROM n"


def test_a_field_that_cannot_be_read_is_left_out(klaviyo: Emulator, sync: Sync, shop: Shop) -> None:
    mapping = {"email": "email", "first_name": "first_name"}
    run = sync(sql=people(first_name=3), mapping=mapping, primary_key="id")
    assert run.counts() == {"rows_read": 5, "accepted": 5}
    (line,) = run.rejects
    assert (line["key"], line["outcome"]) == ("k3", "warning")
    assert line["reason"] == UNREADABLE.format("first_name")
    names = [(klaviyo.profile(email=f"p{n}@shop.io") or {}).get("first_name") for n in (2, 3, 4)]
    assert names == ["Zoë 2", None, "Zoë 4"]


def test_a_row_whose_identifier_cannot_be_read_is_rejected(klaviyo: Emulator, sync: Sync, shop: Shop) -> None:
    run = sync(sql=people(email=3), mapping={"email": "email"}, primary_key="id", max_rejected=1)
    assert run.counts() == {"rows_read": 5, "accepted": 4, "rejected": 1}
    assert [line["reason"] for line in run.rejects] == [UNREADABLE.format("email")]


def test_a_column_that_is_not_sent_may_hold_anything(klaviyo: Emulator, sync: Sync, shop: Shop) -> None:
    assert sync(sql=people(phone=3), mapping={"email": "email"}).counts() == {"rows_read": 5, "accepted": 5}


def test_a_key_that_cannot_be_read_is_no_key(klaviyo: Emulator, sync: Sync, shop: Shop) -> None:
    sql = f"{people(id=3)} UNION ALL SELECT {BROKEN}, 'p6@shop.io', NULL, NULL, NULL, NULL, NULL"
    run = sync(sql=sql, mapping={"email": "email"}, primary_key="id", only_changes=True, max_rejected=2)
    assert run.counts() == {"rows_read": 6, "accepted": 4, "rejected": 2}
    assert {(line["field"], line["reason"]) for line in run.rejects} == {
        ("primary_key", UNREADABLE.format("id"))
    }


@pytest.mark.parametrize("column", ["id", "metric", "at", "email"])
def test_an_event_without_what_it_needs_is_rejected(
    klaviyo: Emulator, sync: Sync, shop: Shop, column: str
) -> None:
    run = send_events(people(**{column: 3}))
    assert run.counts() == {"rows_read": 5, "accepted": 4, "rejected": 1}
    assert [UNREADABLE.format(column) in line["reason"] for line in run.rejects] == [True]


def send_events(sql: str) -> Run:
    from airflow_provider_klaviyo.operators.events import KlaviyoSyncEventsOperator

    mapping = {"profile.email": "email", "time": "at", "metric": "metric", "properties.Name": "first_name"}
    return run_operator(
        KlaviyoSyncEventsOperator(
            task_id="send", sql=sql, sql_conn_id="shop", mapping=mapping, primary_key="id", max_rejected=1
        )
    )


@pytest.mark.parametrize("mode", ["add", "mirror"])
def test_a_member_who_cannot_be_read_is_rejected(
    klaviyo: Emulator, list_sync: Sync, shop: Shop, mode: str
) -> None:
    run = list_sync(
        mode, sql=people(email=3), sql_conn_id="shop", mapping={"email": "email"}, primary_key="id"
    )
    assert run.counts() == {"rows_read": 5, "accepted": 4, "rejected": 1}
    run = list_sync(mode, sql=people(id=4), sql_conn_id="shop", mapping={"email": "email"}, primary_key="id")
    assert run.summary["removed"] == 0
    assert len(klaviyo.members(run.summary["list_id"])) == 5


@pytest.mark.parametrize("column", ["email", "phone", "consent"])
def test_consent_that_cannot_be_read_is_no_consent(
    klaviyo: Emulator, sync: Sync, shop: Shop, column: str
) -> None:
    from airflow_provider_klaviyo.operators.subscriptions import KlaviyoSyncSubscriptionsOperator

    parameters: dict[str, Any] = {
        "mapping": {
            "email": "email",
            "phone_number": "phone",
            "consent.email": "consent",
            "consent.sms": "consent",
        },
        "channels": ("email", "sms"),
        "match_by": "email",
    }
    run = run_operator(
        KlaviyoSyncSubscriptionsOperator(
            task_id="subscribe",
            mode="subscribe",
            sql=people(**{column: 3}),
            sql_conn_id="shop",
            list_id=klaviyo.add_list("News"),
            max_rejected=1,
            poll_interval=0.2,
            **parameters,
        )
    )
    counts = run.counts()
    assert counts["rows_read"] == 5
    assert counts["accepted"] == (5 if column == "phone" else 4)
    assert [UNREADABLE.format(column) in line["reason"] for line in run.rejects] == [True]
