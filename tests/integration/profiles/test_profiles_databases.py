"""The profiles operator over real PostgreSQL and MariaDB, with the column types that shops have."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from airflow_provider_klaviyo.emulator import Emulator
from tests.integration.conftest import Sync

pytestmark = pytest.mark.integration

POSTGRES = """
SELECT n AS id, 'p' || n || '@shop.io' AS email, '(415) 555-' || lpad((n % 10000)::text, 4, '0') AS phone,
       'Ada' AS first_name, 42.3555::numeric AS "location.latitude", n * 1.25::numeric AS ltv, n % 2 = 0 AS vip,
       timestamp '2026-07-01 12:00:00' AS naive, timestamptz '2026-07-01 12:00:00+00' AS aware,
       date '2026-01-31' AS joined, '6f9619ff-8b86-d011-b42d-00cf4fc964ff'::uuid AS token,
       '{"a": [1, {"b": null}]}'::jsonb AS profile_json, array['x', 'y'] AS tags, 'NaN'::float8 AS score,
       '\\xff'::bytea AS blob, NULL::text AS nothing
FROM generate_series(1, 5000) AS n
"""
MARIADB = """
SELECT seq AS id, CONCAT('p', seq, '@shop.io') AS email, CONCAT('(415) 555-', LPAD(seq % 10000, 4, '0')) AS phone,
       'Ada' AS first_name, CAST(42.3555 AS DECIMAL(10, 4)) AS `location.latitude`,
       CAST(seq * 1.25 AS DECIMAL(10, 2)) AS ltv, seq % 2 = 0 AS vip,
       CAST('2026-07-01 12:00:00' AS DATETIME) AS naive, CAST('2026-01-31' AS DATE) AS joined,
       NULL AS nothing, UNHEX('FF') AS `blob`
FROM seq_1_to_5000
"""


def connect(monkeypatch: pytest.MonkeyPatch, uri: str, conn_type: str) -> None:
    parts = urlsplit(uri)
    connection = {
        "conn_type": conn_type,
        "host": parts.hostname,
        "port": parts.port,
        "login": parts.username,
        "password": parts.password,
        "schema": parts.path.strip("/"),
    }
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps(connection))


def person(klaviyo: Emulator, n: int) -> dict[str, Any]:
    found = klaviyo.profile(email=f"p{n}@shop.io")
    assert found is not None
    return found


def test_postgresql_streams_into_klaviyo(
    klaviyo: Emulator, sync: Sync, postgres_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, postgres_uri, "postgres")
    run = sync(sql=POSTGRES, mapping=None, timezone="Europe/Berlin", phone_region="US", primary_key="ID")
    assert run.error is None
    assert run.counts() == {"rows_read": 5_000, "accepted": 5_000}
    assert person(klaviyo, 4)["location"] == {"latitude": 42.3555}
    assert person(klaviyo, 4)["properties"] == {
        "id": 4,
        "phone": "(415) 555-0004",
        "ltv": 5.0,
        "vip": True,
        "naive": "2026-07-01T12:00:00+02:00",
        "aware": "2026-07-01T12:00:00+00:00",
        "joined": "2026-01-31",
        "token": "6f9619ff-8b86-d011-b42d-00cf4fc964ff",
        "profile_json": {"a": [1, {"b": None}]},
        "tags": ["x", "y"],
    }
    assert run.summary["warnings"] == 5_000
    assert {line["field"] for line in run.rejects} == {"properties.score, properties.blob"}


def test_postgresql_that_fails_half_way_keeps_what_came_before(
    klaviyo: Emulator, sync: Sync, postgres_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, postgres_uri, "postgres")
    sql = "SELECT 'p' || n || '@shop.io' AS email, 1 / (7000 - n) AS x FROM generate_series(1, 9000) AS n"
    run = sync(sql=sql, mapping=None)
    assert type(run.error).__name__ == "QueryFailed"
    assert "division by zero" in str(run.error)
    assert run.counts() == {"rows_read": 6_450, "accepted": 6_450}
    assert klaviyo.count() == 6_450


def test_a_cell_that_the_database_quotes_is_in_no_log_and_no_report(
    klaviyo: Emulator,
    sync: Sync,
    postgres_uri: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    connect(monkeypatch, postgres_uri, "postgres")
    sql = """SELECT 'p' || n || '@shop.io' AS email, CASE n WHEN 3000 THEN 'Jane Doe' ELSE '7' END::int AS age
        FROM generate_series(1, 5000) AS n"""
    run = sync(sql=sql, mapping=None)
    assert run.counts() == {"rows_read": 2_450, "accepted": 2_450}
    for told in (str(run.error), run.report["error"]):
        assert 'invalid input syntax for type integer: "***" (SQLSTATE 22P02)' in told
    assert "Jane" not in f"{run.error} {run.report} {caplog.text}"


def test_mariadb_streams_into_klaviyo(
    klaviyo: Emulator, sync: Sync, mysql_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, mysql_uri, "mysql")
    run = sync(sql=MARIADB, mapping=None, phone_region="US", primary_key="id")
    assert run.error is None
    assert run.counts() == {"rows_read": 5_000, "accepted": 5_000}
    assert person(klaviyo, 4)["properties"] == {
        "id": 4,
        "phone": "(415) 555-0004",
        "ltv": 5.0,
        "vip": 1,
        "naive": "2026-07-01T12:00:00+00:00",
        "joined": "2026-01-31",
    }
    assert {line["field"] for line in run.rejects} == {"properties.blob"}


def test_one_percent_of_bad_rows_of_every_kind_costs_nothing_but_themselves(
    klaviyo: Emulator, sync: Sync, postgres_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100,000 rows, 1,000 of them bad in ten ways; the others are all in Klaviyo afterwards."""
    connect(monkeypatch, postgres_uri, "postgres")
    bad_address = """CASE n % 1000 WHEN 0 THEN NULL WHEN 1 THEN 'nobody' WHEN 2 THEN 'a b@shop.io'
        WHEN 3 THEN 'x@' || repeat('y', 200) || '.com' WHEN 4 THEN '@shop.io' WHEN 5 THEN 'p@shop'
        WHEN 6 THEN 'p1..@shop.io' WHEN 7 THEN '' WHEN 8 THEN E'p\\t@shop.io'
        ELSE 'p' || n || '@shop.io' END"""
    big = "CASE n % 1000 WHEN 9 THEN repeat('x', 100001) ELSE 'gold' END"
    sql = f"SELECT n AS id, {bad_address} AS email, {big} AS tier FROM generate_series(1, 100000) AS n"
    run = sync(sql=sql, mapping={"email": "email", "properties.Tier": "tier"}, primary_key="id", timeout=200)
    assert run.error is None, run.error
    assert run.counts() == {"rows_read": 100_000, "accepted": 99_000, "rejected": 1_000}
    assert klaviyo.count() == 99_000
    assert {line["key"] % 1000 for line in run.rejects} == set(range(10))
