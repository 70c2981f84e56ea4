"""Moments of PostgreSQL that psycopg2 cannot make, or makes others of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_klaviyo.sync.source.drivers.columns import BEYOND_PYTHON
from airflow_provider_klaviyo.sync.source.drivers.lenience import Lenience
from airflow_provider_klaviyo.sync.source.drivers.result import Cursor

Cast = Callable[[str | None, Cursor], object]


def read_timestamps(cursor: Cursor, lenience: Lenience) -> None:
    """Have an ``Unreadable`` for what ends psycopg2's fetch, and for what it changes: infinity and 24 o'clock."""
    from psycopg2 import extensions as types

    casts = {
        (1082, 1182): types.PYDATE,
        (1083, 1183): types.PYTIME,
        (1114, 1115): types.PYDATETIME,
        (1184, 1185): types.PYDATETIMETZ,
        (1266, 1270): types.PYTIME,
    }
    for (oid, array_oid), cast in casts.items():
        lenient = types.new_type((oid,), f"LENIENT{oid}", _lenient(cast, lenience))
        array = types.new_array_type((array_oid,), f"LENIENT{array_oid}", lenient)
        for each in (lenient, array):
            types.register_type(each, cursor)


def _lenient(strict: Any, lenience: Lenience) -> Cast:
    def cast(value: str | None, cursor: Cursor) -> object:
        if value is not None and (value.endswith("infinity") or value.startswith("24:")):
            return lenience.unreadable(BEYOND_PYTHON)
        try:
            return strict(value, cursor)
        except (ValueError, OverflowError):
            return lenience.unreadable(BEYOND_PYTHON)

    return cast
