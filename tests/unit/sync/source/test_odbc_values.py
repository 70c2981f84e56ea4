"""Values that ODBC hands out as bytes: SQL Server's DATETIMEOFFSET, as a connection of pyodbc reads it."""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_klaviyo.sync.source.drivers.fetch_size import FetchSize
from airflow_provider_klaviyo.sync.source.drivers.odbc import open_odbc
from airflow_provider_klaviyo.sync.source.query import Query

DATETIMEOFFSET = -155
DBMS, DRIVER = 17, 6


class SqlServer:
    """A connection and its cursor, with one column of bytes that a converter reads."""

    description = (("a", str, None, None, None, None, True),)
    rowcount = -1

    def __init__(self, *data: bytes | None) -> None:
        self._data = list(data)
        self._converters: dict[int, Callable[[bytes | None], Any]] = {}

    def getinfo(self, number: int) -> str:
        return {DBMS: "Microsoft SQL Server", DRIVER: "libmsodbcsql-18.3.so"}[number]

    def add_output_converter(self, kind: int, read: Callable[[bytes | None], Any]) -> None:
        self._converters[kind] = read

    def cursor(self) -> SqlServer:
        return self

    def execute(self, sql: str) -> None:
        """There is one query."""

    def fetchmany(self, size: int) -> list[tuple[Any]]:
        data, self._data = self._data, []
        return [(self._converters[DATETIMEOFFSET](each),) for each in data]


def written(*parts: int) -> bytes:
    """``SQL_SS_TIMESTAMPOFFSET_STRUCT`` of Microsoft's ``msodbcsql.h``: six small numbers, nanoseconds, the offset."""
    return struct.pack("<6hI2h", *parts)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (written(2024, 5, 1, 12, 30, 0, 500_000_000, 3, 0), "2024-05-01T12:30:00.500000+03:00"),
        (written(2024, 5, 1, 12, 30, 0, 123_456_700, 5, 45), "2024-05-01T12:30:00.123456+05:45"),
        (written(2024, 5, 1, 12, 30, 0, 0, -3, -30), "2024-05-01T12:30:00-03:30"),
        (written(2024, 5, 1, 12, 30, 0, 0, 0, -30), "2024-05-01T12:30:00-00:30"),
        (written(2024, 5, 1, 12, 30, 0, 0, 14, 0), "2024-05-01T12:30:00+14:00"),
        (written(1, 1, 1, 0, 0, 0, 0, 0, 0), "0001-01-01T00:00:00+00:00"),
        (written(9999, 12, 31, 23, 59, 59, 999_999_900, 0, 0), "9999-12-31T23:59:59.999999+00:00"),
        (None, None),
    ],
)
def test_a_moment_of_sql_server_keeps_its_offset(data: bytes | None, expected: str | None) -> None:
    result = open_odbc(SqlServer(data), Query("SELECT a FROM t", timezone=dt.UTC), FetchSize(10))
    ((value,),) = result.fetch()
    assert value == (expected and dt.datetime.fromisoformat(expected))
    assert result.unzoned == ()
    if isinstance(value, dt.datetime):
        assert value.isoformat() == expected
