"""SQLite, whose cursor streams by itself, and whose text may be any bytes."""

from __future__ import annotations

from airflow_provider_klaviyo.sync.source.drivers.fetch_size import FetchSize
from airflow_provider_klaviyo.sync.source.drivers.lenience import Lenience
from airflow_provider_klaviyo.sync.source.drivers.plain import execute_plain
from airflow_provider_klaviyo.sync.source.drivers.result import Connection, Result
from airflow_provider_klaviyo.sync.source.query import Query


def open_sqlite(connection: Connection, query: Query, size: FetchSize) -> Result:
    """Unless the hook has a way of its own to make text: a text that is not UTF-8 would end the statement."""
    if query.read_only:
        connection.execute("PRAGMA query_only = ON")
    lenience = Lenience()
    if connection.text_factory is str:
        connection.text_factory = lenience.text
    cursor = connection.cursor()
    cursor.row_factory = None
    return lenience.naming(execute_plain(cursor, query, size))
