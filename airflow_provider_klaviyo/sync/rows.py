"""The first step of a sync: the rows of one query, streamed in chunks from any DB-API connection.

A driver's plain cursor may hold the whole result in memory (psycopg, mysqlclient), so each of the well-known
drivers is asked for its own way to stream. A query reads: whatever it writes is rolled back at the end.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, Self
from uuid import uuid4

from airflow_provider_klaviyo.exceptions import mask
from airflow_provider_klaviyo.records.values import Unreadable

if TYPE_CHECKING:
    from types import TracebackType

CHUNK_SIZE = 2_000
"""Rows per fetch: larger chunks are slower (Python's garbage collector) and take more memory."""

Row = tuple[object, ...]
Chunk = list[Row]

# Drivers have no common types worth the name: these two are Any inside this module, never outside.
Connection = Any
Cursor = Any


class QueryError(Exception):
    """The query gave no rows, or not all of them."""


class QueryFailed(QueryError):
    """The database refused the query, or broke off; ``rows_read`` rows had been handed out by then."""

    def __init__(self, message: str, *, rows_read: int = 0) -> None:
        super().__init__(message)
        self.rows_read = rows_read


class UnsuitableQuery(QueryError):
    """The query or its connection must be changed: another run would end the same way."""


class NoResultSet(UnsuitableQuery):
    """The statement returns no columns."""


class DuplicateColumns(UnsuitableQuery):
    """Two columns of the result have one name; ``columns`` holds such names."""

    def __init__(self, message: str, *, columns: Sequence[str]) -> None:
        super().__init__(message)
        self.columns = tuple(columns)


class SeveralStatements(UnsuitableQuery):
    """There is more than one statement, of which only one could be read."""


class NoCursor(UnsuitableQuery):
    """The hook's connection is not a DB-API connection."""


class SqlHook(Protocol):
    """What is needed of Airflow's ``DbApiHook``; its ``set_autocommit`` is used if ``supports_autocommit``."""

    def get_conn(self) -> Connection:
        """Open a DB-API connection."""

    @staticmethod
    def strip_sql_string(sql: str) -> str:
        """Return the statement without surrounding space and a closing semicolon."""


@dataclass(frozen=True, slots=True)
class Query:
    """One statement that returns rows.

    :param sql: in the words of its database; a closing semicolon is fine.
    :param parameters: passed to the driver as they are, in its placeholder style; without any, a ``%`` in the
        statement is an ordinary character.
    """

    sql: str
    parameters: Mapping[str, object] | Sequence[object] | None = None


class RowStream:
    """The rows of a query, in chunks; to be used in a ``with`` block, which opens and closes everything.

    ``columns`` is known on entry, and so is ``total`` where the driver counts ahead (else it is None: a
    streaming cursor cannot know). ``rows_read`` counts the rows handed out. Iteration goes once through the
    result.

    :param hook: an Airflow ``DbApiHook`` or anything shaped like it.
    :param chunk_size: rows per chunk; only the last one is smaller (Redshift never gives more than 1,000).
    :raises UnsuitableQuery: on entry; see its subclasses.
    :raises QueryFailed: on entry or while reading, with the driver's words.
    """

    columns: tuple[str, ...]
    total: int | None

    def __init__(self, hook: SqlHook, query: Query, *, chunk_size: int = CHUNK_SIZE) -> None:
        if chunk_size < 1:
            message = f"chunk_size must be at least 1, not {chunk_size}"
            raise ValueError(message)
        self.rows_read = 0
        self._hook = hook
        self._query = Query(hook.strip_sql_string(query.sql), query.parameters)
        self._chunk_size = chunk_size
        self._connection: Connection = None
        self._result: _Result | None = None
        self._is_read_to_the_end = False

    def __enter__(self) -> Self:
        try:
            self._open()
        except QueryError:
            self.close()
            raise
        except Exception as error:
            self.close()
            message = f"The query failed before its first row: {_words(error)}"
            raise QueryFailed(message) from None
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Chunk]:
        return self._chunks

    def close(self) -> None:
        """Let go of cursor, transaction and connection, without an error and without reading what is left."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            _driver(connection).close(connection, self._result, self._is_read_to_the_end)

    def _open(self) -> None:
        self._connection = _connect(self._hook)
        if not callable(getattr(self._connection, "cursor", None)):
            raise NoCursor(_no_cursor(self._hook, self._connection))
        _leave_autocommit(self._hook, self._connection)
        result = _driver(self._connection).open(self._connection, self._query, self._chunk_size)
        self._result = result
        first = result.fetch()
        self.columns = _column_names(result.cursor.description)
        self.total = _believable(result.total, len(first))
        self._chunks = self._read(first, result.fetch)

    def _read(self, rows: Sequence[Any], fetch: _Fetch) -> Iterator[Chunk]:
        as_tuples = _tuple_maker(rows[0]) if rows else _listed
        while rows:
            self.rows_read += len(rows)
            yield as_tuples(rows)
            try:
                rows = fetch()
            except Exception as error:
                message = f"The query failed after {self.rows_read:,} rows: {_words(error)}"
                raise QueryFailed(message, rows_read=self.rows_read) from None
        self._is_read_to_the_end = True


# --- results ---

_Fetch = Callable[[], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class _Result:
    """An executed query: its cursor, how the next rows are got, and how many there are if that is known."""

    cursor: Cursor
    fetch: _Fetch
    total: int | None = None


def _column_names(description: Sequence[Sequence[Any]] | None) -> tuple[str, ...]:
    if not description:
        message = "The statement returns no columns; sql must be a query, such as a SELECT."
        raise NoResultSet(message)
    columns = tuple(_text(column[0]) for column in description)
    repeated = [name for name, count in Counter(columns).items() if count > 1]
    if repeated:
        names = ", ".join(map(repr, repeated))
        message = f"The query returns more than one column named {names}; give each its own alias."
        raise DuplicateColumns(message, columns=repeated)
    return columns


def _believable(total: int | None, rows: int) -> int | None:
    """Return None for the 0 of drivers (oracledb) that count what was fetched, when rows arrived after all."""
    return None if total is None or total < rows else total


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _tuple_maker(row: object) -> Callable[[Sequence[Any]], Chunk]:
    """How this cursor's rows become tuples: all of them have the type of the first."""
    if type(row) is tuple:
        return _listed
    if isinstance(row, Mapping):
        return lambda rows: [tuple(row.values()) for row in rows]
    return lambda rows: list(map(tuple, rows))


