"""Any driver, by nothing but the DB-API, and the steps that the well-known ones share with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from airflow_provider_klaviyo.sync.source.drivers.fetch_size import FetchSize
from airflow_provider_klaviyo.sync.source.drivers.result import Connection, Cursor, Result, column_names
from airflow_provider_klaviyo.sync.source.drivers.statements import refuse_writing
from airflow_provider_klaviyo.sync.source.query import Query, SqlHook


def as_it_is(hook: SqlHook, connection: Connection) -> Connection:  # noqa: ARG001
    """The connection that a hook opened."""
    return connection


def open_plain(connection: Connection, query: Query, size: FetchSize) -> Result:
    if query.read_only:
        refuse_writing(query.sql, "any")
    return execute_plain(connection.cursor(), query, size, _free_row_count)


def open_held(connection: Connection, query: Query, size: FetchSize) -> Result:
    """By a driver that has read the whole result when it hands out the first row."""
    return replace(open_plain(connection, query, size), is_held=True)


def close_politely(connection: Connection, result: Result | None, is_read_to_the_end: bool) -> None:  # noqa: FBT001, ARG001
    steps = ((result and result.cursor, "close"), (connection, "rollback"), (connection, "close"))
    for owner, step in steps:
        with suppress(Exception):
            getattr(owner, step)()


def execute(cursor: Cursor, query: Query) -> None:
    """Parameters go along only if there are any: drivers read ``%`` as a placeholder as soon as they do."""
    if query.parameters:
        cursor.execute(query.sql, query.parameters)
    else:
        cursor.execute(query.sql)


def execute_plain(
    cursor: Cursor, query: Query, size: FetchSize, count: Callable[[Cursor], int | None] | None = None
) -> Result:
    """Run a query by the DB-API alone.

    :param count: how many rows there are, before the first fetch; the driver's count if it is not given.
    """
    with suppress(Exception):
        cursor.arraysize = size.rows
    execute(cursor, query)
    column_names(cursor.description)  # fetching without a result set fails in each driver's own unclear way
    return Result(cursor, partial(fetch_many, cursor, size), (count or _row_count)(cursor))


def fetch_many(cursor: Cursor, size: FetchSize) -> Sequence[Any]:
    """The next rows; ``arraysize`` is what some drivers fetch themselves, whatever they are asked for."""
    rows = size.rows
    with suppress(Exception):
        if cursor.arraysize != rows:
            cursor.arraysize = rows
    fetched: Sequence[Any] = cursor.fetchmany(rows)
    return fetched


def _row_count(cursor: Cursor) -> int | None:
    """Return the driver's count before the first fetch; -1, unsigned in some drivers, is its "unknown"."""
    count = getattr(cursor, "rowcount", None)
    return count if isinstance(count, int) and 0 <= count < 2**63 else None


def _free_row_count(cursor: Cursor) -> int | None:
    """The same, unless the driver works it out in Python, which may have a price: pydruid reads the whole result."""
    is_worked_out = isinstance(getattr(type(cursor), "rowcount", None), property)
    return None if is_worked_out else _row_count(cursor)


def run_what_is_possible(connection: Connection, statements: Sequence[str]) -> Sequence[str]:
    """Begin a transaction with these statements, without those that the database refuses.

    :returns: those that were run.
    """
    accepted = list(statements)
    while not all(run_if_possible(connection, refused := statement) for statement in accepted):
        connection.rollback()
        accepted.remove(refused)
    return accepted


def run_if_possible(connection: Connection, statement: str) -> bool:
    """Run a statement that the rows can do without; False when the database refused it.

    :raises Exception: the database's, when it broke off the connection: what comes after says no more than that.
    """
    try:
        with closing(connection.cursor()) as cursor:
            cursor.execute(statement)
    except Exception:  # a pooler or a relative of the database may not know the statement
        if getattr(connection, "closed", False):
            raise
        return False
    return True
