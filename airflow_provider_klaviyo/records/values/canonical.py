"""Values in the one spelling of what they mean, so that another way to write the same is no change.

=======================  ============================================================================
number                   5, 5.00 and 5E+0 are one, and so are -0 and 0; a float counts by the digits
                         that it is written with, so that 0.1 and ``Decimal("0.1")`` are one
timestamp                the instant, in UTC
object, set              in one order
text, boolean, date      as they are: "5" is not 5, and text that looks like a timestamp is text
=======================  ============================================================================
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from decimal import Context, Decimal
from operator import methodcaller
from types import NoneType
from typing import Any, Final
from uuid import UUID

import msgspec

from airflow_provider_klaviyo.records.values.plain_types import plain
from airflow_provider_klaviyo.records.values.scalars import CONTAINERS, SCALARS

_INTEGERS_END = 2**63
_WRITTEN_WITHOUT_EXPONENT = (1e-4, 1e15)
"""Floats that are written as the decimal number of the same digits is."""

_is_in_utc = methodcaller("endswith", "+00:00")
_all_digits = Context(prec=1_000_000)
_encode = msgspec.json.Encoder(decimal_format="number").encode

_TEXTS = (str, bytes, bytearray, memoryview)
"""What may hold JSON, whose timestamps are texts."""

_SPELLED: Final = frozenset((str, int, bool))
_TIMELESS: Final = frozenset((*_SPELLED, NoneType, float, Decimal, dt.date, dt.time, UUID))


def canonical(values: list[Any], given: Sequence[object], timezone: dt.tzinfo) -> list[Any]:
    """The values of a field in the one spelling.

    :param values: as they are sent; None stays None.
    :param given: the column that they were read from, which tells a timestamp from a text.
    :param timezone: of timestamps that have none.
    """
    kinds = set(map(type, values)) - {NoneType}
    if kinds <= _SPELLED and (
        _TIMELESS.issuperset(map(type, given)) or all(map(_is_in_utc, filter(None, values)))
    ):
        return values
    if len(kinds) == 1 and kinds <= _NUMBERS.keys():
        number = _NUMBERS[kinds.pop()]
        return [None if value is None else number(value) for value in values]
    return [_spelled(value, source, timezone) for value, source in zip(values, given, strict=True)]


def _spelled(value: Any, source: object, timezone: dt.tzinfo) -> object:
    kind = type(value)
    if kind in _NUMBERS:
        return _NUMBERS[kind](value)
    if kind in CONTAINERS:
        return _of_parts(value if isinstance(source, _TEXTS) else source, timezone)
    if kind is not str or type(source) in _TIMELESS:
        return value
    source = plain(source)
    return _instant(value, source, timezone) if isinstance(source, dt.datetime) else value


def _instant(text: str, source: dt.datetime, timezone: dt.tzinfo) -> str:
    """In UTC, unless it is already, or is so early or late that UTC has no such year."""
    if _is_in_utc(text):
        return text
    try:
        timestamp = source if source.utcoffset() is not None else source.replace(tzinfo=timezone)
        return timestamp.astimezone(dt.UTC).isoformat()
    except OverflowError:
        return text


def _of_parts(source: Any, timezone: dt.tzinfo) -> object:
    """A list or an object; what it holds was found good when it was converted to be sent."""
    source = plain(source)
    if isinstance(source, (list, tuple)):
        return [_of_parts(part, timezone) for part in source]
    if isinstance(source, (set, frozenset)):
        return sorted((_of_parts(part, timezone) for part in source), key=_encode)
    if isinstance(source, dict):
        parts = {str(name): _of_parts(part, timezone) for name, part in source.items()}
        return {name: parts[name] for name in sorted(parts)}
    value = None if source is None else SCALARS[type(source)](source, timezone, 0)
    return _spelled(value, source, timezone)


def _decimal(value: Decimal) -> object:
    value = value.normalize(_all_digits)
    is_whole = value == value.to_integral_value()
    return int(value) if is_whole and abs(value) < _INTEGERS_END else value


def _float(value: float) -> object:
    first, end = _WRITTEN_WITHOUT_EXPONENT
    if first <= abs(value) < end:
        return int(value) if value.is_integer() else value
    return _decimal(Decimal(repr(value)))


_NUMBERS: Final[Mapping[type, Callable[[Any], object]]] = {Decimal: _decimal, float: _float}
