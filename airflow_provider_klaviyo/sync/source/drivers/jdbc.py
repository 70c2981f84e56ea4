"""Any driver of JDBC, by the Java connection inside of JayDeBeApi's.

JayDeBeApi's cursor gives Java's numbers and booleans, cuts fractions of seconds wrongly, reads moments in the zone of
the machine, and fetches the whole result from databases that must be asked for parts before they begin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from airflow_provider_klaviyo.sync.source.drivers.fetch_size import FetchSize
from airflow_provider_klaviyo.sync.source.drivers.jdbc_values import JavaTypes, Read, column_reader
from airflow_provider_klaviyo.sync.source.drivers.lenience import Lenience
from airflow_provider_klaviyo.sync.source.drivers.result import Connection, Result, column_names
from airflow_provider_klaviyo.sync.source.drivers.statements import refuse_writing
from airflow_provider_klaviyo.sync.source.query import Query

_ROW_BY_ROW = -(2**31)
"""What MySQL's own driver takes for "stream" where others take a number of rows."""


class JdbcError(Exception):
    """What a Java driver said, in the form that drivers of Python have."""

    def __init__(self, error: Any) -> None:
        super().__init__(str(error.getMessage() or error.getClass().getName()))
        state = getattr(error, "getSQLState", None)
        self.sqlstate = str(state() or "") if state else ""


def open_jdbc(connection: Connection, query: Query, size: FetchSize) -> Result:
    """In a transaction that only reads, if the database knows such; many do not, so the text is looked at, too."""
    from jpype import JException

    try:
        if query.read_only:
            refuse_writing(query.sql, "any")
            _read_only(connection.jconn)
        lenience = Lenience()
        cursor = JdbcCursor(connection.jconn, size, lenience, getattr(connection, "_converters", {}))
        cursor.execute(query)
    except JException as error:
        raise JdbcError(error) from None
    column_names(cursor.description)
    return lenience.naming(Result(cursor, cursor.fetch))


class JdbcCursor:
    """A statement of Java's as a cursor: its rows are read in parts, its values are Python's.

    :param converters: JayDeBeApi's, by which keys of a state of before are read: it gives text for moments.
    """

    def __init__(self, java: Any, size: FetchSize, lenience: Lenience, converters: Mapping[Any, Any]) -> None:
        self.description: Sequence[Sequence[Any]] | None = None
        self._java = java
        self._size = size
        self._lenience = lenience
        self._converters = converters
        self._statement: Any = None
        self._rows: Any = None
        self._read: list[Read] = []

    def execute(self, query: Query) -> None:
        """Run the statement, which is prepared even without parameters, as JayDeBeApi does it."""
        product = str(self._java.getMetaData().getDriverName())
        self._statement = self._java.prepareStatement(query.sql)
        self._statement.setFetchSize(_ROW_BY_ROW if product.startswith("MySQL") else self._size.rows)
        for index, parameter in enumerate(query.parameters or (), start=1):
            self._statement.setObject(index, parameter)
        if not self._statement.execute():
            return
        self._rows = self._statement.getResultSet()
        types = JavaTypes(self._lenience)
        columns = self._rows.getMetaData()
        indexes = range(1, columns.getColumnCount() + 1)
        self.description = [(str(columns.getColumnLabel(index)), None) for index in indexes]
        self._read = [column_reader(types, self._rows, columns, index, product) for index in indexes]
        before = {name.lower() for name in query.keys_as_before}
        for at, (name, _) in enumerate(self.description):
            if name.lower() in before:
                convert = self._converters.get(int(columns.getColumnType(at + 1)), _as_java_has_it)
                self._read[at] = partial(convert, self._rows, at + 1)

    def fetch(self) -> Sequence[tuple[object, ...]]:
        """Return the next rows; none when there are no more."""
        from jpype import JException

        fetched: list[tuple[object, ...]] = []
        try:
            self._ask_for(size := self._size.rows)
            while len(fetched) < size and self._rows.next():
                fetched.append(tuple([read() for read in self._read]))
        except JException as error:
            raise JdbcError(error) from None
        return fetched

    def _ask_for(self, size: int) -> None:
        """Have the driver fetch as many at once; one that streams row by row says so by a number below 0."""
        from jpype import JException

        with suppress(JException):  # the rows can do without
            if 0 < self._rows.getFetchSize() != size:
                self._rows.setFetchSize(size)

    def close(self) -> None:
        """Close the statement, and its rows with it."""
        if self._statement:
            self._statement.close()


def _as_java_has_it(rows: Any, index: int) -> object:
    value: object = rows.getObject(index)
    return value


def _read_only(java: Any) -> None:
    from jpype import JException

    try:
        java.setReadOnly(True)
    except JException:  # a driver that has no such thing
        return
