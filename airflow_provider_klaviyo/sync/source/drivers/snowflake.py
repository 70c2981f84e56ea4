"""Snowflake, whose type codes tell what its text holds: VARIANT, OBJECT and ARRAY are JSON."""

from __future__ import annotations

from airflow_provider_klaviyo.sync.source.drivers.columns import from_json, mended, mends_by_type
from airflow_provider_klaviyo.sync.source.drivers.fetch_size import FetchSize
from airflow_provider_klaviyo.sync.source.drivers.plain import open_plain
from airflow_provider_klaviyo.sync.source.drivers.result import Connection, Result
from airflow_provider_klaviyo.sync.source.query import Query

_JSON = frozenset((5, 9, 10))  # VARIANT, OBJECT, ARRAY (Snowflake's guide to its connector, "Type codes")


def open_snowflake(connection: Connection, query: Query, size: FetchSize) -> Result:
    result = open_plain(connection, query, size)
    return mended(result, mends_by_type(result.cursor, lambda kind: from_json if kind in _JSON else None))
