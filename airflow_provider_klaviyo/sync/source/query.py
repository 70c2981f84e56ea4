"""A query to read from: the statement, the hook that reaches its database, and what can be wrong with either."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import whitespace
from typing import Any, Protocol

BLANK = whitespace + "\ufeff"
"""What may stand before a query and is nothing: editors begin a file with a byte order mark."""


@dataclass(frozen=True, slots=True)
class Query:
    """One statement that returns rows.

    :param sql: in the words of its database; a closing semicolon is fine.
    :param parameters: passed to the driver as they are, in its placeholder style; without any, a ``%`` in the
        statement is an ordinary character.
    :param read_only: False lets it write, see ``RowStream.commit``.
    :param timezone: of timestamps that have none. Where a driver hands out moments without their zone, its session is
        set to this one, so that they are read as they were meant.
    :param keys_as_before: columns of a key whose values come as the driver itself would give them, for a state that
        knows its rows by those. Else a key is the same by every driver.
    :param conn_id: of its connection, for messages.
    """

    sql: str
    parameters: Mapping[str, object] | Sequence[object] | None = None
    read_only: bool = True
    timezone: dt.tzinfo = dt.UTC
    keys_as_before: Sequence[str] = ()
    conn_id: str = ""

    @property
    def zone_name(self) -> str:
        """The zone as databases name it; empty for one that they have no name for, such as a fixed offset."""
        return getattr(self.timezone, "key", None) or ("UTC" if self.timezone is dt.UTC else "")


class SqlHook(Protocol):
    """What is needed of Airflow's ``DbApiHook``; its ``set_autocommit`` is used if ``supports_autocommit``."""

    def get_conn(self) -> Any:
        """Open a DB-API connection."""

    @staticmethod
    def strip_sql_string(sql: str) -> str:
        """Return the statement without surrounding space and a closing semicolon."""


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


class UnreadableColumns(UnsuitableQuery):
    """The driver cannot read some columns, or makes something else of them; ``columns`` are these.

    :param what: they hold.
    :param instead: what to write in SQL.
    """

    def __init__(self, columns: Sequence[str], what: str, instead: str) -> None:
        names = ", ".join(map(repr, columns))
        super().__init__(f"The SQL driver cannot read {what}, which the query returns as {names}: {instead}.")
        self.columns = tuple(columns)


class QueryWrites(UnsuitableQuery):
    """The query would write, and was not asked to."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"The query does more than read ({what}). That would be undone, and the next run would find the same rows. "
            "Let sql only read, or set read_only=False: what the query writes is kept then when the run ends well."
        )


class UnknownEncoding(UnsuitableQuery):
    """Nobody says in which encoding the database keeps its text."""

    def __init__(self) -> None:
        super().__init__(
            "The encoding of this database is SQL_ASCII: PostgreSQL does not know how its text is to be read. Say it "
            'in the extra of the SQL connection: {"client_encoding": "UTF8"}, or LATIN1, WIN1252, … A text that is '
            "in another one is left out then, with a reason, or its row is rejected."
        )


class NoCursor(UnsuitableQuery):
    """The hook's connection is not a DB-API connection."""
