"""Columns of one type, converted whole: by the cheapest checks that find every odd value.

Where there is one, the column must be converted value by value.
"""

from __future__ import annotations

import datetime as dt
import math
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from airflow_provider_klaviyo.records.values.scalars import MAX_EXPONENT, SAFE_DIGITS, is_encodable

ConvertColumn = Callable[[Sequence[Any], dt.tzinfo], list[object] | None]
"""From a column and the zone of timestamps that have none; to None where a value is odd."""

_MODERN_YEAR = 1973  # since 1972 no zone of the IANA database has an offset with seconds


def _present(values: Sequence[Any]) -> Iterable[Any]:
    """Without None, and without zeros and empty strings, which are good anyway."""
    return filter(None, values)


def _are_encodable(values: Sequence[Any]) -> bool:
    joined = "".join(_present(values))
    return joined.isascii() or is_encodable(joined)


def _are_64_bit(values: Sequence[Any]) -> bool:
    try:
        array("q", list(_present(values)))
    except OverflowError:
        return False
    return True


def _are_finite(values: Sequence[Any]) -> bool:
    """NaN and Infinity survive addition; a sum that overflows sends good values the slow way, no more."""
    return math.isfinite(sum(_present(values)))


def _are_ordinary(values: Sequence[Any]) -> bool:
    numbers = list(_present(values))
    if not all(map(Decimal.is_finite, numbers)):
        return False
    exponents = list(map(Decimal.adjusted, numbers))
    return max(exponents, default=0) < SAFE_DIGITS and min(exponents, default=0) >= -MAX_EXPONENT


def _unchanged(are_sendable: Callable[[Sequence[Any]], bool]) -> ConvertColumn:
    def convert(values: Sequence[Any], timezone: dt.tzinfo) -> list[object] | None:  # noqa: ARG001
        return list(values) if are_sendable(values) else None

    return convert


def _booleans(values: Sequence[Any], timezone: dt.tzinfo) -> list[object]:  # noqa: ARG001
    return list(values)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[str | None])


def _texts(values: Sequence[Any], timezone: dt.tzinfo | None = None) -> list[object]:  # noqa: ARG001
    """Have msgspec write them and read them again: five times as fast as ``isoformat()`` or ``str()``."""
    return list(_decoder.decode(_encoder.encode(values).replace(b'Z"', b'+00:00"')))


def _datetimes(values: Sequence[Any], timezone: dt.tzinfo) -> list[object] | None:
    zones = {value.tzinfo for value in _present(values)}
    if zones == {None}:
        values = [value and dt.datetime.combine(value, value.time(), timezone) for value in values]
        zones = {timezone}
    year = min(value.year for value in _present(values))
    return _texts(values) if all(_has_whole_minutes(zone, year) for zone in zones) else None


def _has_whole_minutes(zone: dt.tzinfo | None, year: int) -> bool:
    """Whether the zone's offsets since that year have no seconds, which msgspec would cut off."""
    if isinstance(zone, dt.timezone):
        return not zone.utcoffset(None) % dt.timedelta(minutes=1)
    return isinstance(zone, ZoneInfo) and year >= _MODERN_YEAR


_WRITTEN: Final[Mapping[type, ConvertColumn]] = {dt.datetime: _datetimes, dt.date: _texts, UUID: _texts}

NUMBER_OR_TEXT_COLUMNS: Final[Mapping[type, ConvertColumn]] = {
    str: _unchanged(_are_encodable),
    int: _unchanged(_are_64_bit),
    float: _unchanged(_are_finite),
    Decimal: _unchanged(_are_ordinary),
}
JSON_COLUMNS: Final[Mapping[type, ConvertColumn]] = {
    **NUMBER_OR_TEXT_COLUMNS,
    **_WRITTEN,
    bool: _booleans,
}
TEXT_COLUMNS: Final[Mapping[type, ConvertColumn]] = {str: _unchanged(_are_encodable), **_WRITTEN}
