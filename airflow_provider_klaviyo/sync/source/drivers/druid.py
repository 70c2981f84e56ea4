"""Druid, by pydruid: asked for a header, so that a result without rows has columns."""

from __future__ import annotations

from airflow_provider_klaviyo.sync.source.drivers.fetch_size import FetchSize
from airflow_provider_klaviyo.sync.source.drivers.plain import open_plain
from airflow_provider_klaviyo.sync.source.drivers.result import Connection, Result
from airflow_provider_klaviyo.sync.source.query import Query

LOSES_ROWS = (
    "the driver of Druid (pydruid) loses a row whose text ends in a backslash, and all rows after it, "
    "without an error"
)


def open_druid(connection: Connection, query: Query, size: FetchSize) -> Result:
    connection.header = True
    return open_plain(connection, query, size)
