"""Which driver a connection belongs to, and so how its rows are streamed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from airflow_provider_klaviyo.sync.source.drivers.adbc import open_adbc
from airflow_provider_klaviyo.sync.source.drivers.bigquery import open_bigquery
from airflow_provider_klaviyo.sync.source.drivers.clickhouse import open_clickhouse
from airflow_provider_klaviyo.sync.source.drivers.druid import LOSES_ROWS, open_druid
from airflow_provider_klaviyo.sync.source.drivers.duckdb import open_duckdb
from airflow_provider_klaviyo.sync.source.drivers.fetch_size import FetchSize
from airflow_provider_klaviyo.sync.source.drivers.jdbc import open_jdbc
from airflow_provider_klaviyo.sync.source.drivers.mysql import (
    close_without_draining,
    open_mysql_connector,
    open_mysqlclient,
    open_pymysql,
)
from airflow_provider_klaviyo.sync.source.drivers.odbc import open_odbc, reconnected
from airflow_provider_klaviyo.sync.source.drivers.oracle import open_oracle
from airflow_provider_klaviyo.sync.source.drivers.pinot import MAY_CUT_ROWS, open_pinot
from airflow_provider_klaviyo.sync.source.drivers.plain import as_it_is, close_politely, open_held, open_plain
from airflow_provider_klaviyo.sync.source.drivers.postgres import open_psycopg, open_psycopg2, open_redshift
from airflow_provider_klaviyo.sync.source.drivers.result import Connection, Result
from airflow_provider_klaviyo.sync.source.drivers.snowflake import open_snowflake
from airflow_provider_klaviyo.sync.source.drivers.sqlite import open_sqlite
from airflow_provider_klaviyo.sync.source.drivers.trino import open_presto, open_trino
from airflow_provider_klaviyo.sync.source.query import Query, SqlHook


@dataclass(frozen=True, slots=True)
class Driver:
    """How a query is opened and how all that was opened is let go of; neither close raises an error.

    :param distrust: why rows may be missing without an error; empty where they cannot.
    :param reconnect: makes of a hook's connection the one to use, for drivers that take settings then only.
    """

    open: Callable[[Connection, Query, FetchSize], Result]
    close: Callable[[Connection, Result | None, bool], None] = close_politely
    reconnect: Callable[[SqlHook, Connection], Connection] = as_it_is
    distrust: str = ""


_ANY_DRIVER = Driver(open_plain)
_DRIVERS: Mapping[str, Driver] = {
    "psycopg": Driver(open_psycopg),
    "psycopg2": Driver(open_psycopg2),
    "redshift_connector": Driver(open_redshift),
    "sqlite3": Driver(open_sqlite),
    "MySQLdb": Driver(open_mysqlclient, close_without_draining),
    "mysql": Driver(open_mysql_connector, close_without_draining),
    "pymysql": Driver(open_pymysql, close_without_draining),
    "_duckdb": Driver(open_duckdb),
    "duckdb": Driver(open_duckdb),
    "jaydebeapi": Driver(open_jdbc),
    "adbc_driver_manager": Driver(open_adbc),
    "pyodbc": Driver(open_odbc, reconnect=reconnected),
    "oracledb": Driver(open_oracle),
    "pinotdb": Driver(open_pinot, distrust=MAY_CUT_ROWS),
    "prestodb": Driver(open_presto),
    "airflow.providers.clickhousedb.hooks.clickhouse": Driver(open_clickhouse),
    "clickhouse_connect": Driver(open_clickhouse),
    "clickhouse_driver": Driver(open_held),
    "pydruid": Driver(open_druid, distrust=LOSES_ROWS),
    "snowflake": Driver(open_snowflake),
    "trino": Driver(open_trino),
    "airflow.providers.google.cloud.hooks.bigquery": Driver(open_bigquery),
}


def driver_of(connection: Connection) -> Driver:
    """By the package or module of the connection's class or of a class it derives from.

    ``__class__`` rather than ``type``, since tracing tools hand out proxies that pose as the connection.
    """
    modules = (kind.__module__ for kind in connection.__class__.__mro__)
    names = (name for module in modules for name in (module, module.partition(".")[0]))
    return next((_DRIVERS[name] for name in names if name in _DRIVERS), _ANY_DRIVER)
