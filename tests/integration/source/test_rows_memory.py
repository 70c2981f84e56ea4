"""Memory does not grow with the result: shown with Airflow's own hooks, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import absent
from tests.integration.source.contract.sources import needed, odbc_to

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[3]
READER = """
import json, resource, sys
from importlib import import_module
from airflow_provider_klaviyo.sync.source.query import Query
from airflow_provider_klaviyo.sync.source.rows import RowStream

module, name, sql, arguments, *sizes = sys.argv[1:]
hook = getattr(import_module(module), name)("shop", **json.loads(arguments))
for size in sizes:
    with RowStream(hook, Query(sql.replace("N_ROWS", size))) as stream:
        rows = sum(map(len, stream))
    print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
SMALL, LARGE = 60_000, 300_000
MOST = 8  # MB; the larger result alone is ten times that

POSTGRES = """
SELECT g AS id, 'user' || g || '@example.com' AS email, 'First' || g AS first_name,
       (g * 1.25)::numeric(12, 2) AS amount, timestamptz '2024-01-01' + g * interval '1 second' AS updated_at,
       date '1990-01-01' + g % 9000 AS born, g % 2 = 0 AS active, md5(g::text)::uuid AS ref
FROM generate_series(1, N_ROWS) g
"""
MARIADB = """
WITH RECURSIVE n AS (SELECT 1 AS id UNION ALL SELECT id + 1 FROM n WHERE id < 1000)
SELECT a.id * 1000 + b.id AS id, CONCAT('user', a.id, b.id, '@example.com') AS email,
       CONCAT('First', b.id) AS first_name, CAST(b.id * 1.25 AS DECIMAL(12, 2)) AS amount,
       TIMESTAMP('2024-01-01') + INTERVAL b.id SECOND AS updated_at, DATE('1990-01-01') + INTERVAL b.id DAY AS born,
       b.id % 2 = 0 AS active, MD5(b.id) AS ref
FROM n AS a CROSS JOIN n AS b WHERE a.id <= N_ROWS / 1000
"""
SQLITE = """
WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < N_ROWS)
SELECT id, 'user' || id || '@example.com' AS email, 'First' || id AS first_name, id * 1.25 AS amount,
       datetime(1704067200 + id, 'unixepoch') AS updated_at, date(id, 'unixepoch') AS born, id % 2 AS active,
       hex(id) AS ref
FROM n
"""


def peaks(uri: str, module: str, hook: str, sql: str, **arguments: str) -> list[tuple[int, int]]:
    """Rows read and the highest memory until then in MB, after the small and after the large result."""
    process = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            READER,
            module,
            hook,
            sql,
            json.dumps(arguments),
            str(SMALL),
            str(LARGE),
        ],
        env={**os.environ, "AIRFLOW_CONN_SHOP": uri, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    lines = [line.split() for line in process.stdout.splitlines()[-2:]]
    return [(int(rows), int(peak)) for rows, peak in lines]


def assert_flat(measured: list[tuple[int, int]]) -> None:
    (small_rows, small_peak), (large_rows, large_peak) = measured
    assert (small_rows, large_rows) == (SMALL, LARGE)
    assert large_peak - small_peak < MOST


def test_a_large_result_of_postgres_takes_no_more_memory(postgres_uri: str) -> None:
    assert_flat(peaks(postgres_uri, "airflow.providers.postgres.hooks.postgres", "PostgresHook", POSTGRES))


def test_a_large_result_of_mysql_takes_no_more_memory(mysql_uri: str) -> None:
    assert_flat(peaks(mysql_uri, "airflow.providers.mysql.hooks.mysql", "MySqlHook", MARIADB))


def test_a_large_result_of_sqlite_takes_no_more_memory(tmp_path: Path) -> None:
    uri = json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "shop.db")})
    assert_flat(peaks(uri, "airflow.providers.sqlite.hooks.sqlite", "SqliteHook", SQLITE))


def test_a_large_result_of_postgres_by_odbc_takes_no_more_memory(postgres_uri: str) -> None:
    """The driver is asked for a cursor, since it would hold the whole result."""
    pyodbc = needed("pyodbc", "dependency group sources")
    if "PostgreSQL Unicode" not in pyodbc.drivers():
        absent(
            "sources", "the ODBC driver PostgreSQL Unicode is not installed (apt-get install odbc-postgresql)"
        )
    uri = json.dumps({"conn_type": "odbc", **odbc_to(postgres_uri)})
    hook = ("airflow.providers.odbc.hooks.odbc", "OdbcHook")
    assert_flat(peaks(uri, *hook, POSTGRES, driver="PostgreSQL Unicode"))
