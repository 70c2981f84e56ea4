"""SQLite, whose cursor streams by itself."""

from __future__ import annotations

from airflow_provider_klaviyo.sync.drivers.plain import execute_plain
from airflow_provider_klaviyo.sync.drivers.result import Connection, Result
from airflow_provider_klaviyo.sync.query import Query


def open_sqlite(connection: Connection, query: Query, size: int) -> Result:
    if query.read_only:
        connection.execute("PRAGMA query_only = ON")
    return execute_plain(connection.cursor(), query, size)
