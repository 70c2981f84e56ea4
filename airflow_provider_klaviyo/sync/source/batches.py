"""Rows by the batch, as Arrow and pandas have them: read in parts, so that memory does not grow with the batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from airflow_provider_klaviyo.exceptions import KlaviyoConfigurationError
from airflow_provider_klaviyo.sync.source.copies import are_constant, copied
from airflow_provider_klaviyo.sync.source.drivers.arrow_values import reader_of_field, values
from airflow_provider_klaviyo.sync.source.drivers.columns import each
from airflow_provider_klaviyo.sync.source.drivers.lenience import Lenience
from airflow_provider_klaviyo.sync.source.source import Row


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a batch, column by column; there may be none."""

    names: Sequence[Any]
    columns: Sequence[Sequence[object]]

    def rows(self, names: Sequence[str]) -> Iterator[Row]:
        """The rows with these columns in this order; NULL in those that there are none of."""
        wanted = [self.columns[self.names.index(name)] if name in self.names else None for name in names]
        count = len(self.columns[0]) if self.columns else 0
        return zip(*(repeat(None, count) if column is None else column for column in wanted), strict=True)


def parts_of(given: Any, most: int) -> Iterator[Part] | None:
    """The parts of a batch, at least one; None for what is no batch.

    :param most: rows of a part.
    :raises KlaviyoConfigurationError: for a batch of Arrow's where pyarrow is not installed.
    """
    kinds = {(kind.__module__.partition(".")[0], kind.__name__) for kind in type(given).__mro__}
    if ("pandas", "DataFrame") in kinds:
        return _of_frame(given, most)
    if not hasattr(given, "__arrow_c_stream__") and ("pyarrow", "RecordBatch") not in kinds:
        return None
    try:
        import pyarrow
    except ImportError:
        kind = type(given).__name__
        msg = f"The function gave {kind}, which pyarrow reads: install it on the workers, or yield dicts."
        raise KlaviyoConfigurationError(msg) from None
    if isinstance(given, pyarrow.RecordBatch):
        return _of_arrow((given,), given.schema, most)
    reader = pyarrow.RecordBatchReader.from_stream(given)
    return _of_arrow(reader, reader.schema, most)


def _of_frame(frame: Any, most: int) -> Iterator[Part]:
    """What is missing (NaN, NaT, NA) is NULL."""
    names = list(frame.columns)
    for start in range(0, max(len(frame), 1), most):
        rows = frame.iloc[start : start + most]
        yield Part(names, [_values(rows.iloc[:, index]) for index in range(len(names))])


def _values(series: Any) -> Sequence[object]:
    found: Sequence[object] = series.tolist()
    if series.dtype.kind == "O" and not are_constant(map(type, found)):
        found = copied(found)
    missing = series.isna()
    if missing.any():
        return [None if is_missing else value for value, is_missing in zip(found, missing, strict=True)]
    return found


def _of_arrow(batches: Iterable[Any], schema: Any, most: int) -> Iterator[Part]:
    lenience = Lenience()
    readers = [reader_of_field(lenience, field) for field in schema]
    yield Part(schema.names, [() for _ in readers])
    for batch in batches:
        for start in range(0, batch.num_rows, most):
            found = [values(column, lenience) for column in batch.slice(start, most).columns]
            read = [
                each(reader)(column) if reader else column
                for reader, column in zip(readers, found, strict=True)
            ]
            yield Part(schema.names, lenience.naming_columns(schema.names, read))
