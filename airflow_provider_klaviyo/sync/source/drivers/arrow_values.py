"""Values of Arrow as Python's: what ADBC's drivers and Arrow itself leave to do, by the types of columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from airflow_provider_klaviyo.sync.source.drivers.columns import BEYOND_PYTHON, parsed
from airflow_provider_klaviyo.sync.source.drivers.lenience import Lenience
from airflow_provider_klaviyo.sync.source.drivers.nested import Read, of_list, of_object, single

_DAY: Mapping[str, int] = {
    "s": 86_400,
    "ms": 86_400_000,
    "us": 86_400_000_000,
    "ns": 86_400_000_000_000,
}
_OPAQUE: Mapping[str, Read] = {"numeric": Decimal, "json": parsed, "jsonb": parsed}
_TEXTS = frozenset(("citext", "xml"))
"""Types of PostgreSQL whose bytes are their text; those of others are known to the database alone."""


def values(column: Any, lenience: Lenience) -> Sequence[object]:
    """The values of a column, those unreadable that Python has none for."""
    from pyarrow import types

    if types.is_time(column.type):
        return _times(column, lenience)
    try:
        made: Sequence[object] = column.to_pylist()
    except (ValueError, OverflowError):
        return [_value(each, lenience) for each in column]
    return made


def _value(scalar: Any, lenience: Lenience) -> object:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError):
        return lenience.unreadable(BEYOND_PYTHON)


def _times(column: Any, lenience: Lenience) -> Sequence[object]:
    """24 o'clock would be midnight."""
    day = _DAY[column.type.unit]
    numbers = column.cast(f"int{column.type.bit_width}").to_pylist()
    return [
        lenience.unreadable(BEYOND_PYTHON) if number is not None and number >= day else time
        for number, time in zip(numbers, column.to_pylist(), strict=True)
    ]


def is_special(kind: Any) -> bool:
    """Whether values of a type have parts, or only the database knows what they are."""
    from pyarrow import types

    return types.is_nested(kind) or types.is_interval(kind) or hasattr(kind, "extension_name")


def reader_of_field(lenience: Lenience, field: Any) -> Read | None:
    """What makes more of a column's values; None where Arrow's own type says all."""
    name = (field.metadata or {}).get(b"POSTGRESQL:type", b"")
    if name in (b"money", b"_money"):
        return _unreadable(lenience, "holds money without its decimal places; cast it to numeric in SQL")
    return _reader(lenience, field.type)


def _reader(lenience: Lenience, kind: Any) -> Read | None:
    from pyarrow import types

    extension = getattr(kind, "extension_name", "")
    if extension == "arrow.json":
        return parsed
    if extension == "arrow.opaque":  # a type of the database's, as the text or the bytes that it sends
        return _OPAQUE.get(kind.type_name) or partial(_text, lenience, kind.type_name)
    if extension:
        return None
    if types.is_struct(kind):
        return of_object({field.name: reader_of_field(lenience, field) for field in kind})
    if types.is_map(kind):
        return partial(_map, lenience, _reader(lenience, kind.item_type))
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return _reader(lenience, kind.value_type)
    if types.is_nested(kind) and hasattr(kind, "value_type"):
        return of_list(_reader(lenience, kind.value_type))
    return single if types.is_float32(kind) or types.is_float16(kind) else None


def _text(lenience: Lenience, kind: str, value: object) -> object:
    if not isinstance(value, bytes):
        return value
    if kind in _TEXTS:
        return lenience.text(value)
    return lenience.unreadable(
        f"holds bytes that only the database can read (type {kind}); cast it to text in SQL"
    )


def _map(lenience: Lenience, read: Read | None, value: Any) -> object:
    """An object of what Arrow gives as pairs."""
    try:
        pairs = dict(value)
    except TypeError:
        return lenience.unreadable("holds a map whose keys are no text; make text of it in SQL")
    return {key: part if part is None or read is None else read(part) for key, part in pairs.items()}


def _unreadable(lenience: Lenience, problem: str) -> Callable[[Any], object]:
    return lambda _: lenience.unreadable(problem)