def _listed(rows: Sequence[Any]) -> Chunk:
    return rows if isinstance(rows, list) else list(rows)


def _words(error: Exception) -> str:
    """The driver's words, masked. Errors are raised ``from None``: a traceback would show the words as they are."""
    fields = _server_fields(error)
    return mask(str(fields.get("M") or error).strip()) or type(error).__name__


def _no_cursor(hook: SqlHook, connection: Connection) -> str:
    return (
        f"{type(connection).__name__}, the connection that {type(hook).__name__} opens, has no DB-API cursor, "
        "so its rows cannot be streamed. Use another type of connection to this database, such as ODBC or JDBC."
    )


def _connect(hook: SqlHook) -> Connection:
    try:
        return hook.get_conn()
    except Exception as error:
        message = f"The SQL connection could not be opened: {_words(error)}"
        raise QueryFailed(message) from None


def _leave_autocommit(hook: SqlHook, connection: Connection) -> None:
    """Open a transaction, in which a server-side cursor lives, and which can be rolled back."""
    if getattr(hook, "supports_autocommit", False):
        with suppress(Exception):
            hook.set_autocommit(connection, False)  # type: ignore[attr-defined]  # noqa: FBT003  # Airflow's signature


# --- any driver ---


def _execute(cursor: Cursor, query: Query) -> None:
    """Parameters go along only if there are any: drivers read ``%`` as a placeholder as soon as they do."""
    if query.parameters:
        cursor.execute(query.sql, query.parameters)
    else:
        cursor.execute(query.sql)


def _execute_plain(cursor: Cursor, query: Query, size: int) -> _Result:
    with suppress(Exception):
        cursor.arraysize = size
    _execute(cursor, query)
    _column_names(cursor.description)  # fetching without a result set fails in each driver's own unclear way
    return _Result(cursor, partial(cursor.fetchmany, size), _row_count(cursor))


def _row_count(cursor: Cursor) -> int | None:
    """Return the driver's count before the first fetch; -1, unsigned in some drivers, is its "unknown"."""
    count = getattr(cursor, "rowcount", None)
    return count if isinstance(count, int) and 0 <= count < 2**63 else None


def _open_plain(connection: Connection, query: Query, size: int) -> _Result:
    return _execute_plain(connection.cursor(), query, size)


def _close_politely(connection: Connection, result: _Result | None, is_read_to_the_end: bool) -> None:  # noqa: FBT001, ARG001
    steps = ((result and result.cursor, "close"), (connection, "rollback"), (connection, "close"))
    for owner, step in steps:
        with suppress(Exception):
            getattr(owner, step)()


def _run_if_possible(connection: Connection, statement: str) -> bool:
    try:
        with closing(connection.cursor()) as cursor:
            cursor.execute(statement)
    except Exception:  # a pooler or a relative of the database may not know the statement
        return False
    return True


