"""The first step of a sync: the rows of one query, streamed in chunks from any DB-API connection.

A driver's plain cursor may hold the whole result in memory (psycopg, mysqlclient), so each of the well-known
drivers is asked for its own way to stream. A query reads: one that would write is refused, before it does if the
database can be asked for that, unless it may.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from airflow_provider_klaviyo.sync.source.drivers.driver import driver_of
from airflow_provider_klaviyo.sync.source.drivers.errors import is_write, words, words_of_query
from airflow_provider_klaviyo.sync.source.drivers.fetch_size import FetchSize
from airflow_provider_klaviyo.sync.source.drivers.placeholders import advice_on_placeholders
from airflow_provider_klaviyo.sync.source.drivers.result import Connection, Fetch, Result
from airflow_provider_klaviyo.sync.source.query import (
    BLANK,
    NoCursor,
    Query,
    QueryError,
    QueryFailed,
    QueryWrites,
    SqlHook,
)
from airflow_provider_klaviyo.sync.source.source import CHUNK_SIZE, Chunk
from airflow_provider_klaviyo.wording import counted

if TYPE_CHECKING:
    from types import TracebackType

log = logging.getLogger(__name__)

_LARGE = 200_000
"""Rows of a result from which on a driver that does not stream is worth a word."""

_OF_PYTHON = (ValueError, ArithmeticError)
"""What a driver raises that cannot make a value; databases have errors of their own."""

_CAST_WHAT_PYTHON_HAS_NOT = (
    "The driver cannot read a value, and does not say which. Cast to text, or turn into NULL, in SQL: dates and "
    "timestamps before the year 1 or after 9999, or of infinity; times of 24 hours and more; numbers that are none"
)


class RowStream:
    """The rows of a query, in chunks; to be used in a ``with`` block, which opens and closes everything.

    A query that may write and was read to its end stays open after the block, until ``commit`` or ``close``.

    ``columns`` is known on entry, and so is ``total`` where the driver counts ahead (else it is None: a
    streaming cursor cannot know). ``rows_read`` counts the rows handed out. Iteration goes once through the
    result. ``distrust`` says why the driver may hand out fewer rows than there are, if it may, and
    ``unzoned`` names columns whose timestamps may be of another zone than they are read in.

    :param hook: an Airflow ``DbApiHook`` or anything shaped like it.
    :param chunk_size: rows per chunk at most; fewer where they are wide, or nobody knows yet (``FetchSize``).
    :raises UnsuitableQuery: on entry; see its subclasses.
    :raises QueryFailed: on entry or while reading, with the driver's words.
    """

    columns: tuple[str, ...]
    total: int | None
    distrust: str = ""
    unzoned: tuple[str, ...] = ()
    may_meet_more_columns = False

    def __init__(self, hook: SqlHook, query: Query, *, chunk_size: int = CHUNK_SIZE) -> None:
        if chunk_size < 1:
            message = f"chunk_size must be at least 1, not {chunk_size}"
            raise ValueError(message)
        self.rows_read = 0
        self._hook = hook
        self._query = replace(query, sql=hook.strip_sql_string(query.sql.lstrip(BLANK)))
        self._size = FetchSize(chunk_size)
        self._connection: Connection = None
        self._result: Result | None = None
        self._is_read_to_the_end = False

    def __enter__(self) -> Self:
        try:
            self._open()
        except QueryError:
            self.close()
            raise
        except Exception as error:
            failed = self._failed(error)
            self.close()
            raise failed from None
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None or self._query.read_only or not self._is_read_to_the_end:
            self.close()

    def __iter__(self) -> Iterator[Chunk]:
        return self._chunks

    def keep_keys(self, columns: Sequence[str]) -> None:
        """Have the values of these columns as the driver gives them; before the block is entered."""
        self._query = replace(self._query, keys_as_before=columns)

    def commit(self) -> None:
        """Keep what a query that is not ``read_only`` wrote, once it is read to its end; without this it is undone.

        :raises QueryFailed: when the database does not keep it.
        """
        try:
            if self._connection is not None:
                self._connection.commit()
        except Exception as error:
            said = words_of_query(error)
            message = f"What the query wrote could not be kept, and the next run finds the same rows: {said}"
            raise QueryFailed(message, rows_read=self.rows_read) from None
        finally:
            self.close()

    def close(self) -> None:
        """Let go of cursor, transaction and connection, without an error and without reading what is left."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            driver_of(connection).close(connection, self._result, self._is_read_to_the_end)

    def _open(self) -> None:
        self._connection = self._connect()
        if not callable(getattr(self._connection, "cursor", None)):
            raise NoCursor(_no_cursor(self._hook, self._connection))
        _leave_autocommit(self._hook, self._connection)
        driver = driver_of(self._connection)
        self.distrust = driver.distrust
        result = driver.open(self._connection, self._query, self._size)
        self._result = result
        known = (
            result.columns() if result.cursor.description else ()
        )  # gone after the last fetch in some drivers
        first = result.fetch()
        self.columns = known or result.columns()
        self.unzoned = result.unzoned
        self.total = _believable(result.total, len(first))
        self._chunks = self._read(first, result.fetch)

    def _read(self, rows: Sequence[Any], fetch: Fetch) -> Iterator[Chunk]:
        as_tuples = _tuple_maker(rows[0]) if rows else _listed
        while rows:
            self._count(len(rows))
            self._size.learn(rows)
            yield as_tuples(rows)
            try:
                rows = fetch()
            except Exception as error:
                raise self._failed(error) from None
        self._is_read_to_the_end = True

    def _count(self, rows: int) -> None:
        was_small = self.rows_read < _LARGE
        self.rows_read += rows
        if was_small and self.rows_read >= _LARGE and self._result and self._result.is_held:
            log.warning(
                "This SQL driver holds the whole result in memory, and %s rows were read of it: split the query, or "
                "use another type of connection to this database.",
                f"{self.rows_read:,}",
            )

    def _failed(self, error: Exception) -> QueryError:
        if self._query.read_only and is_write(error):
            return QueryWrites(words_of_query(error))
        when = f"after {counted(self.rows_read, 'row')}" if self.rows_read else "before its first row"
        said = words_of_query(error)
        if isinstance(error, _OF_PYTHON):
            said = f"{said}. {_CAST_WHAT_PYTHON_HAS_NOT}"
        if not self.rows_read and (advice := advice_on_placeholders(self._connection, self._query)):
            said = f"{said}. {advice}"
        return QueryFailed(f"The query failed {when}{self._where}: {said}", rows_read=self.rows_read)

    def _connect(self) -> Connection:
        try:
            connection = self._hook.get_conn()
            return driver_of(connection).reconnect(self._hook, connection)
        except Exception as error:
            message = f"The SQL connection could not be opened{self._where}: {words(error)}"
            raise QueryFailed(message) from None

    @property
    def _where(self) -> str:
        return f" (sql_conn_id={self._query.conn_id!r})" if self._query.conn_id else ""


