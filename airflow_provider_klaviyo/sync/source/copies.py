"""Values as they are at this moment, whatever becomes of the lists and objects that they were given as."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

_NEVER_CHANGES = frozenset(
    (str, int, float, bool, type(None), Decimal, dt.datetime, dt.date, dt.time, dt.timedelta, bytes, UUID)
)

are_constant = _NEVER_CHANGES.issuperset
"""Whether values of these types never change: asked of ``map(type, values)``, as fast as that can be."""


def copied(values: Iterable[object]) -> tuple[object, ...]:
    """The values, with copies of what can change in them: of objects, lists, sets and arrays at any depth."""
    return tuple(map(_copy, values))


def _copy(value: object) -> object:
    if type(value) in _NEVER_CHANGES:
        return value
    try:
        return _copy_of_parts(value)
    except RecursionError:
        return value  # nothing that can be sent


def _copy_of_parts(value: Any) -> object:
    if type(value) in _NEVER_CHANGES:
        return value
    if isinstance(value, Mapping):
        return {key: _copy_of_parts(part) for key, part in value.items()}
    if isinstance(value, list):
        return list(map(_copy_of_parts, value))
    if isinstance(value, tuple):
        return tuple(map(_copy_of_parts, value))
    if isinstance(value, (set, bytearray)) or getattr(value, "ndim", False):
        return value.copy()
    return value
