"""DuckDB, whose types tell JSON from text, and whose connection is the cursor: another one has its own transaction."""

from __future__ import annotations

import datetime as dt
from functools import partial
from typing import Any

from airflow_provider_klaviyo.sync.source.drivers.columns import (
    BEYOND_PYTHON,
    Mend,
    each,
    mended,
    mends_by_type,
    parsed,
)
from airflow_provider_klaviyo.sync.source.drivers.fetch_size import FetchSize
from airflow_provider_klaviyo.sync.source.drivers.lenience import Lenience
from airflow_provider_klaviyo.sync.source.drivers.nested import Read, of_list, of_map, of_object, single
from airflow_provider_klaviyo.sync.source.drivers.plain import execute_plain
from airflow_provider_klaviyo.sync.source.drivers.result import Connection, Result
from airflow_provider_klaviyo.sync.source.drivers.statements import refuse_several_statements, refuse_writing
from airflow_provider_klaviyo.sync.source.query import Query

_INFINITE = (dt.datetime.min, dt.datetime.max, dt.date.min, dt.date.max)  # noqa: DTZ901  # as the driver gives infinity
_NO_KEYS = frozenset(("list", "array", "struct", "map", "union"))
"""Types whose values Python cannot have as keys: the driver gives such a map as its keys and its values."""


def open_duckdb(connection: Connection, query: Query, size: FetchSize) -> Result:
    """In a transaction: outside of one, what a query writes is kept, and several statements are run."""
    refuse_several_statements(query.sql, "postgres")
    _begin(connection, query)
    lenience = Lenience()

    def choose(kind: Any) -> Mend | None:
        read = _reader(kind, lenience)
        return each(read) if read else None

    result = execute_plain(connection, query, size)
    return lenience.naming(mended(result, mends_by_type(result.cursor, choose)))


def _reader(kind: Any, lenience: Lenience) -> Read | None:
    """What makes more of a value of this type; None where the driver does well."""
    name, family = str(kind), getattr(kind, "id", "")
    if family in ("list", "array"):
        return of_list(_reader(dict(kind.children)["child"], lenience))
    if family == "struct":
        return of_object({field: _reader(part, lenience) for field, part in kind.children})
    if family == "map":
        parts = dict(kind.children)
        if parts["key"].id in _NO_KEYS:
            return lambda _: lenience.unreadable("holds a map whose keys are no text; make text of it in SQL")
        return of_map(_reader(parts["value"], lenience))
    if name == "JSON":
        return parsed
    if name == "FLOAT":
        return single
    return partial(_finite, lenience) if name.startswith(("TIMESTAMP", "DATE", "TIME")) else None


def _finite(lenience: Lenience, value: object) -> object:
    """A date, time or timestamp; the driver gives text for what Python has none of."""
    wall = value.replace(tzinfo=None) if isinstance(value, dt.datetime) else value
    return lenience.unreadable(BEYOND_PYTHON) if wall in _INFINITE or isinstance(wall, str) else value


def _begin(connection: Connection, query: Query) -> None:
    if not query.read_only:
        connection.execute("BEGIN TRANSACTION")
        return
    try:
        connection.execute("BEGIN TRANSACTION READ ONLY")
    except Exception:  # DuckDB before 1.2 has none
        connection.execute("BEGIN TRANSACTION")
        refuse_writing(query.sql, "postgres")
