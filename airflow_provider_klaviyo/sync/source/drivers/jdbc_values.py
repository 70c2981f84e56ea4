"""Values of JDBC: Java's objects as Python's, by what the object is, and moments by what the column is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

from airflow_provider_klaviyo.records.values.plain_types import INTERVAL
from airflow_provider_klaviyo.sync.source.drivers.columns import BEYOND_PYTHON, parsed
from airflow_provider_klaviyo.sync.source.drivers.lenience import Lenience
from airflow_provider_klaviyo.sync.source.drivers.nested import single

Read = Callable[[], object]
"""Reads a column of the row at hand."""

# java.sql.Types, and Oracle's own numbers of moments.
_DATE, _TIME, _TIMESTAMP, _TIME_WITH_ZONE, _TIMESTAMP_WITH_ZONE = 91, 92, 93, 2013, 2014
_MOMENTS = frozenset((_TIMESTAMP_WITH_ZONE, -101, -102))
_WITH_ZONE = ("TZ", "WITH TIME ZONE", "WITH LOCAL TIME ZONE", "DATETIMEOFFSET")
_OF_MYSQL = ("MySQL", "MariaDB")
_JSON = frozenset(("JSON", "JSONB"))
_LAST_OF_JAVA = "23:59:59.999999999"
"""What PostgreSQL's driver makes of 24 o'clock."""

_BEYOND_JAVA = "holds what Java cannot read, such as NaN or infinity; turn it into NULL or text in SQL"


class JavaTypes:
    """The classes of Java that values are of, looked up once a query."""

    def __init__(self, lenience: Lenience) -> None:
        from jpype import JClass, JException

        self.lenience = lenience
        self._error = JException
        self.local_date = JClass("java.time.LocalDate")
        self.local_time = JClass("java.time.LocalTime")
        self.local_timestamp = JClass("java.time.LocalDateTime")
        self.moment = JClass("java.time.OffsetDateTime")
        self.offset_time = JClass("java.time.OffsetTime")
        self._makers: Mapping[Any, Callable[[Any], object]] = {
            JClass("java.lang.Boolean"): bool,
            JClass("java.lang.Byte"): int,
            JClass("java.lang.Short"): int,
            JClass("java.lang.Integer"): int,
            JClass("java.lang.Long"): int,
            JClass("java.lang.Float"): lambda value: single(float(value)),
            JClass("java.lang.Double"): float,
            JClass("java.lang.String"): str,
            JClass("java.math.BigInteger"): lambda value: int(str(value)),
            JClass("java.math.BigDecimal"): lambda value: Decimal(str(value)),
            JClass("java.util.UUID"): lambda value: UUID(str(value)),
            JClass("java.sql.Date"): lambda value: self.time(dt.date, value.toLocalDate()),
            JClass("java.sql.Time"): lambda value: self.time(dt.time, value.toLocalTime()),
            JClass("java.sql.Timestamp"): lambda value: self.time(dt.datetime, value.toLocalDateTime()),
            self.local_date: lambda value: self.time(dt.date, value),
            self.local_time: lambda value: self.time(dt.time, value),
            self.local_timestamp: lambda value: self.time(dt.datetime, value),
            self.moment: lambda value: self.time(dt.datetime, value),
            JClass("java.time.Instant"): lambda value: self.time(dt.datetime, value),
        }
        self._bases = (
            (JClass("java.sql.Array"), self._array),
            (JClass("java.sql.Struct"), lambda value: list(map(self.python, value.getAttributes()))),
            (JClass("java.sql.Clob"), lambda value: str(value.getSubString(1, int(value.length())))),
            (JClass("java.sql.Blob"), lambda value: bytes(value.getBytes(1, int(value.length())))),
            (JClass("java.sql.SQLXML"), lambda value: str(value.getString())),
            (JClass("java.util.Map"), lambda value: {str(k): self.python(value[k]) for k in value.keySet()}),
            (JClass("java.util.Collection"), lambda value: list(map(self.python, value))),
        )

    def python(self, value: Any) -> object:
        """The same as an object of Python's; an ``Unreadable`` where there is none."""
        if value is None or type(value) is str:
            return value
        make = self._makers.get(type(value))
        if make:
            return make(value)
        kind = type(value).__name__
        if kind.endswith("[]"):
            return bytes(value) if kind == "byte[]" else list(map(self.python, value))
        for base, make_one in self._bases:
            if isinstance(value, base):
                return make_one(value)
        return self._of_a_driver(value, kind)

    def read(self, get: Callable[[], Any]) -> object:
        """What this gets, unless its driver has an error for the value itself (SQLSTATE 22…)."""
        try:
            return self.python(get())
        except self._error as error:
            state = getattr(error, "getSQLState", None)
            if not state or not str(state()).startswith("22"):
                raise
            return self.lenience.unreadable(_BEYOND_JAVA)

    def _array(self, value: Any) -> object:
        kind, name = int(value.getBaseType()), str(value.getBaseTypeName()).upper()
        if is_moment(kind, name):
            return self._each(self._moment, value.getArray())
        return self._each(self._json if name in _JSON else self.python, value.getArray())

    def _each(self, make: Callable[[Any], object], value: Any) -> object:
        """With arrays in arrays."""
        if value is None:
            return None
        is_array = type(value).__name__.endswith("[]") and type(value).__name__ != "byte[]"
        return [self._each(make, part) for part in value] if is_array else make(value)

    def _json(self, value: Any) -> object:
        return parsed(self.python(value))

    def _moment(self, value: Any) -> object:
        """A moment in an array, where it cannot be asked for as such: its wall clock would be that of the machine."""
        return (
            self.time(dt.datetime, value.toInstant()) if hasattr(value, "toInstant") else self.python(value)
        )

    def _of_a_driver(self, value: Any, kind: str) -> object:
        """An object of a driver's own class: PostgreSQL's say which type they are of, and their text."""
        if not (hasattr(value, "getType") and hasattr(value, "getValue")):
            return self.lenience.unreadable(f"holds a {kind} of Java, which cannot be sent; cast it in SQL")
        name, text = str(value.getType()), value.getValue()
        if name == "interval":
            return self.interval()
        return parsed(str(text)) if name.upper() in _JSON else text if text is None else str(text)

    def interval(self) -> object:
        """What stands for an interval."""
        return self.lenience.unreadable(f"holds what cannot be sent: {INTERVAL}")

    def asked(self, rows: Any, index: int, wanted: Any, kind: Any, otherwise: Callable[[], Any]) -> Read:
        """Reads a column as a class of ``java.time``, or otherwise where its driver is too old for that.

        :param wanted: the class.
        :param kind: the type of Python's that has its text.
        """
        is_refused = False

        def read() -> object:
            nonlocal is_refused
            if not is_refused:
                try:
                    return self.time(kind, rows.getObject(index, wanted))
                except self._error:
                    is_refused = True
            return self.python(otherwise())

        return read

    def time(self, kind: Any, value: Any) -> object:
        """A date, time or timestamp by its text, which is ISO 8601 in Java, too."""
        if value is None:
            return None
        text = str(value)
        if kind is dt.time and text.startswith(_LAST_OF_JAVA):
            return self.lenience.unreadable(BEYOND_PYTHON)
        try:
            return kind.fromisoformat(text)
        except ValueError:
            return self.lenience.unreadable(BEYOND_PYTHON)


