"""Any driver of ADBC: Arrow's record batches, whose types say more than the values that are made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import partial
from itertools import islice
from typing import Any

from airflow_provider_klaviyo.sync.source.drivers.columns import (
    BEYOND_PYTHON,
    Mend,
    each,
    keys_as_before,
    mended,
    mends_by_type,
    parsed,
)
from airflow_provider_klaviyo.sync.source.drivers.lenience import Lenience
from airflow_provider_klaviyo.sync.source.drivers.plain import execute
from airflow_provider_klaviyo.sync.source.drivers.result import Connection, Result, column_names
from airflow_provider_klaviyo.sync.source.drivers.statements import refuse_writing
from airflow_provider_klaviyo.sync.source.query import Query


def open_adbc(connection: Connection, query: Query, size: int) -> Result:
    """By record batches: the cursor makes rows of a whole one, and none where it cannot make one value."""
    if query.read_only:
        refuse_writing(query.sql, "any")
    cursor = connection.cursor()
    execute(cursor, query)
    column_names(cursor.description)
    lenience = Lenience()
    rows = _rows(cursor.fetch_record_batch(), lenience, size)
    result = Result(cursor, lambda: list(islice(rows, size)))
    result = mended(result, mends_by_type(cursor, partial(_mend, lenience)))
    return lenience.naming(keys_as_before(result, query, {Decimal: str}))


def _rows(batches: Any, lenience: Lenience, size: int) -> Iterator[tuple[object, ...]]:
    """Made of so many at a time: a batch may have a hundred thousand."""
    for batch in batches:
        for start in range(0, batch.num_rows, size):
            columns = (_values(column, lenience) for column in batch.slice(start, size).columns)
            yield from zip(*columns, strict=True)


def _values(column: Any, lenience: Lenience) -> Sequence[object]:
    try:
        values: Sequence[object] = column.to_pylist()
    except (ValueError, OverflowError):
        return [_value(each, lenience) for each in column]
    return values


def _value(scalar: Any, lenience: Lenience) -> object:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError):
        return lenience.unreadable(BEYOND_PYTHON)


def _mend(lenience: Lenience, kind: Any) -> Mend | None:
    read = _reader(lenience, kind)
    return each(read) if read else None


def _reader(lenience: Lenience, kind: Any) -> Callable[[Any], object] | None:
    """What makes more of a value; None where Arrow's own type says all."""
    extension = getattr(kind, "extension_name", "")
    if extension == "arrow.json":
        return parsed
    if extension == "arrow.opaque":  # a type of the database's, as the text or the bytes that it sends
        return _OPAQUE.get(kind.type_name) or partial(_text, lenience)
    element = getattr(kind, "value_type", None)
    read = _reader(lenience, element) if element is not None and not extension else None
    return partial(_list, read) if read else None


def _text(lenience: Lenience, value: object) -> object:
    return lenience.text(value) if isinstance(value, bytes) else value


def _list(read: Callable[[Any], object], value: object) -> object:
    return [None if part is None else read(part) for part in value] if isinstance(value, list) else value


_OPAQUE: dict[str, Callable[[Any], object]] = {"numeric": Decimal, "json": parsed, "jsonb": parsed}