# --- PostgreSQL and its relatives ---

# The session idles in its transaction while Klaviyo's rate limits are waited for, and both timeouts would cut
# the stream then. Local to the transaction, so that nothing leaks through a pooler; a setting that this server
# does not have is passed over.
_LIFT_TIMEOUTS = (
    "SELECT set_config(name, '0', true) FROM pg_catalog.pg_settings "
    "WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout')"
)
# What DECLARE answers to a statement it cannot take: SHOW, CALL, UPDATE .. RETURNING (syntax error), a WITH
# that writes (feature not supported), and whatever else is no cursor definition.
_NOT_DECLARABLE = frozenset({"42601", "0A000", "42P11"})
_REDSHIFT_SERVER_VERSION = 8_00_02  # Redshift calls itself PostgreSQL 8.0.2
_REDSHIFT_FETCH_SIZE = 1_000  # the most that a cluster of one node takes (Redshift guide, "FETCH")

_MakeCursor = Callable[[], Cursor]


def _open_psycopg(connection: Connection, query: Query, size: int) -> _Result:
    from psycopg.rows import tuple_row

    make = partial(connection.cursor, row_factory=tuple_row)
    size = _fetch_size(connection.info.server_version, size)
    result = _open_server_side(connection, partial(make, name=_cursor_name()), make, query, size)
    return _Result(result.cursor, partial(_fetch_readable, result), result.total)


def _open_psycopg2(connection: Connection, query: Query, size: int) -> _Result:
    from psycopg2.extensions import cursor

    make = partial(connection.cursor, cursor_factory=cursor)
    size = _fetch_size(connection.server_version, size)
    return _open_server_side(connection, partial(make, name=_cursor_name()), make, query, size)


def _open_redshift(connection: Connection, query: Query, size: int) -> _Result:
    """``redshift_connector`` has no named cursors, and its plain ones hold the whole result."""
    declared = partial(DeclaredCursor, connection)
    size = min(size, _REDSHIFT_FETCH_SIZE)
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


def _fetch_size(server_version: int, size: int) -> int:
    return min(size, _REDSHIFT_FETCH_SIZE) if server_version <= _REDSHIFT_SERVER_VERSION else size


def _open_server_side(
    connection: Connection, make_named: _MakeCursor, make_plain: _MakeCursor, query: Query, size: int
) -> _Result:
    refuse_several_statements(query.sql, "postgres")
    if not _run_if_possible(connection, _LIFT_TIMEOUTS):
        connection.rollback()
    cursor = make_named()
    try:
        _execute(cursor, query)
    except Exception as error:
        with suppress(Exception):
            cursor.close()
        if _sqlstate(error) not in _NOT_DECLARABLE:
            raise
    else:
        return _Result(cursor, partial(cursor.fetchmany, size))
    connection.rollback()
    return _execute_plain(make_plain(), query, size)


def _sqlstate(error: Exception) -> object:
    """As psycopg, psycopg2 and redshift_connector name it."""
    return (
        getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or _server_fields(error).get("C")
    )


def _server_fields(error: Exception) -> Mapping[str, object]:
    """What redshift_connector has instead of words: the fields of PostgreSQL's error message, by their letters."""
    fields = error.args[0] if error.args else None
    return fields if isinstance(fields, dict) else {}


def _fetch_readable(result: _Result) -> Sequence[Any]:
    """Fetch the next rows, with an ``Unreadable`` in place of a value that Python's types cannot hold.

    ``infinity`` and years before 1 make psycopg refuse the whole fetch, so one such value would end the run.
    """
    from psycopg import DataError

    try:
        return result.fetch()
    except DataError as error:
        if error.sqlstate is not None or not hasattr(result.cursor, "scrollable"):
            raise  # the server's own error; or a client-side cursor, whose result is more than this fetch
    return _load_leniently(result.cursor)


def _load_leniently(cursor: Cursor) -> Sequence[Any]:
    from psycopg.adapt import Transformer

    fetched = cursor.pgresult
    for column in range(fetched.nfields):
        oid, form = fetched.ftype(column), fetched.fformat(column)
        loader = cursor.adapters.get_loader(oid, form)
        if loader and not getattr(loader, "is_lenient", False):
            cursor.adapters.register_loader(oid, _lenient(loader))
    transformer = Transformer(cursor)
    transformer.set_pgresult(fetched)
    rows: Sequence[Any] = transformer.load_rows(0, fetched.ntuples, tuple)
    return rows


_UNREADABLE = Unreadable(
    "the SQL driver cannot read this value (infinity, or a year before 1); turn it into NULL or text in SQL"
)


