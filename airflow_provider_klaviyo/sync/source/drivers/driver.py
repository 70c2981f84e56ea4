"""Which driver a connection belongs to, and so how its rows are streamed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from airflow_provider_klaviyo.sync.source.drivers.mysql import (
    close_without_draining,
    open_mysql_connector,
    open_mysqlclient,
    open_pymysql,
)
from airflow_provider_klaviyo.sync.source.drivers.plain import close_politely, open_plain
from airflow_provider_klaviyo.sync.source.drivers.postgres import open_psycopg, open_psycopg2, open_redshift
from airflow_provider_klaviyo.sync.source.drivers.result import Connection, Result
from airflow_provider_klaviyo.sync.source.drivers.sqlite import open_sqlite
from airflow_provider_klaviyo.sync.source.query import Query


@dataclass(frozen=True, slots=True)
class Driver:
    """How a query is opened and how all that was opened is let go of; neither close raises an error."""

    open: Callable[[Connection, Query, int], Result]
    close: Callable[[Connection, Result | None, bool], None] = close_politely


_ANY_DRIVER = Driver(open_plain)
_DRIVERS: Mapping[str, Driver] = {
    "psycopg": Driver(open_psycopg),
    "psycopg2": Driver(open_psycopg2),
    "redshift_connector": Driver(open_redshift),
    "sqlite3": Driver(open_sqlite),
    "MySQLdb": Driver(open_mysqlclient, close_without_draining),
    "mysql": Driver(open_mysql_connector, close_without_draining),
    "pymysql": Driver(open_pymysql, close_without_draining),
}


def driver_of(connection: Connection) -> Driver:
    """By the package of the connection's class or of a class it derives from.

    ``__class__`` rather than ``type``, since tracing tools hand out proxies that pose as the connection.
    """
    packages = (kind.__module__.partition(".")[0] for kind in connection.__class__.__mro__)
    return next((_DRIVERS[package] for package in packages if package in _DRIVERS), _ANY_DRIVER)
