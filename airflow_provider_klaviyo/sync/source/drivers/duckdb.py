"""DuckDB, whose types tell JSON from text, and whose connection is the cursor: another one has its own transaction."""

from __future__ import annotations

import datetime as dt

from airflow_provider_klaviyo.sync.source.drivers.columns import (
    BEYOND_PYTHON,
    Mend,
    each,
    from_json,
    mended,
    mends_by_type,
)
from airflow_provider_klaviyo.sync.source.drivers.lenience import Lenience
from airflow_provider_klaviyo.sync.source.drivers.plain import execute_plain
from airflow_provider_klaviyo.sync.source.drivers.result import Connection, Result
from airflow_provider_klaviyo.sync.source.drivers.statements import refuse_several_statements, refuse_writing
from airflow_provider_klaviyo.sync.source.query import Query

_INFINITE = (dt.datetime.min, dt.datetime.max, dt.date.min, dt.date.max)  # noqa: DTZ901  # as the driver gives infinity


def open_duckdb(connection: Connection, query: Query, size: int) -> Result:
    """In a transaction: outside of one, what a query writes is kept, and several statements are run."""
    refuse_several_statements(query.sql, "postgres")
    _begin(connection, query)
    lenience = Lenience()

    def choose(kind: object) -> Mend | None:
        name = str(kind)
        if name == "JSON":
            return from_json
        return each(finite) if name.startswith(("TIMESTAMP", "DATE")) else None

    def finite(value: object) -> object:
        wall = value.replace(tzinfo=None) if isinstance(value, dt.datetime) else value
        return lenience.unreadable(BEYOND_PYTHON) if wall in _INFINITE else value

    result = execute_plain(connection, query, size)
    return lenience.naming(mended(result, mends_by_type(result.cursor, choose)))


def _begin(connection: Connection, query: Query) -> None:
    if not query.read_only:
        connection.execute("BEGIN TRANSACTION")
        return
    try:
        connection.execute("BEGIN TRANSACTION READ ONLY")
    except Exception:  # DuckDB before 1.2 has none
        connection.execute("BEGIN TRANSACTION")
        refuse_writing(query.sql, "postgres")
