"""SQL's values as JSON's: a column of a chunk at a time, from what drivers return to what Klaviyo reads.

A value that cannot be sent becomes None and has a reason under its index. Reasons say what is wrong and what
to do, and never hold the value. ``msgspec.json.Encoder(decimal_format="number")`` encodes whatever is
returned, so that a ``Decimal`` stays the exact number it was.

=====================  ==============================================================================
timestamp with zone    ISO 8601 with its offset; microseconds only if it has any
timestamp without      the same in the ``timezone`` given. A time that the clocks skip or repeat takes
                       the offset that was valid before they changed (``fold=0``)
date                   ``YYYY-MM-DD``, which Klaviyo reads as midnight UTC (its guide to date formats)
array, set, JSON       a list (a set's is sorted) or an object, of no more than ten levels
anything else          NaN, Infinity, binary data, intervals, ranges and unknown types have a reason
=====================  ==============================================================================
"""

from __future__ import annotations

import datetime as dt
import math
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import NoneType
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

Column = tuple[list[object], dict[int, str]]
"""Converted values in the order they came, and the reasons of those that cannot be sent by their index."""

MAX_NESTING: Final = 10
"""Levels of lists and objects in one value (Klaviyo's guide to events; for profiles it names none)."""

_MIN_INT, _MAX_INT = -(2**63), 2**63 - 1
_SAFE_DIGITS = 18  # an integer with an exponent below this is below 2**63
_MAX_EXPONENT = 307  # JSON readers make a double of a number, and that ends at 1.8E+308
_EXACT_FLOAT = 2**53  # from here on not every integer has a double of its own
_MODERN_YEAR = 1973  # since 1972 no zone of the IANA database has an offset with seconds


