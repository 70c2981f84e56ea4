"""MySQL and MariaDB: an unbuffered cursor, whose rows the server keeps back until they are fetched."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from airflow_provider_klaviyo.sync.source.drivers.fetch_size import FetchSize
from airflow_provider_klaviyo.sync.source.drivers.lenience import Lenience
from airflow_provider_klaviyo.sync.source.drivers.mysql_values import lenient_converters, typed, without_bytes
from airflow_provider_klaviyo.sync.source.drivers.plain import close_politely, execute_plain, run_if_possible
from airflow_provider_klaviyo.sync.source.drivers.result import Connection, MakeCursor, Result
from airflow_provider_klaviyo.sync.source.drivers.statements import refuse_several_statements, refuse_writing
from airflow_provider_klaviyo.sync.source.query import Query

# The server waits in the middle of writing rows while Klaviyo's rate limits are waited for, and the statement's
# running time counts that. One statement each, since neither MySQL nor MariaDB knows all of them.
_LIFT_WRITE_TIMEOUTS = (
    "SET SESSION net_write_timeout = 86400",
    "SET SESSION max_statement_time = 0",
    "SET SESSION max_execution_time = 0",
)
# A TIMESTAMP is a moment, which comes as wall clock time of the session's zone, and is compared with literals in it.
_READ_IN_UTC = "SET SESSION time_zone = '+00:00'"
_ALL_CHARACTERS = (
    "utf8mb4"  # in another one, "utf8" among them, the server sends a question mark for many of them
)
_MULTI_STATEMENTS_OFF = 1  # MYSQL_OPTION_MULTI_STATEMENTS_OFF of the C API


def open_mysqlclient(connection: Connection, query: Query, size: FetchSize) -> Result:
    from MySQLdb.cursors import SSCursor

    with suppress(Exception):
        connection.set_server_option(_MULTI_STATEMENTS_OFF)
    with suppress(Exception):
        connection.set_character_set(_ALL_CHARACTERS)
    lenience = Lenience(connection.encoding)
    connection.converter.update(lenient_converters(connection.converter, lenience))
    return lenience.naming(_open_unbuffered(connection, partial(connection.cursor, SSCursor), query, size))


def open_mysql_connector(connection: Connection, query: Query, size: FetchSize) -> Result:
    make = partial(connection.cursor, buffered=False, dictionary=False)
    refuse_several_statements(query.sql, "mysql")
    with suppress(Exception):
        connection.set_charset_collation(_ALL_CHARACTERS)
    lenience = Lenience(connection.python_charset)
    return lenience.naming(without_bytes(_open_unbuffered(connection, make, query, size), lenience))


def open_pymysql(connection: Connection, query: Query, size: FetchSize) -> Result:
    from pymysql.cursors import SSCursor

    with suppress(Exception):
        connection.set_character_set(_ALL_CHARACTERS)
    lenience = Lenience(connection.encoding)
    result = _open_unbuffered(connection, partial(connection.cursor, SSCursor), query, size)
    fields = result.cursor._result  # noqa: SLF001  # there is no other way to another decoder
    fields.converters = [
        (None, lenience.text) if field == (connection.encoding, None) else field
        for field in fields.converters
    ]
    return lenience.naming(result)


def _open_unbuffered(connection: Connection, make: MakeCursor, query: Query, size: FetchSize) -> Result:
    for statement in _LIFT_WRITE_TIMEOUTS:
        run_if_possible(connection, statement)
    is_utc = run_if_possible(connection, _READ_IN_UTC)
    if query.read_only:
        refuse_writing(query.sql, "mysql")  # a CREATE ends the transaction, and is done
        run_if_possible(connection, "START TRANSACTION READ ONLY")
    return typed(execute_plain(make(), query, size), is_utc=is_utc)


def close_without_draining(connection: Connection, result: Result | None, is_read_to_the_end: bool) -> None:  # noqa: FBT001
    """Drop the connection if rows may be left: closing an unbuffered cursor would read them all first."""
    if is_read_to_the_end:
        close_politely(connection, result, is_read_to_the_end)
        return
    with suppress(Exception):
        connection.close()
    with suppress(AttributeError):
        connection._result.unbuffered_active = False  # noqa: SLF001  # pymysql would read on, without a socket, when collected
