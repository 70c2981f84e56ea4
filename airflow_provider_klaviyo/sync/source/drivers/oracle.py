"""Oracle, whose driver hands out every timestamp without its zone, and whose types tell which has one."""

from __future__ import annotations

from dataclasses import replace

from airflow_provider_klaviyo.sync.source.drivers.fetch_size import FetchSize
from airflow_provider_klaviyo.sync.source.drivers.plain import open_plain
from airflow_provider_klaviyo.sync.source.drivers.result import Connection, Result
from airflow_provider_klaviyo.sync.source.query import Query

_WITH_ZONE = ("DB_TYPE_TIMESTAMP_TZ", "DB_TYPE_TIMESTAMP_LTZ")


def open_oracle(connection: Connection, query: Query, size: FetchSize) -> Result:
    result = open_plain(connection, query, size)
    columns = result.cursor.description
    unzoned = (column[0] for column in columns if getattr(column[1], "name", "") in _WITH_ZONE)
    return replace(result, unzoned=tuple(unzoned))
