"""Values of other types than those that are converted: of subclasses, enums, NumPy, pandas and the network's."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any
from uuid import UUID

from airflow_provider_klaviyo.records.values.scalars import CONTAINERS, SCALARS
from airflow_provider_klaviyo.records.values.unsendable import Unreadable, Unsendable

_BINARY = "binary data cannot be sent; encode it as text in SQL (hex or base64)"
INTERVAL = "an interval cannot be sent; cast it to seconds or to text in SQL"

_INTERVALS = frozenset(("MonthDayNano", "relativedelta"))
"""Arrow's and dateutil's types of intervals, by their names, since neither library is imported here."""

_CONVERTED = frozenset((*SCALARS, *CONTAINERS))
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
    ((dt.timedelta,), INTERVAL),
)


def plain(value: object) -> object:
    """Return None or the same value in a type that is converted.

    :param value: of any type that a driver gives.
    :raises Unsendable: when there is no such value.
    """
    kind = type(value)
    if value is None or kind in _CONVERTED:
        return value
    if isinstance(value, Unreadable):
        raise Unsendable(value.reason)
    if isinstance(value, Enum):
        return plain(value.value)
    if kind.__module__.partition(".")[0] in {"numpy", "pandas"}:
        return _plain_scientific(value)
    return _plain_base(value)


def _plain_base(value: object) -> object:
    if type(value).__name__ in _INTERVALS:
        raise Unsendable(INTERVAL)
    for kinds, reason in _REFUSED:
        if isinstance(value, kinds):
            raise Unsendable(reason)
    for base, make in _BASES:
        if isinstance(value, base):
            return make(value)
    reason = f"a value of type {type(value).__name__} cannot be sent; cast it in SQL"
    raise Unsendable(reason)


def _plain_scientific(value: Any) -> object:
    """By what NumPy's and pandas' values can do, since neither library is imported here."""
    if type(value).__name__ in {"NAType", "NaTType"}:
        return None
    if getattr(value, "ndim", 0):
        return list(value)
    if getattr(getattr(value, "dtype", None), "kind", "") == "M":
        value = value.astype("datetime64[us]")  # an item of nanoseconds would be a number
    item = value.item() if hasattr(value, "item") else value
    return _plain_base(value) if type(item) is type(value) else plain(item)
