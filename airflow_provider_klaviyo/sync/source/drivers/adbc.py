"""Any driver of ADBC: Arrow's record batches, whose types say more than the values that are made of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import partial
from itertools import islice
from typing import Any

from airflow_provider_klaviyo.sync.source.drivers.arrow_values import is_special, reader_of_field, values
from airflow_provider_klaviyo.sync.source.drivers.columns import each, keys_as_before, mended
from airflow_provider_klaviyo.sync.source.drivers.errors import Unread
from airflow_provider_klaviyo.sync.source.drivers.fetch_size import FetchSize
from airflow_provider_klaviyo.sync.source.drivers.lenience import Lenience
from airflow_provider_klaviyo.sync.source.drivers.plain import execute
from airflow_provider_klaviyo.sync.source.drivers.result import Connection, Result, column_names
from airflow_provider_klaviyo.sync.source.drivers.statements import refuse_writing
from airflow_provider_klaviyo.sync.source.query import Query, UnreadableColumns

_NOT_SENT = "no binary output function"
"""What PostgreSQL says of types that it sends as text only."""


def open_adbc(connection: Connection, query: Query, size: FetchSize) -> Result:
    """By record batches: the cursor makes rows of a whole one, and none where it cannot make one value."""
    if query.read_only:
        refuse_writing(query.sql, "any")
    cursor = connection.cursor()
    execute(cursor, query)
    column_names(cursor.description)
    lenience = Lenience()
    batches = cursor.fetch_record_batch()
    _refuse_rows_without_type(batches.schema)
    rows = _rows(batches, lenience, size)
    result = Result(cursor, lambda: list(islice(rows, size.rows)))
    readers = enumerate(map(partial(reader_of_field, lenience), batches.schema))
    result = mended(result, {index: each(read) for index, read in readers if read})
    return lenience.naming(keys_as_before(result, query, {Decimal: str}))


def _refuse_rows_without_type(schema: Any) -> None:
    """PostgreSQL's ``ROW(…)``: the driver takes all of them for rows of one number, and calls that ``oid``."""
    told = {field.name: (field.metadata or {}).get(b"POSTGRESQL:type") for field in schema}
    if columns := [name for name, kind in told.items() if kind in (b"record", b"_record")]:
        raise UnreadableColumns(
            columns, "rows without a type of their own", "write to_jsonb(…) there, or cast them to text"
        )


def _batches(batches: Any) -> Iterator[Any]:
    """The record batches.

    :raises Unread: naming the columns whose types the driver may not read, where there are such.
    """
    while True:
        try:
            batch = batches.read_next_batch()
        except StopIteration:
            return
        except (ValueError, OSError) as error:
            names = ", ".join(repr(field.name) for field in batches.schema if is_special(field.type))
            if not names or not (isinstance(error, ValueError) or _NOT_SENT in str(error)):
                raise
            advice = (
                f"The driver cannot read a value of these columns, or of one of them: {names}. Cast what is no plain "
                "number, text or date to text in SQL; of rows and lists make JSON (to_jsonb)"
            )
            raise Unread(error, advice) from None
        yield batch


def _rows(batches: Any, lenience: Lenience, size: FetchSize) -> Iterator[tuple[object, ...]]:
    """Made of so many at a time: a batch may have a hundred thousand."""
    for batch in _batches(batches):
        start = 0
        while start < batch.num_rows:
            part = batch.slice(start, size.rows)
            start += part.num_rows
            columns: list[Sequence[object]] = [values(column, lenience) for column in part.columns]
            yield from zip(*columns, strict=True)