_HALF_A_CHARACTER = "text with half a character (an unpaired surrogate) cannot be sent; repair it in SQL"
_BEYOND_64_BITS = "an integer beyond 64 bits cannot be sent; cast it to text in SQL"
_NOT_FINITE = "NaN and Infinity cannot be sent; turn them into NULL in SQL"
_TOO_LARGE_OR_SMALL = "a number this large or this small cannot be sent; cast it to text in SQL"
_OUTSIDE_YEARS = "a timestamp outside the years 1 to 9999 cannot be sent; change it in SQL"
_TOO_DEEP = f"more than {MAX_NESTING} levels of nesting cannot be sent; flatten the value in SQL"
_DOUBLE_KEY = "an object with a key twice, as number and text, cannot be sent; rename one in SQL"
_KEYS_NOT_TEXT = "an object whose keys are not text cannot be sent; cast them to text in SQL"
_TOO_MANY_DIGITS = "an integer of thousands of digits cannot be sent; shorten it in SQL"
_INEXACT = "a floating-point number this large may have lost digits; cast it to text in SQL"
_BINARY = "binary data cannot be sent; encode it as text in SQL (hex or base64)"
_INTERVAL = "an interval cannot be sent; cast it to seconds or to text in SQL"
_ONLY_TEXT = "only text can be sent in this field; cast the column to text in SQL"
_ONLY_NUMBERS_OR_TEXT = "only a number or text can be sent in this field; cast the column in SQL"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for a value that the SQL driver could not turn into an object of Python."""

    reason: str


class _Unsendable(Exception):
    """Carries the reason why a value cannot be sent."""


def to_json_values(values: Sequence[object], *, timezone: dt.tzinfo) -> Column:
    """Convert a column for a custom property, which takes any JSON value.

    :param timezone: of timestamps that have none.
    """
    return _convert_column(values, _JSON, timezone)


def to_strings(values: Sequence[object], *, timezone: dt.tzinfo) -> Column:
    """Convert a column for a field that is text, such as ``external_id`` or ``location.zip``.

    An integer keeps its digits, and so does a whole number of a NUMERIC or DOUBLE column: ``123.00`` is
    ``123``, since ids are often kept that way. Other numbers are written out without an exponent, a NUMERIC
    with the decimal places of its column. A double from 2**53 on is refused: an id may have lost digits in it.

    :param timezone: of timestamps that have none.
    """
    return _convert_column(values, _TEXT, timezone)


def to_numbers_or_strings(values: Sequence[object], *, timezone: dt.tzinfo) -> Column:
    """Convert a column for a field that takes a number or text, such as ``location.latitude``."""
    return _convert_column(values, _NUMBER_OR_TEXT, timezone)


# --- columns ---

_Convert = Callable[[Any, dt.tzinfo, int], object]


_ConvertColumn = Callable[[Sequence[Any], dt.tzinfo], list[object] | None]


@dataclass(frozen=True, slots=True)
class _Rules:
    """How each type is converted: ``columns`` of it, if none of the values is odd (else None), or one by one."""

    columns: Mapping[type, _ConvertColumn]
    values: Mapping[type, _Convert]


def _convert_column(values: Sequence[object], rules: _Rules, timezone: dt.tzinfo) -> Column:
    """Convert by the fastest way that fits: a column usually has one type, and nothing odd in it."""
    kinds = set(map(type, values))
    kinds.discard(NoneType)
    if not kinds:
        return list(values), {}
    if len(kinds) == 1:
        converted = _convert_uniform(values, kinds.pop(), rules, timezone)
        if converted is not None:
            return converted, {}
    return _convert_each(values, rules, timezone)


def _convert_uniform(
    values: Sequence[object], kind: type, rules: _Rules, timezone: dt.tzinfo
) -> list[object] | None:
    if kind in rules.columns:
        converted = rules.columns[kind](values, timezone)
        if converted is not None:
            return converted
    if kind in rules.values:
        with suppress(_Unsendable):
            return _convert_all(values, rules.values[kind], timezone)
    return None


def _convert_all(values: Sequence[object], convert: _Convert, timezone: dt.tzinfo) -> list[object]:
    return [None if value is None else convert(value, timezone, 0) for value in values]


def _convert_each(values: Sequence[object], rules: _Rules, timezone: dt.tzinfo) -> Column:
    converted: list[object] = []
    reasons: dict[int, str] = {}
    for index, value in enumerate(values):
        try:
            converted.append(_convert_value(value, rules, timezone, 0))
        except _Unsendable as refusal:
            converted.append(None)
            reasons[index] = str(refusal)
    return converted, reasons


def _convert_value(value: object, rules: _Rules, timezone: dt.tzinfo, level: int) -> object:
    kind = type(value)
    if kind not in rules.values:
        value = _plain(value)
        kind = type(value)
    return None if value is None else rules.values[kind](value, timezone, level)


# --- columns of one type: the cheapest checks that find every odd value ---


def _present(values: Sequence[Any]) -> Iterable[Any]:
    """Without None, and without zeros and empty strings, which are good anyway."""
    return filter(None, values)


def _are_encodable(values: Sequence[Any]) -> bool:
    joined = "".join(_present(values))
    return joined.isascii() or _is_encodable(joined)


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
    return max(exponents, default=0) < _SAFE_DIGITS and min(exponents, default=0) >= -_MAX_EXPONENT


def _unchanged(are_sendable: Callable[[Sequence[Any]], bool]) -> _ConvertColumn:
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


# --- single values ---


def _refuse(reason: str) -> _Convert:
    def convert(value: object, timezone: dt.tzinfo, level: int) -> object:  # noqa: ARG001
        raise _Unsendable(reason)

    return convert


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(value: str, timezone: dt.tzinfo | None = None, level: int = 0) -> str:  # noqa: ARG001
    if value.isascii() or _is_encodable(value):
        return value
    raise _Unsendable(_HALF_A_CHARACTER)


def _bool(value: bool, timezone: dt.tzinfo, level: int) -> bool:  # noqa: ARG001, FBT001
    return value


def _integer(value: int, timezone: dt.tzinfo, level: int) -> int:  # noqa: ARG001
    if _MIN_INT <= value <= _MAX_INT:
        return value
    raise _Unsendable(_BEYOND_64_BITS)


def _finite(value: float) -> float:
    if math.isfinite(value):
        return value
    raise _Unsendable(_NOT_FINITE)


def _float(value: float, timezone: dt.tzinfo, level: int) -> float:  # noqa: ARG001
    return _finite(value)


def _ordinary(value: Decimal) -> Decimal:
    if not value.is_finite():
        _finite(math.nan)
    if abs(value.adjusted()) > _MAX_EXPONENT:
        raise _Unsendable(_TOO_LARGE_OR_SMALL)
    return value


def _decimal(value: Decimal, timezone: dt.tzinfo, level: int) -> Decimal:
    """Refuse a whole number beyond 64 bits as for integers: it looks the same in JSON."""
    _ordinary(value)
    if value.adjusted() >= _SAFE_DIGITS and value.as_tuple().exponent == 0:
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
        raise _Unsendable(_OUTSIDE_YEARS) from None


def _isoformat(value: dt.date | dt.time, timezone: dt.tzinfo, level: int) -> str:  # noqa: ARG001
    return value.isoformat()


def _str(value: object, timezone: dt.tzinfo, level: int) -> str:  # noqa: ARG001
    return str(value)


# --- lists and objects ---


def _next(level: int) -> int:
    if level >= MAX_NESTING:
        raise _Unsendable(_TOO_DEEP)
    return level + 1


def _list(value: Iterable[object], timezone: dt.tzinfo, level: int) -> list[object]:
    inner = _next(level)
    return [_convert_value(element, _JSON, timezone, inner) for element in value]


def _set(value: Iterable[object], timezone: dt.tzinfo, level: int) -> list[object]:
    """Sorted, since the order of a set changes from process to process and would look like a change."""
    return sorted(_list(value, timezone, level), key=lambda element: (type(element).__name__, str(element)))


def _object(value: Mapping[object, object], timezone: dt.tzinfo, level: int) -> dict[str, object]:
    inner = _next(level)
    converted = {_key(key): _convert_value(item, _JSON, timezone, inner) for key, item in value.items()}
    if len(converted) < len(value):
        raise _Unsendable(_DOUBLE_KEY)
    return converted


def _key(key: object) -> str:
    if isinstance(key, str):
        return _text(str.__str__(key))
    if isinstance(key, int) and not isinstance(key, bool):
        return _integer_text(key)
    raise _Unsendable(_KEYS_NOT_TEXT)


# --- text ---


def _integer_text(value: int, timezone: dt.tzinfo | None = None, level: int = 0) -> str:  # noqa: ARG001
    try:
        return int.__repr__(value)
    except ValueError:  # Python writes out no more than 4,300 digits
        raise _Unsendable(_TOO_MANY_DIGITS) from None


def _decimal_text(value: Decimal, timezone: dt.tzinfo, level: int) -> str:  # noqa: ARG001
    _ordinary(value)
    whole = int(value)
    return str(whole) if whole == value else format(value, "f")


def _float_text(value: float, timezone: dt.tzinfo, level: int) -> str:
    if abs(_finite(value)) >= _EXACT_FLOAT:
        raise _Unsendable(_INEXACT)
    return _decimal_text(Decimal(repr(value)), timezone, level)


# --- rules ---

_JSON_VALUES: Mapping[type, _Convert] = {
    str: _text,
    bool: _bool,
    int: _integer,
    float: _float,
    Decimal: _decimal,
    dt.datetime: _datetime,
    dt.date: _isoformat,
    dt.time: _isoformat,
    UUID: _str,
    list: _list,
    tuple: _list,
    set: _set,
    frozenset: _set,
    dict: _object,
}
_NUMBER_COLUMNS: Mapping[type, _ConvertColumn] = {
    str: _unchanged(_are_encodable),
    int: _unchanged(_are_64_bit),
    float: _unchanged(_are_finite),
    Decimal: _unchanged(_are_ordinary),
}
_WRITTEN_COLUMNS: Mapping[type, _ConvertColumn] = {dt.datetime: _datetimes, dt.date: _texts, UUID: _texts}

_JSON: Final = _Rules({**_NUMBER_COLUMNS, **_WRITTEN_COLUMNS, bool: _booleans}, _JSON_VALUES)
_TEXT: Final = _Rules(
    {str: _unchanged(_are_encodable), **_WRITTEN_COLUMNS},
    {
        **_JSON_VALUES,
        **dict.fromkeys((bool, list, tuple, set, frozenset, dict), _refuse(_ONLY_TEXT)),
        int: _integer_text,
        float: _float_text,
        Decimal: _decimal_text,
    },
)
_NUMBER_OR_TEXT: Final = _Rules(
    _NUMBER_COLUMNS,
    {
        **dict.fromkeys(_JSON_VALUES, _refuse(_ONLY_NUMBERS_OR_TEXT)),
        str: _text,
        int: _integer,
        float: _float,
        Decimal: _decimal,
    },
)

# --- types beside those of the rules ---

_BASES: tuple[tuple[type, Callable[[Any], object]], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (Decimal, Decimal),
    (dt.datetime, lambda value: dt.datetime.combine(dt.datetime.date(value), dt.datetime.timetz(value))),
    (dt.date, lambda value: dt.date(value.year, value.month, value.day)),
    (dt.time, lambda value: dt.time.fromisoformat(value.isoformat())),
    (list, list),
    (tuple, list),
    (set, set),
    (frozenset, set),
    (Mapping, dict),
    (UUID, str),
    (IPv4Address, str),
    (IPv4Network, str),
    (IPv6Address, str),
    (IPv6Network, str),
)
_REFUSED: tuple[tuple[tuple[type, ...], str], ...] = (
    ((bytes, bytearray, memoryview), _BINARY),
    ((dt.timedelta,), _INTERVAL),
)


def _plain(value: object) -> object:
    """Return None or the same value in a type of the rules: of subclasses, enums, NumPy and pandas."""
    kind = type(value)
    if value is None or kind in _JSON_VALUES:
        return value
    if isinstance(value, Unreadable):
        raise _Unsendable(value.reason)
    if isinstance(value, Enum):
        return _plain(value.value)
    if kind.__module__.partition(".")[0] in {"numpy", "pandas"}:
        return _plain_scientific(value)
    return _plain_base(value)


def _plain_base(value: object) -> object:
    for kinds, reason in _REFUSED:
        if isinstance(value, kinds):
            raise _Unsendable(reason)
    for base, make in _BASES:
        if isinstance(value, base):
            return make(value)
    reason = f"a value of type {type(value).__name__} cannot be sent; cast it in SQL"
    raise _Unsendable(reason)


def _plain_scientific(value: Any) -> object:
    """By what NumPy's and pandas' values can do, since neither library is imported here."""
    if type(value).__name__ in {"NAType", "NaTType"}:
        return None
    if getattr(value, "ndim", 0):
        return list(value)
    if getattr(getattr(value, "dtype", None), "kind", "") == "M":
        value = value.astype("datetime64[us]")  # an item of nanoseconds would be a number
    item = value.item() if hasattr(value, "item") else value
    return _plain_base(value) if type(item) is type(value) else _plain(item)
