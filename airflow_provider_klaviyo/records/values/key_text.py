"""Keys as text that is the same for ever, whatever driver or warehouse they come from.

The integer 7, the decimal 7.00 and the text "7" are one key, a timestamp with a zone is written in UTC. State and the
ids of events are made of this text, so nothing here may change. What has no text of its own that stays the same, such
as an object whose text is its place in memory, is no part of a key: its row would be a new one in each run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import NoneType
from uuid import UUID

from airflow_provider_klaviyo.records.values.unsendable import Unreadable, Unsendable

_AS_THEY_ARE = frozenset((int, bool, UUID, date, time))
"""Types of which ``str`` is the text at once."""

_STABLE = (
    *(str, int, float, Decimal, bytes, bytearray, date, time, timedelta, UUID, Enum),
    *(IPv4Address, IPv4Network, IPv6Address, IPv6Network),
)
"""Types, and those derived of them, that have a text which is the same in every process."""

_USUAL = frozenset((NoneType, str, int, bool, float, Decimal, bytes, date, datetime, time, UUID))
"""Types of columns that need no look at each value."""

_WITH_RANGES = frozenset(("psycopg", "psycopg2"))
"""Drivers that have types for PostgreSQL's ranges, whose text is that of their bounds."""


def key_text(key: Sequence[object]) -> str:
    """The text of a key of one or several parts; ("a", "bc") is not ("ab", "c").

    :param key: its parts, none of which is None.
    :raises Unsendable: as ``value_text`` does.
    """
    if len(key) == 1:
        return value_text(key[0])
    return joined(value_text(part) for part in key)


def joined(parts: Iterable[str]) -> str:
    """Several texts in one, each with its length before it, so that none can pass for two.

    :param parts: may be empty texts, too.
    """
    return "".join(f"{len(part)}:{part}" for part in parts)


def value_text(value: object) -> str:
    """The text of one part of a key.

    :param value: not None.
    :raises Unsendable: for a value without a text that stays the same; ``keyless_in`` tells of it beforehand.
    """
    kind = type(value)
    if kind is str:
        return value  # type: ignore[return-value]
    if kind in _AS_THEY_ARE:
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    if isinstance(value, datetime):
        return _timestamp(value) if value.tzinfo else str(value)
    if isinstance(value, Decimal):
        return _digits(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    if reason := _why_no_key(value):
        raise Unsendable(reason)
    return str(value)


def keyless_in(values: Sequence[object]) -> dict[int, str]:
    """Why values of a key column cannot be part of a key, by their indexes.

    Either the driver could not read the value, or it has no text that stays the same.

    :param values: as the driver gives them; what NULL means is for the caller to judge.
    """
    if _USUAL.issuperset(map(type, values)):
        return {}
    reasons = ((index, _why_no_key(value)) for index, value in enumerate(values) if value is not None)
    return {index: reason for index, reason in reasons if reason}


def _why_no_key(value: object) -> str:
    """Empty where the value can be part of a key."""
    if isinstance(value, Unreadable):
        return value.reason
    odd = "" if isinstance(value, memoryview) else _type_without_text(value)
    if not odd:
        return ""
    return (
        f"the primary key holds a value of type {odd}, of which no text stays the same from run to run: cast the "
        "column to text in SQL"
    )


def _type_without_text(value: object) -> str:
    """The type of the value, or of one inside of it, that has no text which stays the same; empty where all have."""
    if value is None or isinstance(value, _STABLE) or _is_of_a_library(value):
        return ""
    if isinstance(value, (list, tuple)):
        return next(filter(None, map(_type_without_text, value)), "")
    if isinstance(value, dict):
        return _type_without_text([*value, *value.values()])
    return type(value).__name__


def _is_of_a_library(value: object) -> bool:
    """Whether it is one value of NumPy's, or a range of a driver for PostgreSQL; none of them is imported here."""
    library = type(value).__module__.partition(".")[0]
    if library == "numpy":
        return getattr(value, "ndim", 1) == 0
    return library in _WITH_RANGES and type(value).__name__.lower().endswith("range")


def _timestamp(value: datetime) -> str:
    try:
        return value.astimezone(UTC).isoformat()
    except OverflowError:  # the first or last hours of the calendar
        return value.isoformat()


def _digits(value: Decimal) -> str:
    """All of them: ``normalize`` would round a key of more than 28 digits, and two rows would become one."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
