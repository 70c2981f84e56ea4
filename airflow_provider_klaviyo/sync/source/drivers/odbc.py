"""ODBC: what the driver manager's Python can be told of a driver, since it says little of a column.

A UUID comes as text in capitals, a moment in the zone of the session, PostgreSQL's booleans as text, and the whole
result at once, unless the driver is asked for something else when it connects.
"""

from __future__ import annotations

import datetime as dt
import logging
import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any
from uuid import UUID

from airflow_provider_klaviyo.sync.source.drivers.columns import Mend, keys_as_before, mended
from airflow_provider_klaviyo.sync.source.drivers.fetch_size import FetchSize
from airflow_provider_klaviyo.sync.source.drivers.lenience import Lenience
from airflow_provider_klaviyo.sync.source.drivers.odbc_postgres import told_by_postgres
from airflow_provider_klaviyo.sync.source.drivers.plain import execute_plain, run_what_is_possible
from airflow_provider_klaviyo.sync.source.drivers.result import Connection, Result
from airflow_provider_klaviyo.sync.source.drivers.statements import refuse_several_statements, refuse_writing
from airflow_provider_klaviyo.sync.source.query import Query, SqlHook

log = logging.getLogger(__name__)

_DBMS_NAME, _DRIVER_NAME = 17, 6  # SQLGetInfo
_GUID, _TIME, _SS_TIMESTAMPOFFSET = -11, 92, -155  # SQL types

_WITHOUT_MOMENTS = ("microsoft sql server", "sqlite")
"""Databases whose moments have a SQL type of their own, or that have none."""

_ASKED_FOR_ZONES = ("postgresql", "mysql", "mariadb")

_HOLDING = ("libmaodbc",)
"""Drivers that hold the whole result, by the beginning of their files' names."""

_SETTINGS: Mapping[str, Mapping[str, str]] = {
    "psqlodbc": {"BoolsAsChar": "0", "UseDeclareFetch": "1", "Fetch": "2000"},
}
"""What to ask of a driver, by the beginning of its file's name: rows in parts, and booleans as such."""


_BEFORE: Mapping[type, Callable[[Any], object]] = {UUID: lambda value: str(value).upper()}
_BEFORE_OF_POSTGRES: Mapping[type, Callable[[Any], object]] = {bool: lambda value: str(int(value))}


def reconnected(hook: SqlHook, connection: Connection) -> Connection:
    """The connection, or another one with what is to be asked of its driver; what the user has set stays so.

    A driver can be asked for this only while it connects, and which driver it is shows after that, behind a DSN too.
    """
    text = getattr(hook, "odbc_connection_string", None)
    driver = str(connection.getinfo(_DRIVER_NAME)).lower()
    wanted = next((each for name, each in _SETTINGS.items() if driver.startswith(name)), {})
    given = {part.partition("=")[0].strip().lower() for part in str(text).split(";")}
    missing = {name: value for name, value in wanted.items() if name.lower() not in given}
    if not isinstance(text, str) or not missing:
        return connection
    connection.close()
    settings = "".join(f"{name}={value};" for name, value in missing.items())
    connect = import_module(type(connection).__module__).connect
    return connect(f"{text.rstrip(';')};{settings}", **getattr(hook, "connect_kwargs", {}))


def open_odbc(connection: Connection, query: Query, size: FetchSize) -> Result:
    database = str(connection.getinfo(_DBMS_NAME)).lower()
    lenience = Lenience()
    for kind, read in ((_GUID, _guid), (_SS_TIMESTAMPOFFSET, _offset_timestamp)):
        connection.add_output_converter(kind, read)
    is_zone_known = database.startswith(_WITHOUT_MOMENTS)
    is_postgres = database.startswith("postgresql")
    mends: Mapping[int, Mend] = {}
    if is_postgres:
        query = replace(query, sql=f"{query.sql}\n")  # the driver writes behind it: not into a comment
        query, mends = told_by_postgres(connection, query, lenience)
        is_zone_known = _prepare(
            connection,
            query,
            "postgres",
            f"SET LOCAL TIME ZONE '{query.zone_name}'",
            "SET TRANSACTION READ ONLY",
        )
    elif database.startswith(("mysql", "mariadb")):
        connection.add_output_converter(_TIME, lambda data: _time_of_mysql(data, lenience))
        zone = "+00:00" if query.zone_name == "UTC" else query.zone_name
        is_zone_known = _prepare(
            connection, query, "mysql", f"SET time_zone = '{zone}'", "START TRANSACTION READ ONLY"
        )
    elif query.read_only:
        refuse_writing(query.sql, "any")
    result = mended(execute_plain(connection.cursor(), query, size), mends)
    result = lenience.naming(
        keys_as_before(result, query, {**_BEFORE, **(_BEFORE_OF_POSTGRES if is_postgres else {})})
    )
    if str(connection.getinfo(_DRIVER_NAME)).lower().startswith(_HOLDING):
        result = replace(result, is_held=True)
    if is_zone_known:
        return result
    dated = tuple(column[0] for column in result.cursor.description if column[1] is dt.datetime)
    if dated and database.startswith(_ASKED_FOR_ZONES):
        log.warning(
            "The server does not know the zone %s, so moments come in that of its session, and are read in that of "
            "timezone: load its time zone tables, or convert moments to UTC in SQL.",
            query.zone_name,
        )
    return replace(result, unzoned=dated)


def _prepare(connection: Connection, query: Query, dialect: str, set_zone: str, set_read_only: str) -> bool:
    """Have moments, which come without their zone, in that of timestamps that have none: both are read in it.

    :returns: whether the session is in that zone; MySQL's servers know names of zones only when they are told them.
    """
    refuse_several_statements(query.sql, dialect)
    if query.read_only:
        refuse_writing(query.sql, dialect)
    done = run_what_is_possible(connection, [set_zone, *([set_read_only] if query.read_only else [])])
    return set_zone in done


def _guid(data: bytes | None) -> object:
    return None if data is None else UUID(bytes_le=data)


def _offset_timestamp(data: bytes | None) -> object:
    """SQL Server's DATETIMEOFFSET, which pyodbc has no reader for (its wiki, "Using an Output Converter function")."""
    if data is None:
        return None
    year, month, day, hour, minute, second, nanosecond, *offset = struct.unpack("<6hI2h", data)
    zone = dt.timezone(dt.timedelta(hours=offset[0], minutes=offset[1]))
    return dt.datetime(year, month, day, hour, minute, second, nanosecond // 1_000, zone)


def _time_of_mysql(data: bytes | None, lenience: Lenience) -> object:
    """A TIME may have 838 hours, and be below zero."""
    if data is None:
        return None
    try:
        return dt.time.fromisoformat(data.decode())
    except ValueError:
        return lenience.unreadable(
            "holds a time of more than a day, or below zero; cast it to seconds or to text in SQL"
        )
