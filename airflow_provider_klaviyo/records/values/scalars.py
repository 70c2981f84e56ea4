"""Values that are not made of others: one function for each type and for what a field takes.

Each raises ``Unsendable`` for a value that cannot be sent, and finds every oddity: ``uniform_columns`` is faster.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID

from airflow_provider_klaviyo.records.values.unsendable import Unsendable

Convert = Callable[[Any, dt.tzinfo, int], object]
"""From a value, the zone of timestamps that have none, and how many lists and objects the value is in."""

_MIN_INT, _MAX_INT = -(2**63), 2**63 - 1
SAFE_DIGITS = 18  # an integer with an exponent below this is below 2**63
MAX_EXPONENT = 307  # JSON readers make a double of a number, and that ends at 1.8E+308
_EXACT_FLOAT = 2**53  # from here on not every integer has a double of its own

_HALF_A_CHARACTER = "text with half a character (an unpaired surrogate) cannot be sent; repair it in SQL"
_BEYOND_64_BITS = "an integer beyond 64 bits cannot be sent; cast it to text in SQL"
_NOT_FINITE = "NaN and Infinity cannot be sent; turn them into NULL in SQL"
_TOO_LARGE_OR_SMALL = "a number this large or this small cannot be sent; cast it to text in SQL"
_OUTSIDE_YEARS = "a timestamp outside the years 1 to 9999 cannot be sent; change it in SQL"
_TOO_MANY_DIGITS = "an integer of thousands of digits cannot be sent; shorten it in SQL"
_INEXACT = "a floating-point number this large may have lost digits; cast it to text in SQL"
_ONLY_TEXT = "only text can be sent in this field; cast the column to text in SQL"
_ONLY_NUMBERS_OR_TEXT = "only a number or text can be sent in this field; cast the column in SQL"


def is_encodable(text: str) -> bool:
    """Whether UTF-8 has it: text with half a surrogate pair has no bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def text(value: str, timezone: dt.tzinfo | None = None, level: int = 0) -> str:  # noqa: ARG001
    """Text as it is.

    :raises Unsendable: when it has half a surrogate pair.
    """
    if value.isascii() or is_encodable(value):
        return value
    raise Unsendable(_HALF_A_CHARACTER)


def _bool(value: bool, timezone: dt.tzinfo, level: int) -> bool:  # noqa: ARG001, FBT001
    return value


def _integer(value: int, timezone: dt.tzinfo, level: int) -> int:  # noqa: ARG001
    if _MIN_INT <= value <= _MAX_INT:
        return value
    raise Unsendable(_BEYOND_64_BITS)


def _finite(value: float) -> float:
    if math.isfinite(value):
        return value
    raise Unsendable(_NOT_FINITE)


def _float(value: float, timezone: dt.tzinfo, level: int) -> float:  # noqa: ARG001
    return _finite(value)


def _ordinary(value: Decimal) -> Decimal:
    if not value.is_finite():
        _finite(math.nan)
    if abs(value.adjusted()) > MAX_EXPONENT:
        raise Unsendable(_TOO_LARGE_OR_SMALL)
    return value


def _decimal(value: Decimal, timezone: dt.tzinfo, level: int) -> Decimal:
    """Refuse a whole number beyond 64 bits as for integers: it looks the same in JSON."""
    _ordinary(value)
    if value.adjusted() >= SAFE_DIGITS and value.as_tuple().exponent == 0:
        _integer(int(value), timezone, level)
    return value


def _datetime(value: dt.datetime, timezone: dt.tzinfo, level: int) -> str:  # noqa: ARG001
    text = (value if value.tzinfo else value.replace(tzinfo=timezone)).isoformat()
    return text if text[-6] in "+-" else _odd_datetime(value, timezone)


def _odd_datetime(value: dt.datetime, timezone: dt.tzinfo) -> str:
    """Write it in UTC where the offset has seconds (local mean times, long ago), which RFC 3339 does not know."""
    if value.utcoffset() is None:
        value = value.replace(tzinfo=timezone)
    try:
        return value.astimezone(dt.UTC).isoformat()
    except OverflowError:
        raise Unsendable(_OUTSIDE_YEARS) from None


def _isoformat(value: dt.date | dt.time, timezone: dt.tzinfo, level: int) -> str:  # noqa: ARG001
    return value.isoformat()


def _str(value: object, timezone: dt.tzinfo, level: int) -> str:  # noqa: ARG001
    return str(value)


def integer_text(value: int, timezone: dt.tzinfo | None = None, level: int = 0) -> str:  # noqa: ARG001
    """All digits of an integer, as an id is written.

    :raises Unsendable: when there are more than Python writes out.
    """
    try:
        return int.__repr__(value)
    except ValueError:  # Python writes out no more than 4,300 digits
        raise Unsendable(_TOO_MANY_DIGITS) from None


def _decimal_text(value: Decimal, timezone: dt.tzinfo, level: int) -> str:  # noqa: ARG001
    _ordinary(value)
    whole = int(value)
    return str(whole) if whole == value else format(value, "f")


def _float_text(value: float, timezone: dt.tzinfo, level: int) -> str:
    if abs(_finite(value)) >= _EXACT_FLOAT:
        raise Unsendable(_INEXACT)
    return _decimal_text(Decimal(repr(value)), timezone, level)


def _refuse(reason: str) -> Convert:
    def convert(value: object, timezone: dt.tzinfo, level: int) -> object:  # noqa: ARG001
        raise Unsendable(reason)

    return convert


CONTAINERS: Final = (list, tuple, set, frozenset, dict)
"""The types whose values are made of others."""


class _Conversions(NamedTuple):
    """How values of a type are sent, by what the field takes."""

    as_json: Convert
    as_text: Convert
    as_number_or_text: Convert


_no_text = _refuse(_ONLY_TEXT)
_no_number_or_text = _refuse(_ONLY_NUMBERS_OR_TEXT)

_TYPES: Final[Mapping[type, _Conversions]] = {
    str: _Conversions(text, text, text),
    bool: _Conversions(_bool, _no_text, _no_number_or_text),
    int: _Conversions(_integer, integer_text, _integer),
    float: _Conversions(_float, _float_text, _float),
    Decimal: _Conversions(_decimal, _decimal_text, _decimal),
    dt.datetime: _Conversions(_datetime, _datetime, _no_number_or_text),
    dt.date: _Conversions(_isoformat, _isoformat, _no_number_or_text),
    dt.time: _Conversions(_isoformat, _isoformat, _no_number_or_text),
    UUID: _Conversions(_str, _str, _no_number_or_text),
}

SCALARS: Final[Mapping[type, Convert]] = {kind: each.as_json for kind, each in _TYPES.items()}
"""For a field that takes any JSON value."""

TEXTS: Final[Mapping[type, Convert]] = {
    **{kind: each.as_text for kind, each in _TYPES.items()},
    **dict.fromkeys(CONTAINERS, _no_text),
}
"""For a field that takes text."""

NUMBERS_OR_TEXTS: Final[Mapping[type, Convert]] = {
    **{kind: each.as_number_or_text for kind, each in _TYPES.items()},
    **dict.fromkeys(CONTAINERS, _no_number_or_text),
}
"""For a field that takes a number or text."""