def _lenient(strict: Any) -> Any:
    from psycopg import DataError
    from psycopg.adapt import Loader

    class LenientLoader(Loader):
        is_lenient = True
        format = strict.format

        def __init__(self, oid: int, context: Any = None) -> None:
            super().__init__(oid, context)
            self._strict = strict(oid, context)

        def load(self, data: Any) -> object:
            try:
                value: object = self._strict.load(data)
            except DataError:
                return _UNREADABLE
            return value

    return LenientLoader


# --- MySQL and MariaDB ---

# The server waits in the middle of writing rows while Klaviyo's rate limits are waited for, and the statement's
# running time counts that. One statement each, since neither MySQL nor MariaDB knows all of them.
_LIFT_WRITE_TIMEOUTS = (
    "SET SESSION net_write_timeout = 86400",
    "SET SESSION max_statement_time = 0",
    "SET SESSION max_execution_time = 0",
)
_MULTI_STATEMENTS_OFF = 1  # MYSQL_OPTION_MULTI_STATEMENTS_OFF of the C API


def _open_mysqlclient(connection: Connection, query: Query, size: int) -> _Result:
    from MySQLdb.cursors import SSCursor

    with suppress(Exception):
        connection.set_server_option(_MULTI_STATEMENTS_OFF)
    return _open_unbuffered(connection, partial(connection.cursor, SSCursor), query, size)


def _open_mysql_connector(connection: Connection, query: Query, size: int) -> _Result:
    make = partial(connection.cursor, buffered=False, dictionary=False)
    refuse_several_statements(query.sql, "mysql")
    return _open_unbuffered(connection, make, query, size)


def _open_pymysql(connection: Connection, query: Query, size: int) -> _Result:
    from pymysql.cursors import SSCursor

    return _open_unbuffered(connection, partial(connection.cursor, SSCursor), query, size)


def _open_unbuffered(connection: Connection, make: _MakeCursor, query: Query, size: int) -> _Result:
    for statement in _LIFT_WRITE_TIMEOUTS:
        _run_if_possible(connection, statement)
    return _execute_plain(make(), query, size)


def _close_without_draining(connection: Connection, result: _Result | None, is_read_to_the_end: bool) -> None:  # noqa: FBT001
    """Drop the connection if rows may be left: closing an unbuffered cursor would read them all first."""
    if is_read_to_the_end:
        _close_politely(connection, result, is_read_to_the_end)
        return
    with suppress(Exception):
        connection.close()
    with suppress(AttributeError):
        connection._result.unbuffered_active = False  # noqa: SLF001  # pymysql would read on, without a socket, when collected


# --- several statements ---

_QUOTED = {
    "postgres": re.compile(
        r"""--[^\n]* | /\*.*?\*/ | (?<!\w)[eE]'(?:[^'\\]|\\.)*' | '[^']*' | "[^"]*" | (?<!\w)(\$\w*\$).*?\1""",
        re.DOTALL | re.VERBOSE,
    ),
    "mysql": re.compile(
        r"""--\s[^\n]* | \#[^\n]* | /\*.*?\*/ | '(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*" | `[^`]*`""",
        re.DOTALL | re.VERBOSE,
    ),
}


def refuse_several_statements(sql: str, dialect: str) -> None:
    """For drivers that would run them all and read one of them: the others refuse by themselves.

    :param dialect: ``postgres`` or ``mysql``: how the text tells quotes and comments from statements.
    """
    if ";" in sql and re.search(r";\s*[^\s;]", _QUOTED[dialect].sub(" ", sql)):
        message = "sql holds several statements; it must be one query."
        raise SeveralStatements(message)


# --- which driver ---


@dataclass(frozen=True, slots=True)
class _Driver:
    open: Callable[[Connection, Query, int], _Result]
    close: Callable[[Connection, _Result | None, bool], None] = _close_politely


_ANY_DRIVER = _Driver(_open_plain)
_DRIVERS: Mapping[str, _Driver] = {
    "psycopg": _Driver(_open_psycopg),
    "psycopg2": _Driver(_open_psycopg2),
    "redshift_connector": _Driver(_open_redshift),
    "MySQLdb": _Driver(_open_mysqlclient, _close_without_draining),
    "mysql": _Driver(_open_mysql_connector, _close_without_draining),
    "pymysql": _Driver(_open_pymysql, _close_without_draining),
}


def _driver(connection: Connection) -> _Driver:
    """By the package of the connection's class or of a class it derives from.

    ``__class__`` rather than ``type``, since tracing tools hand out proxies that pose as the connection.
    """
    packages = (kind.__module__.partition(".")[0] for kind in connection.__class__.__mro__)
    return next((_DRIVERS[package] for package in packages if package in _DRIVERS), _ANY_DRIVER)