def column_reader(types: JavaTypes, rows: Any, columns: Any, index: int, driver: str) -> Read:
    """How one column is read.

    :param rows: the ``ResultSet``.
    :param columns: its ``ResultSetMetaData``.
    :param index: counted from 1.
    :param driver: its name.
    """
    kind, name = int(columns.getColumnType(index)), str(columns.getColumnTypeName(index)).upper()
    is_mysqls = driver.startswith(_OF_MYSQL) and name == "TIMESTAMP"
    has_zone = is_mysqls or any(map(name.__contains__, _WITH_ZONE))
    if name.startswith("INTERVAL"):
        return lambda: None if rows.getObject(index) is None else types.interval()
    if kind == _DATE:
        return types.asked(rows, index, types.local_date, dt.date, lambda: rows.getDate(index))
    if kind in (_TIME, _TIME_WITH_ZONE):
        wanted = types.offset_time if has_zone or kind == _TIME_WITH_ZONE else types.local_time
        return types.asked(rows, index, wanted, dt.time, lambda: rows.getTime(index))
    if is_mysqls or is_moment(kind, name):
        return types.asked(rows, index, types.moment, dt.datetime, lambda: _instant(rows.getTimestamp(index)))
    if kind == _TIMESTAMP:
        return types.asked(rows, index, types.local_timestamp, dt.datetime, lambda: rows.getTimestamp(index))
    return lambda: types.read(lambda: rows.getObject(index))


def is_moment(kind: int, name: str) -> bool:
    """Whether a type, by its number and its name in capitals, is a timestamp with zone."""
    return kind in _MOMENTS or (kind == _TIMESTAMP and any(map(name.__contains__, _WITH_ZONE)))


def _instant(timestamp: Any) -> Any:
    return None if timestamp is None else timestamp.toInstant()
