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
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import NoneType
from typing import Final

from airflow_provider_klaviyo.records.values.plain_types import plain
from airflow_provider_klaviyo.records.values.scalars import (
    NUMBERS_OR_TEXTS,
    SCALARS,
    TEXTS,
    Convert,
    integer_text,
    text,
)
from airflow_provider_klaviyo.records.values.uniform_columns import (
    JSON_COLUMNS,
    NUMBER_OR_TEXT_COLUMNS,
    TEXT_COLUMNS,
    ConvertColumn,
)
from airflow_provider_klaviyo.records.values.unsendable import Unsendable

Column = tuple[list[object], dict[int, str]]
"""Converted values in the order they came, and the reasons of those that cannot be sent by their index."""

MAX_NESTING: Final = 10
"""Levels of lists and objects in one value (Klaviyo's guide to events; for profiles it names none)."""

_TOO_DEEP = f"more than {MAX_NESTING} levels of nesting cannot be sent; flatten the value in SQL"
_DOUBLE_KEY = "an object with a key twice, as number and text, cannot be sent; rename one in SQL"
_KEYS_NOT_TEXT = "an object whose keys are not text cannot be sent; cast them to text in SQL"


def to_json_values(values: Sequence[object], *, timezone: dt.tzinfo) -> Column:
    """Convert a column for a custom property, which takes any JSON value.

    :param values: as the driver gives them.
    :param timezone: of timestamps that have none.
    """
    return _convert_column(values, _JSON, timezone)


def to_strings(values: Sequence[object], *, timezone: dt.tzinfo) -> Column:
    """Convert a column for a field that is text, such as ``external_id`` or ``location.zip``.

    An integer keeps its digits, and so does a whole number of a NUMERIC or DOUBLE column: ``123.00`` is
    ``123``, since ids are often kept that way. Other numbers are written out without an exponent, a NUMERIC
    with the decimal places of its column. A double from 2**53 on is refused: an id may have lost digits in it.

    :param values: as the driver gives them.
    :param timezone: of timestamps that have none.
    """
    return _convert_column(values, _TEXT, timezone)


def to_numbers_or_strings(values: Sequence[object], *, timezone: dt.tzinfo) -> Column:
    """Convert a column for a field that takes a number or text, such as ``location.latitude``.

    :param values: as the driver gives them.
    :param timezone: of timestamps that have none, which such a field does not take.
    """
    return _convert_column(values, _NUMBER_OR_TEXT, timezone)


# --- columns ---


@dataclass(frozen=True, slots=True)
class _Rules:
    """How each type is converted: ``columns`` of it, if none of the values is odd (else None), or one by one."""

    columns: Mapping[type, ConvertColumn]
    values: Mapping[type, Convert]


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
        with suppress(Unsendable):
            return _convert_all(values, rules.values[kind], timezone)
    return None


def _convert_all(values: Sequence[object], convert: Convert, timezone: dt.tzinfo) -> list[object]:
    return [None if value is None else convert(value, timezone, 0) for value in values]


def _convert_each(values: Sequence[object], rules: _Rules, timezone: dt.tzinfo) -> Column:
    converted: list[object] = []
    reasons: dict[int, str] = {}
    for index, value in enumerate(values):
        try:
            converted.append(_convert_value(value, rules, timezone, 0))
        except Unsendable as refusal:
            converted.append(None)
            reasons[index] = str(refusal)
    return converted, reasons


def _convert_value(value: object, rules: _Rules, timezone: dt.tzinfo, level: int) -> object:
    kind = type(value)
    if kind not in rules.values:
        value = plain(value)
        kind = type(value)
    return None if value is None else rules.values[kind](value, timezone, level)


# --- lists and objects ---


def _next(level: int) -> int:
    if level >= MAX_NESTING:
        raise Unsendable(_TOO_DEEP)
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
        raise Unsendable(_DOUBLE_KEY)
    return converted


def _key(key: object) -> str:
    if isinstance(key, str):
        return text(str.__str__(key))
    if isinstance(key, int) and not isinstance(key, bool):
        return integer_text(key)
    raise Unsendable(_KEYS_NOT_TEXT)


# --- rules ---

_JSON: Final = _Rules(
    JSON_COLUMNS, {**SCALARS, list: _list, tuple: _list, set: _set, frozenset: _set, dict: _object}
)
_TEXT: Final = _Rules(TEXT_COLUMNS, TEXTS)
_NUMBER_OR_TEXT: Final = _Rules(NUMBER_OR_TEXT_COLUMNS, NUMBERS_OR_TEXTS)
