"""Trino, whose types tell JSON from text, and whose named rows become objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from airflow_provider_klaviyo.sync.source.drivers.columns import Mend, each, from_json, mended, mends_by_type
from airflow_provider_klaviyo.sync.source.drivers.fetch_size import FetchSize
from airflow_provider_klaviyo.sync.source.drivers.plain import open_plain
from airflow_provider_klaviyo.sync.source.drivers.result import Connection, Result
from airflow_provider_klaviyo.sync.source.query import Query


def open_trino(connection: Connection, query: Query, size: FetchSize) -> Result:
    result = open_plain(connection, query, size)
    return mended(result, mends_by_type(result.cursor, _mend))


def open_presto(connection: Connection, query: Query, size: FetchSize) -> Result:
    """By Presto's own driver, of which Trino's was made: it reads the whole result before it hands out a row."""
    return replace(open_trino(connection, query, size), is_held=True)


def _mend(kind: object) -> Mend | None:
    name = str(kind).lower()
    if name == "json":
        return from_json
    return each(_objects) if "row(" in name else None


def _objects(value: Any) -> object:
    """With an object for each row whose fields have names, however deep it lies."""
    if isinstance(value, dict):
        return {key: _objects(item) for key, item in value.items()}
    if not isinstance(value, (list, tuple)):
        return value
    parts = list(map(_objects, value))
    names = _names(value)
    return dict(zip(names, parts, strict=True)) if names else parts


def _names(row: Any) -> Sequence[str]:
    """The names of a row's fields; none where a field has no name, or two have one."""
    names = getattr(row, "_names", None) or ()
    return names if all(names) and len(set(names)) == len(names) else ()
