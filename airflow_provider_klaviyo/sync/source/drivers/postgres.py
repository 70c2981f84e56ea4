"""PostgreSQL and its relatives: a server-side cursor, or the whole result where a statement can have none."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import uuid4

from airflow_provider_klaviyo.sync.source.drivers.errors import sqlstate
from airflow_provider_klaviyo.sync.source.drivers.fetch_size import FetchSize
from airflow_provider_klaviyo.sync.source.drivers.plain import (
    execute,
    execute_plain,
    run_if_possible,
    run_what_is_possible,
)
from airflow_provider_klaviyo.sync.source.drivers.postgres_arrays import (
    arrays_of,
    read_arrays_of_psycopg,
    read_arrays_of_psycopg2,
)
from airflow_provider_klaviyo.sync.source.drivers.postgres_text import read_text
from airflow_provider_klaviyo.sync.source.drivers.psycopg2_values import read_timestamps
from airflow_provider_klaviyo.sync.source.drivers.psycopg_values import load_json, readable
from airflow_provider_klaviyo.sync.source.drivers.result import Connection, Cursor, MakeCursor, Result
from airflow_provider_klaviyo.sync.source.drivers.statements import refuse_several_statements, refuse_writing
from airflow_provider_klaviyo.sync.source.query import Query

# The session idles in its transaction while Klaviyo's rate limits are waited for, and both timeouts would cut
# the stream then. A cursor is planned for the first tenth of its rows, and all of them are read. Local to the
# transaction, so that nothing leaks through a pooler; a setting that this server does not have is passed over.
_SETTINGS = (
    "SELECT set_config(name, CASE name WHEN 'cursor_tuple_fraction' THEN '1' ELSE '0' END, true) "
    "FROM pg_catalog.pg_settings "
    "WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout', 'cursor_tuple_fraction')"
)
_READ_ONLY = "SET TRANSACTION READ ONLY"
# What DECLARE answers to a statement it cannot take: SHOW, CALL, UPDATE .. RETURNING (syntax error), a WITH
# that writes (feature not supported), and whatever else is no cursor definition.
_NOT_DECLARABLE = frozenset({"42601", "0A000", "42P11"})
_REDSHIFT_SERVER_VERSION = 8_00_02  # Redshift calls itself PostgreSQL 8.0.2
_REDSHIFT_FETCH_SIZE = 1_000  # the most that a cluster of one node takes (Redshift guide, "FETCH")


def open_psycopg(connection: Connection, query: Query, size: FetchSize) -> Result:
    from psycopg.rows import tuple_row

    def set_encoding(name: str) -> None:
        run_if_possible(connection, f"SET client_encoding TO '{name}'")
        connection.commit()

    lenience, text = read_text(connection.info, connection.info.encoding, set_encoding)
    if text:
        query = text.written(query)
        load_json(connection, text.loads)
    read_arrays_of_psycopg(connection)
    make = partial(connection.cursor, row_factory=tuple_row)
    size = _fetch_size(connection.info.server_version, size)
    result = _open_server_side(connection, partial(make, name=_cursor_name()), make, query, size)
    result = readable(result, size, lenience)
    return lenience.naming(text.read(result) if text else result)


def open_psycopg2(connection: Connection, query: Query, size: FetchSize) -> Result:
    from psycopg2.extensions import cursor, encodings
    from psycopg2.extras import register_default_json, register_default_jsonb

    def make(**name: str) -> Cursor:
        made = connection.cursor(cursor_factory=cursor, **name)
        read_timestamps(made, lenience)
        read_arrays_of_psycopg2(made, arrays)
        if text:
            register_default_json(made, loads=text.loads)
            register_default_jsonb(made, loads=text.loads)
        return made

    arrays = arrays_of(connection)
    encoding = encodings[connection.encoding]
    lenience, text = read_text(connection.info, encoding, connection.set_client_encoding)
    if text:
        query = text.written(query)
    size = _fetch_size(connection.server_version, size)
    result = _open_server_side(connection, partial(make, name=_cursor_name()), make, query, size)
    return lenience.naming(text.read(result) if text else result)


def open_redshift(connection: Connection, query: Query, size: FetchSize) -> Result:
    """``redshift_connector`` has no named cursors, and its plain ones hold the whole result."""
    declared = partial(DeclaredCursor, connection)
    size = size.at_most(_REDSHIFT_FETCH_SIZE)
    return _open_server_side(connection, declared, connection.cursor, query, size)


class DeclaredCursor:
    """A server-side cursor made of SQL (``DECLARE``, ``FETCH``) on a plain cursor in a transaction."""

    def __init__(self, connection: Connection) -> None:
        self._plain = connection.cursor()
        self._name = _cursor_name()

    @property
    def description(self) -> Sequence[Sequence[Any]] | None:
        """The columns of the last fetch; None before the first."""
        description: Sequence[Sequence[Any]] | None = self._plain.description
        return description

    def execute(self, sql: str, *parameters: object) -> None:
        """Declare the cursor; the database starts to work at the first fetch."""
        self._plain.execute(f"DECLARE {self._name} CURSOR FOR {sql}", *parameters)

    def fetchmany(self, size: int) -> Sequence[Any]:
        """Return the next rows; none when there are no more."""
        self._plain.execute(f"FETCH FORWARD {size} FROM {self._name}")
        rows: Sequence[Any] = self._plain.fetchall()
        return rows

    def close(self) -> None:
        """Let the plain cursor go; the declared one ends with its transaction."""
        self._plain.close()


def _cursor_name() -> str:
    return f"klaviyo_{uuid4().hex[:16]}"


def _fetch_size(server_version: int, size: FetchSize) -> FetchSize:
    return size.at_most(_REDSHIFT_FETCH_SIZE) if server_version <= _REDSHIFT_SERVER_VERSION else size


def _open_server_side(
    connection: Connection, make_named: MakeCursor, make_plain: MakeCursor, query: Query, size: FetchSize
) -> Result:
    refuse_several_statements(query.sql, "postgres")
    _prepare_transaction(connection, query)
    cursor = make_named()
    try:
        execute(cursor, query)
    except Exception as error:
        with suppress(Exception):
            cursor.close()
        if sqlstate(error) not in _NOT_DECLARABLE:
            raise
    else:
        return Result(cursor, lambda: cursor.fetchmany(size.rows))
    connection.rollback()
    _prepare_transaction(connection, query)
    return execute_plain(make_plain(), query, size)


def _prepare_transaction(connection: Connection, query: Query) -> None:
    """Set what the transaction is to be, without what this database does not know."""
    done = run_what_is_possible(connection, [_SETTINGS, *([_READ_ONLY] if query.read_only else [])])
    if query.read_only and _READ_ONLY not in done:
        refuse_writing(query.sql, "postgres")
