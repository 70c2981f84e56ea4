"""Values of MySQL and MariaDB whose drivers give less than the column says."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from airflow_provider_klaviyo.sync.source.drivers.columns import Mend, mended
from airflow_provider_klaviyo.sync.source.drivers.lenience import Lenience
from airflow_provider_klaviyo.sync.source.drivers.result import Result

# Field types and the character set of what is no text, in the protocol; all drivers hand them on.
_TIMESTAMP, _BIT = 7, 16
_TEXTS = frozenset((15, 245, *range(249, 255)))
_BINARY = 63


def typed(result: Result, *, is_utc: bool) -> Result:
    """The result with its TIMESTAMPs in UTC, its BIT(1)s as booleans and longer BITs as numbers.

    :param is_utc: whether the session reads in UTC; a TIMESTAMP is wall clock time of the session's zone.
    """
    columns = result.cursor.description
    mends: dict[int, Mend] = {n: _bits(column) for n, column in enumerate(columns) if column[1] == _BIT}
    timestamps: Mapping[int, Mend] = {
        n: _in_utc for n, column in enumerate(columns) if column[1] == _TIMESTAMP
    }
    if not is_utc:
        return mended(replace(result, unzoned=tuple(str(columns[n][0]) for n in timestamps)), mends)
    return mended(result, {**mends, **timestamps})


def _in_utc(values: Sequence[Any]) -> Sequence[Any]:
    return [value.replace(tzinfo=dt.UTC) if isinstance(value, dt.datetime) else value for value in values]


def _bits(column: Sequence[Any]) -> Mend:
    """How a BIT column is read, which comes as bytes; mysql-connector-python makes a number and hides the length."""

    def read(values: Sequence[Any]) -> Sequence[Any]:
        return [to_type(int.from_bytes(value)) if isinstance(value, bytes) else value for value in values]

    to_type = bool if column[3] == 1 else int
    return read


def lenient_converters(converters: Mapping[object, Any], lenience: Lenience) -> dict[object, Any]:
    """How mysqlclient makes values of bytes, but for text: its ``str`` would end the fetch."""

    def lenient(converter: Any) -> Any:
        if isinstance(converter, (tuple, list)):
            return tuple((flags, lenient(choice)) for flags, choice in converter)
        return lenience.text if converter is str else converter

    return {kind: lenient(converter) for kind, converter in converters.items() if isinstance(kind, int)}


def without_bytes(result: Result, lenience: Lenience) -> Result:
    """The result of mysql-connector-python, which leaves a text as bytes that it cannot decode."""

    def texts(values: Sequence[Any]) -> Sequence[Any]:
        if set(map(type, values)).isdisjoint((bytes, bytearray)):
            return values
        return [lenience.text(value) if isinstance(value, (bytes, bytearray)) else value for value in values]

    columns = enumerate(result.cursor.description)
    return mended(result, {n: texts for n, column in columns if column[1] in _TEXTS and column[8] != _BINARY})
