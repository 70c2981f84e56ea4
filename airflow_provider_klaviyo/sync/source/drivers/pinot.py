"""Pinot, by pinotdb: the whole result at once, and not more of it than the broker likes."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from airflow_provider_klaviyo.sync.source.drivers.columns import each, mended, parsed
from airflow_provider_klaviyo.sync.source.drivers.fetch_size import FetchSize
from airflow_provider_klaviyo.sync.source.drivers.plain import open_held
from airflow_provider_klaviyo.sync.source.drivers.result import Connection, Result
from airflow_provider_klaviyo.sync.source.query import Query

MAY_CUT_ROWS = (
    "the broker of Pinot returns ten rows of a query that has no LIMIT, and may return fewer than the LIMIT of one "
    "that has, without an error"
)


def open_pinot(connection: Connection, query: Query, size: FetchSize) -> Result:
    """Its timestamps are moments, which the broker writes in UTC; what pinotdb has no type for, it makes JSON of."""
    result = open_held(connection, query, size)
    types = enumerate(column["type"] for column in result.cursor.schema)
    return mended(result, {index: each(_READERS[kind]) for index, kind in types if kind in _READERS})


def _in_utc(value: Any) -> object:
    is_without = isinstance(value, dt.datetime) and value.tzinfo is None
    return value.replace(tzinfo=dt.UTC) if is_without else value


_READERS: Mapping[str, Callable[[Any], object]] = {
    "TIMESTAMP": _in_utc,
    "BIG_DECIMAL": lambda value: Decimal(json.loads(value)),
    "MAP": parsed,
}