def _leave_autocommit(hook: SqlHook, connection: Connection) -> None:
    """Open a transaction, in which a server-side cursor lives, and which can be rolled back.

    A connection may be in autocommit although its hook says that it does not support that.
    """
    with suppress(Exception):
        if getattr(hook, "supports_autocommit", False):
            hook.set_autocommit(connection, False)  # type: ignore[attr-defined]  # noqa: FBT003  # Airflow's signature
        elif connection.autocommit is True:
            connection.autocommit = False


def _no_cursor(hook: SqlHook, connection: Connection) -> str:
    return (
        f"{type(connection).__name__}, the connection that {type(hook).__name__} opens, has no DB-API cursor, "
        "so its rows cannot be streamed. Use another type of connection to this database, such as ODBC or JDBC."
    )


def _believable(total: int | None, rows: int) -> int | None:
    """Return None for the 0 of drivers (oracledb) that count what was fetched, when rows arrived after all."""
    return None if total is None or total < rows else total


def _tuple_maker(row: object) -> Callable[[Sequence[Any]], Chunk]:
    """How this cursor's rows become tuples: all of them have the type of the first."""
    if type(row) is tuple:
        return _listed
    if isinstance(row, Mapping):
        return lambda rows: [tuple(row.values()) for row in rows]
    return lambda rows: list(map(tuple, rows))


def _listed(rows: Sequence[Any]) -> Chunk:
    return rows if isinstance(rows, list) else list(rows)
